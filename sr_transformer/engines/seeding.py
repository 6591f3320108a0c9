"""What an engine is started from, what becomes of it there, and the report of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sr_transformer.clock import Clock
from sr_transformer.engines.base import (
    KEYBOARD,
    SearchEngine,
    SearchResult,
    SearchTask,
    SecondInterrupt,
    run_search,
    warn_user,
)
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT
from sr_transformer.front.pool import Candidate, Pool, pareto
from sr_transformer.proposal.constants import refit
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

# Formulas that seed an engine: as many as PySR was measured with.
_N_GUESSES = 50

# An engine's formulas are refitted on at most so many rows, drawn at random.
_REFIT_ROWS = 10_000

# Part of the time left that is kept for fitting the constants of what was found anew, and at most
# so many seconds: what Operon found took 0.5 % of a fit of 60 s and 1 % of one of 6 s.
_REFIT_SHARE, _REFIT_SECONDS = 0.05, 1.0

_BETTER = 1 - 1e-6  # a loss that is lower by less than this is the same


@dataclass(frozen=True, kw_only=True, repr=False)
class SeedingReport:
    """What became of the Transformer's formulas in a search engine.

    Parameters
    ----------
    engine : str or None
        The engine; ``None`` where none was asked for or usable.
    not_run : str or None
        Why no search ran, where none did.
    interruption : str or None
        Why the search ended early, where it did.
    n_guesses : int
        Formulas that were offered to the engine.
    n_accepted : int
        Those that the search started from.
    refused : dict of str to int
        How many were left out, by the reason for it.
    n_front : int
        Rows of the engine's front after its constants were fitted again.
    n_survived : int
        Accepted guesses that are on the engine's front again: the same formula up to its
        constants, and to a factor and an offset around it.
    n_improved : int
        Rows of the engine's front with a lower loss than every guess that is as simple or simpler.
    n_unreadable : int
        Formulas of the engine that could not be read, because they use its custom operators.
    seconds : dict of str to float
        Seconds of each stage: ``"propose"`` (all that comes before), ``"seed"`` (choosing and
        writing the guesses), ``"start"`` (of the engine), ``"search"`` and ``"refit"``.
    """

    engine: str | None
    not_run: str | None = None
    interruption: str | None = None
    n_guesses: int = 0
    n_accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    n_front: int = 0
    n_survived: int = 0
    n_improved: int = 0
    n_unreadable: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"SeedingReport of {self.engine or 'no engine'}:"]
        if self.not_run is not None:
            lines.append(f"  no search: {self.not_run}")
        else:
            lines.append(f"  {self.n_accepted} of {self.n_guesses} guesses accepted")
            lines += [f"    {n} refused: {reason}" for reason, n in self.refused.items()]
            lines.append(
                f"  {self.n_survived} survived to the front, {self.n_improved} of its "
                f"{self.n_front} rows are better than every guess"
            )
        if self.n_unreadable:
            lines.append(f"  {self.n_unreadable} formulas of the engine could not be read")
        if self.interruption is not None:
            lines.append(f"  ended early: {self.interruption}")
        if self.seconds:
            stages = ", ".join(f"{stage} {value:.2f}" for stage, value in self.seconds.items())
            lines.append(f"  seconds: {stages}")
        return "\n".join(lines)


def seeded_search(
    engine: SearchEngine,
    pool: Pool,
    table: Table,
    task: SearchTask,
    scaling: Scaling | None,
    clock: Clock,
) -> tuple[SearchResult, SeedingReport]:
    """Start an engine from the best of a pool, and put what it finds into the pool.

    The constants of what it finds are fitted anew, and what the engine could not have found, as it
    may not use its columns or breaks the units, is taken out of the pool. Of an engine that is the
    judge nothing is pooled: what it found, and how good that is, stands as it says.

    Parameters
    ----------
    engine : SearchEngine
    pool : Pool
    table : Table
        What the pool is about, scaled.
    task : SearchTask
        What is searched, but for the guesses and the time, which are filled in here.
    scaling : Scaling or None
        What scaled the table, where the task's own is the one as it was given.
    clock : Clock

    Returns
    -------
    result : SearchResult
        As the engine gave it.
    report : SeedingReport

    Warns
    -----
    SearchInterruptedWarning
        If the search was interrupted or failed.

    Raises
    ------
    SecondInterrupt
        From the keyboard, where that had ended the search already.
    """
    begun = clock.elapsed()
    guesses = [candidate.expression for candidate in pool.ladder(_N_GUESSES)]
    as_searched = guesses
    if scaling is not None:
        as_searched = [scaling.to_user_units(guess) for guess in guesses]
    seconds = clock.left()
    if seconds is not None:
        seconds -= min(_REFIT_SHARE * seconds, _REFIT_SECONDS)
    seeded = clock.elapsed()
    result = run_search(engine, replace(task, guesses=as_searched, timeout_in_seconds=seconds))
    searched = clock.elapsed()
    # Of its own seed: the guesses and what they became must be compared on the same rows.
    rows = table.sample(_REFIT_ROWS, np.random.RandomState(0))
    losses = [(guess.complexity(), rows.loss(guess)) for guess in guesses]
    found = []
    try:
        for place, expression in enumerate(result.expressions):
            if engine.is_judge:
                found.append(Candidate(expression, result.losses[place], source=engine.name))
                continue
            if scaling is not None:
                expression = scaling.to_scaled_units(expression)
            fitted = refit(expression, rows, deadline=clock.deadline)
            found.append(Candidate(*fitted, source=engine.name))
    except KeyboardInterrupt:
        if result.interruption == KEYBOARD:
            raise SecondInterrupt from None
        result = replace(result, interruption=KEYBOARD)
        warn_user("The fit was interrupted after its search.", SearchInterruptedWarning)
    if found and (task.X_units is not None or task.y_units is not None):
        pool.keep(lambda expression: False)  # only PySR can tell which of them keep to the units
    if result.columns is not None:
        used = set(result.columns)
        pool.keep(lambda expression: used.issuperset(expression.variables))
    if not engine.is_judge:
        pool.extend(found)
    front = pareto(found)
    skeletons = {_skeleton(expression) for expression in result.expressions}
    stages = {
        "seed": seeded - begun,
        "start": result.start_seconds,
        "search": searched - seeded - result.start_seconds,
        "refit": clock.elapsed() - searched,
    }
    for stage, value in stages.items():
        clock.add(stage, value)
    report = SeedingReport(
        engine=engine.name,
        interruption=result.interruption,
        n_guesses=len(guesses),
        n_accepted=len(result.accepted),
        refused=dict(sorted(result.refused.items(), key=lambda entry: -entry[1])),
        n_front=len(front),
        n_survived=sum(_skeleton(guess) in skeletons for guess in result.accepted),
        n_improved=0 if engine.is_judge else sum(_is_improved(row, losses) for row in front),
        n_unreadable=result.n_unreadable,
        seconds=stages,
    )
    return result, report


def _is_improved(row: Candidate, losses: Sequence[tuple[int, float]]) -> bool:
    as_simple = [loss for complexity, loss in losses if complexity <= row.complexity]
    return row.loss < _BETTER * min(as_simple, default=np.inf)


# --- formulas up to their constants ---------------------------------------------------------------
def without_scale(expression: Expression) -> Expression:
    """A formula without the factor and offset around it."""
    while expression.symbols[0] in ("+", "-", "*", "/"):
        first, second = expression.arguments
        if first.symbols == (CONSTANT,) and expression.symbols[0] != "/":
            expression = second
        elif second.symbols == (CONSTANT,):
            expression = first
        else:
            break
    return expression


def _skeleton(expression: Expression) -> tuple[str, ...]:
    return without_scale(expression.simplify()).symbols
