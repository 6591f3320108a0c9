"""PySR as a search engine: the real ``PySRRegressor``, seeded through its public ``guesses``."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, NamedTuple

import numpy as np

from sr_transformer.engines.base import KEYBOARD, SearchResult, SearchTask, describe
from sr_transformer.engines.pysr.custom import language_of
from sr_transformer.engines.pysr.settings import (
    ABSOLUTE_SETTINGS,
    custom_functions,
    guess_rules,
    is_set,
    known_operators,
    own_loss,
    own_settings,
    prepared_clone,
    refuse_other_searches,
)
from sr_transformer.engines.pysr.watchdog import watchdog
from sr_transformer.errors import ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.guess import pysr_names, refusal, written_guesses
from sr_transformer.expression.language import ARITHMETIC, Language
from sr_transformer.table.loss import Loss

Array = np.ndarray

# How far beyond its time limit a search may go before it is stopped from outside. PySR compiles
# within its first search, which took 12-17 s on two cores.
_GRACE_SECONDS = 60.0

# PySR's own default of dimensional_constraint_penalty.
_PENALTY = 1000.0

# Guesses are tried on at most so many rows, evenly spread over the table.
_TRIED_ROWS = 10_000


def is_pysr_regressor(value: Any) -> bool:
    """Whether the value is a ``pysr.PySRRegressor``, found out without importing pysr."""
    return any(
        base.__name__ == "PySRRegressor" and base.__module__.partition(".")[0] == "pysr"
        for base in type(value).__mro__
    )


def _is_installed_on_import() -> bool:
    """Whether ``import pysr`` would download Julia or its packages; found out without Julia."""
    if not sys.modules.keys().isdisjoint({"pysr", "juliacall"}) or find_spec("pysr") is None:
        return False
    if os.environ.get("PYTHON_JULIACALL_EXE") and os.environ.get("PYTHON_JULIACALL_PROJECT"):
        return False  # an own Julia: juliapkg is not asked
    try:
        import juliapkg

        return not juliapkg.resolve(dry_run=True)
    except Exception:  # it cannot be told, and the import would say why
        return True


@lru_cache(maxsize=1)
def _import_failure() -> str | None:
    """Why ``import pysr`` fails and what to do; tried once a process.

    The import starts Julia and may first download it, so that far more than ImportError can come
    out of it: network, file system, subprocess and Julia errors.
    """
    if "pysr" not in sys.modules and find_spec("pysr") is None:
        return 'PySR is not installed. Install it with: pip install "pysr>=2.0,<3".'
    if _is_installed_on_import():
        print(
            "sr-transformer: PySR now installs Julia and its packages, once; this takes minutes.",
            file=sys.stderr,
        )
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            # Its progress goes to standard output, where a command's own output belongs.
            with redirect_stdout(sys.stderr):
                from pysr import PySRRegressor
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Warnings about a Julia that does not run would only hide the one that matters.
            return (
                f"importing PySR failed with {describe(error)}. PySR needs Julia, which it "
                "downloads on its first import: check the network, proxy and write access to the "
                'environment, or install Julia yourself, and then run: python -c "import pysr".'
            )
    for warning in raised:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return _missing_guesses(PySRRegressor)


def _missing_guesses(regressor_class: type) -> str | None:
    if "guesses" in inspect.signature(regressor_class.__init__).parameters:
        return None
    return (
        "this PySR has no parameter 'guesses', which came with version 2.0. Upgrade it with: "
        'pip install "pysr>=2.0,<3".'
    )


class PySREngine:
    """The search by PySR.

    Parameters
    ----------
    regressor : pysr.PySRRegressor or None
        The user's own configuration: it is cloned, never changed, and its operators, size limit,
        constraints and other settings rule. ``None`` builds one from the task.
    downloads : bool, default=True
        Whether Julia and its packages may be downloaded where they are not there yet. Without
        that, PySR is then one that cannot run.

    Raises
    ------
    ValueError
        If the regressor searches for template or typed expressions, which the Transformer does
        not write, or is to go on from an earlier search.

    Notes
    -----
    The guesses reach the populations through ``fraction_replaced_guesses``: at the end of each
    iteration of a population of 27, one or two of its members are overwritten by guesses, the
    others stay what the search made of them.
    """

    name = "pysr"

    def __init__(self, regressor: Any = None, *, downloads: bool = True) -> None:
        self._own = regressor
        self._downloads = downloads
        self.scaled = True
        self.operators: frozenset[str] | None = None
        self.maxsize: int | None = None
        self.loss: Loss | None = None
        self.is_judge = False
        if regressor is not None and self.unusable_reason() is None:
            refuse_other_searches(regressor)
            self.scaled = not any(is_set(regressor, name) for name in ABSOLUTE_SETTINGS)
            self.operators = known_operators(regressor)
            self.maxsize = int(regressor.maxsize)
            self.loss, self.is_judge = own_loss(regressor)

    def unusable_reason(self) -> str | None:
        """Why PySR cannot run here and what helps; ``None`` where it can."""
        if self._own is not None:
            return _missing_guesses(type(self._own))
        if not self._downloads and _is_installed_on_import():
            return (
                "PySR's Julia is not installed yet. Install it once, which takes minutes, with: "
                'python -c "import pysr".'
            )
        return _import_failure()

    def admits(self, expression: Expression) -> bool:
        """Whether a formula keeps to the size limits and constraints of the user's regressor."""
        if self._own is None or not expression.operators:
            return True
        return refusal(expression, guess_rules(self._own)) is None

    def search(self, task: SearchTask) -> SearchResult:
        """Run the search; a crash, a hang or Ctrl-C returns what PySR had found until then."""
        if self._own is None:
            from pysr import PySRRegressor

            model = PySRRegressor(**own_settings(task))
        else:
            model = prepared_clone(self._own, task)
        names = pysr_names(task.variable_names, custom_functions(model))
        columns = _selected_columns(model, task)
        first = _own_guesses(model, task.output)
        rules = guess_rules(model, variable_names=names, columns=columns)
        every = -(-len(task.X) // _TRIED_ROWS)
        accepted, refused = written_guesses(task.guesses, rules, task.X[::every])
        model.set_params(guesses=[*first, *accepted] or None)
        begun = monotonic()
        interruption = _fit(model, task, names, columns)
        # PySR's clock starts when its search does, after it compiled what the search needs.
        compiling = 0.0
        if interruption is None and task.timeout_in_seconds is not None:
            compiling = max(monotonic() - begun - task.timeout_in_seconds, 0.0)
        front = read_front(model, names)
        rows = {place: row for place, row in enumerate(front) if row is not None}
        n_unreadable = len(front) - len(rows)
        if task.X_units is not None or task.y_units is not None:
            rows = {
                place: row for place, row in rows.items() if not _breaks_units(row, model, task)
            }
        selected = _selected(model)
        return SearchResult(
            expressions=[row.expression for row in rows.values()],
            losses=[row.loss for row in rows.values()],
            scores=[row.score for row in rows.values()],
            selected=list(rows).index(selected) if selected in rows else None,
            fitted=model,
            n_unreadable=n_unreadable,
            interruption=interruption,
            start_seconds=compiling,
            accepted=list(accepted.values()),
            refused=dict(refused),
            columns=columns,
        )


def _fit(
    model: Any, task: SearchTask, names: Sequence[str], columns: tuple[int, ...] | None
) -> str | None:
    """Run the search; why it ended early, if it did."""
    used = range(len(names)) if columns is None else columns
    names = [names[column] for column in used]
    X = task.X if columns is None else task.X[:, list(columns)]
    keywords: dict[str, Any] = {"weights": task.weights}
    if columns is not None or names != [f"x{column}" for column in used]:
        keywords["variable_names"] = names
    if task.X_units is not None:
        keywords["X_units"] = [task.X_units[column] for column in used]
    if task.y_units is not None:
        keywords["y_units"] = task.y_units
    given = {
        name: getattr(model, name) for name in ("select_k_features", "complexity_of_variables")
    }
    if columns is not None:
        model.set_params(select_k_features=None)
        if isinstance(given["complexity_of_variables"], list):
            own = [given["complexity_of_variables"][column] for column in columns]
            model.set_params(complexity_of_variables=own)
    limit = task.timeout_in_seconds
    barked = Event()
    interruption = None
    try:
        grace = None if limit is None else limit + _GRACE_SECONDS
        with watchdog(grace, barked), warnings.catch_warnings():
            # It comes back as our own warning, which also says what is returned.
            warnings.filterwarnings("ignore", "The search was interrupted", RuntimeWarning)
            model.fit(X, task.y, **keywords)
        if getattr(model, "interrupted_", False):
            interruption = KEYBOARD
    except (Exception, KeyboardInterrupt) as error:
        interruption = KEYBOARD
        if isinstance(error, Exception):
            interruption = f"it failed with {describe(error)}"
        with suppress(Exception):
            # The file that PySR keeps up to date while it searches.
            model.refresh(Path(model.output_directory_) / model.run_id_)
    if barked.is_set():
        interruption = f"it went on after its {limit:.3g} s and was stopped"
    if columns is not None:
        model.set_params(**given)
        model.selection_mask_ = np.isin(np.arange(task.X.shape[1]), columns)
    return interruption


def _own_guesses(model: Any, output: int | None) -> list[str]:
    """The user's own guesses for an output: PySR takes one list, or a list for each output."""
    given = list(model.guesses or [])
    if not given or not all(isinstance(each, list) for each in given):
        return given
    return given[0 if output is None else output]


def _selected_columns(model: Any, task: SearchTask) -> tuple[int, ...] | None:
    """The columns that ``select_k_features`` keeps; ``None`` where it is not set.

    PySR selects within its fit, after it was given its guesses, and one guess with a column that
    is gone aborts the fit. So PySR's own function selects here, before the fit.
    """
    if not model.select_k_features:
        return None
    from pysr.feature_selection import run_feature_selection

    random_state = np.random.RandomState(task.random_state)
    kept = run_feature_selection(task.X, task.y, model.select_k_features, random_state=random_state)
    return tuple(np.flatnonzero(kept).tolist())


class FrontRow(NamedTuple):
    """A formula of PySR's front, with PySR's loss and score."""

    expression: Expression
    loss: float
    score: float


def read_front(model: Any, names: Sequence[str]) -> list[FrontRow | None]:
    """The front of a fitted, or interrupted, regressor; ``None`` for what cannot be read.

    Formulas with the user's own operators are of a language that has those.
    """
    frame = getattr(model, "equations_", None)
    if frame is None:
        contents = getattr(model, "equation_file_contents_", None)
        frame = contents[0] if contents else {"equation": [], "loss": []}
    scores = frame["score"] if "score" in frame else np.zeros(len(frame["equation"]))
    own: Language | None = None
    front: list[FrontRow | None] = []
    for text, loss, score in zip(frame["equation"], frame["loss"], scores, strict=True):
        expression = _read(str(text), names, ARITHMETIC)
        if expression is None:
            own = own or language_of(model)
            expression = _read(str(text), names, own)
        row = None if expression is None else FrontRow(expression, float(loss), float(score))
        front.append(row)
    return front


def _read(text: str, names: Sequence[str], language: Language) -> Expression | None:
    with suppress(ExpressionError):
        return Expression.parse(text, names, language)
    return None


def _selected(model: Any) -> int | None:
    """The row of its front that PySR would choose."""
    with suppress(Exception):  # where it was interrupted there may be nothing to choose among
        label = model.get_best().name
        return list(model.equations_.index).index(label)
    return None


def _breaks_units(row: FrontRow, model: Any, task: SearchTask) -> bool:
    """Whether PySR found a formula to break the units of the table.

    It says so by a penalty on the loss, which is lost when the constants are fitted again.
    """
    if own_loss(model)[1]:
        return False  # the penalty cannot be told from such a loss
    penalty = model.dimensional_constraint_penalty
    with np.errstate(all="ignore"):
        residuals = row.expression.evaluate(task.X) - task.y
        plain = task.loss.shown(float(task.loss.mean(residuals, task.weights)))
    return bool(row.loss - plain > (_PENALTY if penalty is None else penalty) / 2)
