"""Fitting many formulas to one table: in parallel, within a time limit."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sr_transformer.expression import Expression
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.proposal.constants import refit
from sr_transformer.proposal.long_tables import refitted_in_blocks
from sr_transformer.proposal.proposers import TRANSFORMER
from sr_transformer.proposal.starts import refine, scout, scouting_table
from sr_transformer.table.table import Table

Array = np.ndarray

_POLISHED_PER_SIZE = 3
_WORTH_POLISHING = 1.5  # times the loss of the front that a polished formula may have
_STARTING = 4.0  # seconds that the first use of other processes may take, on a busy machine
_PARALLEL_FROM = 32  # formulas for each process; fewer are not worth the transfer
_TOGETHER = 64  # formulas that are compared with the same front
_WRAPPER = 4  # symbols of an outer factor and offset
_WORTH_REFINING = 4.0  # times the best loss of its size that a formula may have on a few rows
_HOPELESS = 30.0  # the same, after a few steps: then a formula is given up
_ROBUST_ROUNDS = 3  # of least squares on the way to a robust factor and offset
_WORTH_RESCALING = 0.5  # share of the loss that factor and offset must leave at most


@dataclass(frozen=True, kw_only=True)
class Fitter:
    """Turns formulas into fitted candidates for one table.

    Parameters
    ----------
    table : Table
    operators : frozenset of str
    maxsize : int
        What a formula with a factor and an offset may use, and how long it may be.
    deadline : float
        Value of ``time.perf_counter()`` at which fitting ends.
    n_jobs : int or None
        Processes, as in joblib.
    """

    table: Table
    operators: frozenset[str]
    maxsize: int
    deadline: float
    n_jobs: int | None

    @cached_property
    def _n_processes(self) -> int:
        """Processes to share work among; one where starting others may take all of the time."""
        if time.perf_counter() + _STARTING > self.deadline:
            return 1
        return effective_n_jobs(self.n_jobs)

    @cached_property
    def few_rows(self) -> Table:
        """Rows that are enough to compare formulas."""
        return scouting_table(self.table)

    def fit(
        self,
        formulas: Iterable[Expression],
        random_state: np.random.RandomState,
        front: Iterable[Candidate] = (),
        source: str = TRANSFORMER,
    ) -> list[Candidate]:
        """Fit the constants; formulas that differ in these alone are starts of one fit.

        All are compared on a few rows first. Only those that come near the best of their size, in
        the front or among themselves, are refined on all rows; the others keep what they have.
        Where a factor and an offset bring a formula much closer, it is followed by one with both;
        what stays far behind the front even so is left out.

        Parameters
        ----------
        formulas : iterable of Expression
        random_state : numpy.random.RandomState
        front : iterable of Candidate
            The best that is known already.
        source : str
            What the candidates name as their source.
        """
        groups = _without_other_spellings(formulas)
        seed = random_state.randint(2**31)
        best = np.full(self.maxsize + 1, np.inf)
        for candidate in front:
            if candidate.complexity < len(best):
                best[candidate.complexity] = candidate.loss

        def bounds(times: float) -> Array:
            """For each size, so many times the smallest loss of formulas of at most that size."""
            return times * np.maximum(np.minimum.accumulate(best), self.table.exact)

        scouted: list[tuple[Expression, float]] = []
        for begin in range(0, len(groups), _TOGETHER):
            # What the first ones reach soon shows which of the later ones are hopeless.
            scout_some = partial(self._scout, seed=seed, hopeless=bounds(_HOPELESS))
            found = self._shared(scout_some, groups[begin : begin + _TOGETHER])
            for formula, loss in found:
                size = len(formula.symbols)
                best[size] = min(best[size], loss)
            scouted += found
        limits = bounds(_WORTH_REFINING)
        fitted = self._shared(
            self._refine, [(e, loss <= limits[len(e.symbols)]) for e, loss in scouted]
        )
        return [Candidate(e, loss, source) for e, loss in fitted if np.isfinite(loss)]

    def refit_best(self, pool: Pool, most: int) -> None:
        """Fit the constants of the best of a pool again, in place."""
        for candidate in pool.ladder(most):
            if time.perf_counter() > self.deadline:
                break
            expression, loss = refine(candidate.expression, self.table, enough=self.table.exact)
            if loss < candidate.loss:
                pool.replace(candidate, Candidate(expression, loss, candidate.source))

    def _shared(self, work: Callable[[list], list], items: list) -> list:
        """Results of some work, shared among the processes."""
        n_processes = min(self._n_processes, max(1, len(items) // _PARALLEL_FROM))
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
        self, groups: list[list[Expression]], *, seed: int, hopeless: Array
    ) -> list[tuple[Expression, float]]:
        """The formulas, and with a factor and an offset where these help, that are not hopeless."""
        can_rescale = {"+", "*"} <= self.operators
        few = self.few_rows
        found = []
        for starts in groups:
            if time.perf_counter() > self.deadline:
                break
            size = len(starts[0].symbols)
            formula, loss = scout(
                starts, few, seed=seed, enough=self.table.exact, hopeless=hopeless[size]
            )
            if np.isfinite(loss) and loss <= hopeless[size]:
                found.append((formula, loss))
            if can_rescale and size + _WRAPPER <= self.maxsize and loss > self.table.exact:
                better = rescaled(formula, few, _WORTH_RESCALING * min(loss, few.variance))
                if better is not None:
                    found.append(refine(better, few, enough=self.table.exact))
        return found

    def _refine(self, formulas: list[tuple[Expression, bool]]) -> list[tuple[Expression, float]]:
        fitted = []
        for formula, promising in formulas:
            if promising and time.perf_counter() < self.deadline:
                fitted.append(refine(formula, self.table, enough=self.table.exact))
            else:
                fitted.append((formula, self.table.loss(formula)))
        return fitted


def _without_other_spellings(formulas: Iterable[Expression]) -> list[list[Expression]]:
    """Formulas that differ in their constants alone, together; of those in another order the first.

    Spellings with a constant more stay, about 6 % of the formulas: they are other starts
    of the same formula. Without them, too, fits took 2 to 3 % less time, and the fronts of 212
    random problems 3 % larger losses (51 worse, 9 better).
    """
    groups: dict[tuple[str, ...], list[Expression]] = {}
    first: dict[tuple[str, ...], list[Expression]] = defaultdict(list)
    for formula in formulas:
        group = groups.get(formula.symbols)
        if group is None:
            alike = first[tuple(sorted(formula.symbols))]
            if any(formula.simplify().symbols == other.simplify().symbols for other in alike):
                continue
            alike.append(formula)
            group = groups[formula.symbols] = []
        group.append(formula)
    return list(groups.values())


def rescaled(expression: Expression, table: Table, bound: float) -> Expression | None:
    """The formula with the factor and the offset that bring it closest to y.

    Returns
    -------
    Expression or None
        ``c * f + c``, solved by least squares; None where that leaves a loss above the bound, or
        the formula is constant or undefined on some row.
    """
    if expression.symbols[:3] == ("+", "*", "c") and expression.symbols[-1] == "c":
        return None  # it has both
    values = expression.evaluate(table.X)
    y = table.y
    for _ in range(_ROBUST_ROUNDS if table.loss_kind.is_robust else 1):
        weights = table.shares
        with np.errstate(all="ignore"):
            mean = weights @ values
            weighted = weights * (values - mean)
            factor = weighted @ y / (weighted @ values)
            offset = table.mean - factor * mean
            residuals = factor * values + offset - y
        table = table.seen_with(residuals)
    if not table.loss_of(residuals) <= bound:
        return None
    return Expression.unchecked(
        ("+", "*", "c", *expression.symbols, "c"),
        (float(factor), *expression.constants, float(offset)),
        expression.language,
    )


def polish(pool: Pool, rows: Table, deadline: float) -> None:
    """Fit the constants of a pool's front, and of what comes near it, anew, in place.

    Parameters
    ----------
    pool : Pool
    rows : Table
        All rows of a table, or a sample of them.
    deadline : float
        Value of ``time.perf_counter()`` at which it ends, with those of the front fitted first.
    """
    for candidate in [*pool.front, *_near_the_front(pool)]:
        if time.perf_counter() >= deadline:
            return
        expression, loss = refit(candidate.expression, rows, deadline=deadline)
        if np.isfinite(loss):
            pool.replace(candidate, Candidate(expression, loss, candidate.source))


def _near_the_front(pool: Pool) -> list[Candidate]:
    """Formulas that are not on the front, but would be if their constants were a little better."""
    front = set(map(id, pool.front))
    ranks: dict[int, int] = defaultdict(int)
    best, near = np.inf, []
    for candidate in pool.candidates:
        rank = ranks[candidate.complexity]
        ranks[candidate.complexity] += 1
        best = min(best, max(candidate.loss, pool.loss_floor))
        if rank < _POLISHED_PER_SIZE and candidate.loss <= _WORTH_POLISHING * best:
            near.append(candidate)
    return [candidate for candidate in near if id(candidate) not in front]


def refit_on_all_rows(
    pool: Pool, candidates: Iterable[Candidate], table: Table, deadline: float
) -> None:
    """Fit the constants of some of a pool's formulas to all rows of a long table, in place.

    Parameters
    ----------
    pool : Pool
    candidates : iterable of Candidate
        Fitted to a sample of the rows; the most important first.
    table : Table
        All rows.
    deadline : float
        Value of ``time.perf_counter()`` at which it ends; the first formula is always fitted, by a
        step at least.
    """
    for number, candidate in enumerate(candidates):
        if number and time.perf_counter() >= deadline:
            return
        expression, loss = refitted_in_blocks(candidate.expression, table, deadline)
        if np.isfinite(loss):
            pool.replace(candidate, Candidate(expression, loss, candidate.source))
