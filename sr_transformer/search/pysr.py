"""PySR as a search engine: the real ``PySRRegressor``, seeded through its public ``guesses``."""

from __future__ import annotations

import inspect
import keyword
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout, suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import OPERATORS, Expression
from sr_transformer.search.engine import SearchResult, SearchTask, describe
from sr_transformer.search.guesses import GuessRules, accepted_guesses

Array = np.ndarray

# At PySR's own .001 most guesses never enter a population within a short search. Measured with the
# real engine on eight laws, 25 s each, near misses as guesses: 8 of 8 solved at .05, 5 at .001.
FRACTION_REPLACED_GUESSES = 0.05

# PySR refuses anything smaller; larger formulas than were asked for are left out afterwards.
_SMALLEST_MAXSIZE = 7

# Settings of a user's own PySRRegressor that mean a number in the units of the table, so that the
# table must reach the engine as it was given.
_ABSOLUTE_SETTINGS = (
    "elementwise_loss", "loss_function", "loss_function_expression", "loss_scale",
    "early_stop_condition", "dimensional_constraint_penalty", "dimensionless_constants_only",
    "guesses",
)  # fmt: skip

# Settings of a PySRRegressor that decide which guesses it can use.
_GUESS_SETTINGS = (
    "maxsize", "maxdepth", "constraints", "nested_constraints", "complexity_of_operators",
    "complexity_of_constants", "complexity_of_variables", "precision",
)  # fmt: skip

# Names of functions that PySR knows beyond SymPy's and ours; it refuses them as variables.
_PYSR_FUNCTIONS = frozenset(
    {
        "acosh_abs", "atanh_clip", "cbrt", "ceil", "clamp", "cond", "div", "fma", "greater",
        "greater_equal", "less", "less_equal", "log10", "log10_abs", "log1p", "log1p_abs", "log2",
        "log2_abs", "log_abs", "logical_and", "logical_or", "mod", "muladd", "mult", "plus", "pow",
        "pow_abs", "relu", "round", "sqrt_abs", "sub",
    }
)  # fmt: skip


def is_pysr_regressor(value: Any) -> bool:
    """Whether the value is a ``pysr.PySRRegressor``, found out without importing pysr."""
    return any(
        base.__name__ == "PySRRegressor" and base.__module__.partition(".")[0] == "pysr"
        for base in type(value).__mro__
    )


@lru_cache(maxsize=1)
def _import_failure() -> str | None:
    """Why ``import pysr`` fails and what to do; tried once a process.

    The import starts Julia and may first download it, so that far more than ImportError can come
    out of it: network, file system, subprocess and Julia errors.
    """
    if "pysr" not in sys.modules and find_spec("pysr") is None:
        return 'PySR is not installed. Install it with: pip install "pysr>=2.0,<3".'
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

    Raises
    ------
    ValueError
        If the regressor searches for template or typed expressions, which the Transformer does
        not write.
    """

    name = "pysr"

    def __init__(self, regressor: Any = None) -> None:
        self._own = regressor
        self.scaled = True
        self.operators: frozenset[str] | None = None
        self.maxsize: int | None = None
        if regressor is not None:
            _refuse_other_expressions(regressor)
            self.scaled = not any(_is_set(regressor, name) for name in _ABSOLUTE_SETTINGS)
            self.operators = known_operators(regressor)
            self.maxsize = int(regressor.maxsize)

    def unusable_reason(self) -> str | None:
        """Why PySR cannot run here and what helps; ``None`` where it can."""
        if self._own is not None:
            return _missing_guesses(type(self._own))
        return _import_failure()

    def search(self, task: SearchTask) -> SearchResult:
        """Run the search; a crash or Ctrl-C returns what PySR had found until then."""
        names = pysr_names(task.variable_names)
        if self._own is None:
            from pysr import PySRRegressor

            model = PySRRegressor(**own_settings(task))
        else:
            model = _prepared_clone(self._own, task.timeout_in_seconds)
        first = list(model.guesses or [])
        if len(first) == 1 and isinstance(first[0], list):
            first = first[0]  # PySR takes a list of one list for a single output, too
        guesses = guess_strings(task.guesses, guess_rules(model, names), task.X)
        model.set_params(guesses=[*first, *guesses])
        interruption = None
        try:
            with warnings.catch_warnings():
                # It comes back as our own warning, which also says what is returned.
                warnings.filterwarnings("ignore", "The search was interrupted", RuntimeWarning)
                model.fit(
                    task.X,
                    task.y,
                    weights=task.weights,
                    variable_names=None if _are_default(names) else list(names),
                )
            if getattr(model, "interrupted_", False):
                interruption = "it was interrupted from the keyboard"
        except (Exception, KeyboardInterrupt) as error:
            interruption = f"it failed with {describe(error)}"
            with suppress(Exception):
                model.refresh()  # reads the file that PySR keeps up to date while it searches
        expressions, n_unreadable = read_equations(_equation_texts(model), names)
        return SearchResult(
            expressions=expressions,
            fitted=model,
            n_unreadable=n_unreadable,
            interruption=interruption,
        )


def own_settings(task: SearchTask) -> dict[str, Any]:
    """Keywords of the ``PySRRegressor`` that is built for a task, but for its guesses."""
    by_arity: dict[int, list[str]] = {1: [], 2: []}
    for name, operator in OPERATORS.items():
        if name in task.operators:
            by_arity[operator.arity].append(name)
    settings: dict[str, Any] = {
        "binary_operators": by_arity[2],
        "unary_operators": by_arity[1],
        "maxsize": max(_SMALLEST_MAXSIZE, task.maxsize),
        "timeout_in_seconds": task.timeout_in_seconds,
        "fraction_replaced_guesses": FRACTION_REPLACED_GUESSES,
        "verbosity": int(task.verbose > 0),
        "progress": task.verbose > 0,
        "temp_equation_file": True,
        "input_stream": "devnull",
    }
    if "^" in task.operators:
        # Any base, but a bare constant or variable as exponent: PySR's own advice.
        settings["constraints"] = {"^": (-1, 1)}
    if task.random_state is not None:
        # PySR repeats a run only if all three are set.
        settings["random_state"] = task.random_state
        settings["deterministic"] = True
        settings["parallelism"] = "serial"
    return settings


def _prepared_clone(regressor: Any, timeout: float | None) -> Any:
    """Copy of a user's regressor with the settings that seeding needs."""
    from sklearn.base import clone

    model = clone(regressor)
    changes: dict[str, Any] = {}
    if not _is_set(model, "fraction_replaced_guesses"):
        changes["fraction_replaced_guesses"] = FRACTION_REPLACED_GUESSES
    if timeout is not None:
        own = model.timeout_in_seconds
        changes["timeout_in_seconds"] = timeout if own is None else min(timeout, own)
    return model.set_params(**changes)


