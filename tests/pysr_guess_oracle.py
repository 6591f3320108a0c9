"""A strict reader of PySR's ``guesses``: one bad string aborts a whole PySR fit.

It is written apart from the package's printer and check, so that a mistake there cannot pass here.
What it refuses was found by running each case in the real engine (PySR 2.0.0a2,
SymbolicRegression.jl 2.0.0-alpha.9); what was not tried there is refused as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sr_transformer.errors import SRTransformerError
from sr_transformer.expression.language import ARITHMETIC

Array = np.ndarray


class GuessError(SRTransformerError, ValueError):
    """A string would abort PySR's fit, or be of no use to it, as one of its ``guesses``.

    Parameters
    ----------
    message : str
        What is wrong with this string, and what to write instead.
    reason : str
        The same in a few words that fit any string, for counting.
    """

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


# PySR's operators that are no operators of this package, but were seen to work in a guess.
_FUNCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    name: (row.arity, row.function) for name, row in ARITHMETIC.operators.items()
} | {"sign": (1, np.sign), "floor": (1, np.floor)}
_INFIX = frozenset("+-*/^")

_INSTEAD = {
    "pow": "use ^",
    "pi": "write the number 3.141592653589793",
    "E": "write the number 2.718281828459045",
    "e": "write the number 2.718281828459045",
    "Abs": "use abs",
    "Max": "use max",
    "Min": "use min",
    "np": "write functions without a module",
    "ln": "use log",
    "arcsin": "use asin",
    "arccos": "use acos",
    "arctan": "use atan",
}
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[^\W\d]\w*")
_LONG_MARKS = ("**", "//", ".*", "./", ".^", ".+", ".-", "==", "&&", "||", "->")


@dataclass(frozen=True)
class GuessRules:
    """What one PySR search accepts. The names and meanings are those of PySRRegressor.

    Parameters
    ----------
    operators : collection of str
        Binary and unary operators together, as given to PySR.
    variable_names : sequence of str
        The names of the columns in the fit.
    maxsize, maxdepth : int, optional
    constraints : mapping, optional
        Largest complexity of the arguments: ``{"sin": 5, "^": (-1, 1)}``.
    nested_constraints : mapping, optional
        Deepest nesting of the inner operators in the outer one: ``{"sin": {"cos": 0}}``.
    complexity_of_operators, complexity_of_constants, complexity_of_variables : optional
    precision : {16, 32, 64}
        Bits of the numbers the search computes with.

    Attributes
    ----------
    inline : frozenset of str
        Names of the operators that were defined inline, such as ``"inv(x) = 1/x"``.
    """

    operators: Iterable[str]
    variable_names: Sequence[str]
    maxsize: int | None = None
    maxdepth: int | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    nested_constraints: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    complexity_of_operators: Mapping[str, float] = field(default_factory=dict)
    complexity_of_constants: float = 1
    complexity_of_variables: float | Sequence[float] = 1
    precision: int = 32
    inline: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        given = list(self.operators)
        # "inv(x) = 1/x" defines a Julia function of its own, which a guess cannot name.
        inline = {text.split("(")[0].strip() for text in given if "=" in text}
        plain = {text for text in given if "=" not in text}
        object.__setattr__(self, "operators", frozenset(plain - inline))
        object.__setattr__(self, "inline", frozenset(inline))
        object.__setattr__(self, "variable_names", tuple(map(str, self.variable_names)))


@dataclass(frozen=True)
class _Node:
    """A part of a guess: ``name`` is an operator, ``"number"`` or ``"variable"``."""

    name: str
    arguments: tuple[_Node, ...] = ()
    value: float = 0.0
    column: int = -1

    def parts(self) -> Iterable[_Node]:
        yield self
        for argument in self.arguments:
            yield from argument.parts()


def validate_guess(
    text: str, rules: GuessRules | None = None, X: Array | None = None, **settings: Any
) -> None:
    """Raise unless PySR accepts the string as a guess and can make use of it.

    Parameters
    ----------
    text : str
    rules : GuessRules, optional
        The settings of the search; alternatively its fields as keyword arguments.
    X : ndarray of shape (n_rows, n_columns), optional
        The table of the fit: a guess that is not finite on every row is refused.

    Raises
    ------
    GuessError
        Names the first thing that is wrong and what to write instead.
    """
    if rules is None:
        rules = GuessRules(**settings)
    if not isinstance(text, str):
        raise GuessError(f"a guess is a str; got {type(text).__name__}.")
    try:
        tree = _Guess(text, rules).read()
        _check_size(text, tree, rules)
        if X is not None:
            _check_values(text, tree, rules, np.asarray(X))
    except RecursionError:
        raise GuessError(f"the guess of {len(text)} characters is nested too deeply.") from None


class _Guess:
    """Recursive descent through one string; each method reads one level of Julia's grammar."""

    def __init__(self, text: str, rules: GuessRules) -> None:
        self.text = text
        self.rules = rules
        self.at = 0

    def refuse(self, message: str, reason: str = "malformed") -> GuessError:
        return GuessError(f"PySR cannot use the guess {self.text!r}: {message}", reason)

    def read(self) -> _Node:
        if "\n" in self.text or "\r" in self.text:
            raise self.refuse("it must be a single line.")
        tree = self.sum()
        if self.at < len(self.text):
            raise self.refuse(self.unexpected())
        return tree

    # --- characters ---------------------------------------------------------------------------
    def skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1

    def ahead(self) -> str:
        """The next character after spaces; empty at the end."""
        self.skip_spaces()
        return self.text[self.at : self.at + 1]

    def unexpected(self) -> str:
        rest = self.text[self.at :]
        for mark in _LONG_MARKS:
            if rest.startswith(mark):
                hint = "use ^" if mark == "**" else "use + - * / ^"
                return f"{mark!r} at character {self.at + 1} is no operator there; {hint}."
        if not rest:
            return "it ends where a number, variable or function is expected."
        return f"{rest[0]!r} at character {self.at + 1} is not expected there."

    def operator(self, among: str) -> str:
        """Take one of the infix operators if it is next."""
        mark = self.ahead()
        if not mark or mark not in among:
            return ""
        if self.text[self.at : self.at + 2] in _LONG_MARKS:
            raise self.refuse(self.unexpected())
        self.enabled(mark)
        self.at += 1
        return mark

    def enabled(self, name: str) -> None:
        if name in self.rules.inline:
            raise self.refuse(
                f"{name!r} is defined inline, which clashes with Julia's own names in a guess; "
                f"enable the plain operator {name!r} instead.",
                "operator not enabled",
            )
        if name not in self.rules.operators:
            enabled = " ".join(sorted(self.rules.operators)) or "none"
            raise self.refuse(
                f"the operator {name!r} is not enabled; enabled are: {enabled}.",
                "operator not enabled",
            )

    # --- grammar ------------------------------------------------------------------------------
    def sum(self) -> _Node:
        left = self.product()
        while mark := self.operator("+-"):
            left = _Node(mark, (left, self.product()))
        return left

    def product(self) -> _Node:
        left = self.power()
        while mark := self.operator("*/"):
            left = _Node(mark, (left, self.power()))
        return left

    def power(self) -> _Node:
        base = self.operand()
        if self.ahead() != "^":
            return base
        self.operator("^")
        return _Node("^", (base, self.power()))

    def operand(self) -> _Node:
        character = self.ahead()
        if character == "-":
            return self.negative_number()
        if character == "(":
            self.at += 1
            inner = self.sum()
            self.close()
            return inner
        if number := _NUMBER.match(self.text, self.at):
            return self.number(number.group(), 1.0)
        if name := _NAME.match(self.text, self.at):
            return self.named(name.group())
        raise self.refuse(self.unexpected())

    def close(self) -> None:
        if self.ahead() != ")":
            raise self.refuse("a ')' is missing." if not self.ahead() else self.unexpected())
        self.at += 1

    def negative_number(self) -> _Node:
        number = _NUMBER.match(self.text, self.at + 1)
        if number is None:
            raise self.refuse(
                f"the minus sign at character {self.at + 1} stands before something else than a "
                "number; write (-1.0 * x) or 0.0 - x."
            )
        self.at += 1
        node = self.number(number.group(), -1.0)
        if self.ahead() == "^" or node.name != "number":
            raise self.refuse(
                f"the minus sign before {number.group()} takes in what follows the number; put "
                "the negative number in parentheses."
            )
        return node

    def number(self, text: str, sign: float) -> _Node:
        start = self.at
        self.at += len(text)
        following = self.text[self.at : self.at + 1]
        if text.endswith("."):
            raise self.refuse(f"{text + following!r} is ambiguous; write {text}0 and a space.")
        value = sign * float(text)
        bits = np.finfo(f"float{self.rules.precision}")
        if abs(value) > float(bits.max):
            raise self.refuse(
                f"{text} at character {start + 1} overflows in {self.rules.precision} bits.",
                "number out of range",
            )
        is_zero = not any(digit in "123456789" for digit in re.split("[eE]", text)[0])
        if abs(value) < float(bits.smallest_subnormal) and not is_zero:
            raise self.refuse(
                f"{text} at character {start + 1} underflows in {self.rules.precision} bits.",
                "number out of range",
            )
        if text.isdecimal() and int(text) >= 2**63:
            raise self.refuse(f"{text} is too long for an integer; write {float(text)!r}.")
        constant = _Node("number", value=value)
        name = _NAME.match(self.text, self.at)
        if name is None:
            if following and following in "(.":
                raise self.refuse(f"{text + following!r} misses an operator; write the *.")
            return constant
        # 2x0 is a product that binds tighter than * and / around it.
        if text == "0" and following in "xob":
            raise self.refuse(f"{text + name.group()!r} begins like a hexadecimal number.")
        before = self.text[:start].rstrip(" \t")
        if before.endswith(("^", "/")):
            raise self.refuse(f"{text + name.group()!r} behind {before[-1]}: write the *.")
        self.enabled("*")
        return _Node("*", (constant, self.power()))

    def named(self, name: str) -> _Node:
        start = self.at
        self.at += len(name)
        if name in self.rules.variable_names:
            if self.text[self.at : self.at + 1] == "(":
                raise self.refuse(f"the variable {name!r} is called like a function.")
            return _Node("variable", column=self.rules.variable_names.index(name))
        following = self.ahead()
        if following == "(" and name not in _INSTEAD:
            if self.text[start + len(name)] != "(":
                raise self.refuse(f"there is a space between {name!r} and its '('.")
            return self.call(name)
        if name in _INSTEAD:
            raise self.refuse(f"PySR does not know {name!r}; {_INSTEAD[name]}.")
        names = ", ".join(self.rules.variable_names) or "none"
        raise self.refuse(
            f"there is no variable {name!r}; variables are: {names}.", "unknown variable"
        )

    def call(self, name: str) -> _Node:
        self.enabled(name)
        if name not in _FUNCTIONS:
            raise self.refuse(f"the meaning of {name!r} is unknown here, so it is not checked.")
        arity, _ = _FUNCTIONS[name]
        self.at += 1
        arguments = [self.sum()]
        while self.ahead() == ",":
            self.at += 1
            arguments.append(self.sum())
        self.close()
        if len(arguments) != arity:
            raise self.refuse(f"{name!r} takes {arity} arguments; it has {len(arguments)}.")
        return _Node(name, tuple(arguments))


