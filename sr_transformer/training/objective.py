"""What training lowers, the cross-entropy of the next symbol, and what a network is worth by it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from sr_transformer.model.prompt import Prompt
from sr_transformer.model.transformer import Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.data import Batch

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


def to_tensors(batch: Batch, device: torch.device) -> tuple[Prompt, Tensor, Tensor]:
    """The prompt, the tokens to read (BOS first) and the tokens to write."""
    targets = torch.from_numpy(batch.tokens).to(device, torch.int64, non_blocking=True)
    read = torch.nn.functional.pad(targets[:, :-1], (1, 0), value=Vocabulary.BOS)
    return batch.prompt.to(device), read, targets


@torch.no_grad()
def validate(
    network: Transformer,
    vocabulary: Vocabulary,
    batches: Iterable[Batch],
    device: torch.device,
    precision: AbstractContextManager | None = None,
) -> dict[str, float]:
    """Teacher-forced figures on a fixed set.

    Returns
    -------
    dict
        ``loss``: cross-entropy a token, in nats; ``token_accuracy``; ``formula_loss``:
        cross-entropy a formula; ``formula_accuracy``: share of the formulas whose every symbol has
        the highest logit, where any constant counts as right for any other; ``examples``.
    """
    is_constant = torch.from_numpy(vocabulary.kind == Vocabulary.NUMBER).to(device)
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    with precision or nullcontext():
        for batch in batches:
            prompt, read, targets = to_tensors(batch, device)
            logits = network(prompt, read).float()
            valid = targets != Vocabulary.PAD
            loss = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            best = logits.argmax(-1)
            # All constants are one symbol: the fit finds their values.
            same = (best == targets) | (is_constant[best] & is_constant[targets])
            counts = (
                (loss * valid).sum(),
                ((best == targets) & valid).sum(),
                (same | ~valid).all(-1).sum(),
                valid.sum(),
                torch.tensor(len(targets)),
            )
            sums += torch.stack([c.to(device, torch.float64) for c in counts])
    loss, right, formulas, n_tokens, n_examples = sums.tolist()
    return {
        "loss": loss / n_tokens,
        "token_accuracy": right / n_tokens,
        "formula_loss": loss / n_examples,
        "formula_accuracy": formulas / n_examples,
        "examples": n_examples,
    }
