"""Respelling formulas with the operators that a search has enabled.

Rows of a language have a few spellings in terms of others. For a given set of enabled operators the
shortest ones are worked out once, by composing spellings until nothing gets shorter; lowering a
formula then only fills them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import product

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import CONSTANT, Language
from sr_transformer.expression.reading import parse

# Symbols that a spelling adds, and how often it writes each argument.
Cost = tuple[int, int, int]
# A spelling is a formula of the arguments, which are its columns.
Spellings = dict[Cost, Expression]

_LARGEST_SIZE = 10_000  # squares of squares without ``square`` double at every level
_LARGEST_POWER = 16  # as a product; exp and log are shorter beyond


class NoSpelling(Exception):
    """A formula cannot be written with the enabled operators, or not in a sensible length."""


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
    speller = speller_of(expression.language, operators)
    try:
        return expression.fold(speller.number, speller.variable, speller.lowered)
    except NoSpelling:
        return None


class _Speller:
    """Spells operators of a language by the enabled ones.

    Attributes
    ----------
    table : dict of str to Spellings
        Shortest spellings of every operator; empty where there is none.
    """

    def __init__(self, language: Language, operators: frozenset[str]) -> None:
        self.language, self.operators = language, operators
        self.number = partial(Expression.number, language=language)
        self.variable = partial(Expression.variable, language=language)
        self.table: dict[str, Spellings] = {name: {} for name in language.arity}
        for name in operators & self.table.keys():
            arity = language.arity[name]
            own = Expression.joined(name, *map(self.variable, range(arity)))
            self.table[name] = {(1, 1, arity - 1): own}
        changed = True
        while changed:
            changed = False
            for name, row in language.operators.items():
                if name not in operators:
                    found = _shortest_of(self.table[name], *map(self.spelled, row.spellings))
                    changed |= found.keys() != self.table[name].keys()
                    self.table[name] = found

    # --- spelling a formula -------------------------------------------------------------------
    def lowered(self, name: str, *arguments: Expression) -> Expression:
        """An operator over its arguments, which are spelled already."""
        part = self._lowered(name, *arguments)
        if len(part.symbols) > _LARGEST_SIZE:
            raise NoSpelling
        return part

    def _lowered(self, name: str, *arguments: Expression) -> Expression:
        if name in self.operators:
            return self.joined(name, *arguments)
        folded = self.folded(name, *arguments)
        if folded is not None:
            return folded
        if name in ("neg", "-"):
            opposite = self.opposite(arguments[-1])
            if opposite is not None and name == "neg":
                return opposite
            if opposite is not None and "+" in self.operators:
                return self.joined("+", arguments[0], opposite)
        if name == "^":
            return self._power(*arguments)
        return self._filled(self.table[name], *arguments)

    def _filled(self, spellings: Spellings, *arguments: Expression) -> Expression:
        """The shortest of some spellings with the arguments put in."""
        parts = [
            spelling.fold(self.number, arguments.__getitem__, self.joined)
            for spelling in spellings.values()
        ]
        if not parts:
            raise NoSpelling
        return min(parts, key=lambda part: len(part.symbols))

    def _power(self, base: Expression, exponent: Expression) -> Expression:
        """``base ^ exponent`` where ``^`` is not enabled."""
        if _is_number(exponent):
            return self._filled(_power_spellings(self, float(exponent.constants[0])), base)
        if not _is_number(base):
            # Not in the row of ^: others must not be spelled so, as it needs a base above zero.
            return self._filled(self.spelled("exp(b * log(a))"), base, exponent)
        (value,) = base.constants
        if value <= 0.0:
            raise NoSpelling
        if value == math.e:
            return self._filled(self.table.get("exp", {}), exponent)
        return self._filled(self.spelled(f"exp({math.log(value)!r} * a)"), exponent)

    # --- building parts -----------------------------------------------------------------------
    def joined(self, operator: str, *arguments: Expression) -> Expression:
        """An operator over its arguments, with what is constant folded into one number."""
        folded = self.folded(operator, *arguments)
        if folded is not None:
            return folded
        opposite = None
        if operator == "*":
            first, second = arguments[::-1] if _is_number(arguments[1]) else arguments
            if _is_number(first):
                (value,) = first.constants
                opposite = self.opposite(second) if value == -1.0 else None
                if opposite is None and second.symbols[:2] == ("*", CONSTANT):
                    factor = value * second.constants[0]
                    if math.isfinite(factor) and factor != 0.0:
                        return second.with_constants((factor, *second.constants[1:]))
        elif operator == "-" and _is_number(arguments[0]) and arguments[0].constants[0] == 0.0:
            opposite = self.opposite(arguments[1])
        return opposite or Expression.joined(operator, *arguments)

    def folded(self, operator: str, *arguments: Expression) -> Expression | None:
        """The value of an operator over numbers, if it is finite."""
        if not all(map(_is_number, arguments)):
            return None
        function = self.language.operators[operator].function
        with np.errstate(all="ignore"):
            value = float(function(*(argument.constants[0] for argument in arguments)))
        return self.number(value) if math.isfinite(value) else None

    def opposite(self, part: Expression) -> Expression | None:
        """``-part`` where it is no longer than ``part`` and needs no other operator."""
        head = part.symbols[0]
        if head == CONSTANT:
            return self.number(-part.constants[0])
        if head == "neg":
            return part.part(1)
        if head in ("-", "*", "/"):
            first, second = part.arguments
            if head == "-":
                return Expression.joined("-", second, first)
            if _is_number(first):
                return Expression.joined(head, self.number(-first.constants[0]), second)
            if _is_number(second):
                return Expression.joined(head, first, self.number(-second.constants[0]))
        return None

    # --- finding spellings --------------------------------------------------------------------
    def spelled(self, text: str) -> Spellings:
        """Spellings of a formula of ``a`` and ``b`` whose operators are spelled by the table."""
        template = _template(text, self.language)
        if template is None:
            return {}
        return template.fold(
            lambda value: {(1, 0, 0): self.number(value)},
            lambda column: {(0, 1 - column, column): self.variable(column)},
            self.applied,
        )

    def applied(self, name: str, *arguments: Spellings) -> Spellings:
        """Spellings of an operator applied to spelled arguments."""
        found: Spellings = {}
        for (own, *uses), body in self.table.get(name, {}).items():
            for chosen in product(*(argument.items() for argument in arguments)):
                total = [own, 0, 0]
                for use, (cost, _) in zip(uses, chosen, strict=False):
                    total = [t + use * c for t, c in zip(total, cost, strict=True)]
                parts = [part for _, part in chosen]
                if tuple(total) not in found:
                    found[tuple(total)] = body.fold(
                        self.number, parts.__getitem__, Expression.joined
                    )
        return _shortest_of(found)


speller_of = lru_cache(maxsize=256)(_Speller)
"""What spells with a set of operators, by language and operators."""


@lru_cache(maxsize=4096)
def _template(text: str, language: Language) -> Expression | None:
    try:
        return parse(text, ("a", "b"), language)
    except ExpressionError:  # the language does not hold all of its operators
        return None


def _is_number(part: Expression) -> bool:
    return part.symbols == (CONSTANT,)


def _shortest_of(*candidates: Spellings) -> Spellings:
    """The spellings that no other beats whatever the arguments are; the first of equals."""
    found: Spellings = {}
    for candidate in candidates:
        for cost, spelling in candidate.items():
            found.setdefault(cost, spelling)
    return {
        cost: spelling
        for cost, spelling in found.items()
        if not any(
            other != cost and all(x <= y for x, y in zip(other, cost, strict=True))
            for other in found
        )
    }


@lru_cache(maxsize=4096)
def _power_spellings(speller: _Speller, p: float) -> Spellings:
    """Spellings of ``a ^ p`` for a set of operators without ``^``."""
    spelled, applied = partial(_power_spellings, speller), speller.applied
    if not math.isfinite(p):
        return {}
    if p == 0.0:
        return {(1, 0, 0): speller.number(1.0)}
    if p == 1.0:
        return {(0, 1, 0): speller.variable(0)}
    # For an exponent that is not whole, both sides are undefined for a negative base.
    by_logarithm = f"exp({p!r} * log(a))"
    if p < 0.0:
        inverse = applied("inv", spelled(-p))
        return inverse if p.is_integer() else _shortest_of(inverse, speller.spelled(by_logarithm))
    if p.is_integer():
        if p > _LARGEST_POWER:
            # log(a^2) is defined for a negative base; an odd power takes its sign from a factor.
            odd = p % 2.0
            even = f"exp({(p - odd) / 2.0!r} * log(square(a)))"
            return speller.spelled(f"a * {even}" if odd else even)
        candidates = [
            applied("*", spelled(float(i)), spelled(p - i)) for i in range(1, int(p) // 2 + 1)
        ]
        candidates += [applied("square", spelled(p / 2.0))] if p % 2.0 == 0.0 else []
        candidates += [applied("cube", spelled(p / 3.0))] if p % 3.0 == 0.0 else []
        return _shortest_of(*candidates)
    candidates = []
    if p < _LARGEST_POWER and (4.0 * p).is_integer():
        candidates.append(applied("sqrt", spelled(2.0 * p)))
        if p > 1.0:
            whole = float(math.floor(p))
            candidates.append(applied("*", spelled(whole), spelled(p - whole)))
    return _shortest_of(*candidates, speller.spelled(by_logarithm))
