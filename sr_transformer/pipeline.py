"""The whole path from a table to a hall of fame: propose, search, pool, finish.

Estimators, the benchmark and the evaluation of checkpoints all come through :func:`run`. Whatever
is found goes into one pool at once, so that an interruption costs only what was not found yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sr_transformer.clock import Clock
from sr_transformer.engines.base import (
    KEYBOARD,
    SearchEngine,
    SearchResult,
    SearchTask,
    SecondInterrupt,
    warn_user,
)
from sr_transformer.engines.front import EnginesFront
from sr_transformer.engines.seeding import SeedingReport, seeded_search
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.front.description_length import description_length
from sr_transformer.front.evidence import Evidence
from sr_transformer.front.finish import (
    bring_to_users_units,
    most_finished,
    simplify_constants,
)
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.proposal.draw import Sampler
from sr_transformer.proposal.fit import refit_on_all_rows
from sr_transformer.proposal.proposers import PROPOSERS
from sr_transformer.proposal.proposing import FIT_ROWS, Proposing
from sr_transformer.table.pace import evaluation_seconds
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

# Share of the time that proposing may use where a search follows. Of 47 known laws, in 10 s on two
# cores, PySR recovered 39 so; with .3 and no more than 256 draws 35, without formulas to start from
# 19. Proposing alone, for all of the time, recovered 42.
_PROPOSAL_SHARE = 0.5

# For the constants of the best, once Ctrl-C has ended the fit.
_SECONDS_AFTER_INTERRUPT = 1.0

# Seconds of a search below which the proposals get all of the time: Operon takes as long for two
# generations on a busy core, and cannot be stopped within the first.
_SHORTEST_SEARCH = 0.5

# What is kept of the time for finishing what was found: seconds for any table and, for long ones,
# evaluations of a formula on all rows, of which fitting the front takes a half and the losses of
# what is shown the other; but no more than a share. Then the shares of what is left at the end in
# which constants are fitted to all rows, and formulas brought to the user's units.
_FINISHING_SECONDS, _FINISHING_EVALUATIONS = 0.3, 150
_FINISHING_SHARE = 0.35
_REFIT_SHARE, _UNITS_SHARE = 0.5, 0.6
_BELIEVED = 40  # formulas of the shortest descriptions that are brought to the user's units first
_SYMBOL = 1.5  # nats of a symbol, in the mean, where they are compared in haste
_AFTER_SEARCH = 0.3  # seconds that it gets where a search went on after its time

# Symbols of a factor that a formula may need on the scaled table only, and the sizes up to which
# they matter: ``x ^ -1.5`` has three symbols, and five with ``10 ^ -1.5`` in front.
_FACTOR = 2
_SMALL = 12


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is sought: formulas of one table.

    Parameters
    ----------
    table : Table
        In the user's units.
    operators : frozenset of str
        Operators that the formulas may use.
    maxsize : int
        Largest complexity of a formula.
    variable_names : tuple of str
        Names of the columns.
    output : int or None
        Which of several columns of y this is.
    X_units, y_units : sequence of str and str, or None
        As PySR reads them.
    """

    table: Table
    operators: frozenset[str]
    maxsize: int = 30
    variable_names: tuple[str, ...]
    output: int | None = None
    X_units: Sequence[str] | None = None
    y_units: str | None = None

    @property
    def has_units(self) -> bool:
        """Whether any unit is given."""
        return self.X_units is not None or self.y_units is not None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is sought; the meanings are those of the estimator's parameters of these names."""

    proposers: Sequence[str] = PROPOSERS
    n_candidates: int | None = None
    temperature: float = 1.0
    model_selection: str = "description_length"
    n_jobs: int | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found.

    Parameters
    ----------
    hall_of_fame : HallOfFame
        In the user's units.
    pool : Pool
        All formulas, of the scaled table.
    scaling : Scaling
        What scaled the table.
    engine : str
        The engine, where a formula of the front is its own; else ``"transformer"``.
    report : SeedingReport
        What became of the proposals in the engine.
    fitted : object or None
        The fitted engine, where one ran.
    columns : tuple of int
        The columns that the proposers might use.
    interrupted : bool
        Whether Ctrl-C ended it before its time.
    """

    hall_of_fame: HallOfFame
    pool: Pool
    scaling: Scaling
    engine: str
    report: SeedingReport
    fitted: Any
    columns: tuple[int, ...]
    interrupted: bool


def run(
    task: Task,
    settings: Settings,
    sampler: Sampler | None,
    engine: SearchEngine | None,
    clock: Clock,
    *,
    not_run: str | None = None,
    keep_found: bool = True,
) -> Outcome:
    """Find formulas.

    Parameters
    ----------
    task : Task
        Operators, size limit and loss of an engine with settings of its own take the place of its
        own.
    settings : Settings
    sampler : Sampler or None
        Where drawn formulas come from; ``None`` where no proposer draws.
    engine : SearchEngine or None
        What goes on from the proposals.
    clock : Clock
        The time for all of it.
    not_run : str, optional
        Why no engine runs, for the report.
    keep_found : bool, default=True
        Whether the first Ctrl-C ends the fit with what was found. The second one raises
        KeyboardInterrupt; where nothing is kept, the first one does.

    Raises
    ------
    ValueError
        If the squared errors of the table would overflow.
    KeyboardInterrupt
        From the keyboard, as said above, and where there is nothing yet that could be returned.

    Warns
    -----
    SearchInterruptedWarning
        If Ctrl-C ended it before its time, or the engine failed; what was found is returned.
    """
    # What overflows or is undefined on some row is left out by its value: NumPy need not warn.
    with np.errstate(all="ignore"):
        return _run(task, settings, sampler, engine, clock, not_run, keep_found)


def _run(
    task: Task,
    settings: Settings,
    sampler: Sampler | None,
    engine: SearchEngine | None,
    clock: Clock,
    not_run: str | None,
    keep_found: bool,
) -> Outcome:
    longest: int | None = task.maxsize
    if engine is not None and engine.loss is not None:
        task = replace(task, table=replace(task.table, loss_kind=engine.loss))
    if engine is not None and engine.operators is not None:
        task = replace(task, operators=engine.operators)
    if engine is not None and engine.maxsize is not None:
        # Its settings may count complexity otherwise, so that only the engine applies them.
        task, longest = replace(task, maxsize=engine.maxsize), None
    # A formula of a scaled table is written back with factors, so that "*" is needed.
    scaling = Scaling.identity(task.table.X.shape[1])
    if "*" in task.operators:
        scaling = Scaling.of(task.table.X, task.table.y)
    table = task.table.scaled(scaling)
    table_is_scaled = scaling != Scaling.identity(table.X.shape[1])
    random_state = check_random_state(settings.random_state)
    pool = Pool(table.exact)
    begun = clock.used()
    # Finishing comes last, and is what makes the constants those of all rows: its time is kept.
    finishing = 0.0
    if (left := clock.left()) is not None:
        finishing = _FINISHING_SECONDS + _FINISHING_EVALUATIONS * evaluation_seconds(table)
        finishing = min(finishing, _FINISHING_SHARE * left)
    finding = proposing_time = clock.earlier(finishing)
    searches = engine is not None
    if searches and settings.proposers:
        searching = (1 - _PROPOSAL_SHARE) * (np.inf if left is None else finding.left())
        searches = searching >= _SHORTEST_SEARCH or task.has_units
        proposing_time = finding.part(_PROPOSAL_SHARE) if searches else finding
    proposing = Proposing(
        pool, table, sampler=sampler, operators=task.operators,
        maxsize=task.maxsize + (_FACTOR if table_is_scaled and task.maxsize < _SMALL else 0),
        proposers=settings.proposers, n_candidates=settings.n_candidates,
        temperature=settings.temperature, random_state=random_state, n_jobs=settings.n_jobs,
        clock=proposing_time,
    )  # fmt: skip
    keyboard = _Keyboard(keep_found)
    try:
        if settings.proposers:
            wanted = proposing.n_candidates
            clock.say("proposing formulas" if wanted is None else f"proposing {wanted} formulas")
            proposing.run()
    except KeyboardInterrupt:
        planned = "" if proposing.n_candidates is None else f" of {proposing.n_candidates}"
        keyboard.interrupt(
            f"Proposing was interrupted after {proposing.n_drawn}{planned} formulas; the best of "
            "those are returned."
        )
    result = SearchResult()
    report = SeedingReport(engine=None, not_run=not_run)
    try:
        if settings.proposers:
            proposing.polish(_SECONDS_AFTER_INTERRUPT if keyboard.interrupted else np.inf)
        if engine is not None:
            seconds = {"propose": clock.used() - begun}
            pool.keep(engine.admits)
            if keyboard.interrupted:
                report = SeedingReport(engine=None, not_run=KEYBOARD)
            elif not searches:
                reason = "the time is too short for one, so that the proposals had all of it"
                report = SeedingReport(engine=engine.name, not_run=reason, seconds=seconds)
            elif task.has_units or engine.is_judge or not pool.explains(table):
                clock.say(f"searching with {engine.name}")
                searched = _search_task(task, table, engine, settings, random_state, pool, scaling)
                as_given = scaling if searched.X is task.table.X else None
                result, report = seeded_search(engine, pool, table, searched, as_given, finding)
                report = replace(report, seconds=seconds | report.seconds)
                if result.interruption == KEYBOARD:
                    keyboard.interrupt()
            else:
                reason = "a proposed formula explains the table to machine precision"
                report = SeedingReport(engine=engine.name, not_run=reason, seconds=seconds)
    except SecondInterrupt:
        raise
    except KeyboardInterrupt:
        keyboard.interrupt(
            "The fit was interrupted; the best formulas found until then are returned."
        )
        report = SeedingReport(engine=None, not_run=KEYBOARD)

    finishing_time = clock
    if keyboard.interrupted:
        finishing_time = clock.part(0.0).lasting(_SECONDS_AFTER_INTERRUPT)
    elif report.engine is not None and report.not_run is None:
        finishing_time = clock.lasting(_AFTER_SEARCH)

    def finished(*, simplify: bool) -> Outcome:
        hall: HallOfFame
        if engine is not None and engine.is_judge and result.expressions:
            hall = EnginesFront(task.variable_names, engine.name, result)
        else:
            own = frozenset().union(*(found.operators for found in result.expressions))
            given = task.table.in_units_of(scaling.y_exponent)
            hall = HallOfFame(
                task.variable_names, operators=task.operators | own, maxsize=longest,
                model_selection=settings.model_selection, loss_floor=table.exact,
                evidence=Evidence(given, task.operators, scaling),
                loss_kind=task.table.loss_kind, loss_exponent=given.exponent,
            )  # fmt: skip
            with clock.measure("select"):
                _finish(hall, pool, table, task, scaling, finishing_time, simplify=simplify)
        clock.say(f"{len(hall)} formulas; {report!r}")
        is_found = engine is not None and any(c.source == engine.name for c in hall)
        return Outcome(
            hall_of_fame=hall, pool=pool, scaling=scaling, report=report, fitted=result.fitted,
            engine=engine.name if is_found else "transformer", columns=proposing.columns,
            interrupted=keyboard.interrupted,
        )  # fmt: skip

    try:
        return finished(simplify=True)
    except KeyboardInterrupt:
        keyboard.interrupt(
            "The fit was interrupted; the formulas found until then are returned as they are."
        )
        return finished(simplify=False)


class _Keyboard:
    """Whether Ctrl-C has come, and what it does.

    Parameters
    ----------
    keep_found : bool
        Whether the first one ends the fit with what was found.
    """

    def __init__(self, keep_found: bool) -> None:
        self.keep_found = keep_found
        self.interrupted = False

    def interrupt(self, warning: str | None = None) -> None:
        """Note Ctrl-C and warn of it, or raise: ``KeyboardInterrupt``."""
        if not self.keep_found:
            raise KeyboardInterrupt from None
        if self.interrupted:
            raise SecondInterrupt from None
        self.interrupted = True
        if warning is not None:
            warn_user(warning, SearchInterruptedWarning)


def _search_task(
    task: Task,
    table: Table,
    engine: SearchEngine,
    settings: Settings,
    random_state: np.random.RandomState,
    pool: Pool,
    scaling: Scaling,
) -> SearchTask:
    """What the engine is asked, on the scaled table unless it needs the one that was given."""
    searched = table if engine.scaled and not task.has_units else task.table
    loss, weights, tamed = table.loss_kind, searched.weights, None
    if loss.name == "relative":
        weights = searched.square_weights / searched.square_weights.mean()
    elif loss.is_robust and pool.front:
        best = pool.front[-1].expression
        loss = loss.with_threshold(best.evaluate(table.X) - table.y, table.weights)
        tamed = table.tamed(best)  # for engines that search the scaled table
    repeatable = settings.random_state is not None
    return SearchTask(
        X=searched.X,
        y=searched.y,
        tamed_y=tamed if searched is table else None,
        weights=weights,
        loss=loss if searched is table else loss.scaled(-scaling.y_exponent),
        guesses=[],
        operators=task.operators,
        maxsize=task.maxsize,
        timeout_in_seconds=None,
        random_state=int(random_state.randint(2**31 - 1)) if repeatable else None,
        variable_names=task.variable_names,
        verbose=settings.verbose,
        output=task.output,
        X_units=task.X_units,
        y_units=task.y_units,
    )


def _finish(
    hall: HallOfFame,
    pool: Pool,
    scaled: Table,
    task: Task,
    scaling: Scaling,
    clock: Clock,
    *,
    simplify: bool,
) -> None:
    """Bring the pool to the user's units, or where nothing is simplified its front alone.

    What is selected while the constants are those of a sample of the rows is the first to be fitted
    to all of them, and to be brought over: in little time there are fewer formulas, not worse ones.
    """
    table = task.table.in_units_of(scaling.y_exponent)
    if not simplify:
        bring_to_users_units(hall, pool.front, table, scaling)
        return
    if len(table.y) > FIT_ROWS:
        best = _by_selection(pool.front, hall)
        refit_on_all_rows(pool, best, scaled, clock.part(_REFIT_SHARE).deadline)
    # A usual form that odd ones of its size are closer than is not to be missed: the ladder of the
    # best of each size does not reach it.
    first = _by_selection(pool.front, hall)
    believed = _by_selection(_near_the_front(pool, hall), hall)[:_BELIEVED]
    candidates = dict.fromkeys([*first, *believed, *pool.ladder(most_finished(table))])
    bring_to_users_units(
        hall, candidates, table, scaling, clock.part(_UNITS_SHARE).deadline
    )  # fmt: skip
    simplify_constants(hall, table, has_units=task.has_units, deadline=clock.deadline)


def _near_the_front(pool: Pool, hall: HallOfFame) -> list[Candidate]:
    """Formulas that are good for their size, each symbol of which is about as dear."""
    n_rows = hall.evidence.sample.n_rows

    def length(candidate: Candidate) -> float:
        loss = max(candidate.loss, hall.loss_floor, np.finfo(float).tiny)
        return 0.5 * n_rows * float(np.log(loss)) + _SYMBOL * candidate.complexity

    return sorted(pool.candidates, key=length)[: 4 * _BELIEVED]


def _by_selection(candidates: Sequence[Candidate], hall: HallOfFame) -> list[Candidate]:
    """Formulas, what describes a sample of the table in the fewest nats first.

    The losses are those of a sample: to a million rows what is fitted to its noise would be dear.
    """
    sample = hall.evidence.sample
    sample = replace(sample, n_rows=min(sample.n_rows, FIT_ROWS))
    return sorted(candidates, key=lambda c: description_length(c.expression, c.loss, sample))
