"""From a table to fitted candidates: closed forms, then draws from the network, all fitted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from sr_transformer.clock import Clock
from sr_transformer.expression import ARITHMETIC, Expression
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.proposal.bags import Bags
from sr_transformer.proposal.closed import closed_form_candidates, is_settled
from sr_transformer.proposal.constants import refit
from sr_transformer.proposal.draw import Sampler
from sr_transformer.proposal.fit import Fitter, polish
from sr_transformer.proposal.proposers import REPAIR, TRANSFORMER
from sr_transformer.proposal.relevance import relevant_columns
from sr_transformer.proposal.repair import Repair
from sr_transformer.proposal.sampled_rows import SampledRows
from sr_transformer.table.pace import evaluation_seconds
from sr_transformer.table.table import Table

DEFAULT_CANDIDATES = 256
"""Formulas drawn where neither their number nor a time limit is given."""

FIT_ROWS = 1000
"""Rows of a sample that formulas are fitted to."""

_FIRST_CHUNK = 64  # where time is limited, so that some of what is drawn can also be fitted
_CHUNK = 256  # formulas drawn at a time, from one bag, between two looks at the clock
_FEWEST_DRAWN = 16  # as many in a short remainder of the time
_POLISH_ROWS = 20_000
_RELEVANT_COLUMNS = 10  # as many as the network reads
_RELEVANCE_SHARE = 0.3  # of the time, to find out which columns of a wide table matter
_CLOSED_SHARE = 0.5  # of the time that is then left, where the network draws as well
_DRAWING_SHARE = 0.5  # of the time left, that one chunk may be drawn for: it is also to be fitted
# What is kept of the time for the last fit of the best: seconds and evaluations of a formula on the
# rows that it takes, but no more than a share.
_POLISH_SECONDS, _POLISH_EVALUATIONS = 0.05, 1000
_POLISH_SHARE = 0.1
_STARTED_ANEW = 30  # best formulas that are fitted again where they are drawn again
_CHECKED = 4  # formulas of those that explain the sample that are tried on all rows
_REFITTED = 30  # best formulas that are fitted anew where the sample gets further rows
_MOST_SAMPLES = 10
_ROBUST_LOOKS = 2  # at a table whose loss is no mean of squares
_ROBUST_FITTED = 60  # best formulas that are fitted under such a loss after each look
_EMPTY_CHUNKS = 3  # without any new formula: there are no more


class Proposing:
    """The proposers at work on one scaled table; what they find goes into a pool at once.

    Parameters
    ----------
    pool : Pool
        Receives the candidates.
    table : Table
        Scaled. Of more than ten columns, the most relevant ones are shown to the sampler.
    sampler : Sampler or None
        Where the drawn formulas come from; not needed without the proposer ``"transformer"``.
    operators : frozenset of str
        Operators that the candidates may use.
    maxsize : int
        Largest complexity of a candidate.
    proposers : sequence of str
        Names of :data:`~sr_transformer.proposal.proposers.PROPOSERS`.
    n_candidates : int or None
        Number of formulas to draw; ``None`` for as many as the time allows, or for 256 where it
        is not limited.
    temperature : float
        Of the sampling: below one for safer, above one for more varied formulas. Later draws
        vary it, see :class:`~sr_transformer.proposal.bags.Bags`.
    random_state : numpy.random.RandomState
    n_jobs : int or None
        Processes that fit constants, as in joblib; ``None`` is one.
    clock : Clock
        Drawing and fitting end when its time is over. It receives the seconds spent under
        ``"closed-forms"``, ``"encode"``, ``"sample"``, ``"fit"``, ``"repair"`` and ``"polish"``.

    Attributes
    ----------
    columns : tuple of int
        The columns that the sampler and the non-linear closed forms might use, the most relevant
        first; all columns of a table of at most ten, in their order.
    n_drawn, n_candidates : int and int or None
        Formulas drawn so far, and how many shall be.
    """

    def __init__(
        self,
        pool: Pool,
        table: Table,
        *,
        sampler: Sampler | None,
        operators: frozenset[str],
        maxsize: int,
        proposers: Sequence[str],
        n_candidates: int | None,
        temperature: float,
        random_state: np.random.RandomState,
        n_jobs: int | None,
        clock: Clock,
    ) -> None:
        self.pool = pool
        self.table = table
        self.sampler = sampler
        self.operators = operators
        self.maxsize = maxsize
        self.proposers = proposers
        if n_candidates is None and clock.limit is None:
            n_candidates = DEFAULT_CANDIDATES
        self.n_candidates = n_candidates
        self.temperature = temperature
        self.random_state = random_state
        self.clock = clock
        self.columns: tuple[int, ...] = ()
        self.n_drawn = 0
        self._rows = SampledRows.of(table, FIT_ROWS, random_state)
        self._n_samples = 1
        self._explained_nearly_all: list[Candidate] = []
        self.fitter = Fitter(
            table=self._rows.table, operators=operators, maxsize=maxsize, n_jobs=n_jobs,
            deadline=clock.earlier(self._polish_seconds()).deadline,
        )  # fmt: skip
        self._seen: set[tuple[str, ...]] = set()
        self._repair = Repair(pool, self.fitter, self._seen, random_state)
        # The best constant, which is there whatever else fails.
        constant = Expression(["c"], [self.fitter.table.centre])
        pool.add(Candidate(constant, self.fitter.table.loss(constant), "constant"))

    def run(self) -> None:
        """Let all proposers write, until the table is explained or the time is over."""
        table, pool = self.table, self.pool
        for stage in ("closed-forms", "encode", "sample", "fit", "repair", "polish"):
            self.clock.add(stage, 0.0)
        if time.perf_counter() >= self.fitter.deadline:
            return
        with self.clock.measure("closed-forms"):
            relevance = relevant_columns(
                table.X, table.tamed(pool.front[0].expression), _RELEVANT_COLUMNS,
                self.random_state, self._some_of_the_time(_RELEVANCE_SHARE) - time.perf_counter(),
            )  # fmt: skip
            self.columns = self._repair.columns = relevance.columns
            self._write_closed_forms()
            while any(is_settled(c, self.fitter.table) for c in pool.front):
                if not self._sample_missed_rows():
                    return
                self._write_closed_forms()
        self._seen.update(candidate.expression.symbols for candidate in pool.candidates)
        if TRANSFORMER in self.proposers:
            y = table.tamed(pool.front[-1].expression)
            self._draw(Bags(table.X, y, self.sampler, relevance, self.random_state))
        elif REPAIR in self.proposers:
            with self.clock.measure("repair"):
                self._repair.go_on()
                while pool.explains(self.fitter.table) and self._sample_missed_rows():
                    self._repair.go_on()

    def _write_closed_forms(self) -> None:
        """Closed forms, which are solved by least squares.

        Of a robust loss these are reweighted ones, seen from the best formula so far: first from
        the constant, then from what was found so. The best of each look are fitted under the loss.
        """
        fitter, pool = self.fitter, self.pool
        is_robust = fitter.table.loss_kind.is_robust
        share = _CLOSED_SHARE if TRANSFORMER in self.proposers else 1.0
        for _ in range(_ROBUST_LOOKS if is_robust else 1):
            best = pool.front[-1].expression
            residuals = best.evaluate(fitter.table.X) - fitter.table.y
            for candidate in closed_form_candidates(
                fitter.table.seen_with(residuals),
                self.columns,
                proposers=self.proposers,
                operators=self.operators,
                maxsize=self.maxsize,
                deadline=self._some_of_the_time(share),
            ):
                pool.add(candidate)
            if is_robust:
                fitter.refit_best(pool, _ROBUST_FITTED)

    def _sample_missed_rows(self) -> bool:
        """Take rows into the sample that the formulas which explain it miss, if all of them do.

        The pool's formulas are compared, and the best of them fitted, on the new sample. They are
        kept as they were, too, as the rows that they miss may follow no law.
        """
        pool = self.pool
        explaining = pool.explaining(self.fitter.table, _CHECKED)
        rows = self._rows
        if self._n_samples < _MOST_SAMPLES and time.perf_counter() < self.fitter.deadline:
            rows = rows.with_missed(c.expression for c in explaining)
        if rows is self._rows:
            return False
        self._explained_nearly_all = pool.candidates
        self._rows, self._n_samples = rows, self._n_samples + 1
        self.fitter = self._repair.fitter = replace(self.fitter, table=rows.table)
        best = {c.key for c in pool.ladder(_REFITTED)}
        for candidate in pool.candidates:
            expression, loss = candidate.expression, rows.table.loss(candidate.expression)
            if candidate.key in best:
                expression, loss = refit(expression, rows.table)
            pool.remove(candidate)
            pool.add(Candidate(expression, loss, candidate.source))
        return True

    def _draw(self, bags: Bags) -> None:
        """Draw chunk after chunk, each from another look at the table, and fit and repair it."""
        clock = self.clock
        wanted = np.inf if self.n_candidates is None else self.n_candidates
        n_empty, pace = 0, 0.0
        while self.n_drawn < wanted and n_empty < _EMPTY_CHUNKS:
            begun = time.perf_counter()
            left = self.fitter.deadline - begun
            if left <= 0:
                break
            most = _FIRST_CHUNK if self.n_drawn == 0 and left < np.inf else _CHUNK
            n = int(min(most, wanted - self.n_drawn))
            if left < n * pace:
                n = min(n, max(_FEWEST_DRAWN, int(left / pace)))
            with clock.measure("encode"):
                columns = bags.read_next()
            with clock.measure("sample"):
                drawn = self.sampler.draw(
                    n, speakable(self.operators), self.maxsize, self.temperature * bags.heat,
                    self.random_state, self._some_of_the_time(_DRAWING_SHARE),
                )  # fmt: skip
                formulas, n_new = self._worth_fitting(drawn, columns)
            self.n_drawn += n
            n_empty = 0 if n_new else n_empty + 1
            bags.adapt(n_new / n)
            with clock.measure("fit"):
                self.pool.extend(self.fitter.fit(formulas, self.random_state, self.pool.front))
            if REPAIR in self.proposers:
                with clock.measure("repair"):
                    self._repair.go_on()
                    if self.n_drawn > _CHUNK:
                        self._repair.recombine(n, columns)
                        self._repair.go_on()
            pace = (time.perf_counter() - begun) / n
            if self.pool.explains(self.fitter.table) and not self._sample_missed_rows():
                break

    def _worth_fitting(
        self, drawn: Iterable[Expression], columns: Sequence[int]
    ) -> tuple[list[Expression], int]:
        """What was drawn, in the table's columns and the allowed operators.

        Formulas that are known are left out, unless they are among the best: their constants,
        drawn from another look at the table, are another start.

        Returns
        -------
        formulas : list of Expression
        n_new : int
            How many of them differ from all known ones in more than constants.
        """
        seen = self._seen
        best = {candidate.expression.symbols for candidate in self.pool.ladder(_STARTED_ANEW)}
        formulas, new = [], set()
        for formula in drawn:
            lowered = formula.renamed(columns).lower(self.operators)
            if lowered is None or len(lowered.symbols) > self.maxsize:
                continue
            if lowered.symbols not in seen:
                new.add(lowered.symbols)
            elif lowered.symbols not in best or not lowered.constants:
                continue
            formulas.append(lowered)
        seen |= new
        return formulas, len(new)

    def polish(self, seconds: float = np.inf) -> None:
        """Fit the constants of the best anew, on up to 20,000 rows.

        It takes no more than some seconds, and ends with the time of the fit. Where a formula
        explained all rows but a few, and none was found that explains these too, what was only
        fitted to them goes.
        """
        with self.clock.measure("polish"):
            if self._explained_nearly_all and not self.pool.explains(self._rows.table):
                self.pool.keep(lambda _: False)
                self.pool.extend(self._explained_nearly_all)
            rows = self.table.sample(_POLISH_ROWS, self.random_state)
            polish(self.pool, rows, min(self.clock.deadline, time.perf_counter() + seconds))

    def _polish_seconds(self) -> float:
        if (left := self.clock.left()) is None:
            return 0.0
        share = min(_POLISH_ROWS / len(self.table.y), 1.0)
        seconds = _POLISH_SECONDS + _POLISH_EVALUATIONS * share * evaluation_seconds(self.table)
        return min(seconds, _POLISH_SHARE * left)

    def _some_of_the_time(self, share: float) -> float:
        """Value of ``time.perf_counter()`` when a share of what is left until the deadline is."""
        now, deadline = time.perf_counter(), self.fitter.deadline
        return deadline if deadline == np.inf else now + share * max(deadline - now, 0.0)


@lru_cache(maxsize=256)
def speakable(operators: frozenset[str]) -> frozenset[str]:
    """All operators that can be written with those allowed."""
    return frozenset(name for name in ARITHMETIC.arity if _can_be_lowered(name, operators))


def _can_be_lowered(name: str, operators: frozenset[str]) -> bool:
    if name == "^":
        sample = Expression(["^", "x0", "c"], [4.0])
    else:
        sample = Expression([name, "x0", "x1"][: 1 + ARITHMETIC.arity[name]])
    return sample.lower(operators) is not None
