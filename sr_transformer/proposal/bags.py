"""Different looks at one table: rows, columns and temperature of each chunk of draws."""

from __future__ import annotations

import numpy as np

from sr_transformer.proposal.draw import Sampler
from sr_transformer.proposal.relevance import Relevance

Array = np.ndarray

_FEWEST_ROWS = 16  # of a table from which rows are left out
_SHARES = (0.6, 0.9)  # of a small table's rows in a bag
_HEATS = (1.0, 1.0, 1.2, 1.4)  # temperatures of the bags in turn
_FEW_NEW = 0.2  # share of new formulas in a chunk below which the temperatures rise
_RISE = 1.1
_HIGHEST_HEAT = 2.5


class Bags:
    """Shows a sampler one bag of rows and columns of a table after the other.

    The first bag is the whole table, or as many random rows as the sampler was made for. Each
    later one holds other rows, so that its formulas are no repetition of what the first look
    suggested: other random rows of a long table, 60 to 90 % of a short one. Of a wide table the
    bags hold, in turn, the columns that certainly matter and as many as the sampler can read.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    sampler : Sampler
    relevance : Relevance
    random_state : numpy.random.RandomState

    Attributes
    ----------
    heat : float
        Factor of the temperature for draws from the present bag.
    """

    def __init__(
        self,
        X: Array,
        y: Array,
        sampler: Sampler,
        relevance: Relevance,
        random_state: np.random.RandomState,
    ) -> None:
        self._X, self._y = X, y
        self._sampler = sampler
        self._looks = [
            sorted(relevance.certain[: sampler.n_columns]),
            sorted(relevance.columns[: sampler.n_columns]),
        ]
        self._random_state = random_state
        self._n_read = 0
        self._rise = 1.0
        self.heat = 1.0

    def read_next(self) -> list[int]:
        """Let the sampler read another bag; the columns that it holds."""
        columns = self._looks[self._n_read % 2]
        rows = self._rows()
        self._sampler.read(self._X[np.ix_(rows, columns)], self._y[rows])
        heat = _HEATS[self._n_read % len(_HEATS)] * self._rise
        self.heat = min(heat, _HIGHEST_HEAT)
        self._n_read += 1
        return columns

    def adapt(self, share_new: float) -> None:
        """Raise the temperature for good where a chunk brought few new formulas."""
        if share_new < _FEW_NEW:
            self._rise = min(self._rise * _RISE, _HIGHEST_HEAT)

    def _rows(self) -> Array:
        n_rows = len(self._y)
        n = min(n_rows, self._sampler.n_rows)
        if n_rows == n:
            if self._n_read == 0 or n_rows < _FEWEST_ROWS:
                return np.arange(n_rows)
            n = round(n_rows * self._random_state.uniform(*_SHARES))
        return np.sort(self._random_state.choice(n_rows, n, replace=False))
