"""The rows of a long table that formulas are fitted to, and those that their formulas miss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.table.table import Table

Array = np.ndarray

_TAKEN = 50  # rows that are taken in for a formula that misses them
_MISSED = 1e4  # times the loss of what is explained: beyond what other constants' rounding does


@dataclass(frozen=True, eq=False)
class SampledRows:
    """Some rows of a table.

    Parameters
    ----------
    whole : Table
    drawn : ndarray of int or None
        Rows that were drawn at random, ascending; ``None`` for all of the table's.
    missed : ndarray of int
        Further ones, that formulas missed.
    """

    whole: Table
    drawn: Array | None
    missed: Array

    @classmethod
    def of(cls, whole: Table, most: int, random_state: np.random.RandomState) -> SampledRows:
        """At most so many rows, drawn at random."""
        n_rows = len(whole.y)
        drawn = None
        if n_rows > most:
            drawn = np.sort(random_state.choice(n_rows, most, replace=False))
        return cls(whole, drawn, np.empty(0, dtype=int))

    @cached_property
    def table(self) -> Table:
        """These rows. Those that were drawn stand for all that were not missed."""
        if self.drawn is None:
            return self.whole
        table = self.whole.rows(np.concatenate([self.drawn, self.missed]))
        if not self.missed.size:
            return table
        times = np.ones(len(table.y))
        times[: len(self.drawn)] = (len(self.whole.y) - len(self.missed)) / len(self.drawn)
        weights = times if table.weights is None else times * table.weights
        return replace(table, weights=weights / weights.mean())

    def with_missed(self, formulas: Iterable[Expression]) -> SampledRows:
        """With the rows that formulas which explain these rows miss most.

        A law with a case that is rare, such as ``max(x0, -3)``, may have no row of it in a sample,
        so that the other case alone explains all.

        Parameters
        ----------
        formulas : iterable of Expression

        Returns
        -------
        SampledRows
            This one where one of the formulas misses no row of the whole table.
        """
        if self.drawn is None or self.whole.loss_kind.is_robust:
            return self  # under a robust loss, rows that are missed are wrong
        whole, missed = self.whole, self.missed
        for formula in formulas:
            with np.errstate(all="ignore"):
                squares = np.square(formula.evaluate(whole.X) - whole.y)
            if whole.weights is not None:
                squares *= whole.weights
            squares[np.isnan(squares)] = np.inf
            far = np.flatnonzero(squares > _MISSED * whole.exact)
            if not far.size or np.mean(squares) <= whole.exact:
                return self
            worst = far[np.argsort(-squares[far], kind="stable")[:_TAKEN]]
            missed = np.union1d(missed, np.setdiff1d(worst, self.drawn))
        if len(missed) == len(self.missed):
            return self
        return SampledRows(whole, self.drawn, missed)
