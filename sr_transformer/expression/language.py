"""Languages: sets of operators as values, one row an operator with everything known about it.

Every module that needs an operator's arity, value, derivative or spelling reads it from a language;
adding an operator means adding one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from sr_transformer.errors import ExpressionError

Array = np.ndarray
C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of a language.

    Parameters
    ----------
    name : str
        Symbol in a prefix sequence; also PySR's (Julia's) name of the operator.
    arity : int
        Number of arguments, 1 or 2.
    function : callable
        Vectorised NumPy function of ``arity`` float64 arrays.
    derivative : callable
        ``derivative(value, *arguments)`` returns one array for each argument: the partial
        derivative of the operator with respect to it. ``value`` is the operator's own value.
    sympy : str
        Expression template in SymPy's names with ``{0}`` and ``{1}`` for the arguments.
    python : str
        The same template in NumPy's names (``np`` imported).
    precedence : int
        Binding strength in infix text; 0 for operators written as a function call.
    """

    name: str
    arity: int
    function: Callable[..., Array]
    derivative: Callable[..., tuple[Array, ...]]
    sympy: str
    python: str
    precedence: int = 0

    @property
    def infix(self) -> bool:
        """Whether the operator is written between its arguments."""
        return self.precedence > 0


CONSTANT = "c"
"""The prefix symbol that stands for a numeric constant."""


class _Columns(dict[str, int]):
    """Column index by variable symbol, read once each."""

    def __missing__(self, symbol: str) -> int:
        self[symbol] = column = int(symbol[1:])
        return column


_COLUMNS = _Columns()


class Language:
    """The operators that formulas of one kind are written with; it cannot be changed.

    Parameters
    ----------
    name : str
        What messages call it.
    rows : iterable of Operator

    Attributes
    ----------
    operators : mapping of str to Operator
        Every operator by name, in the order of the rows.
    arity : dict of str to int
        Arity by operator name: the hot loops read this and treat all other symbols as leaves.
    """

    __slots__ = ("arity", "name", "operators")

    def __init__(self, name: str, rows: Iterable[Operator]) -> None:
        operators = {row.name: row for row in rows}
        for attribute, value in (
            ("name", name),
            ("operators", MappingProxyType(operators)),
            ("arity", {name: row.arity for name, row in operators.items()}),
        ):
            object.__setattr__(self, attribute, value)

    name: str
    operators: Mapping[str, Operator]
    arity: dict[str, int]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Language cannot be changed; make another one instead of setting {name!r}."
        )

    def __repr__(self) -> str:
        return f"Language({self.name!r}: {' '.join(self.operators)})"

    def __reduce__(self) -> str | tuple:
        # Those of this module are found again by name, so that a pickle holds no functions.
        if globals().get(self.name.upper()) is self:
            return self.name.upper()
        return Language, (self.name, tuple(self.operators.values()))

    def fold(
        self,
        symbols: Sequence[str],
        constants: Sequence[C],
        constant: Callable[[C], T],
        variable: Callable[[int], T],
        operation: Callable[..., T],
    ) -> T:
        """Make one value of a prefix sequence; see :meth:`Expression.fold`.

        Leaves and operators are visited from the last symbol to the first.
        """
        arity = self.arity
        stack: list[T] = []
        push, pop = stack.append, stack.pop
        values = iter(constants[::-1])
        for symbol in symbols[::-1]:
            n_arguments = arity.get(symbol)
            if n_arguments is None:
                number = symbol == CONSTANT
                push(constant(next(values)) if number else variable(_COLUMNS[symbol]))
            elif n_arguments == 2:
                push(operation(symbol, pop(), pop()))
            else:
                push(operation(symbol, pop()))
        return stack[0]

    def extended(self, name: str, *rows: Operator) -> Language:
        """This language with further operators."""
        return Language(name, (*self.operators.values(), *rows))

    def check(self, binary: Iterable[str], unary: Iterable[str]) -> frozenset[str]:
        """Return the named operators as one set.

        Raises
        ------
        ExpressionError
            If a name is unknown or stands in the list of the other arity.
        """
        chosen: set[str] = set()
        for kind, arity, names in (("binary", 2, binary), ("unary", 1, unary)):
            if isinstance(names, str):
                raise ExpressionError(
                    f"{kind}_operators is the string {names!r}; give a list of names, such as "
                    f"[{names!r}]."
                )
            allowed = [name for name, n in self.arity.items() if n == arity]
            for name in names:
                if name not in allowed:
                    raise ExpressionError(
                        f"{kind}_operators holds {name!r}; the {kind} operators known here are "
                        f"{', '.join(allowed)}."
                    )
                chosen.add(name)
        return frozenset(chosen)