# --- size and shape ---------------------------------------------------------------------------
def _complexity(tree: _Node, rules: GuessRules) -> int:
    total = 0.0
    for node in tree.parts():
        if node.name == "number":
            total += rules.complexity_of_constants
        elif node.name == "variable":
            own = rules.complexity_of_variables
            total += own[node.column] if isinstance(own, Sequence) else own
        else:
            total += rules.complexity_of_operators.get(node.name, 1)
    return round(total)


def _depth(tree: _Node) -> int:
    return 1 + max(map(_depth, tree.arguments), default=0)


def _nestedness(tree: _Node, name: str) -> int:
    """Largest number of operators ``name`` on one path from the root to a leaf."""
    below = max((_nestedness(argument, name) for argument in tree.arguments), default=0)
    return below + (tree.name == name)


def _check_size(text: str, tree: _Node, rules: GuessRules) -> None:
    def refuse(message: str, reason: str) -> GuessError:
        return GuessError(f"PySR would leave out the guess {text!r}: {message}", reason)

    size = _complexity(tree, rules)
    if rules.maxsize is not None and size > rules.maxsize:
        raise refuse(
            f"its complexity is {size}, and maxsize is {rules.maxsize}.", "larger than maxsize"
        )
    depth = _depth(tree)
    if rules.maxdepth is not None and depth > rules.maxdepth:
        raise refuse(
            f"its depth is {depth}, and maxdepth is {rules.maxdepth}.", "deeper than maxdepth"
        )
    aliases = {"^": "pow", "*": "mult", "+": "plus", "-": "sub", "/": "div"}
    for node in tree.parts():
        if not node.arguments:
            continue
        limits = rules.constraints.get(node.name)
        if limits is None:
            limits = rules.constraints.get(aliases.get(node.name, ""), -1)
        limits = (limits,) * len(node.arguments) if np.isscalar(limits) else tuple(limits)
        sizes = [_complexity(argument, rules) for argument in node.arguments]
        if node.name == "*" and limits[0] != -1 and (limits[1] == -1 or limits[0] < limits[1]):
            limits = limits[::-1]  # PySR moves the looser limit of a product to the left
        for own, limit in zip(sizes, limits, strict=True):
            if limit != -1 and own > limit:
                raise refuse(
                    f"an argument of {node.name!r} has complexity {own}, and constraints allow "
                    f"{limit}.",
                    "against constraints",
                )
        for inner, deepest in rules.nested_constraints.get(node.name, {}).items():
            nested = _nestedness(node, inner) - (node.name == inner)
            if nested > deepest:
                raise refuse(
                    f"{inner!r} is nested {nested} deep in {node.name!r}, and nested_constraints "
                    f"allow {deepest}.",
                    "against nested_constraints",
                )


# --- values -----------------------------------------------------------------------------------
def _check_values(text: str, tree: _Node, rules: GuessRules, X: Array) -> None:
    kind = np.dtype(f"float{rules.precision}").type

    def value(node: _Node) -> Array:
        if node.name == "number":
            return np.full(len(X), node.value, dtype=kind)
        if node.name == "variable":
            return X[:, node.column].astype(kind)
        arguments = [value(argument) for argument in node.arguments]
        if node.name == "^" and np.any(arguments[0] < 0):
            raise GuessError(
                f"PySR would not fit the constants of the guess {text!r}: the base of ^ is "
                "negative on this table; write x*x or square(x).",
                "negative base of ^",
            )
        return _FUNCTIONS[node.name][1](*arguments)

    with np.errstate(all="ignore"):
        values = value(tree)
    n_bad = int(np.sum(~np.isfinite(values)))
    if n_bad:
        raise GuessError(
            f"PySR has no use for the guess {text!r}: it is not finite on {n_bad} of {len(X)} "
            f"rows in {rules.precision} bits.",
            "not finite on the table",
        )
