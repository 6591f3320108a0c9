"""Respelling formulas with the operators that a search has enabled.

Every operator has a few spellings in terms of others (``_SPELLINGS``). For a given set of enabled
operators the shortest ones are worked out once, by composing spellings until nothing gets shorter;
lowering a formula then only fills them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import numpy as np

from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT

# A template is "a" or "b" (the arguments), a float, or (operator, template, ...).
Template = str | float | tuple
# Symbols that a template adds, and how often it writes each argument.
Cost = tuple[int, int, int]
Spellings = dict[Cost, Template]
# A part of a formula: (size, operator, part, ...), (1, "x0") or (1, value).
Part = tuple

_HALF_PI = math.pi / 2
_LARGEST_SIZE = 10_000  # squares of squares without ``square`` double at every level
_LARGEST_POWER = 16  # as a product; exp and log are shorter beyond

_SPELLINGS: dict[str, tuple[Template, ...]] = {
    "+": (("-", "a", ("neg", "b")),),
    "-": (("+", "a", ("neg", "b")),),
    "*": (("/", "a", ("inv", "b")),),
    "/": (("*", "a", ("inv", "b")),),
    "neg": (("*", -1.0, "a"), ("-", 0.0, "a"), ("/", "a", -1.0)),
    "inv": (("/", 1.0, "a"), ("^", "a", -1.0)),
    "square": (("*", "a", "a"), ("^", "a", 2.0)),
    "cube": (("*", "a", ("square", "a")), ("^", "a", 3.0)),
    "sqrt": (("^", "a", 0.5), ("exp", ("*", 0.5, ("log", "a")))),
    "exp": (("^", math.e, "a"),),
    "sin": (("cos", ("+", "a", -_HALF_PI)), ("cos", ("-", "a", _HALF_PI))),
    "cos": (("sin", ("+", "a", _HALF_PI)), ("sin", ("-", "a", -_HALF_PI))),
    "tan": (("/", ("sin", "a"), ("cos", "a")),),
    "asin": (
        ("-", _HALF_PI, ("acos", "a")),
        ("atan", ("/", "a", ("sqrt", ("-", 1.0, ("square", "a"))))),
    ),
    "acos": (("-", _HALF_PI, ("asin", "a")),),
    "sinh": (("*", 0.5, ("-", ("exp", "a"), ("exp", ("neg", "a")))),),
    "cosh": (("*", 0.5, ("+", ("exp", "a"), ("exp", ("neg", "a")))),),
    # Not sinh/cosh: both overflow where tanh is 1.
    "tanh": (("-", 1.0, ("/", 2.0, ("+", 1.0, ("exp", ("*", 2.0, "a"))))),),
    "abs": (("sqrt", ("square", "a")), ("max", "a", ("neg", "a"))),
    "max": (("neg", ("min", ("neg", "a"), ("neg", "b"))),),
    "min": (("neg", ("max", ("neg", "a"), ("neg", "b"))),),
}
# Not in the table above: others must not be spelled through it, as it needs a base above zero.
_POWER_BY_LOGARITHM: Template = ("exp", ("*", "b", ("log", "a")))


def lower(expression: Expression, operators: Iterable[str]) -> Expression | None:
    """Respell a formula with the given operators only, as short as they allow.

    The values stay the same, within rounding, where the formula is finite. Exceptions: a power
    whose exponent is no constant is spelled by ``exp`` and ``log``, which a negative base with a
    whole-numbered exponent does not survive; and ``abs``, ``sinh`` and ``cosh`` lose what
    overflows in their spelling (``abs`` through ``sqrt`` above 1e154).

    Parameters
    ----------
    expression : Expression
    operators : iterable of str
        Names of the enabled operators.

    Returns
    -------
    Expression or None
        The formula itself if it needs no respelling; ``None`` where it cannot be written with
        these operators.
    """
    operators = frozenset(operators)
    if expression.operators <= operators:
        return expression
    table = _shortest_spellings(operators)
    stack: list[Part] = []
    constants = list(expression.constants)
    for symbol in reversed(expression.symbols):
        arity = ARITHMETIC.arity.get(symbol)
        if arity is None:
            stack.append((1, constants.pop() if symbol == CONSTANT else symbol))
            continue
        arguments = tuple(stack.pop() for _ in range(arity))
        part = _lowered(symbol, arguments, operators, table)
        if part is None or part[0] > _LARGEST_SIZE:
            return None
        stack.append(part)
    symbols: list[str] = []
    values: list[float] = []
    pending = [stack[0]]
    while pending:
        part = pending.pop()
        if isinstance(part[1], float):
            symbols.append(CONSTANT)
            values.append(part[1])
        else:
            symbols.append(part[1])
            pending.extend(reversed(part[2:]))
    return Expression.unchecked(tuple(symbols), tuple(values))


def _lowered(
    symbol: str, arguments: tuple[Part, ...], operators: frozenset[str], table: dict
) -> Part | None:
    """One operator, whose arguments are spelled already."""
    if symbol in operators:
        return _part(symbol, *arguments)
    if all(isinstance(argument[1], float) for argument in arguments):
        folded = _folded(symbol, arguments)
        if folded is not None:
            return folded
    if symbol == "neg":
        opposite = _opposite(arguments[0])
        if opposite is not None:
            return opposite
    if symbol == "-" and "+" in operators:
        opposite = _opposite(arguments[1])
        if opposite is not None:
            return _part("+", arguments[0], opposite)
    if symbol == "^":
        return _power(arguments[0], arguments[1], operators, table)
    return _shortest(table[symbol], arguments)


def _shortest(spellings: Spellings, arguments: tuple[Part, ...]) -> Part | None:
    parts = (_fill(template, arguments) for template in spellings.values())
    return min(parts, key=lambda part: part[0], default=None)


def _power(base: Part, exponent: Part, operators: frozenset[str], table: dict) -> Part | None:
    """``base ^ exponent`` where ``^`` is not enabled."""
    p = exponent[1]
    if isinstance(p, float):
        return _shortest(_power_spellings(operators, p), (base,))
    if isinstance(base[1], float):
        if base[1] <= 0.0:
            return None
        if base[1] == math.e:
            return _shortest(table["exp"], (exponent,))
        growth = _compose(("exp", ("*", math.log(base[1]), "a")), table)
        return _shortest(growth, (exponent,))
    return _shortest(_compose(_POWER_BY_LOGARITHM, table), (base, exponent))


# --- building parts ---------------------------------------------------------------------------
def _part(operator: str, *arguments: Part) -> Part:
    """An operator over its arguments, with what is constant folded into one number."""
    if all(isinstance(argument[1], float) for argument in arguments):
        folded = _folded(operator, arguments)
        if folded is not None:
            return folded
    if operator == "*":
        first, second = arguments
        if isinstance(second[1], float):
            first, second = second, first
        if first[1] == -1.0:
            opposite = _opposite(second)
            if opposite is not None:
                return opposite
        if isinstance(first[1], float) and second[1] == "*" and isinstance(second[2][1], float):
            factor = first[1] * second[2][1]
            if math.isfinite(factor) and factor != 0.0:
                return (second[0], "*", (1, factor), second[3])
    elif operator == "-" and arguments[0][1] == 0.0:
        opposite = _opposite(arguments[1])
        if opposite is not None:
            return opposite
    return (1 + sum(argument[0] for argument in arguments), operator, *arguments)


def _folded(operator: str, arguments: tuple[Part, ...]) -> Part | None:
    with np.errstate(all="ignore"):
        value = float(
            ARITHMETIC.operators[operator].function(*(argument[1] for argument in arguments))
        )
    return (1, value) if math.isfinite(value) else None


def _opposite(part: Part) -> Part | None:
    """``-part`` where it is no longer than ``part`` and needs no other operator."""
    head = part[1]
    if isinstance(head, float):
        return (1, -head)
    if head == "neg":
        return part[2]
    if head == "-":
        return (part[0], "-", part[3], part[2])
    if head in ("*", "/"):
        for position in (2, 3):
            if isinstance(part[position][1], float):
                changed = list(part)
                changed[position] = (1, -part[position][1])
                return tuple(changed)
    return None


def _fill(template: Template, arguments: tuple[Part, ...]) -> Part:
    if isinstance(template, tuple):
        return _part(template[0], *(_fill(inner, arguments) for inner in template[1:]))
    if isinstance(template, float):
        return (1, template)
    return arguments[0] if template == "a" else arguments[1]


# --- finding spellings ------------------------------------------------------------------------
def _keep_best(found: Spellings) -> Spellings:
    """Drop each spelling that another one beats whatever the arguments are."""
    return {
        cost: template
        for cost, template in found.items()
        if not any(
            other != cost and all(x <= y for x, y in zip(other, cost, strict=True))
            for other in found
        )
    }


def _substituted(template: Template, arguments: tuple[Template, ...]) -> Template:
    if isinstance(template, tuple):
        return (template[0], *(_substituted(inner, arguments) for inner in template[1:]))
    if isinstance(template, float):
        return template
    return arguments[0] if template == "a" else arguments[1]


def _compose(template: Template, table: dict[str, Spellings]) -> Spellings:
    """Spellings of a template whose operators are spelled by the table."""
    if isinstance(template, float):
        return {(1, 0, 0): template}
    if isinstance(template, str):
        return {(0, 1, 0) if template == "a" else (0, 0, 1): template}
    return _applied(table[template[0]], [_compose(inner, table) for inner in template[1:]])


def _applied(outer: Spellings, arguments: list[Spellings]) -> Spellings:
    """Spellings of an operator applied to templates."""
    found: Spellings = {}
    for (own, *uses), body in outer.items():
        for chosen in product(*(argument.items() for argument in arguments)):
            total = [own, 0, 0]
            for use, (cost, _) in zip(uses, chosen, strict=False):
                total = [t + use * c for t, c in zip(total, cost, strict=True)]
            inner = tuple(template for _, template in chosen)
            found.setdefault(tuple(total), _substituted(body, inner))
    return _keep_best(found)


@lru_cache(maxsize=256)
def _shortest_spellings(operators: frozenset[str]) -> dict[str, Spellings]:
    """Shortest spellings of every operator by the enabled ones; empty where there is none."""
    table: dict[str, Spellings] = {}
    for name, arity in ARITHMETIC.arity.items():
        own: Spellings = {}
        if name in operators:
            own = {(1, 1, 1 if arity == 2 else 0): (name, "a", "b")[: arity + 1]}
        table[name] = own
    changed = True
    while changed:
        changed = False
        for name, templates in _SPELLINGS.items():
            if name in operators:
                continue
            found = dict(table[name])
            for template in templates:
                for cost, spelled in _compose(template, table).items():
                    found.setdefault(cost, spelled)
            found = _keep_best(found)
            if found.keys() != table[name].keys():
                table[name] = found
                changed = True
    return table


@lru_cache(maxsize=4096)
def _power_spellings(operators: frozenset[str], exponent: float) -> Spellings:
    """Spellings of ``a ^ exponent`` for a set of operators without ``^``."""
    table = _shortest_spellings(operators)

    def spelled(p: float) -> Spellings:
        return _power_spellings(operators, p)

    def best(*candidates: Spellings) -> Spellings:
        found: Spellings = {}
        for candidate in candidates:
            for cost, template in candidate.items():
                found.setdefault(cost, template)
        return _keep_best(found)

    def applied(name: str, *arguments: Spellings) -> Spellings:
        return _applied(table[name], list(arguments))

    p = exponent
    if not math.isfinite(p):
        return {}
    if p == 0.0:
        return {(1, 0, 0): 1.0}
    if p == 1.0:
        return {(0, 1, 0): "a"}
    if p < 0.0:
        inverse = applied("inv", spelled(-p))
        by_log = {} if p.is_integer() else _by_logarithm(p, table)
        return best(inverse, by_log)
    if p.is_integer():
        if p > _LARGEST_POWER:
            return _whole_by_logarithm(p, table)
        candidates = [applied("*", spelled(i), spelled(p - i)) for i in range(1, int(p) // 2 + 1)]
        candidates += [applied("square", spelled(p / 2))] if p % 2 == 0 else []
        candidates += [applied("cube", spelled(p / 3))] if p % 3 == 0 else []
        return best(*candidates)
    roots: list[Spellings] = []
    if p < _LARGEST_POWER and (4.0 * p).is_integer():
        roots.append(applied("sqrt", spelled(2.0 * p)))
        if p > 1.0:
            whole = math.floor(p)
            roots.append(applied("*", spelled(whole), spelled(p - whole)))
    return best(*roots, _by_logarithm(p, table))


def _by_logarithm(p: float, table: dict[str, Spellings]) -> Spellings:
    # For an exponent that is not whole, both sides are undefined for a negative base.
    return _compose(("exp", ("*", p, ("log", "a"))), table)


def _whole_by_logarithm(p: float, table: dict[str, Spellings]) -> Spellings:
    # log(a^2) is defined for a negative base; an odd power takes its sign from one more factor.
    odd = p % 2.0
    even: Template = ("exp", ("*", (p - odd) / 2.0, ("log", ("square", "a"))))
    return _compose(("*", "a", even) if odd else even, table)
