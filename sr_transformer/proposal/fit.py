"""Fitting many formulas to one table: in parallel, within a time limit, with small repairs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, pairwise

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.proposal.constants import loss_of, refit
from sr_transformer.proposal.edits import Editor
from sr_transformer.proposal.proposers import REPAIR, TRANSFORMER
from sr_transformer.proposal.recombination import children
from sr_transformer.proposal.repair import Repair, rescaled
from sr_transformer.proposal.starts import refine, scout, scouting_rows

Array = np.ndarray

_REPAIR_ROUNDS = 3
_PARENTS = 60  # best formulas that are recombined
_POLISHED_PER_SIZE = 3
_WORTH_POLISHING = 1.5  # times the loss of the front that a polished formula may have
_KEPT_PER_SIZE = 20
_PARALLEL_FROM = 32  # formulas for each process; fewer are not worth the transfer
_WRAPPER = 4  # symbols of an outer factor and offset
_WORTH_REFINING = 4.0  # times the best loss of its size that a formula may have on a few rows
_HOPELESS = 30.0  # the same, after a few steps: then a formula is given up
_EDITED_COLUMNS = 6  # variables that repair brings in
_WORTH_RESCALING = 0.5  # share of the loss that factor and offset must leave at most


@dataclass(frozen=True)
class Table:
    """The rows that formulas are fitted on.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    weight : ndarray of shape (n_rows,) or None
    """

    X: Array
    y: Array
    weight: Array | None

    def rows(self, index: Array) -> Table:
        """Some of the rows, in column order for fast evaluation."""
        weight = None if self.weight is None else self.weight[index]
        return Table(np.asfortranarray(self.X[index]), self.y[index], weight)


@dataclass(frozen=True, kw_only=True)
class Fitter:
    """Turns formulas into fitted candidates for one table.

    Parameters
    ----------
    table : Table
    operators : frozenset of str
    maxsize : int
        What a repaired formula may use, and how long it may be.
    exact : float
        Loss at which a formula explains everything.
    deadline : float
        Value of ``time.perf_counter()`` at which fitting ends.
    n_jobs : int or None
        Processes, as in joblib.
    """

    table: Table
    operators: frozenset[str]
    maxsize: int
    exact: float
    deadline: float
    n_jobs: int | None
    changed: set[tuple[str, ...]] = field(default_factory=set, init=False, repr=False)
    started: float = field(default_factory=time.perf_counter, init=False, repr=False)

    @cached_property
    def few_rows(self) -> Table:
        """Rows that are enough to compare formulas."""
        return self.table.rows(scouting_rows(self.table.X, self.table.y))

    def fit(
        self,
        formulas: Iterable[Expression],
        random_state: np.random.RandomState,
        pool: HallOfFame | None = None,
        source: str = TRANSFORMER,
    ) -> list[Candidate]:
        """Fit the constants; formulas that differ in these alone are starts of one fit.

        All are compared on a few rows first. Only those that come near the best of their size, in
        the pool or among themselves, are refined on all rows; the others keep what they have.
        Where a factor and an offset bring a formula much closer, it is followed by one with both.

        Parameters
        ----------
        formulas : iterable of Expression
        random_state : numpy.random.RandomState
        pool : HallOfFame, optional
            What is known already.
        source : str
            What the candidates name as their source.
        """
        groups: dict[tuple[str, ...], list[Expression]] = defaultdict(list)
        for formula in formulas:
            groups[formula.symbols].append(formula)
        seeds = random_state.randint(2**31, size=len(groups))
        front = np.full(max(self.maxsize, *map(len, groups), 1) + 1, np.inf)
        for candidate in () if pool is None else pool.front:
            if candidate.complexity < len(front):
                front[candidate.complexity] = candidate.loss
        hopeless = _HOPELESS * np.maximum(np.minimum.accumulate(front), self.exact)
        scouted = self._shared(
            self._scout,
            [
                (group, seed, hopeless[len(symbols)])
                for (symbols, group), seed in zip(groups.items(), seeds, strict=True)
            ],
        )
        for formula, loss in scouted:
            size = len(formula.symbols)
            front[size] = min(front[size], loss)
        limits = _WORTH_REFINING * np.maximum(np.minimum.accumulate(front), self.exact)
        fitted = self._shared(
            self._refine, [(e, loss <= limits[len(e.symbols)]) for e, loss in scouted]
        )
        return [Candidate(e, loss, source) for e, loss in fitted if np.isfinite(loss)]

    def _shared(self, work: Callable[[list], list], items: list) -> list:
        """Results of some work, shared among the processes."""
        n_processes = min(effective_n_jobs(self.n_jobs), max(1, len(items) // _PARALLEL_FROM))
        if n_processes == 1:
            return work(items)
        # Consecutive items stay together, so that the results come in the order of one process: of
        # two equally good spellings the pool keeps the earlier one.
        bounds = [i * len(items) // n_processes for i in range(n_processes + 1)]
        # The deadline holds in other processes too: perf_counter is one clock for the machine.
        parts = Parallel(n_jobs=n_processes)(
            delayed(work)(items[start:end]) for start, end in pairwise(bounds)
        )
        return [result for part in parts for result in part]

    def _scout(
        self, groups: list[tuple[list[Expression], int, float]]
    ) -> list[tuple[Expression, float]]:
        few = self.few_rows
        found = []
        for starts, seed, hopeless in groups:
            if time.perf_counter() > self.deadline:
                break
            formula, loss = scout(
                starts, few.X, few.y, few.weight,
                random_state=np.random.RandomState(seed), enough=self.exact,
                hopeless=hopeless,
            )  # fmt: skip
            if np.isfinite(loss):
                found.append((formula, loss))
        return found

    def _refine(self, formulas: list[tuple[Expression, bool]]) -> list[tuple[Expression, float]]:
        table = self.table
        can_rescale = {"+", "*"} <= self.operators
        mean = Expression(["c"], [float(np.average(table.y, weights=table.weight))])
        loss_of_mean = loss_of(mean, table.X, table.y, table.weight)
        fitted = []
        for formula, promising in formulas:
            if time.perf_counter() > self.deadline:
                break
            if promising:
                formula, loss = refine(formula, table.X, table.y, table.weight, enough=self.exact)
            else:
                loss = loss_of(formula, table.X, table.y, table.weight)
            fitted.append((formula, loss))
            if (
                can_rescale
                and len(formula.symbols) + _WRAPPER <= self.maxsize
                and (loss > self.exact)
            ):
                better = rescaled(formula, table.X, table.y, table.weight)
                bound = _WORTH_RESCALING * min(loss, loss_of_mean)
                if better and loss_of(better, table.X, table.y, table.weight) <= bound:
                    fitted.append(refine(better, table.X, table.y, table.weight, enough=self.exact))
        return fitted

    def repair(
        self,
        pool: HallOfFame,
        seen: set[tuple[str, ...]],
        random_state: np.random.RandomState,
        until: float | None = None,
    ) -> None:
        """Improve the pool's front by small changes of its formulas, and of what these become.

        Parameters
        ----------
        pool : HallOfFame
            Receives what was found.
        seen : set of tuple of str
            Symbols of the formulas that need no fit any more; grows.
        random_state : numpy.random.RandomState
        until : float, optional
            Value of ``time.perf_counter()`` up to which it goes on as long as anything is left to
            try. By default a few rounds and, where there is a time limit, as much longer as all
            has taken since the fitter was made, so that repair gets half of the time there is.
        """
        few = self.few_rows
        editor = Editor(few.X, few.y, few.weight, self.operators, self._useful_columns(pool))
        repair = Repair(
            pool, seen, editor, self.maxsize, self.exact,
            lambda formulas: self.fit(formulas, random_state, pool, REPAIR), self.changed,
        )  # fmt: skip
        if until is None and self.deadline < np.inf:
            until = 2.0 * time.perf_counter() - self.started
        for n_rounds in count():
            now = time.perf_counter()
            paid = n_rounds < _REPAIR_ROUNDS or (until is not None and now < until)
            if now > self.deadline or not paid or not repair.round():
                break

    def recombine(
        self,
        pool: HallOfFame,
        n: int,
        columns: Sequence[int],
        seen: set[tuple[str, ...]],
        random_state: np.random.RandomState,
    ) -> None:
        """Add formulas that are put together of parts of the pool's best.

        Parameters
        ----------
        pool, seen, random_state
            As for :meth:`repair`.
        n : int
            How many are tried.
        columns : sequence of int
            Columns that they may read.
        """
        parents = [c.expression for c in pool.ladder(_PARENTS) if c.complexity > 1]
        formulas = children(parents, n, columns, self.operators, self.maxsize, seen, random_state)
        pool.extend(self.fit(formulas, random_state, pool, REPAIR))

    def _useful_columns(self, pool: HallOfFame) -> list[int]:
        """The columns that good formulas use, those of the best first."""
        columns: dict[int, None] = {}
        for candidate in reversed(pool.front):
            columns.update(dict.fromkeys(candidate.expression.variables))
        columns.update(dict.fromkeys(range(self.table.X.shape[1])))
        return sorted(list(columns)[:_EDITED_COLUMNS])

    def polish(self, pool: HallOfFame, table: Table) -> list[Candidate]:
        """The best of each size, and of these what comes near the front refined on more rows."""
        ranks: dict[int, int] = defaultdict(int)
        polished = []
        best = np.inf
        for candidate in pool.candidates:
            rank = ranks[candidate.complexity]
            ranks[candidate.complexity] += 1
            if rank >= _KEPT_PER_SIZE:
                continue
            expression, loss = candidate.expression, candidate.loss
            best = min(best, max(loss, self.exact))
            near = rank < _POLISHED_PER_SIZE and loss <= _WORTH_POLISHING * best
            if near and time.perf_counter() < self.deadline:
                expression, loss = refit(expression, table.X, table.y, table.weight)
            if np.isfinite(loss):
                polished.append(Candidate(expression, loss, candidate.source))
        return polished
