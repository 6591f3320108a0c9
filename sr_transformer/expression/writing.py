"""The written forms of a formula: text, PySR guess and Python; SymPy and LaTeX are in ``sympy``."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.reading import MINUS, NUMBERS, POWER, quoted

_JULIA_WORDS = frozenset({
    "baremodule", "begin", "break", "catch", "const", "continue", "do", "else", "elseif", "end",
    "export", "false", "finally", "for", "function", "global", "if", "im", "import", "in", "isa",
    "let", "local", "macro", "missing", "module", "nothing", "quote", "return", "struct", "true",
    "try", "using", "where", "while",
})  # fmt: skip


def used_names(expression: Expression, variable_names: Sequence[str] | None) -> dict[int, str]:
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


_NAME, _NUMBER = 9, 8  # how tightly a text holds together, on the scale of Operator.precedence


def to_text(
    expression: Expression,
    variable_names: Sequence[str] | None = None,
    precision: int | None = None,
    errors: Sequence[float | None] | None = None,
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
    errors : sequence of float or None, optional
        Standard error of each constant; those that have one are written as :func:`with_error`
        does, the others with ``precision`` digits. This is for the eye, too.

    Raises
    ------
    ExpressionError
        If there are fewer names than columns in use.
    """
    language, names = expression.language, used_names(expression, variable_names)

    for_the_eye = precision is not None or errors is not None
    uncertain = [None] * len(expression.constants) if errors is None else errors

    def number(constant: tuple[float, float | None]) -> tuple[str, int]:
        value, error = constant
        if error is not None and 0.0 < error < math.inf:
            text = with_error(value, error)
        else:
            text = repr(value) if precision is None else f"{value:.{precision}g}"
        # A negative number needs parentheses only as the base of a power.
        return text, POWER if text[0] == "-" else _NUMBER

    def operation(name: str, *parts: tuple[str, int]) -> tuple[str, int]:
        own = language.operators[name].precedence
        if own:
            (left, first), (right, second) = parts
            if first < own or first == own == POWER:
                left = f"({left})"
            if second < own or second == MINUS or second == own != POWER:
                right = f"({right})"
            if for_the_eye and name == "+" and right[0] == "-":
                name, right = "-", right[1:]
            return f"{left} {name} {right}", own
        if name == "neg":
            ((inner, strength),) = parts
            # A bare number after the sign would be read as a negative number.
            return f"-{inner}" if strength == _NAME else f"-({inner})", MINUS
        return f"{name}({', '.join([text for text, _ in parts])})", _NAME

    shown = {i: (quoted(name, language), _NAME) for i, name in names.items()}
    constants = list(zip(expression.constants, uncertain, strict=True))
    return language.fold(
        expression.symbols, constants, number, shown.__getitem__, operation
    )[0]  # fmt: skip


def with_error(value: float, error: float) -> str:
    """A number with the uncertainty of its last digits in parentheses, as laboratories write it.

    One digit of the uncertainty is given, two where it begins with a one: ``2.843(4)``,
    ``0.126(12)``, ``1.24(5)e-07``. Without a positive, finite error, all digits of the number.
    """
    if not (math.isfinite(value) and 0.0 < error < math.inf):
        return repr(value)
    digits = 2 if f"{error:.1e}"[0] == "1" else 1
    mantissa, exponent = f"{error:.{digits - 1}e}".split("e")
    last = int(exponent) - digits + 1  # power of ten of the last digit that is given
    uncertain = mantissa.replace(".", "")
    first = max(math.floor(math.log10(abs(value))) if value else last, last)
    if -5 <= first < 6 and last <= 0:
        return f"{value:.{-last}f}({uncertain})"
    return f"{value / 10.0**first:.{first - last}f}({uncertain})e{first:+03d}"


def to_pysr(expression: Expression, variable_names: Sequence[str] | None = None) -> str:
    """Text that PySR accepts as one of its ``guesses``: every operation in parentheses.

    The operators are written as they stand, so lower the formula to those of the search first.

    Raises
    ------
    ExpressionError
        If a constant is not finite, or a variable has a name that Julia or PySR cannot read.
    """
    language, names = expression.language, used_names(expression, variable_names)
    for name in names.values():
        plain = name.isascii() and name.isidentifier() and name.strip("_")
        if not plain or name in (language.functions.keys() | NUMBERS.keys() | _JULIA_WORDS):
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
        if language.operators[name].precedence:
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
    language, names = expression.language, used_names(expression, variable_names)

    # A part: its text, and whether Python would compute it without NumPy (where 1 / 0 raises
    # and (-1) ** .5 is complex).
    def number(value: float) -> tuple[str, bool]:
        text = repr(value).replace("inf", "np.inf").replace("nan", "np.nan")
        return f"({text})" if text[0] == "-" else text, True

    def operation(name: str, *parts: tuple[str, bool]) -> tuple[str, bool]:
        template = language.operators[name].python
        texts = [text for text, _ in parts]
        pure = all(plain for _, plain in parts)
        if pure and ("/" in template or "**" in template):
            texts[0] = f"np.float64({texts[0]})"
            pure = False
        return template.format(*texts), pure and "np." not in template

    text = expression.fold(number, lambda i: (names[i], False), operation)[0]
    return text[1:-1] if text[0] == "(" and expression.symbols[0] in language.arity else text
