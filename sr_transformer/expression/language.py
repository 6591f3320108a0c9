"""Languages: sets of operators as values, one row an operator with everything known about it.

Every module that needs an operator's arity, value, derivative or spelling reads it from a language;
adding an operator means adding one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np

from sr_transformer.errors import ExpressionError

Array = np.ndarray
C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True)
class Operator:
    """One operator of a language.

    Parameters
    ----------
    name : str
        Symbol in a prefix sequence; also PySR's (Julia's) name of the operator.
    arity : int
        Number of arguments, 1 or 2. Formulas with an operator of more can be evaluated, shown and
        compared, but their constants are not fitted.
    function : callable
        Vectorised NumPy function of ``arity`` float64 arrays.
    derivative : callable
        ``derivative(value, *arguments)`` returns one array for each argument: the partial
        derivative of the operator with respect to it. ``value`` is the operator's own value.
    sympy : str
        Expression template in SymPy's names with ``{0}`` and ``{1}`` for the arguments; empty where
        SymPy has none, which then shows an undefined function.
    python : str
        The same template in NumPy's names (``np`` imported).
    precedence : int
        Binding strength in infix text; 0 for operators written as a function call.
    aliases : tuple of str
        Further names of the function in text that is read.
    spellings : tuple of str
        The same function of ``a`` and ``b`` in text, by other operators of the language.
    parity : int
        ``f(-x) = parity * f(x)`` holds for every x; 0 where it holds for neither 1 nor -1.
    inverse : str
        Name of the function g of the language for which ``f(g(x)) = x`` wherever g is defined.
    domain : tuple of float
        Closed interval of the first argument on which the value is real, or infinite at a pole,
        whatever the second argument is.
    """

    name: str
    arity: int
    function: Callable[..., Array]
    derivative: Callable[..., tuple[Array, ...]]
    sympy: str
    python: str
    precedence: int = 0
    aliases: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    parity: int = 0
    inverse: str = ""
    domain: tuple[float, float] = (-math.inf, math.inf)


CONSTANT = "c"
"""The prefix symbol that stands for a numeric constant."""


class _Columns(dict[str, int]):
    """Column index by variable symbol, read once each."""

    def __missing__(self, symbol: str) -> int:
        self[symbol] = column = int(symbol[1:])
        return column


COLUMNS = _Columns()


class Language:
    """The operators that formulas of one kind are written with; it cannot be changed.

    Languages of one name and equal operators are one object, so that ``is`` compares them.

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
    functions : mapping of str to str
        Operator by each name that means a function in text.
    """

    __slots__ = ("__weakref__", "arity", "functions", "name", "operators")

    name: str
    operators: Mapping[str, Operator]
    arity: dict[str, int]
    functions: Mapping[str, str]

    def __new__(cls, name: str, rows: Iterable[Operator]) -> Language:
        operators = {row.name: row for row in rows}
        self = super().__new__(cls)
        for attribute, value in (
            ("name", name),
            ("operators", MappingProxyType(operators)),
            ("arity", {row.name: row.arity for row in operators.values()}),
            ("functions", MappingProxyType({
                text: row.name
                for row in operators.values()
                for text in (row.name, *row.aliases)
                if text.isidentifier()
            })),
        ):  # fmt: skip
            object.__setattr__(self, attribute, value)
        return _LANGUAGES.setdefault((name, tuple(operators.values())), self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Language cannot be changed; make another one instead of setting {name!r}."
        )

    def __repr__(self) -> str:
        return f"Language({self.name!r}: {' '.join(self.operators)})"

    def __reduce__(self) -> str | tuple:
        # What this module holds is found again by name, so that a pickle holds no lambda.
        if globals().get(self.name.upper()) is self:
            return self.name.upper()
        known = ARITHMETIC.operators
        rows = [name if known.get(name) is row else row for name, row in self.operators.items()]
        return _language, (self.name, rows)

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
                push(constant(next(values)) if number else variable(COLUMNS[symbol]))
            elif n_arguments == 2:
                push(operation(symbol, pop(), pop()))
            elif n_arguments == 1:
                push(operation(symbol, pop()))
            else:
                push(operation(symbol, *(pop() for _ in range(n_arguments))))
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
            allowed = [name for name, n in self.arity.items() if n == arity]
            for name in names:
                if name not in allowed:
                    raise ExpressionError(
                        f"{kind}_operators holds {name!r}; the {kind} operators known here are "
                        f"{', '.join(allowed)}."
                    )
                chosen.add(name)
        return frozenset(chosen)


_LANGUAGES: WeakValueDictionary[tuple, Language] = WeakValueDictionary()


def _language(name: str, rows: Iterable[Operator | str]) -> Language:
    """A language from a pickle, in which operators of ``ARITHMETIC`` go by their names."""
    known = ARITHMETIC.operators
    return Language(name, [known[row] if isinstance(row, str) else row for row in rows])


def _power_derivative(value: Array, base: Array, exponent: Array) -> tuple[Array, Array]:
    # d/d exponent is value * log(base): undefined for base < 0, where the exponent cannot move,
    # and 0 in the limit where the value is.
    by_exponent = np.where(value == 0.0, 0.0, value * np.log(base))
    return exponent * np.power(base, exponent - 1.0), by_exponent


_HALF_PI = math.pi / 2
_NOT_NEGATIVE = (0.0, math.inf)

ARITHMETIC = Language("arithmetic", (
    Operator(
        "+", 2, np.add, lambda v, a, b: (1.0, 1.0), "({0} + {1})", "({0} + {1})", 1,
        spellings=("a - -b",),
    ),
    Operator(
        "-", 2, np.subtract, lambda v, a, b: (1.0, -1.0), "({0} - {1})", "({0} - {1})", 1,
        spellings=("a + -b",),
    ),
    Operator(
        "*", 2, np.multiply, lambda v, a, b: (b, a), "({0} * {1})", "({0} * {1})", 2,
        spellings=("a / inv(b)",),
    ),
    Operator(
        "/", 2, np.divide, lambda v, a, b: (1.0 / b, -v / b), "({0} / {1})", "({0} / {1})", 2,
        spellings=("a * inv(b)",),
    ),
    Operator(
        "^", 2, np.power, _power_derivative, "({0} ** {1})", "({0} ** {1})", 4,
        aliases=("pow",), domain=_NOT_NEGATIVE,
    ),
    # With evaluation SymPy tries to prove which argument is larger, which can take minutes.
    Operator(
        "max", 2, np.maximum, lambda v, a, b: (1.0 * (a >= b), 1.0 - (a >= b)),
        "Max({0}, {1}, evaluate=False)", "np.maximum({0}, {1})",
        aliases=("Max",), spellings=("-min(-a, -b)",),
    ),
    Operator(
        "min", 2, np.minimum, lambda v, a, b: (1.0 * (a <= b), 1.0 - (a <= b)),
        "Min({0}, {1}, evaluate=False)", "np.minimum({0}, {1})",
        aliases=("Min",), spellings=("-max(-a, -b)",),
    ),
    Operator(
        "neg", 1, np.negative, lambda v, a: (-1.0,), "(-{0})", "(-{0})",
        spellings=("-1.0 * a", "0.0 - a", "a / -1.0"), parity=-1,
    ),
    Operator(
        "inv", 1, np.reciprocal, lambda v, a: (-v * v,), "(1 / {0})", "(1.0 / {0})",
        spellings=("1.0 / a", "a ^ -1.0"), parity=-1, inverse="inv",
    ),
    Operator(
        "square", 1, np.square, lambda v, a: (2.0 * a,), "({0} ** 2)", "np.square({0})",
        spellings=("a * a", "a ^ 2.0"), parity=1, inverse="sqrt",
    ),
    Operator(
        "cube", 1, lambda a: a * a * a, lambda v, a: (3.0 * a * a,), "({0} ** 3)", "({0} ** 3)",
        spellings=("a * square(a)", "a ^ 3.0"), parity=-1,
    ),
    Operator(
        "sqrt", 1, np.sqrt, lambda v, a: (0.5 / v,), "sqrt({0})", "np.sqrt({0})",
        spellings=("a ^ 0.5", "exp(0.5 * log(a))"), domain=_NOT_NEGATIVE,
    ),
    Operator(
        "exp", 1, np.exp, lambda v, a: (v,), "exp({0})", "np.exp({0})",
        spellings=(f"{math.e} ^ a",), inverse="log",
    ),
    Operator(
        "log", 1, np.log, lambda v, a: (1.0 / a,), "log({0})", "np.log({0})",
        aliases=("ln",), inverse="exp", domain=_NOT_NEGATIVE,
    ),
    Operator(
        "sin", 1, np.sin, lambda v, a: (np.cos(a),), "sin({0})", "np.sin({0})",
        spellings=(f"cos(a + {-_HALF_PI})", f"cos(a - {_HALF_PI})"), parity=-1, inverse="asin",
    ),
    Operator(
        "cos", 1, np.cos, lambda v, a: (-np.sin(a),), "cos({0})", "np.cos({0})",
        spellings=(f"sin(a + {_HALF_PI})", f"sin(a - {-_HALF_PI})"), parity=1, inverse="acos",
    ),
    Operator(
        "tan", 1, np.tan, lambda v, a: (1.0 + v * v,), "tan({0})", "np.tan({0})",
        spellings=("sin(a) / cos(a)",), parity=-1, inverse="atan",
    ),
    Operator(
        "asin", 1, np.arcsin, lambda v, a: (1.0 / np.sqrt(1.0 - a * a),), "asin({0})",
        "np.arcsin({0})", parity=-1, domain=(-1.0, 1.0),
        spellings=(f"{_HALF_PI} - acos(a)", "atan(a / sqrt(1.0 - square(a)))"),
    ),
    Operator(
        "acos", 1, np.arccos, lambda v, a: (-1.0 / np.sqrt(1.0 - a * a),), "acos({0})",
        "np.arccos({0})", domain=(-1.0, 1.0), spellings=(f"{_HALF_PI} - asin(a)",),
    ),
    Operator(
        "atan", 1, np.arctan, lambda v, a: (1.0 / (1.0 + a * a),), "atan({0})", "np.arctan({0})",
        parity=-1,
    ),
    Operator(
        "sinh", 1, np.sinh, lambda v, a: (np.cosh(a),), "sinh({0})", "np.sinh({0})",
        spellings=("0.5 * (exp(a) - exp(-a))",), parity=-1,
    ),
    Operator(
        "cosh", 1, np.cosh, lambda v, a: (np.sinh(a),), "cosh({0})", "np.cosh({0})",
        spellings=("0.5 * (exp(a) + exp(-a))",), parity=1,
    ),
    Operator(
        "tanh", 1, np.tanh, lambda v, a: (1.0 - v * v,), "tanh({0})", "np.tanh({0})",
        # Not sinh / cosh: both overflow where tanh is 1.
        spellings=("1.0 - 2.0 / (1.0 + exp(2.0 * a))",), parity=-1,
    ),
    Operator(
        "abs", 1, np.abs, lambda v, a: (np.sign(a),), "Abs({0})", "np.abs({0})",
        aliases=("Abs",), spellings=("sqrt(square(a))", "max(a, -a)"), parity=1,
    ),
))  # fmt: skip
"""Formulas of real numbers."""

DEFAULT_BINARY = ("+", "-", "*", "/", "^")
DEFAULT_UNARY = (
    "square", "cube", "sqrt", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "tanh",
    "abs",
)  # fmt: skip
