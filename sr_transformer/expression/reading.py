"""Reading formulas from text.

The grammar is Julia's, in which PySR prints: ``^`` (or ``**``) binds tighter than a minus sign in
front and groups to the right, and a number directly before a name multiplies it (``2x0``). A minus
sign before a number belongs to the number; before anything else it is ``neg``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial, reduce

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, Language

NUMBERS = {
    "pi": math.pi, "inf": math.inf, "Inf": math.inf, "nan": math.nan, "NaN": math.nan,
}  # fmt: skip
"""Names that mean a number in text."""

PLAIN_NAME = re.compile(r"[^\W\d]\w*")
"""A name that needs no backquotes, unless it means a function or a number."""

_DEFAULT_NAME = re.compile(r"x(0|[1-9][0-9]*)")
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEf][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<mark>\*\*|[-+*/^(),])"
)

MINUS, POWER = 3, 4
"""How tightly a minus sign in front and a power bind, on the scale of ``Operator.precedence``."""


def quoted(name: str, language: Language) -> str:
    """A variable name as text shows it: in backquotes where it could be mistaken."""
    if PLAIN_NAME.fullmatch(name) and name not in language.functions and name not in NUMBERS:
        return name
    return "`" + name.replace("`", "``") + "`"


class VariableNames:
    """The columns that a name can mean.

    Parameters
    ----------
    names : sequence of str or None
        Names of the columns, in order; ``None`` for ``x0``, ``x1``, ...
    language : Language
    """

    def __init__(self, names: Sequence[str] | None, language: Language) -> None:
        self.language = language
        self.columns: dict[str, int] | None = None
        if names is not None:
            self.columns = {str(name): i for i, name in enumerate(names)}
            if len(self.columns) < len(names):
                raise ExpressionError(
                    f"variable names must differ from each other; got {list(names)}."
                )

    def get(self, name: str) -> Expression | None:
        """The column that is meant, if there is one."""
        if self.columns is not None:
            column = self.columns.get(name)
        else:
            column = int(name[1:]) if _DEFAULT_NAME.fullmatch(name) else None
        return None if column is None else Expression.variable(column, self.language)

    def __str__(self) -> str:
        if self.columns is None:
            return "x0, x1, ..."
        return ", ".join(quoted(name, self.language) for name in self.columns) or "none"


class _Reader:
    """A precedence-climbing reader of one text."""

    def __init__(self, text: str, variable_names: Sequence[str] | None, language: Language) -> None:
        self.text = text
        self.language = language
        self.names = VariableNames(variable_names, language)
        self.tokens = self._split()
        self.position = 0

    def fail(self, found: str, start: int, allowed: str) -> ExpressionError:
        return ExpressionError(
            f"cannot read the formula {self.text!r}: found {found} at character {start + 1}; "
            f"{allowed}"
        )

    def _split(self) -> list[tuple[str, str, int]]:
        tokens, start = [], 0
        while start < len(self.text):
            match = _TOKEN.match(self.text, start)
            if match is None:
                raise self.fail(
                    repr(self.text[start]),
                    start,
                    "allowed are numbers, names, + - * / ^ ( ) and commas; write a name with other "
                    "characters in `backquotes`.",
                )
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append((kind, match.group(), start))
            start = match.end()
        tokens.append(("end", "", start))
        return tokens

    @property
    def mark(self) -> str:
        """The token ahead if it is a mark, with ``**`` read as ``^``."""
        kind, text, _ = self.tokens[self.position]
        return ("^" if text == "**" else text) if kind == "mark" else ""

    def read(self) -> Expression:
        formula = self.formula()
        kind, text, start = self.tokens[self.position]
        if kind != "end":
            raise self.fail(repr(text), start, "expected an operator + - * / ^ or the end.")
        return formula

    def formula(self, least: int = 1) -> Expression:
        """Read a formula whose operators bind at least as strongly as ``least``."""
        left = self.operand()
        while True:
            operator = self.language.operators.get(self.mark)
            if operator is None or operator.precedence < least:
                return left
            self.position += 1
            right = self.formula(operator.precedence + (operator.precedence != POWER))
            left = Expression.joined(operator.name, left, right)

    def operand(self) -> Expression:
        kind, text, start = self.tokens[self.position]
        self.position += 1
        if kind == "number":
            return self.number(text, start, 1.0)
        if kind == "name":
            if self.mark == "(":
                return self.call(text, start)
            return self.named(text, start, 1.0)
        if kind == "quoted":
            return self.variable(text[1:-1].replace("``", "`"), start)
        if text == "(":
            inner = self.formula()
            self.expect(")")
            return inner
        if text == "+":
            return self.formula(MINUS)
        if text == "-":
            return self.negative()
        found = repr(text) if text else "the end"
        raise self.fail(found, start, "expected a number, a variable, a function or '('.")

    def negative(self) -> Expression:
        kind, text, start = self.tokens[self.position]
        after = self.tokens[self.position + 1][1] if kind != "end" else ""
        if after not in ("^", "**"):
            if kind == "number":
                self.position += 1
                return self.number(text, start, -1.0)
            if kind == "name" and after != "(" and self.is_number(text):
                self.position += 1
                return self.named(text, start, -1.0)
        return Expression.joined("neg", self.formula(MINUS))

    def number(self, text: str, start: int, sign: float) -> Expression:
        value = float(text.replace("f", "e"))  # 1.5f0 is Julia's 32-bit number
        if math.isinf(value):
            raise self.fail(text, start, "numbers must be below 1.8e308.")
        constant = Expression.number(sign * value, self.language)
        kind, following, begin = self.tokens[self.position]
        if begin != start + len(text) or not (kind in ("name", "quoted") or following == "("):
            return constant
        if text == "0" and following[0] == "x":
            raise self.fail(text + following, start, "write 0 * x for a product with zero.")
        return Expression.joined("*", constant, self.formula(POWER))

    def is_number(self, name: str) -> bool:
        return name in NUMBERS and self.names.get(name) is None

    def named(self, name: str, start: int, sign: float) -> Expression:
        if self.is_number(name):
            return Expression.number(sign * NUMBERS[name], self.language)
        return self.variable(name, start)

    def variable(self, name: str, start: int) -> Expression:
        column = self.names.get(name)
        if column is not None:
            return column
        function = name in self.language.functions
        hint = " A function needs its argument in parentheses." if function else ""
        raise self.fail(f"the name {name!r}", start, f"variables are: {self.names}.{hint}")

    def call(self, name: str, start: int) -> Expression:
        functions = self.language.functions
        function = functions.get(name)
        if function is None:
            raise self.fail(
                f"the function {name!r}", start, f"functions are: {', '.join(functions)}."
            )
        self.position += 1
        arguments = [self.formula()]
        while self.mark == ",":
            self.position += 1
            arguments.append(self.formula())
        self.expect(")")
        arity, n = self.language.arity[function], len(arguments)
        if function in ("max", "min") and n > 2:  # Julia and SymPy take any number
            return reduce(partial(Expression.joined, function), arguments)
        if n != arity:
            raise self.fail(f"{n} arguments for {name!r}", start, f"it takes {arity}.")
        return Expression.joined(function, *arguments)

    def expect(self, mark: str) -> None:
        kind, text, start = self.tokens[self.position]
        if text != mark or kind != "mark":
            found = repr(text) if text else "the end"
            raise self.fail(found, start, f"expected an operator or {mark!r}.")
        self.position += 1


def parse(
    text: str, variable_names: Sequence[str] | None = None, language: Language = ARITHMETIC
) -> Expression:
    """Read a formula from text.

    Parameters
    ----------
    text : str
        Infix text as :func:`to_text`, PySR or Python with ``**`` write it. Functions are the named
        operators of the language and their aliases, such as ``pow``, ``ln``, ``Abs``; ``pi``,
        ``inf`` and ``nan`` are numbers. Names that hold other characters, or mean a function or
        number, stand in backquotes, in which a backquote is doubled.
    variable_names : sequence of str, optional
        Names of the columns, in order; ``x0``, ``x1``, ... by default.
    language : Language

    Raises
    ------
    ExpressionError
        If the text is not one formula, names something unknown, or is nested too deeply.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"a formula is read from a str; got {type(text).__name__}.")
    try:
        formula = _Reader(text, variable_names, language).read()
    except RecursionError:
        raise ExpressionError(
            f"the formula of {len(text)} characters is nested too deeply to be read."
        ) from None
    return Expression(formula.symbols, formula.constants, language)  # it may lack a minus sign
