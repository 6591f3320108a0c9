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
    warn_user,
)
from sr_transformer.engines.seeding import SeedingReport, seeded_search
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.front.description_length import Sample
from sr_transformer.front.finish import bring_to_users_units, most_finished, simplify_constants
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Pool
from sr_transformer.proposal.draw import Sampler
from sr_transformer.proposal.proposers import PROPOSERS
from sr_transformer.proposal.proposing import Proposing
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

# Share of the time that proposing may use where a search follows. Of 47 known laws, in 10 s on two
# cores, PySR recovered 39 so; with .3 and no more than 256 draws 35, without formulas to start from
# 19. Proposing alone, for all of the time, recovered 42.
_PROPOSAL_SHARE = 0.5


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
) -> Outcome:
    """Find formulas.

    Parameters
    ----------
    task : Task
        Operators and size limit of an engine with settings of its own take the place of its own.
    settings : Settings
    sampler : Sampler or None
        Where drawn formulas come from; ``None`` where no proposer draws.
    engine : SearchEngine or None
        What goes on from the proposals.
    clock : Clock
        The time for all of it.
    not_run : str, optional
        Why no engine runs, for the report.

    Raises
    ------
    ValueError
        If the squared errors of the table would overflow.

    Warns
    -----
    SearchInterruptedWarning
        If Ctrl-C ended it before its time, or the engine failed; what was found is returned.
    """
    # What overflows or is undefined on some row is left out by its value: NumPy need not warn.
    with np.errstate(all="ignore"):
        return _run(task, settings, sampler, engine, clock, not_run)


def _run(
    task: Task,
    settings: Settings,
    sampler: Sampler | None,
    engine: SearchEngine | None,
    clock: Clock,
    not_run: str | None,
) -> Outcome:
    longest: int | None = task.maxsize
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
    random_state = check_random_state(settings.random_state)
    pool = Pool(table.exact)
    begun = clock.used()
    proposing = Proposing(
        pool, table, sampler=sampler, operators=task.operators, maxsize=task.maxsize,
        proposers=settings.proposers, n_candidates=settings.n_candidates,
        temperature=settings.temperature, random_state=random_state, n_jobs=settings.n_jobs,
        clock=clock if engine is None else clock.part(_PROPOSAL_SHARE),
    )  # fmt: skip
    result = SearchResult()
    report = SeedingReport(engine=None, not_run=not_run)
    interrupted = False
    try:
        if settings.proposers:
            interrupted = _propose(proposing, clock)
        if engine is not None and interrupted:
            report = SeedingReport(engine=None, not_run=KEYBOARD)
        elif engine is not None:
            seconds = {"propose": clock.used() - begun}
            pool.keep(engine.admits)
            if task.has_units or not pool.explains(table):
                clock.say(f"searching with {engine.name}")
                searched = _search_task(task, table, engine, settings, random_state)
                as_given = scaling if searched.X is task.table.X else None
                result, report = seeded_search(engine, pool, table, searched, as_given, clock)
                report = replace(report, seconds=seconds | report.seconds)
                interrupted = result.interruption == KEYBOARD
            else:
                reason = "a proposed formula explains the table to machine precision"
                report = SeedingReport(engine=engine.name, not_run=reason, seconds=seconds)
    except KeyboardInterrupt:
        interrupted = True
        report = SeedingReport(engine=None, not_run=KEYBOARD)
        _warn("The fit was interrupted; the best formulas found until then are returned.")
    hall = HallOfFame(
        task.variable_names, operators=task.operators, maxsize=longest,
        model_selection=settings.model_selection, sample=Sample.of(table, len(task.operators)),
        loss_floor=table.exact, loss_exponent=scaling.y_exponent,
    )  # fmt: skip
    with clock.measure("select"):
        interrupted |= _finish(hall, pool, task, scaling)
    clock.say(f"{len(hall)} formulas; {report!r}")
    is_found = engine is not None and any(c.source == engine.name for c in hall)
    return Outcome(
        hall_of_fame=hall, pool=pool, scaling=scaling, report=report, fitted=result.fitted,
        engine=engine.name if is_found else "transformer", columns=proposing.columns,
        interrupted=interrupted,
    )  # fmt: skip


def _propose(proposing: Proposing, clock: Clock) -> bool:
    """Let the proposers work; whether Ctrl-C ended it."""
    wanted = proposing.n_candidates
    clock.say("proposing formulas" if wanted is None else f"proposing {wanted} formulas")
    interrupted = False
    try:
        proposing.run()
    except KeyboardInterrupt:
        interrupted = True
        planned = "" if wanted is None else f" of {wanted}"
        _warn(
            f"Proposing was interrupted after {proposing.n_drawn}{planned} formulas; the best of "
            "those are returned."
        )
    proposing.polish()
    return interrupted


def _search_task(
    task: Task,
    table: Table,
    engine: SearchEngine,
    settings: Settings,
    random_state: np.random.RandomState,
) -> SearchTask:
    """What the engine is asked, on the scaled table unless it needs the one that was given."""
    searched = table if engine.scaled and not task.has_units else task.table
    repeatable = settings.random_state is not None
    return SearchTask(
        X=searched.X,
        y=searched.y,
        weights=searched.weights,
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


def _finish(hall: HallOfFame, pool: Pool, task: Task, scaling: Scaling) -> bool:
    """Bring the pool to the user's units; whether Ctrl-C ended it with the front as it was."""
    table = task.table.in_units_of(scaling.y_exponent)
    try:
        bring_to_users_units(hall, pool.ladder(most_finished(table)), table, scaling)
        simplify_constants(hall, table, has_units=task.has_units)
    except KeyboardInterrupt:
        _warn("The fit was interrupted; the formulas found until then are returned as they are.")
        bring_to_users_units(hall, pool.front, table, scaling)
        return True
    return False


def _warn(text: str) -> None:
    warn_user(text, SearchInterruptedWarning)