def _is_set(regressor: Any, name: str) -> bool:
    """Whether a parameter differs from its default; unknown parameters do not."""
    parameter = inspect.signature(type(regressor).__init__).parameters.get(name)
    if parameter is None:
        return False
    value = getattr(regressor, name)
    return value is not None and value != parameter.default


def _refuse_other_expressions(regressor: Any) -> None:
    spec = getattr(regressor, "expression_spec", None)
    if spec is not None and type(spec).__name__ != "ExpressionSpec":
        raise ValueError(
            f"search is a PySRRegressor with expression_spec={type(spec).__name__}; only plain "
            "expressions can be seeded. Leave expression_spec at None."
        )
    if getattr(regressor, "type_spec", None) is not None:
        raise ValueError(
            "search is a PySRRegressor with a type_spec; only searches over plain numbers can be "
            "seeded. Leave type_spec at None."
        )


def _operators_by_arity(regressor: Any) -> dict[int, list[str]]:
    """Operators of a regressor as it was given them, custom ones included."""
    if regressor.operators is not None:
        return regressor.operators
    binary = regressor.binary_operators
    return {
        1: regressor.unary_operators or [],
        2: ["+", "-", "/", "*"] if binary is None else binary,  # PySR's default
    }


def known_operators(regressor: Any) -> frozenset[str]:
    """Operators of a user's regressor that are known here; its custom ones are left to PySR."""
    return frozenset(
        name
        for arity, names in _operators_by_arity(regressor).items()
        for name in names
        if name in OPERATORS and OPERATORS[name].arity == arity
    )


def guess_rules(regressor: Any, variable_names: Sequence[str]) -> GuessRules:
    """What the search of a regressor accepts as a guess."""
    settings = {
        name: value
        for name in _GUESS_SETTINGS
        if (value := getattr(regressor, name)) is not None  # None is PySR's "no such limit"
    }
    by_arity = _operators_by_arity(regressor)
    return GuessRules(
        operators=[name for names in by_arity.values() for name in names],
        variable_names=variable_names,
        **settings,
    )


# --- names and texts ------------------------------------------------------------------------------
def pysr_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that PySR, SymPy and Julia accept: the user's own where possible.

    Characters that are not allowed become underscores; what still is a function's name, a word of
    the languages or a duplicate becomes ``x`` and the column's number.
    """
    import sympy

    taken: set[str] = set()
    chosen: list[str | None] = []
    for name in names:
        written = re.sub(r"[^0-9A-Za-z_]", "_", name)
        valid = written not in taken and written not in sympy.__dict__ and _is_readable(written)
        chosen.append(written if valid else None)
        if valid:
            taken.add(written)
    result = []
    for column, written in enumerate(chosen):
        if written is None:
            written = f"x{column}"
            while written in taken:
                written += "_"
            taken.add(written)
        result.append(written)
    return tuple(result)


def _is_readable(name: str) -> bool:
    if name in _PYSR_FUNCTIONS or not name[:1].isalpha() or keyword.iskeyword(name):
        return False
    try:
        Expression(["x0"]).to_pysr((name,))
    except ExpressionError:
        return False
    return True


def _are_default(names: Sequence[str]) -> bool:
    return all(name == f"x{column}" for column, name in enumerate(names))


def guess_strings(
    expressions: Iterable[Expression], rules: GuessRules, X: Array | None = None
) -> list[str]:
    """Write formulas as PySR guesses, without those that cannot be written or would be refused.

    One malformed guess aborts a whole PySR fit, so each string passes the strict validator.
    """
    operators = frozenset(rules.operators) & OPERATORS.keys()
    lowered = (expression.lower(operators) for expression in expressions)
    texts = [e.to_pysr(rules.variable_names) for e in lowered if e is not None]
    accepted, _ = accepted_guesses(list(dict.fromkeys(texts)), rules, X)
    return accepted


def _equation_texts(model: Any) -> list[str]:
    """Texts of a fitted, or interrupted, regressor's front."""
    frame = getattr(model, "equations_", None)
    if frame is None:
        contents = getattr(model, "equation_file_contents_", None)
        frame = contents[0] if contents else None
    return [] if frame is None else [str(text) for text in frame["equation"]]


def read_equations(
    texts: Iterable[str], variable_names: Sequence[str]
) -> tuple[list[Expression], int]:
    """Read PySR's equation texts.

    Returns
    -------
    expressions : list of Expression
    n_unreadable : int
        Texts that were left out, as custom operators are unknown here.
    """
    expressions = []
    n_unreadable = 0
    for text in texts:
        try:
            expressions.append(Expression.parse(text, variable_names))
        except ExpressionError:
            n_unreadable += 1
    return expressions, n_unreadable
