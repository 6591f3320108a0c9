"""What an engine is started from, what becomes of it there, and the report of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sr_transformer.engines.base import SearchEngine, SearchTask, run_search
from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.table.table import UserTable

Array = np.ndarray

# Formulas that seed an engine: as many as PySR was measured with.
_N_GUESSES = 50

# An engine's formulas are refitted on at most so many rows, drawn at random.
_REFIT_ROWS = 10_000

# Share of the variance of y that may be left for a formula to explain a table: residuals of
# 1e-10, where the rounding of float64 and of a longer formula's constants begins.
_EXPLAINED = 1e-20
_ROUNDING = 1e-30  # the same of the mean square: y itself is only given to 16 digits

# Part of the time left that is kept for what follows the search. Fitting the constants of what
# Operon found and selecting took 0.8 % of a fit of 60 s and 1.6 % of one of 6 s.
_FINISHING_SHARE = 0.02

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


@dataclass(frozen=True)
class SeededSearch:
    """What a seeded search brought back.

    Parameters
    ----------
    candidates : list of Candidate
        The engine's formulas with their constants fitted, in scaled units.
    fitted : object or None
        The fitted engine.
    columns : tuple of int or None
        The columns that the search was limited to; ``None`` for all of them.
    report : SeedingReport
    """

    candidates: list[Candidate]
    fitted: Any
    columns: tuple[int, ...] | None
    report: SeedingReport


def seeded_search(
    engine: SearchEngine,
    table: UserTable,
    candidates: Sequence[Candidate],
    *,
    maxsize: int,
    seed: int | None,
    left: Callable[[], float | None],
    clock: Callable[[], float],
    verbose: int = 0,
    output: int | None = None,
    X_units: Sequence[str] | None = None,
    y_units: str | None = None,
) -> SeededSearch:
    """Start an engine from the best candidates, and fit the constants of what it finds.

    Parameters
    ----------
    engine : SearchEngine
    table : UserTable
    candidates : sequence of Candidate
        In scaled units.
    maxsize : int
        Largest complexity of a formula.
    seed : int or None
        Of a repeatable search.
    left : callable
        Seconds that are left for the fit; ``None`` is no limit.
    clock : callable
        Seconds on a clock that is not turned back.
    verbose, output, X_units, y_units
        As in :class:`SearchTask`.

    Warns
    -----
    SearchInterruptedWarning
        If the search was interrupted or failed.
    """
    begun = clock()
    scaled = engine.scaled and X_units is None and y_units is None
    if scaled:
        pool = HallOfFame()
        pool.extend(candidates)
        X, y = table.scaled_X, table.scaled_y
    else:
        pool = table.pool(candidates)
        X, y = table.X, table.y
    guesses = [candidate.expression for candidate in pool.ladder(_N_GUESSES)]
    seconds = left()
    seeded = clock()
    task = SearchTask(
        X=X,
        y=y,
        weights=table.weights,
        guesses=guesses,
        operators=table.operators,
        maxsize=maxsize,
        timeout_in_seconds=None if seconds is None else (1 - _FINISHING_SHARE) * seconds,
        random_state=seed,
        variable_names=table.names,
        verbose=verbose,
        output=output,
        X_units=X_units,
        y_units=y_units,
    )
    result = run_search(engine, task)
    searched = clock()
    if not scaled:
        guesses = [table.scaling.to_scaled_units(guess) for guess in guesses]
        found = [table.scaling.to_scaled_units(each) for each in result.expressions]
    else:
        found = result.expressions
    refitted, guess_losses = _refitted(table, found, guesses, engine.name)
    front = HallOfFame()
    front.extend(refitted)
    skeletons = {_skeleton(expression) for expression in result.expressions}
    report = SeedingReport(
        engine=engine.name,
        interruption=result.interruption,
        n_guesses=len(guesses),
        n_accepted=len(result.accepted),
        refused=dict(sorted(result.refused.items(), key=lambda entry: -entry[1])),
        n_front=len(front),
        n_survived=sum(_skeleton(guess) in skeletons for guess in result.accepted),
        n_improved=_n_improved(front.front, guess_losses),
        n_unreadable=result.n_unreadable,
        seconds={
            "seed": seeded - begun,
            "start": result.start_seconds,
            "search": searched - seeded - result.start_seconds,
            "refit": clock() - searched,
        },
    )
    return SeededSearch(refitted, result.fitted, result.columns, report)


def _refitted(
    table: UserTable, found: Iterable[Expression], guesses: Iterable[Expression], source: str
) -> tuple[list[Candidate], list[tuple[int, float]]]:
    """Formulas found, with fitted constants; complexity and loss of the guesses on those rows."""
    from sr_transformer.proposal.constants import loss_of, refit

    rows: Any = slice(None)
    if len(table.y) > _REFIT_ROWS:
        # Of its own seed: the guesses and what they became must be compared on the same rows.
        random_state = np.random.RandomState(0)
        rows = np.sort(random_state.choice(len(table.y), _REFIT_ROWS, replace=False))
    X, y = np.asfortranarray(table.scaled_X[rows]), table.scaled_y[rows]
    weights = None if table.weights is None else table.weights[rows]
    guess_losses = [(guess.complexity(), loss_of(guess, X, y, weights)) for guess in guesses]
    refitted = []
    try:
        for expression in found:
            refitted.append(Candidate(*refit(expression, X, y, weights), source=source))
    except KeyboardInterrupt:
        pass  # the search is over: what is fitted by now is returned
    return refitted, guess_losses


def _n_improved(front: Iterable[Candidate], guess_losses: Sequence[tuple[int, float]]) -> int:
    n_improved = 0
    for row in front:
        as_simple = [loss for complexity, loss in guess_losses if complexity <= row.complexity]
        n_improved += row.loss < _BETTER * min(as_simple, default=np.inf)
    return n_improved


def is_explained(table: UserTable, candidates: Iterable[Candidate]) -> bool:
    """Whether a candidate explains the table to machine precision.

    A formula with as many constants as there are rows passes through all of them and explains
    nothing.
    """
    y, weights = table.scaled_y, table.weights
    mean = np.average(y, weights=weights)
    variance = float(np.average((y - mean) ** 2, weights=weights))
    mean_square = float(np.average(y * y, weights=weights))
    bound = max(_EXPLAINED * variance, _ROUNDING * mean_square)
    return any(
        candidate.loss <= bound and len(candidate.expression.constants) < len(y)
        for candidate in candidates
    )


def finished(report: SeedingReport, proposing: float) -> SeedingReport:
    """The report with the seconds of the stages before it."""
    return replace(report, seconds={"propose": proposing, **report.seconds})


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
