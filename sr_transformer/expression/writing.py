"""The written forms of a formula: text, PySR guess, Python, SymPy and LaTeX; and back from SymPy.

Text is read in ``reading.py``; ``parse`` is here too, so that all forms have one home.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT
from sr_transformer.expression.reading import (
    PLAIN_NAME,
    RESERVED,
    Node,
    VariableNames,
    join,
    parse,
    quoted,
)

if TYPE_CHECKING:
    import sympy

__all__ = [
    "from_sympy", "parse", "python_names", "to_latex", "to_pysr", "to_python", "to_sympy",
    "to_text",
]  # fmt: skip

_JULIA_WORDS = frozenset({
    "baremodule", "begin", "break", "catch", "const", "continue", "do", "else", "elseif", "end",
    "export", "false", "finally", "for", "function", "global", "if", "im", "import", "in", "isa",
    "let", "local", "macro", "missing", "module", "nothing", "quote", "return", "struct", "true",
    "try", "using", "where", "while",
})  # fmt: skip


# --- writing text -----------------------------------------------------------------------------
def _names(expression: Expression, variable_names: Sequence[str] | None) -> dict[int, str]:
    """Name by column, for the columns in use."""
    used = expression.variables
    if variable_names is None:
        return {i: f"x{i}" for i in used}
    if used and used[-1] >= len(variable_names):
        raise ExpressionError(
            f"the formula reads column {used[-1]}, but only {len(variable_names)} variable names "
            f"were given: {list(variable_names)}."
        )
    return {i: str(variable_names[i]) for i in used}


# How tightly a text holds together, on the scale of Operator.precedence.
_NAME, _NUMBER, _POWER, _MINUS = 9, 8, 4, 3


def to_text(
    expression: Expression,
    variable_names: Sequence[str] | None = None,
    precision: int | None = None,
) -> str:
    """Infix text with as few parentheses as its reading back to the same tree allows.

    Parameters
    ----------
    expression : Expression
    variable_names : sequence of str, optional
        Names of the columns; a name that :func:`parse` could mistake is put in backquotes.
    precision : int, optional
        Significant digits of the constants; all of them by default. Text with rounded constants
        is for the eye: a negative term is written as a subtraction.

    Raises
    ------
    ExpressionError
        If there are fewer names than columns in use.
    """
    names = {i: quoted(name) for i, name in _names(expression, variable_names).items()}
    operators = ARITHMETIC.operators

    def number(value: float) -> tuple[str, int]:
        text = repr(value) if precision is None else f"{value:.{precision}g}"
        # A negative number needs parentheses only as the base of a power.
        return text, _POWER if text[0] == "-" else _NUMBER

    def operation(name: str, *parts: tuple[str, int]) -> tuple[str, int]:
        own = operators[name].precedence
        if own:
            (left, first), (right, second) = parts
            if first < own or first == own == _POWER:
                left = f"({left})"
            if second < own or second == _MINUS or second == own != _POWER:
                right = f"({right})"
            if precision is not None and name == "+" and right[0] == "-":
                name, right = "-", right[1:]
            return f"{left} {name} {right}", own
        if name == "neg":
            ((inner, strength),) = parts
            # A bare number after the sign would be read as a negative number.
            return f"-{inner}" if strength == _NAME else f"-({inner})", _MINUS
        return f"{name}({', '.join([text for text, _ in parts])})", _NAME

    return expression.fold(number, lambda i: (names[i], _NAME), operation)[0]


def to_pysr(expression: Expression, variable_names: Sequence[str] | None = None) -> str:
    """Text that PySR accepts as one of its ``guesses``: every operation in parentheses.

    The operators are written as they stand, so lower the formula to those of the search first.

    Raises
    ------
    ExpressionError
        If a constant is not finite, or a variable has a name that Julia or PySR cannot read.
    """
    names = _names(expression, variable_names)
    for name in names.values():
        plain = name.isascii() and name.isidentifier() and name.strip("_")
        if not plain or name in RESERVED or name in _JULIA_WORDS:
            raise ExpressionError(
                f"PySR cannot read the variable name {name!r}: use letters, digits and "
                "underscores, and no name of a function or Julia keyword."
            )

    def number(value: float) -> str:
        if not math.isfinite(value):
            raise ExpressionError(
                f"PySR cannot read the constant {value}: only finite numbers have a literal."
            )
        return f"({value!r})" if math.copysign(1.0, value) < 0 else repr(value)

    def operation(name: str, *parts: str) -> str:
        if ARITHMETIC.operators[name].infix:
            return f"({parts[0]} {name} {parts[1]})"
        return f"{name}({', '.join(parts)})"

    return expression.fold(number, names.__getitem__, operation)


def python_names(variable_names: Sequence[str]) -> list[str]:
    """Python identifiers for column names.

    A name that is an identifier stays. In any other, each character but ASCII letters, digits and
    ``_`` becomes ``_``, ``_`` is put before a leading digit or an empty name, and ``_`` is
    appended as long as the result is taken, a keyword or ``np``.
    """
    names = [str(name) for name in variable_names]

    def usable(name: str) -> bool:
        return name.isidentifier() and not keyword.iskeyword(name) and name != "np"

    taken = {name for name in names if usable(name)}
    result = []
    for name in names:
        if not usable(name):
            name = re.sub(r"[^0-9A-Za-z_]", "_", name)
            if not name or name[0].isdigit():
                name = "_" + name
            while not usable(name) or name in taken:
                name += "_"
            taken.add(name)
        result.append(name)
    return result


def to_python(expression: Expression, variable_names: Sequence[str] | None = None) -> str:
    """Python expression over float64 arrays with the columns' names; needs NumPy as ``np``.

    Columns whose names are not Python identifiers go by those of :func:`python_names`. A formula
    without variables gives a single number.
    """
    if variable_names is not None:
        variable_names = python_names(variable_names)
    names = _names(expression, variable_names)

    # A part: its text, and whether Python would compute it without NumPy (where 1 / 0 raises
    # and (-1) ** .5 is complex).
    def number(value: float) -> tuple[str, bool]:
        text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
        return f"({text})" if text[0] == "-" else text, True

    def operation(name: str, *parts: tuple[str, bool]) -> tuple[str, bool]:
        template = ARITHMETIC.operators[name].python
        texts = [text for text, _ in parts]
        pure = all(plain for _, plain in parts)
        if pure and ("/" in template or "**" in template):
            texts[0] = f"np.float64({texts[0]})"
            pure = False
        return template.format(*texts), pure and "np." not in template

    text = expression.fold(number, lambda i: (names[i], False), operation)[0]
    return text[1:-1] if text[0] == "(" and expression.symbols[0] in ARITHMETIC.arity else text


# --- SymPy ------------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _sympy_builders() -> dict[str, Callable[..., Any]]:
    """SymPy constructor by operator name, made from the templates of the operator table."""
    import sympy

    builders: dict[str, Callable[..., Any]] = {}
    for name, row in ARITHMETIC.operators.items():
        arguments = ("a", "b")[: row.arity]
        source = f"lambda {', '.join(arguments)}: {row.sympy.format(*arguments)}"
        builders[name] = eval(source, {**vars(sympy)})
    # With evaluation SymPy tries to prove which argument is larger, which can take minutes.
    builders["max"] = lambda a, b: sympy.Max(a, b, evaluate=False)
    builders["min"] = lambda a, b: sympy.Min(a, b, evaluate=False)
    return builders


@lru_cache(maxsize=1)
def _sympy_functions() -> dict[Any, str]:
    """Operator name by SymPy's function class."""
    import sympy

    same = ("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
    own = {getattr(sympy, name): name for name in same}
    return own | {sympy.Abs: "abs", sympy.Max: "max", sympy.Min: "min"}


def to_sympy(expression: Expression, variable_names: Sequence[str] | None = None) -> sympy.Basic:
    """SymPy expression over real symbols.

    Parts without variables become one number. SymPy applies its automatic rules (and no
    simplification), unless they lead out of the real functions known here: then the formula is
    built as it stands.
    """
    import sympy

    names = _names(expression, variable_names)
    try:
        formula = _build_sympy(expression, names)
        functions = {part.func for part in formula.atoms(sympy.Function)}
        strangers = (sympy.I, sympy.zoo, sympy.nan, sympy.AccumBounds)
        if functions <= _sympy_functions().keys() and not formula.has(*strangers):
            return formula
    except (TypeError, ValueError, OverflowError):
        pass  # its rules compare with nan or infinity for some formulas
    with sympy.evaluate(False):
        return _build_sympy(expression, names)


def _build_sympy(expression: Expression, names: dict[int, str]) -> sympy.Basic:
    import sympy

    builders = _sympy_builders()

    def convert(part: Any, is_exponent: bool) -> Any:
        if not isinstance(part, float):
            return part
        if not math.isfinite(part):
            return {math.inf: sympy.oo, -math.inf: -sympy.oo}.get(part, sympy.nan)
        if is_exponent and part.is_integer() and abs(part) < 1e6:
            return sympy.Integer(int(part))
        return sympy.Float(part)

    def operation(name: str, *parts: Any) -> Any:
        if all(isinstance(part, float) for part in parts):
            with np.errstate(all="ignore"):
                return float(ARITHMETIC.operators[name].function(*parts))
        power = name == "^"
        return builders[name](*(convert(p, power and i == 1) for i, p in enumerate(parts)))

    symbols = {i: sympy.Symbol(name, real=True) for i, name in names.items()}
    return convert(expression.fold(float, symbols.__getitem__, operation), False)


def to_latex(
    expression: Expression, variable_names: Sequence[str] | None = None, precision: int = 4
) -> str:
    """LaTeX through SymPy's printer, with numbers rounded to ``precision`` significant digits."""
    import sympy

    formula = to_sympy(expression, variable_names)
    rounded = {}
    for number in formula.atoms(sympy.Float):
        value = float(f"{float(number):.{precision}g}")
        whole = value.is_integer() and abs(value) < 10**precision
        rounded[number] = sympy.Integer(int(value)) if whole else sympy.Float(value, precision)
    spelled = {
        symbol: r"\text{" + _latex_escaped(symbol.name) + "}"
        for symbol in formula.free_symbols
        if not PLAIN_NAME.fullmatch(symbol.name)
    }
    return sympy.latex(formula.xreplace(rounded), symbol_names=spelled)


def _latex_escaped(name: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {mark: "\\" + mark for mark in "{}_#$%&"}
    return "".join(special.get(mark, mark) for mark in name)


def from_sympy(formula: sympy.Basic, variable_names: Sequence[str] | None = None) -> Expression:
    """Convert a SymPy expression.

    Parameters
    ----------
    formula : sympy.Basic
        Sums, products, powers, the functions of the operator table, real numbers and symbols.
    variable_names : sequence of str, optional
        Names of the columns, in order; ``x0``, ``x1``, ... by default.

    Raises
    ------
    ExpressionError
        If it holds another function, an unknown symbol or a number that is not real.
    """
    import sympy

    names = VariableNames(variable_names)
    functions = _sympy_functions()

    def fold(operator: str, parts: Sequence[Node]) -> Node:
        result = parts[0]
        for part in parts[1:]:
            result = join(operator, result, part)
        return result

    def number(value: float) -> Node:
        return [CONSTANT], [value]

    def convert(part: Any) -> Node:
        if part.is_Symbol:
            if part.name not in names:
                raise ExpressionError(
                    f"{formula} holds the unknown symbol {part.name!r}; variables are: {names}."
                )
            return [names.symbol(part.name)], []
        if part.is_number and (part.is_Rational or part.is_Float or part.is_NumberSymbol):
            return number(_as_float(part))
        if part in (sympy.oo, -sympy.oo, sympy.nan):
            return number(float(part))
        if part.is_Add:
            return total(part.args)
        if part.is_Mul:
            return product(part.args)
        if part.is_Pow:
            return power(part.base, part.exp)
        name = functions.get(part.func)
        if name is None:
            raise ExpressionError(
                f"cannot convert {part} of SymPy's type {type(part).__name__}; known are sums, "
                f"products, powers, real numbers and {', '.join(functions.values())}."
            )
        if len(part.args) < 2 and ARITHMETIC.arity[name] == 2:
            return convert(part.args[0])
        parts = [convert(argument) for argument in part.args]
        return fold(name, parts) if ARITHMETIC.arity[name] == 2 else join(name, *parts)

    def is_negative(term: Any) -> bool:
        coefficient = term.args[0] if term.is_Mul else term
        return bool(coefficient.is_Number and coefficient.is_negative)

    def total(terms: Sequence[Any]) -> Node:
        added = [convert(term) for term in terms if not is_negative(term)]
        taken = [term for term in terms if is_negative(term)]
        if not added:
            added = [convert(taken.pop(0))]
        result = fold("+", added)
        for term in taken:
            result = join("-", result, opposite(term))
        return result

    def opposite(term: Any) -> Node:
        if not term.is_Mul:
            return number(-_as_float(term))
        coefficient, *rest = term.args
        return product(rest if coefficient == -1 else [-coefficient, *rest])

    def product(factors: Sequence[Any]) -> Node:
        if factors[0] == -1 and len(factors) > 1:
            return join("neg", product(factors[1:]))
        above, below = [], []
        for factor in factors:
            if factor.is_Pow and is_negative(factor.exp) and factor.exp.is_Number:
                below.append(power(factor.base, -factor.exp))
            else:
                above.append(convert(factor))
        if not below:
            return fold("*", above)
        if not above:
            return join("inv", fold("*", below))
        return join("/", fold("*", above), fold("*", below))

    def power(base: Any, exponent: Any) -> Node:
        if base == sympy.E:
            return join("exp", convert(exponent))
        below = convert(base)
        if exponent.is_Rational or exponent.is_Float:
            value = _as_float(exponent)
            if value == 1.0:
                return below
            for function, meaning in (("square", 2.0), ("cube", 3.0), ("sqrt", 0.5)):
                if abs(value) == meaning:
                    result = join(function, below)
                    return join("inv", result) if value < 0 else result
            return join("inv", below) if value == -1.0 else join("^", below, number(value))
        return join("^", below, convert(exponent))

    try:
        symbols, constants = convert(sympy.sympify(formula))
    except RecursionError:
        raise ExpressionError("the SymPy expression is nested too deeply.") from None
    return Expression.unchecked(tuple(symbols), tuple(constants))


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
