"""What the network is shown: one value with named parts, rows and which columns are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

Array = np.ndarray


class Prompt(NamedTuple):
    """Some tables with the same number of rows, as arrays or as tensors.

    Attributes
    ----------
    rows : ndarray or Tensor of float32, shape (B, N, C + 1)
        The columns, zeros where a table has fewer than C, then y; scaled to magnitudes around one.
    present : ndarray or Tensor of bool, shape (B, C)
        Which columns are there.
    """

    rows: Array | torch.Tensor
    present: Array | torch.Tensor

    @classmethod
    def of(cls, tables: Sequence[tuple[Array, Array]], n_columns: int) -> Prompt:
        """Put tables X (n_rows, at most C), y (n_rows,) into arrays for C = ``n_columns``."""
        rows = np.zeros((len(tables), len(tables[0][1]), n_columns + 1), np.float32)
        present = np.zeros((len(tables), n_columns), bool)
        with np.errstate(over="ignore"):  # beyond 32 bits the network reads an infinity
            for i, (X, y) in enumerate(tables):
                rows[i, :, : X.shape[1]] = X
                rows[i, :, -1] = y
                present[i, : X.shape[1]] = True
        return cls(rows, present)

    def to(self, device: torch.device | str) -> Prompt:
        """The same as tensors on a device."""
        import torch  # not above: the processes that make examples do without it

        return Prompt(*(torch.as_tensor(part).to(device, non_blocking=True) for part in self))
