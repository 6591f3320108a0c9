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

Array = np.ndarray

KEYBOARD = "it was interrupted from the keyboard"
"""The interruption of a search that its user ended."""


@dataclass(frozen=True, kw_only=True)
class SearchTask:
    """One search: the table, what it starts from and what it may use.

    Parameters
    ----------
    X, y : ndarray of shape (n_rows, n_columns) and (n_rows,)
        Scaled where the engine asks for that (``SearchEngine.scaled``), else as given.
    weights : ndarray of shape (n_rows,) or None
        Weight of each row in the squared error.
    guesses : list of Expression
        Formulas to start from, in the units of the table above.
    operators : frozenset of str
        Allowed operators; an engine with settings of its own keeps to those.
    maxsize : int
        Largest complexity; an engine with settings of its own keeps to those.
    timeout_in_seconds : float or None
        Time that is left for the search.
    random_state : int or None
        Seed of a repeatable search; ``None`` for a parallel, unrepeatable one.
    variable_names : tuple of str
        The user's names of the columns.
    verbose : int
        Above 1 the engine may print.
    output : int or None
        Which of the table's outputs this is; ``None`` where there is only one.
    X_units, y_units : sequence of str and str, or None
        The units of the table, as PySR reads them.
    """

    X: Array
    y: Array
    weights: Array | None
    guesses: list[Expression]
    operators: frozenset[str]
    maxsize: int
    timeout_in_seconds: float | None
    random_state: int | None
    variable_names: tuple[str, ...]
    verbose: int = 0
    output: int | None = None
    X_units: Sequence[str] | None = None
    y_units: str | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search brought back.

    Parameters
    ----------
    expressions : list of Expression
        The engine's front, in the units of its task.
    fitted : object or None
        The fitted engine itself, for users who want more of it.
    n_unreadable : int
        Formulas of the engine that could not be read, because they use operators unknown here.
    interruption : str or None
        Why the search ended early, where it did.
    start_seconds : float
        Time that the engine took to start, which is no part of the search's limit.
    accepted : list of Expression
        The guesses that the search started from, as it was given them.
    refused : dict of str to int
        How many of the other guesses were left out, by the reason for it.
    columns : tuple of int or None
        The columns that the search was limited to; ``None`` for all of them.
    """

    expressions: list[Expression] = field(default_factory=list)
    fitted: Any = None
    n_unreadable: int = 0
    interruption: str | None = None
    start_seconds: float = 0.0
    accepted: list[Expression] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    columns: tuple[int, ...] | None = None


class SearchEngine(Protocol):
    """A search that can start from given formulas.

    Attributes
    ----------
    name : str
        Value of ``engine_`` and of the column ``source``.
    scaled : bool
        Whether it searches the table brought to magnitudes around one.
    operators : frozenset of str or None
        Operators of its own settings that are known here; ``None`` to use the task's.
    maxsize : int or None
        Size limit of its own settings; ``None`` to use the task's.
    """

    name: str
    scaled: bool
    operators: frozenset[str] | None
    maxsize: int | None

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
