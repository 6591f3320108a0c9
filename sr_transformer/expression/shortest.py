"""The shortest spelling of a formula within a set of operators: what is shown of it.

The canonical form (:mod:`~sr_transformer.expression.simplify`) serves to compare formulas, and is
often not the shortest: ``x^-1.5`` has fewer symbols than ``1 / x^1.5``, ``sin(-2 x)`` fewer than
``-sin(2 x)``. Here each part of a formula is spelled in several ways, and the shortest is kept: the
way it was written, with factors inside or in front of a sum, above or below the line, with a common
factor taken out, a square completed, waves as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import product as combinations

from sr_transformer.expression.canonical import (
    NAMED_POWERS,
    Node,
    UndefinedConstant,
    add,
    function_node,
    is_integer,
)
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.lowering import NoSpelling, speller_of
from sr_transformer.expression.normal import (
    common_factors,
    completed_squares,
    expanded_term,
    merged_logarithms,
    merged_waves,
    normal,
    scaled,
    taken_out,
)
from sr_transformer.expression.simplify import has_rules, key_of, simplify, to_node

Factor = tuple[Node, float]
Cost = tuple[int, int, int]

_SCALED_INSIDE = ("abs", "max", "min")
_FEW_DIGITS = 5  # and points of a number: all numbers so short read equally well
_MANY_DIGITS = 12  # and the point: of no number that a person would write
_MOST_NODES = 120  # that are spelled in several ways; those after them only in the nearest
_MOST_FACTORS = 2  # of a sum that are taken out, each in turn: those that save most
_DEEPEST = 40  # levels of parts that are spelled anew; rounding may keep a rule from ending
_TIDY = 5e-15  # relative distance at which a number takes the place of one of many digits


def shortest(formula: Expression, operators: Iterable[str] | None = None) -> Expression | None:
    """Return the shortest spelling of a formula that is found within a set of operators.

    It is never longer than the formula itself where that keeps to the operators, has the same
    values where that is defined, and the same key.

    Parameters
    ----------
    formula : Expression
    operators : iterable of str, optional
        Names of the allowed operators; by default all of the language.

    Returns
    -------
    Expression or None
        ``None`` where the formula cannot be written with these operators.
    """
    language = formula.language
    allowed = frozenset(language.arity if operators is None else operators)
    best = formula.lower(allowed)
    if not has_rules(language):
        return _shorter(best, simplify(formula).lower(allowed))
    # What is spelled by other operators may be another function to the rules.
    waiting = [formula] if best in (formula, None) else [formula, best]
    wanted = {key_of(spelling) for spelling in waiting}
    canonical = simplify(formula).lower(allowed)
    if canonical is not None:
        wanted.add(key_of(canonical))
        best = _shorter(best, canonical)
    written = waiting.copy()
    while waiting:
        speller = _Speller(written, allowed)
        for spelling in sorted(speller.spellings(waiting.pop()), key=_cost):
            if best is not None and _cost(spelling) >= _cost(best):
                break
            if key_of(spelling) in wanted:
                best = spelling
                waiting, written = [best], [best]
                break
    return best


def _cost(spelling: Expression) -> Cost:
    """The number of symbols; of equally many the digits beyond few, and the negative offsets."""
    digits = [len(repr(abs(c))) for c in spelling.constants]
    further = sum([n - _FEW_DIGITS for n in digits if n > _FEW_DIGITS])
    return len(spelling.symbols), further, _negative_offsets(spelling)


def _negative_offsets(spelling: Expression) -> int:
    """How often a negative number is added where its opposite could be subtracted."""

    def operation(name: str, *parts: tuple[bool, int]) -> tuple[bool, int]:
        return False, sum([n for _, n in parts]) + (name == "+" and parts[1][0])

    return spelling.fold(lambda value: (value < 0.0, 0), lambda _: (False, 0), operation)[1]


def _shorter(*spellings: Expression | None) -> Expression | None:
    """The shortest, the first of equals; None where there is none."""
    known = [spelling for spelling in spellings if spelling is not None]
    if len(known) < 2:
        return known[0] if known else None
    least = min([len(spelling.symbols) for spelling in known])
    known = [spelling for spelling in known if len(spelling.symbols) == least]
    return known[0] if len(known) == 1 else min(known, key=_cost)


def _tidy(value: float) -> float:
    """A number of few digits where rounding alone keeps the value from it."""
    near = float(f"{value:.12g}")
    return near if abs(near - value) <= _TIDY * abs(value) else value


class _Speller:
    """Spells canonical nodes with some operators; every node once.

    Parameters
    ----------
    formulas : list of Expression
        Of one language; their parts are spelled as they are written, where that is short.
    operators : frozenset of str
    """

    def __init__(self, formulas: list[Expression], operators: frozenset[str]) -> None:
        self._language = formulas[0].language
        self._speller = speller_of(self._language, operators)
        self._found: dict[str, Expression | None] = {}
        self._written: dict[str, Expression] = {}
        self._depth = self._most = 0
        for formula in formulas:
            for part in formula.parts:
                if part.operators <= operators:
                    self._add_written(part)

    def _add_written(self, part: Expression) -> None:
        try:
            full = to_node(part).full
        except UndefinedConstant:
            return
        known = self._written.get(full)
        self._written[full] = part if known is None else _shorter(known, part)

    def spellings(self, formula: Expression) -> list[Expression]:
        """Of the canonical form of a formula, and of its normal one."""
        self._most = len(self._found) + _MOST_NODES
        try:
            node = to_node(formula)
            found = [self.of(node), self.of(normal(node, self._language))]
        except (UndefinedConstant, OverflowError, ZeroDivisionError):
            return []
        return [spelling for spelling in found if spelling is not None]

    def of(self, node: Node) -> Expression | None:
        """The shortest spelling of a node; None where there is none."""
        if node.full not in self._found:
            self._found[node.full] = None  # a rule that comes back to the node finds nothing new
            spelled = self._written.get(node.full)
            if self._depth < _DEEPEST:
                self._depth += 1
                spelled = _shorter(*_SPELLINGS[node.kind](self, node), spelled)
                self._depth -= 1
            self._found[node.full] = spelled
        return self._found[node.full]

    def _of(self, operator: str, *parts: Expression | None) -> Expression | None:
        """An operator over spelled parts."""
        if any(part is None for part in parts):
            return None
        try:
            return self._speller.lowered(operator, *parts)
        except NoSpelling:
            return None

    def _length(self, node: Node) -> float:
        spelling = self.of(node)
        return math.inf if spelling is None else len(spelling.symbols)

    # --- leaves and functions -------------------------------------------------------------------
    def _number(self, node: Node) -> Iterator[Expression]:
        yield self._speller.number(_tidy(node.head))

    def _variable(self, node: Node) -> Iterator[Expression]:
        yield self._speller.variable(int(node.head[1:]))

    def _function(self, node: Node) -> Iterator[Expression | None]:
        name, arguments = node.head, node.body
        yield self._of(name, *map(self.of, arguments))
        if self._language.operators[name].parity > 0:
            yield self._of(name, self.of(scaled(arguments[0], -1.0)))
        if name == "exp":
            (argument,) = arguments
            for p in (2.0, 3.0):  # no root of it, which overflows earlier than the whole
                if argument.kind in "+*" and _has_factor(argument, p):
                    inner = self.of(_exponential(scaled(argument, 1.0 / p)))
                    yield self._of(NAMED_POWERS[p], inner)
            if argument.kind in "+*" and _has_factor(argument, -1.0):
                yield self._of("inv", self.of(_exponential(scaled(argument, -1.0))))

    # --- sums -----------------------------------------------------------------------------------
    def _sum(self, node: Node) -> Iterator[Expression | None]:
        yield from self._joined_terms(node)
        if len(self._found) < self._most:
            for other in self._other_sums(node):
                yield self.of(other)

    def _joined_terms(self, node: Node) -> Iterator[Expression | None]:
        plus = [self.of(scaled(term, c)) for term, c in node.body]
        minus = [self.of(scaled(term, -c)) for term, c in node.body]
        signs = [c for _, c in node.body]
        if node.head:
            plus.append(self._speller.number(node.head))
            minus.append(self._speller.number(-node.head))
            signs.append(node.head)
        signed = []
        for sign, up, down in zip(signs, plus, minus, strict=True):
            lengths = [math.inf if part is None else len(part.symbols) for part in (up, down)]
            is_plus = lengths[0] < lengths[1] + (sign > 0.0)
            signed.append((is_plus, up if is_plus else down))
        if all(is_plus for is_plus, _ in signed):
            yield self._added(signed)
            return
        if not any(is_plus for is_plus, _ in signed):
            yield self._of("neg", self._added([(True, part) for _, part in signed]))
            losses = [
                math.inf if up is None or down is None else len(up.symbols) - len(down.symbols)
                for up, down in zip(plus, minus, strict=True)
            ]
            place = losses.index(min(losses))
            signed[place] = True, plus[place]
        yield self._added(signed)
        yield self._added([(True, part) for part in plus])

    def _added(self, signed: list[tuple[bool, Expression | None]]) -> Expression | None:
        """A sum of spelled terms, one with a plus in front first."""
        first = next(i for i, (is_plus, _) in enumerate(signed) if is_plus)
        total = signed[first][1]
        for is_plus, part in [*signed[:first], *signed[first + 1 :]]:
            total = self._of("+" if is_plus else "-", total, part)
        return total

    def _other_sums(self, node: Node) -> Iterator[Node]:
        for found in common_factors(node)[:_MOST_FACTORS]:
            yield taken_out(node, *found)
        yield from completed_squares(node)
        if (merged := merged_waves(node)) is not node:
            yield merged
        if (merged := merged_logarithms(node)) is not node:
            yield merged
        yield from self._logarithms(node)

    def _logarithms(self, node: Node) -> Iterator[Node]:
        """An offset, or a factor, goes into a logarithm."""
        for i, (term, c) in enumerate(node.body):
            if not (term.kind == "f" and term.head == "log"):
                continue
            rest = [*node.body[:i], *node.body[i + 1 :]]
            (inner,) = term.body
            if node.head and abs(node.head / c) < 100.0:
                inside = scaled(inner, _tidy(math.exp(node.head / c)))
                yield add([*rest, (function_node("log", inside), c)])

    # --- products -------------------------------------------------------------------------------
    def _product(self, node: Node) -> Iterator[Expression | None]:
        head = _tidy(node.head)
        if len(self._found) >= self._most:
            yield from self._assembled(head, list(node.body))
            return
        for coefficient, factors in self._shared_out(head, list(node.body)):
            yield from self._assembled(coefficient, factors)
        if len(node.body) == 1 and node.body[0][1] == 1.0:
            yield from self._inside(head, node.body[0][0])
        expanded = expanded_term(node, 1.0, squares=False)
        if expanded is not None and len(node.body) > 1:
            yield self.of(add(expanded))

    def _inside(self, coefficient: float, base: Node) -> Iterator[Expression | None]:
        """A coefficient goes into a logarithm, as an exponent."""
        if base.kind == "f" and base.head == "log" and coefficient in (3.0, 0.5):
            inner = self.of(base.body[0])
            yield self._of("log", self._of(NAMED_POWERS[coefficient], inner))

    def _shared_out(
        self, coefficient: float, factors: list[Factor]
    ) -> Iterator[tuple[float, list[Factor]]]:
        """Ways to share out a coefficient among the factors that can take it up."""
        yield coefficient, factors
        able = [i for i, (base, _) in enumerate(factors) if self._takes_a_factor(base)]
        if not able:
            return
        plain = [1.0] * len(factors)
        own, others = plain.copy(), []
        for i in able:
            base, _ = factors[i]
            length = self._length(base)
            for s in _own_factors(base):
                now = self._length(_with_factor(base, s))
                if now < length:
                    own[i], length = s, now
                elif now == length:
                    others.append((i, s))
        choices = [plain, *([own] if own != plain else [])]
        if len(able) > 1 and coefficient != 1.0:
            choices += [[*own[:i], s, *own[i + 1 :]] for i, s in others]
        for shares in choices:
            shared = [
                (base if s == 1.0 else _with_factor(base, s), p)
                for (base, p), s in zip(factors, shares, strict=True)
            ]
            left = coefficient
            for (_, p), s in zip(factors, shares, strict=True):
                left /= math.copysign(abs(s) ** p, s if p % 2 else 1.0)
            left = _tidy(left)
            if shares is not plain:
                yield left, shared
            if left == 1.0:
                continue
            for i in able:
                base, p = factors[i]
                if left < 0.0 and not (is_integer(p) and p % 2):
                    continue
                share = _tidy(shares[i] * math.copysign(abs(left) ** (1.0 / p), left))
                if self._can_take(base, share):
                    yield 1.0, [*shared[:i], (_with_factor(base, share), p), *shared[i + 1 :]]

    def _is_odd(self, base: Node) -> bool:
        return base.kind == "f" and self._language.operators[base.head].parity < 0

    def _takes_a_factor(self, base: Node) -> bool:
        if base.kind == "f":
            return base.head in _SCALED_INSIDE or base.head == "exp" or self._is_odd(base)
        return base.kind in "+*"

    def _can_take(self, base: Node, factor: float) -> bool:
        if not math.isfinite(factor) or factor == 0.0:
            return False
        if self._is_odd(base):
            return factor == -1.0
        if base.kind == "f" and base.head == "exp":
            # No number of few digits is given up for its logarithm.
            return factor > 0.0 and len(repr(factor)) > _MANY_DIGITS
        return factor > 0.0 or base.kind == "+" or base.head in ("max", "min")

    def _assembled(self, k: float, factors: list[Factor]) -> Iterator[Expression | None]:
        """A coefficient and factors above and below a line."""
        sides = [self._sides(group, p) for group, p in _grouped(factors)]
        if any(not ways for ways in sides):
            return
        for ways in combinations(*[_fewest(options) for options in sides]):
            above = [part for is_above, part in ways if is_above]
            below = [part for is_above, part in ways if not is_above]
            yield self._fraction(k, above, below)
            if k == -1.0:
                yield self._of("neg", self._fraction(1.0, above, below))
            elif k != 1.0 and len(repr(1.0 / k)) < len(repr(k)) - 4 and 1.0 / (1.0 / k) == k:
                yield self._fraction(1.0, above, [self._speller.number(1.0 / k), *below])

    def _fraction(
        self, k: float, above: list[Expression], below: list[Expression]
    ) -> Expression | None:
        if k != 1.0:
            above = [self._speller.number(k), *above]
        under = self._chain(below) if below else None
        if not above:
            return self._of("inv", under)
        over = self._chain(above)
        return over if under is None else self._of("/", over, under)

    def _chain(self, parts: list[Expression]) -> Expression | None:
        total: Expression | None = parts[0]
        for part in parts[1:]:
            total = self._of("*", total, part)
        return total

    def _sides(self, group: list[Factor], p: float) -> list[tuple[bool, Expression]]:
        """Ways to write factors of one exponent: whether above the line, and the spelling."""
        found: list[tuple[bool, Expression | None]] = []
        if len(group) == 1:
            base, sign = group[0]
            found.append((sign > 0.0, self._power(self.of(base), p)))
            if base.kind == "f" and base.head == "exp" and p == 1.0:
                opposite = self.of(_exponential(scaled(base.body[0], -1.0)))
                found.append((sign < 0.0, opposite))
        else:
            is_above = any(sign > 0.0 for _, sign in group)
            signed = [(base, sign if is_above else -sign) for base, sign in group]
            whole = _shorter(*self._assembled(1.0, signed))
            found.append((is_above, self._power(whole, p)))
        if p != 1.0 and len(group) == 1 and group[0][1] < 0.0:
            found.append((True, self._of("^", self.of(group[0][0]), self._speller.number(-p))))
        return [(is_above, part) for is_above, part in found if part is not None]

    def _power(self, base: Expression | None, p: float) -> Expression | None:
        if p == 1.0:
            return base
        whole = self._of("^", base, self._speller.number(p))
        named = self._of(NAMED_POWERS[p], base) if p in NAMED_POWERS else None
        return _shorter(named, whole)


_SPELLINGS: dict[str, Callable[[_Speller, Node], Iterator[Expression | None]]] = {
    "n": _Speller._number,
    "x": _Speller._variable,
    "f": _Speller._function,
    "+": _Speller._sum,
    "*": _Speller._product,
}


def _fewest(options: list[tuple[bool, Expression]]) -> list[tuple[bool, Expression]]:
    """The shortest way above the line, and the shortest below."""
    kept = []
    for side in (True, False):
        part = _shorter(*[part for is_above, part in options if is_above is side])
        if part is not None:
            kept.append((side, part))
    return kept


def _grouped(factors: list[Factor]) -> Iterator[tuple[list[Factor], float]]:
    """Factors of one whole exponent together, each with its sign, and others alone."""
    groups: dict[float, list[Factor]] = {}
    for base, p in factors:
        sign = math.copysign(1.0, p)
        if abs(p) != 1.0 and is_integer(p):
            groups.setdefault(abs(p), []).append((base, sign))
        else:
            yield [(base, sign)], abs(p)
    for p, group in groups.items():
        yield group, p


def _exponential(argument: Node) -> Node:
    return function_node("exp", argument)


def _has_factor(node: Node, factor: float) -> bool:
    """Whether a node gets shorter where it is divided by a factor."""
    if node.kind == "*":
        return node.head == factor
    return any(c == factor for _, c in node.body)


# --- factors inside -----------------------------------------------------------------------------
def _own_factors(base: Node) -> Iterator[float]:
    """Factors with which a base may be shorter than without, or as short."""
    if base.kind == "f" and base.head not in _SCALED_INSIDE:
        return
    for part in base.body if base.kind == "f" else (base,):
        if part.kind in "+*":
            found = [part.head] if part.kind == "*" else [c for _, c in part.body]
            for c in {abs(c) for c in found if abs(c) != 1.0}:
                yield _tidy(1.0 / c)
    if base.kind == "+":
        yield -1.0


def _with_factor(base: Node, factor: float) -> Node:
    """A base times a factor, which goes inside a function."""
    if base.kind != "f":
        return _times(base, factor)
    name, arguments = base.head, base.body
    if name == "exp":
        return _exponential(add([(arguments[0], 1.0)], math.log(factor)))
    if factor < 0.0 and name in ("max", "min"):
        name = "min" if name == "max" else "max"
    return function_node(name, *[_times(part, factor) for part in arguments])


def _times(node: Node, factor: float) -> Node:
    """A node times a factor, its coefficients without the rounding that this leaves."""
    if node.kind == "+":
        return add([(t, _tidy(c * factor)) for t, c in node.body], _tidy(node.head * factor))
    return scaled(node, factor)
