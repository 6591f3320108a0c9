"""What training lowers: the cross-entropy of the next symbol, softened where symbols are near."""

from __future__ import annotations

import torch
from torch import Tensor

from sr_transformer.model.vocabulary import Vocabulary

_Z_LOSS = 1e-4
_TARGET_WIDTH = 1.0  # bins over which a constant's target is spread


class Objective:
    """Loss of a batch, and what the log says of it.

    The target of a constant is spread over the neighbouring values, which are nearly as good a
    start of the fit. The z-loss (Chowdhery et al. 2022, PaLM) keeps logits from drifting.

    Parameters
    ----------
    vocabulary : Vocabulary
    device : torch.device
    """

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        soft_targets = vocabulary.soft_targets(_TARGET_WIDTH)
        self._soft_targets = torch.tensor(soft_targets, dtype=torch.float32).to(device)

    def __call__(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and figures.

        Parameters
        ----------
        logits : Tensor of float32, shape (B, T, V)
        targets : Tensor of int64, shape (B, T)

        Returns
        -------
        loss : Tensor of shape ()
            Mean over the symbols that are not PAD.
        figures : Tensor of shape (4,)
            Over those symbols: the sum of the cross-entropies to the exact targets, how many
            targets have the highest logit, their number, and the sum of log z.
        """
        valid = (targets != Vocabulary.PAD).float()
        n_tokens = valid.sum()
        log_z = logits.logsumexp(-1)
        expected = (self._soft_targets[targets] * logits).sum(-1)
        loss = ((log_z - expected + _Z_LOSS * log_z.square()) * valid).sum() / n_tokens
        with torch.no_grad():
            exact = log_z - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            right = (logits.argmax(-1) == targets) * valid
            figures = ((exact * valid).sum(), right.sum(), n_tokens, (log_z * valid).sum())
            return loss, torch.stack(figures)
