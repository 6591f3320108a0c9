"""The pool of fitted formulas of one table: which are the same, and which are on the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.table.table import Table

ALMOST_EQUAL = 1e-6
"""Relative difference of two losses that does not matter."""


@dataclass(frozen=True)
class Candidate:
    """A fitted formula.

    Parameters
    ----------
    expression : Expression
    loss : float
        On the training table, as :meth:`Table.loss <sr_transformer.table.table.Table.loss>` gives
        it: the mean squared error, or as a square the loss in its place.
    source : str
        Who found it: ``"transformer"``, ``"pysr"``, ...
    """

    expression: Expression
    loss: float
    source: str

    @property
    def complexity(self) -> int:
        """Number of operators, constants and variables, as PySR counts."""
        return self.expression.complexity()

    @property
    def is_finite(self) -> bool:
        """Whether its loss and all of its constants are finite numbers."""
        return all(map(math.isfinite, (self.loss, *self.expression.constants)))

    @property
    def key(self) -> tuple[str, ...]:
        """The same for all spellings of a formula, whatever its constants are."""
        return self.expression.key


class Pool:
    """Fitted formulas of one table; what it shows of them is their Pareto front.

    Iterating, indexing and ``len`` go over the front, simplest formula first.

    Parameters
    ----------
    loss_floor : float
        Losses below count as equal to it.
    """

    def __init__(self, loss_floor: float = 0.0) -> None:
        self.loss_floor = loss_floor
        self._pool: dict[tuple[str, ...], Candidate] = {}
        self._front: list[Candidate] | None = None

    # --- filling ------------------------------------------------------------------------------
    def add(self, candidate: Candidate) -> bool:
        """Add a formula; ``False`` where it brings nothing new.

        Formulas of one key, equal but for their constants, are one: the better stays, and of two
        almost equally good ones the shorter, then the earlier. Non-finite losses and constants stay
        out: a search engine cannot read ``x0 / inf``.
        """
        if not candidate.is_finite:
            return False
        key = candidate.key
        known = self._pool.get(key)
        if known is not None:
            loss, known_loss = self._floored(candidate.loss), self._floored(known.loss)
            better = loss < known_loss * (1 - ALMOST_EQUAL)
            as_good = loss <= known_loss * (1 + ALMOST_EQUAL)
            if not better and not (as_good and candidate.complexity < known.complexity):
                return False
        self._front = None
        self._pool[key] = candidate
        return True

    def extend(self, candidates: Iterable[Candidate]) -> None:
        """Add several formulas."""
        for candidate in candidates:
            self.add(candidate)

    def remove(self, candidate: Candidate) -> None:
        """Take a formula out of the pool; nothing happens where it is not there."""
        if self._pool.get(candidate.key) is candidate:
            self._front = None
            del self._pool[candidate.key]

    def replace(self, candidate: Candidate, fitted: Candidate) -> None:
        """Put the same formula with other, finite constants in the place of a candidate."""
        if not fitted.is_finite:
            return
        self._front = None
        self._pool[candidate.key] = fitted

    def keep(self, wanted: Callable[[Expression], bool]) -> None:
        """Keep only what is wanted."""
        self._front = None
        self._pool = {k: c for k, c in self._pool.items() if wanted(c.expression)}

    def explains(self, table: Table) -> bool:
        """Whether one of the formulas explains a table to machine precision."""
        return bool(self.explaining(table, 1))

    def explaining(self, table: Table, most: int) -> list[Candidate]:
        """The shortest formulas that explain a table, at most so many.

        The losses in the pool may be those of other rows, and are taken as a hint only.
        """
        hinted = (c for c in self.candidates if table.is_explained_by(c.expression, c.loss))
        found = (c for c in hinted if table.is_explained_by(c.expression, table.loss(c.expression)))
        return list(islice(found, most))

    def _floored(self, loss: float) -> float:
        return max(loss, self.loss_floor)

    # --- the front ----------------------------------------------------------------------------
    @property
    def candidates(self) -> list[Candidate]:
        """All formulas of the pool, by complexity and then loss."""
        return sorted(self._pool.values(), key=lambda c: (c.complexity, c.loss))

    @property
    def front(self) -> list[Candidate]:
        """The formulas that no simpler or equally simple one matches, simplest first."""
        if self._front is None:
            self._front = pareto(self.candidates, self.loss_floor)
        return self._front

    def ladder(self, n: int) -> list[Candidate]:
        """The ``n`` best formulas over all complexities.

        First the best of each complexity, then the second best of each, and so on, so that every
        size is represented; all differ in more than their constants.
        """
        rank_at: dict[int, int] = {}
        ranked = []
        for candidate in self.candidates:
            rank = rank_at.get(candidate.complexity, 0)
            rank_at[candidate.complexity] = rank + 1
            ranked.append((rank, candidate.complexity, candidate))
        ranked.sort(key=lambda entry: entry[:2])
        return [candidate for _, _, candidate in ranked[:n]]

    def __len__(self) -> int:
        return len(self.front)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.front)

    def __getitem__(self, index: int) -> Candidate:
        return self.front[index]


def pareto(
    candidates: Iterable[Candidate],
    loss_floor: float = 0.0,
    loss_of: Callable[[Candidate], float] = attrgetter("loss"),
) -> list[Candidate]:
    """Those that no simpler or equally simple one matches, simplest first.

    Parameters
    ----------
    candidates : iterable of Candidate
    loss_floor : float
        Losses below count as equal to it.
    loss_of : callable
        What they are compared by.
    """
    front: list[Candidate] = []
    best = np.inf
    for candidate in sorted(candidates, key=lambda c: (c.complexity, loss_of(c))):
        loss = max(loss_of(candidate), loss_floor)
        if loss < best:
            best = loss
            front.append(candidate)
    return front