def _power_derivative(value: Array, base: Array, exponent: Array) -> tuple[Array, Array]:
    # d/d exponent is value * log(base): undefined for base < 0, where the exponent cannot move,
    # and 0 in the limit where the value is.
    by_exponent = np.where(value == 0.0, 0.0, value * np.log(base))
    return exponent * np.power(base, exponent - 1.0), by_exponent


def _maximum_derivative(_: Array, a: Array, b: Array) -> tuple[Array, Array]:
    first = np.asarray(a >= b, dtype=float)
    return first, 1.0 - first


def _minimum_derivative(_: Array, a: Array, b: Array) -> tuple[Array, Array]:
    first = np.asarray(a <= b, dtype=float)
    return first, 1.0 - first


ARITHMETIC = Language("arithmetic", (
    Operator("+", 2, np.add, lambda v, a, b: (1.0, 1.0), "({0} + {1})", "({0} + {1})", 1),
    Operator("-", 2, np.subtract, lambda v, a, b: (1.0, -1.0), "({0} - {1})", "({0} - {1})", 1),
    Operator("*", 2, np.multiply, lambda v, a, b: (b, a), "({0} * {1})", "({0} * {1})", 2),
    Operator(
        "/", 2, np.divide, lambda v, a, b: (1.0 / b, -v / b), "({0} / {1})", "({0} / {1})", 2
    ),
    Operator("^", 2, np.power, _power_derivative, "({0} ** {1})", "({0} ** {1})", 4),
    Operator(
        "max", 2, np.maximum, _maximum_derivative, "Max({0}, {1})", "np.maximum({0}, {1})"
    ),
    Operator(
        "min", 2, np.minimum, _minimum_derivative, "Min({0}, {1})", "np.minimum({0}, {1})"
    ),
    Operator("neg", 1, np.negative, lambda v, a: (-1.0,), "(-{0})", "(-{0})"),
    Operator("inv", 1, np.reciprocal, lambda v, a: (-v * v,), "(1 / {0})", "(1.0 / {0})"),
    Operator("square", 1, np.square, lambda v, a: (2.0 * a,), "({0} ** 2)", "np.square({0})"),
    Operator(
        "cube", 1, lambda a: a * a * a, lambda v, a: (3.0 * a * a,), "({0} ** 3)", "({0} ** 3)"
    ),
    Operator("sqrt", 1, np.sqrt, lambda v, a: (0.5 / v,), "sqrt({0})", "np.sqrt({0})"),
    Operator("exp", 1, np.exp, lambda v, a: (v,), "exp({0})", "np.exp({0})"),
    Operator("log", 1, np.log, lambda v, a: (1.0 / a,), "log({0})", "np.log({0})"),
    Operator("sin", 1, np.sin, lambda v, a: (np.cos(a),), "sin({0})", "np.sin({0})"),
    Operator("cos", 1, np.cos, lambda v, a: (-np.sin(a),), "cos({0})", "np.cos({0})"),
    Operator("tan", 1, np.tan, lambda v, a: (1.0 + v * v,), "tan({0})", "np.tan({0})"),
    Operator(
        "asin", 1, np.arcsin, lambda v, a: (1.0 / np.sqrt(1.0 - a * a),), "asin({0})",
        "np.arcsin({0})",
    ),
    Operator(
        "acos", 1, np.arccos, lambda v, a: (-1.0 / np.sqrt(1.0 - a * a),), "acos({0})",
        "np.arccos({0})",
    ),
    Operator(
        "atan", 1, np.arctan, lambda v, a: (1.0 / (1.0 + a * a),), "atan({0})", "np.arctan({0})"
    ),
    Operator("sinh", 1, np.sinh, lambda v, a: (np.cosh(a),), "sinh({0})", "np.sinh({0})"),
    Operator("cosh", 1, np.cosh, lambda v, a: (np.sinh(a),), "cosh({0})", "np.cosh({0})"),
    Operator("tanh", 1, np.tanh, lambda v, a: (1.0 - v * v,), "tanh({0})", "np.tanh({0})"),
    Operator("abs", 1, np.abs, lambda v, a: (np.sign(a),), "Abs({0})", "np.abs({0})"),
))  # fmt: skip
"""Formulas of real numbers."""

DEFAULT_BINARY = ("+", "-", "*", "/", "^")
DEFAULT_UNARY = (
    "square", "cube", "sqrt", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "tanh",
    "abs",
)  # fmt: skip
