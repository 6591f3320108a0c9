"""Formulas as PySR's ``guesses``: which ones a search can use, and how they are written.

One bad guess aborts a whole PySR fit. What is refused was found by running each case in the real
engine (PySR 2.0.0a2, SymbolicRegression.jl 2.0.0-alpha.9).
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

Array = np.ndarray

# PySR's other names of the operators that are written between their arguments.
_ALIASES = {"^": "pow", "*": "mult", "+": "plus", "-": "sub", "/": "div"}

# Names of functions that PySR knows beyond SymPy's and ours; it refuses them as variables.
_PYSR_FUNCTIONS = frozenset(
    {
        "acosh_abs", "atanh_clip", "cbrt", "ceil", "clamp", "cond", "div", "fma", "greater",
        "greater_equal", "less", "less_equal", "log10", "log10_abs", "log1p", "log1p_abs", "log2",
        "log2_abs", "log_abs", "logical_and", "logical_or", "mod", "muladd", "mult", "plus", "pow",
        "pow_abs", "relu", "round", "sqrt_abs", "sub",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GuessRules:
    """What one PySR search accepts. Most names and meanings are those of PySRRegressor.

    Parameters
    ----------
    operators : iterable of str
        Binary and unary operators together, as given to PySR; kept are those that a guess can
        name and that are known here.
    variable_names : sequence of str, optional
        The names of the columns in the fit; x0, x1, ... by default.
    columns : collection of int, optional
        The columns that the search uses; all of them by default.
    maxsize, maxdepth : int, optional
    constraints : mapping, optional
        Largest complexity of the arguments: ``{"sin": 5, "^": (-1, 1)}``.
    nested_constraints : mapping, optional
        Deepest nesting of the inner operators in the outer one: ``{"sin": {"cos": 0}}``.
    complexity_of_operators, complexity_of_constants, complexity_of_variables : optional
    precision : {16, 32, 64}
        Bits of the numbers the search computes with.
    """

    operators: Iterable[str]
    variable_names: Sequence[str] | None = None
    columns: Iterable[int] | None = None
    maxsize: int | None = None
    maxdepth: int | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    nested_constraints: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    complexity_of_operators: Mapping[str, float] = field(default_factory=dict)
    complexity_of_constants: float = 1
    complexity_of_variables: float | Sequence[float] = 1
    precision: int = 32

    def __post_init__(self) -> None:
        given = frozenset(self.operators)
        # "inv(x) = 1/x" defines a Julia function of its own, which a guess cannot name.
        inline = {text.partition("(")[0].strip() for text in given if "=" in text}
        object.__setattr__(self, "operators", given & ARITHMETIC.operators.keys() - inline)


def refusal(expression: Expression, rules: GuessRules, X: Array | None = None) -> str | None:
    """Why a PySR search would stumble over a formula or have no use for it.

    Parameters
    ----------
    expression : Expression
    rules : GuessRules
    X : ndarray of shape (n_rows, n_columns), optional
        The table of the fit: a guess has to be finite on every row, in the search's precision.

    Returns
    -------
    str or None
        A few words that fit any formula, for counting; ``None`` where it is accepted.
    """
    if not expression.operators <= rules.operators:
        return "operator not enabled"
    if rules.columns is not None and not set(expression.variables) <= set(rules.columns):
        return "column not among select_k_features"
    bits = np.finfo(f"float{rules.precision}")
    largest, smallest = float(bits.max), float(bits.smallest_subnormal)
    if not all(value == 0 or smallest <= abs(value) <= largest for value in expression.constants):
        return "number out of range"
    return _against_limits(expression, rules) or _useless(expression, rules.precision, X)


def _against_limits(expression: Expression, rules: GuessRules) -> str | None:
    def size(part: Expression) -> int:
        return part.complexity(
            of_operators=rules.complexity_of_operators,
            of_constants=rules.complexity_of_constants,
            of_variables=rules.complexity_of_variables,
        )

    if rules.maxsize is not None and size(expression) > rules.maxsize:
        return "larger than maxsize"
    if rules.maxdepth is not None and expression.depth > rules.maxdepth:
        return "deeper than maxdepth"
    if not rules.constraints and not rules.nested_constraints:
        return None
    for part in expression.parts:
        name, arguments = part.symbols[0], part.arguments
        if not arguments:
            continue
        limits = rules.constraints.get(name, rules.constraints.get(_ALIASES.get(name, ""), -1))
        limits = (limits,) * len(arguments) if np.isscalar(limits) else tuple(limits)
        if name == "*" and limits[0] != -1 and (limits[1] == -1 or limits[0] < limits[1]):
            limits = limits[::-1]  # PySR moves the looser limit of a product to the left
        if any(
            limit != -1 and size(argument) > limit
            for argument, limit in zip(arguments, limits, strict=True)
        ):
            return "against constraints"
        for inner, deepest in rules.nested_constraints.get(name, {}).items():
            if max(_nestedness(argument, inner) for argument in arguments) > deepest:
                return "against nested_constraints"
    return None


def _nestedness(expression: Expression, name: str) -> int:
    """Largest number of operators ``name`` on one path from the root to a leaf."""
    return expression.fold(lambda _: 0, lambda _: 0, lambda own, *below: max(below) + (own == name))


def _useless(expression: Expression, precision: int, X: Array | None) -> str | None:
    if X is None:
        return None
    number = np.dtype(f"float{precision}").type
    functions = expression.language.operators
    any_negative = False

    def operation(name: str, *values: Array) -> Array:
        nonlocal any_negative
        any_negative |= name == "^" and bool(np.any(values[0] < 0))
        return functions[name].function(*values)

    with np.errstate(all="ignore"):
        values = expression.fold(number, lambda column: X[:, column].astype(number), operation)
    if any_negative:
        return "negative base of ^"  # PySR would not fit the constants
    return None if np.all(np.isfinite(values)) else "not finite on the table"


def written_guesses(
    expressions: Iterable[Expression], rules: GuessRules, X: Array | None = None
) -> tuple[dict[str, Expression], Counter[str]]:
    """Write formulas as guesses, in the operators of the search.

    Parameters
    ----------
    expressions : iterable of Expression
    rules : GuessRules
    X : ndarray of shape (n_rows, n_columns), optional
        As in :func:`refusal`.

    Returns
    -------
    accepted : dict of str to Expression
        The texts, and what they say.
    refused : Counter
        How many formulas were left out, by the reason for it.

    Raises
    ------
    ExpressionError
        If a formula reads a column that has no name, or one whose name PySR cannot read.
    """
    accepted: dict[str, Expression] = {}
    refused: Counter[str] = Counter()
    for expression in expressions:
        lowered = expression.lower(rules.operators)
        reason = "operator not enabled" if lowered is None else refusal(lowered, rules, X)
        if reason is None:
            text = lowered.to_pysr(rules.variable_names)
            if text not in accepted:
                accepted[text] = lowered
                continue
            reason = "same as another"
        refused[reason] += 1
    return accepted, refused


def pysr_names(names: Sequence[str], functions: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Names of the columns that PySR, SymPy and Julia accept: the user's own where possible.

    Characters that are not allowed become underscores; what still is a function's name, a word of
    the languages or a duplicate becomes ``x`` and the column's number. ``functions`` are further
    names that are taken.
    """
    import sympy

    taken = functions | sympy.__dict__.keys()
    written = [re.sub(r"[^0-9A-Za-z_]", "_", name) for name in names]
    own: dict[str, int] = {}  # the first column that gets each name
    for column, name in enumerate(written):
        if name not in taken and _is_readable(name):
            own.setdefault(name, column)
    result = []
    for column, name in enumerate(written):
        if own.get(name) != column:
            name = f"x{column}"
            while name in own or name in functions:
                name += "_"
            own[name] = column
        result.append(name)
    return tuple(result)


def _is_readable(name: str) -> bool:
    if name in _PYSR_FUNCTIONS or not name[:1].isalpha() or keyword.iskeyword(name):
        return False
    try:
        Expression(["x0"]).to_pysr((name,))
    except ExpressionError:
        return False
    return True
