"""Fitting many formulas to one table: in parallel, within a time limit, with small repairs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sr_transformer.expression import Expression
from sr_transformer.hall_of_fame import Candidate, HallOfFame
from sr_transformer.proposal.constants import loss_of, refit
from sr_transformer.proposal.repair import rescaled, simpler_variants
from sr_transformer.proposal.starts import fit_from_starts

Array = np.ndarray

_REPAIR_ROUNDS = 3
_POLISHED_PER_SIZE = 3
_KEPT_PER_SIZE = 20
_PARALLEL_FROM = 32  # formulas for each process; fewer are not worth the transfer
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
    source : str
        What the candidates name as their source.
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
    source: str
    operators: frozenset[str]
    maxsize: int
    exact: float
    deadline: float
    n_jobs: int | None

    def fit(
        self, formulas: Iterable[Expression], random_state: np.random.RandomState
    ) -> list[Candidate]:
        """Fit the constants; formulas that differ in these alone are starts of one fit.

        Where a factor and an offset bring a formula much closer, it is followed by one with both.
        """
        groups: dict[tuple[str, ...], list[Expression]] = defaultdict(list)
        for formula in formulas:
            groups[formula.symbols].append(formula)
        starts = list(groups.values())
        seeds = random_state.randint(2**31, size=len(starts))
        n_processes = min(effective_n_jobs(self.n_jobs), max(1, len(starts) // _PARALLEL_FROM))
        if n_processes == 1:
            fitted = self._fit_some(starts, seeds)
        else:
            # The deadline holds in other processes too: perf_counter is one clock for the machine.
            parts = Parallel(n_jobs=n_processes)(
                delayed(self._fit_some)(starts[i::n_processes], seeds[i::n_processes])
                for i in range(n_processes)
            )
            fitted = [pair for part in parts for pair in part]
        return [Candidate(e, loss, self.source) for e, loss in fitted if np.isfinite(loss)]

    def _fit_some(
        self, groups: list[list[Expression]], seeds: Array
    ) -> list[tuple[Expression, float]]:
        table = self.table
        can_rescale = {"+", "*"} <= self.operators
        mean = Expression(["c"], [float(np.average(table.y, weights=table.weight))])
        loss_of_mean = loss_of(mean, table.X, table.y, table.weight)
        fitted = []
        for starts, seed in zip(groups, seeds, strict=True):
            if time.perf_counter() > self.deadline:
                break
            formula, loss = fit_from_starts(
                starts,
                table.X,
                table.y,
                table.weight,
                exact=self.exact,
                random_state=np.random.RandomState(seed),
            )
            fitted.append((formula, loss))
            if can_rescale and len(formula.symbols) + 4 <= self.maxsize and loss > self.exact:
                better = rescaled(formula, table.X, table.y, table.weight)
                bound = _WORTH_RESCALING * min(loss, loss_of_mean)
                if better and loss_of(better, table.X, table.y, table.weight) <= bound:
                    fitted.append(refit(better, table.X, table.y, table.weight))
        return fitted

    def repair(
        self,
        pool: HallOfFame,
        seen: set[tuple[str, ...]],
        random_state: np.random.RandomState,
    ) -> None:
        """Add simpler variants of the pool's front, and of what these become.

        Parameters
        ----------
        pool : HallOfFame
            Receives what was found.
        seen : set of tuple of str
            Symbols of the formulas that need no fit any more; grows.
        random_state : numpy.random.RandomState
        """
        for _ in range(_REPAIR_ROUNDS):
            variants = [
                variant
                for candidate in pool.front
                for variant in simpler_variants(candidate.expression)
                if variant.symbols not in seen
            ]
            if not variants or time.perf_counter() > self.deadline:
                break
            seen.update(variant.symbols for variant in variants)
            pool.extend(self.fit(variants, random_state))

    def polish(self, pool: HallOfFame, table: Table) -> list[Candidate]:
        """The best of each size, and of these the very best refined on more rows."""
        ranks: dict[int, int] = defaultdict(int)
        polished = []
        for candidate in pool.candidates:
            rank = ranks[candidate.complexity]
            ranks[candidate.complexity] += 1
            if rank >= _KEPT_PER_SIZE:
                continue
            expression, loss = candidate.expression, candidate.loss
            if rank < _POLISHED_PER_SIZE and time.perf_counter() < self.deadline:
                expression, loss = refit(expression, table.X, table.y, table.weight)
            if np.isfinite(loss):
                polished.append(Candidate(expression, loss, candidate.source))
        return polished
