"""Formulas as SymPy expressions and LaTeX, and back from SymPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.canonical import NAMED_POWERS
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, Language
from sr_transformer.expression.reading import PLAIN_NAME, VariableNames
from sr_transformer.expression.writing import used_names

if TYPE_CHECKING:
    import sympy


@lru_cache
def _builders(language: Language) -> dict[str, Callable[..., Any]]:
    """SymPy constructor by operator name, made from the templates of the rows."""
    import sympy

    names = dict(vars(sympy))
    return {
        name: eval(f"lambda a, b=None, c=None: {row.sympy.format('a', 'b', 'c')}", names)
        if row.sympy
        else sympy.Function(name)
        for name, row in language.operators.items()
    }


@lru_cache
def _functions(language: Language) -> dict[Any, str]:
    """Operator name by SymPy's function class, where a template is nothing but that."""
    import sympy
    from sympy.core.function import Application

    arguments = sympy.symbols("a b c")
    found = {}
    for name, build in _builders(language).items():
        n_arguments = language.arity[name]
        built = build(*arguments[:n_arguments])
        if isinstance(built, Application) and built.args == arguments[:n_arguments]:
            found[built.func] = name
    return found


def to_sympy(expression: Expression, variable_names: Sequence[str] | None = None) -> sympy.Basic:
    """SymPy expression over real symbols.

    Parts without variables become one number. SymPy applies its automatic rules (and no
    simplification), unless they lead out of the real functions known here: then the formula is
    built as it stands.
    """
    import sympy

    names = used_names(expression, variable_names)
    try:
        formula = _built(expression, names)
        functions = {part.func for part in formula.atoms(sympy.Function)}
        strangers = (sympy.I, sympy.zoo, sympy.nan, sympy.AccumBounds)
        if functions <= _functions(expression.language).keys() and not formula.has(*strangers):
            return formula
    except (TypeError, ValueError, OverflowError):
        pass  # its rules compare with nan or infinity for some formulas
    with sympy.evaluate(False):
        return _built(expression, names)


def _built(expression: Expression, names: dict[int, str]) -> sympy.Basic:
    import sympy

    builders, rows = _builders(expression.language), expression.language.operators

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
                return float(rows[name].function(*parts))
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


def from_sympy(
    formula: sympy.Basic | float,
    variable_names: Sequence[str] | None = None,
    language: Language = ARITHMETIC,
) -> Expression:
    """Convert a SymPy expression.

    Parameters
    ----------
    formula : sympy.Basic, int or float
        Sums, products, powers, the functions of the language, real numbers and symbols.
    variable_names : sequence of str, optional
        Names of the columns, in order; ``x0``, ``x1``, ... by default.
    language : Language

    Raises
    ------
    ExpressionError
        If it holds another function, an unknown symbol or a number that is not real, or is no
        SymPy expression. Text is read by :func:`parse`: SymPy would evaluate it as code.
    """
    import sympy

    if not isinstance(formula, (sympy.Basic, int, float)):
        hint = " Read text with Expression.parse." if isinstance(formula, str) else ""
        raise ExpressionError(
            f"from_sympy converts a SymPy expression, int or float; got {type(formula).__name__}."
            f"{hint}"
        )
    names = VariableNames(variable_names, language)
    functions = _functions(language)
    join = Expression.joined

    def fold(operator: str, parts: Sequence[Expression]) -> Expression:
        return reduce(partial(join, operator), parts)

    def number(value: float) -> Expression:
        return Expression.number(value, language)

    def convert(part: Any) -> Expression:
        if part.is_Symbol:
            column = names.get(part.name)
            if column is None:
                raise ExpressionError(
                    f"{formula} holds the unknown symbol {part.name!r}; variables are: {names}."
                )
            return column
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
        parts = [convert(argument) for argument in part.args]
        return fold(name, parts) if language.arity[name] == 2 else join(name, *parts)

    def is_negative(term: Any) -> bool:
        coefficient = term.args[0] if term.is_Mul else term
        return bool(coefficient.is_Number and coefficient.is_negative)

    def total(terms: Sequence[Any]) -> Expression:
        added = [convert(term) for term in terms if not is_negative(term)]
        taken = [term for term in terms if is_negative(term)]
        if not added:
            added = [convert(taken.pop(0))]
        result = fold("+", added)
        for term in taken:
            result = join("-", result, opposite(term))
        return result

    def opposite(term: Any) -> Expression:
        if not term.is_Mul:
            return number(-_as_float(term))
        coefficient, *rest = term.args
        return product(rest if coefficient == -1 else [-coefficient, *rest])

    def product(factors: Sequence[Any]) -> Expression:
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

    def power(base: Any, exponent: Any) -> Expression:
        if base == sympy.E:
            return join("exp", convert(exponent))
        below = convert(base)
        if exponent.is_Rational or exponent.is_Float:
            value = _as_float(exponent)
            if value == 1.0:
                return below
            if abs(value) in NAMED_POWERS:
                result = join(NAMED_POWERS[abs(value)], below)
                return join("inv", result) if value < 0 else result
            return join("inv", below) if value == -1.0 else join("^", below, number(value))
        return join("^", below, convert(exponent))

    try:
        return convert(sympy.sympify(formula))
    except RecursionError:
        raise ExpressionError("the SymPy expression is nested too deeply.") from None


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
