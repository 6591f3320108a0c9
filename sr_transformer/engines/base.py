"""What a search engine is, and what happens when one fails."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.table.loss import SQUARED, Loss

Array = np.ndarray

KEYBOARD = "it was interrupted from the keyboard"
"""The interruption of a search that its user ended."""


class SecondInterrupt(KeyboardInterrupt):
    """Ctrl-C once more: whoever waits wants no formulas any more."""


@dataclass(frozen=True, kw_only=True)
class SearchTask:
    """One search: the table, what it starts from and what it may use.

    The table is scaled where the engine asks for that, else as given. An engine with settings of
    its own keeps to those, and not to ``operators`` and ``maxsize``.
    """

    X: Array  # (n_rows, n_columns)
    y: Array  # (n_rows,)
    tamed_y: Array | None = None  # y without outliers, for who fits by squares; None: y itself
    weights: Array | None  # (n_rows,), of each row in the loss
    guesses: list[Expression]  # formulas to start from, in the units of the table above
    operators: frozenset[str]
    maxsize: int  # largest complexity
    timeout_in_seconds: float | None  # what is left for the search
    random_state: int | None  # of a repeatable search; None for a parallel, unrepeatable one
    variable_names: tuple[str, ...]  # the user's
    loss: Loss = SQUARED  # of the residuals; a relative one is one of squares with these weights
    verbose: int = 0  # above 1 the engine may print
    output: int | None = None  # which of several outputs of the table this is
    X_units: Sequence[str] | None = None  # as PySR reads them
    y_units: str | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search brought back: the engine's front, in the units of its task, and more."""

    expressions: list[Expression] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of each, where the engine is the judge
    scores: list[float] = field(default_factory=list)  # the same, by its own rule
    selected: int | None = None  # which of them it would choose
    fitted: Any = None  # the fitted engine itself, for users who want more of it
    n_unreadable: int = 0  # formulas that use operators unknown here
    interruption: str | None = None  # why the search ended early, where it did
    start_seconds: float = 0.0  # of the engine, which are no part of the search's limit
    accepted: list[Expression] = field(default_factory=list)  # the guesses that it started from
    refused: dict[str, int] = field(default_factory=dict)  # how many others, by the reason for it
    columns: tuple[int, ...] | None = None  # that the search was limited to; None: all


class SearchEngine(Protocol):
    """A search that can start from given formulas."""

    name: str  # value of ``engine_`` and of the column ``source``
    scaled: bool  # whether it searches the table brought to magnitudes around one
    operators: frozenset[str] | None  # of its own settings, known here; None: the task's
    maxsize: int | None  # of its own settings; None: the task's
    loss: Loss | None  # of its own settings; None: the task's
    is_judge: bool  # whether its loss cannot be computed here: its losses and constants then stand

    def unusable_reason(self) -> str | None:
        """Why the engine cannot run here and what helps; ``None`` where it can."""

    def admits(self, expression: Expression) -> bool:
        """Whether a formula keeps to the limits of its own settings."""

    def search(self, task: SearchTask) -> SearchResult:
        """Search from ``task.guesses``."""


def run_search(engine: SearchEngine, task: SearchTask) -> SearchResult:
    """Run an engine so that whatever ends it early costs a warning and not the fit.

    Warns
    -----
    SearchInterruptedWarning
        If the search was interrupted or failed; what it found before that is returned.
    """
    try:
        result = engine.search(task)
    except KeyboardInterrupt:
        result = SearchResult(interruption=KEYBOARD)
    except Exception as error:
        result = SearchResult(interruption=f"it failed with {describe(error)}")
    if result.interruption is not None:
        warn_user(
            f"The {engine.name} search ended early: {result.interruption}. The best formulas "
            "found until then are returned.",
            SearchInterruptedWarning,
        )
    return result


def warn_user(text: str, category: type[Warning]) -> None:
    """Warn at the user's own line, however deep within this package the reason was found."""
    package = __name__.partition(".")[0]
    level = 1
    frame = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == package:
        frame = frame.f_back
        level += 1
    warnings.warn(text, category, stacklevel=level)


def describe(error: BaseException) -> str:
    """Type and first line of an error, for use within a sentence."""
    lines = str(error).strip().splitlines()
    text = lines[0][:300].rstrip(".") if lines else "no message"
    return f"{type(error).__name__}: {text}"
