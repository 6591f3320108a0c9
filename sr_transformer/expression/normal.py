"""One form for one function: what canonical nodes still leave in several.

``simplify`` orders and merges a formula and keeps its shape, so that a common factor, a square or a
wave may stand in it in several ways: ``x * y + x * z`` and ``x * (y + z)``, ``x^2 - 6 x + 9`` and
``(x - 3)^2``, ``cos(x + c)`` and ``sin(x + c)``. Here sums are spread out and put together again by
fixed rules, and factors and shifts are moved out of functions. No rule makes two free constants of
one, so that formulas of fewer constants do not get the form of those with more.
"""

from __future__ import annotations

import cmath
import math
from collections import defaultdict
from collections.abc import Iterator

from sr_transformer.expression.canonical import (
    Node,
    add,
    apply,
    call,
    extremum,
    function_node,
    is_integer,
    leading_factor,
    multiply,
    number,
    power,
)
from sr_transformer.expression.language import ARITHMETIC, Language

Term = tuple[Node, float]

_ABS, _LOG, _SIN, _COS = (ARITHMETIC.operators[name] for name in ("abs", "log", "sin", "cos"))
_SAME = 1e-13  # relative difference of two numbers that are one but for rounding
_MOST_TERMS = 16  # of a sum that is spread out
_LARGEST_SHIFT = 1e4  # of a wave: beyond, rounding has taken too many digits of its phase
_QUARTER = 0.5 * math.pi


def normal(node: Node, language: Language = ARITHMETIC) -> Node:
    """The one form of the function that a canonical node is a form of.

    Parameters
    ----------
    node : Node
    language : Language
        It holds all operators of ``ARITHMETIC``.

    Raises
    ------
    UndefinedConstant
        If a constant overflows or underflows on the way.
    """
    kind = node.kind
    if kind == "f":
        arguments = tuple([normal(part, language) for part in node.body])
        return _function(node, arguments, language)
    if kind == "+" or kind == "*":
        body = tuple([(normal(part, language), c) for part, c in node.body])
        if any(new is not old for (new, _), (old, _) in zip(body, node.body, strict=True)):
            node = (add if kind == "+" else multiply)(body, node.head)
        return _sum(node) if node.kind in "+*" else node
    return node


def scaled(node: Node, factor: float) -> Node:
    """A node times a number."""
    return node if factor == 1.0 else add([(node, factor)])


def _is_near(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME * max(abs(a), abs(b))


# --- functions ------------------------------------------------------------------------------------
def _function(node: Node, arguments: tuple[Node, ...], language: Language) -> Node:
    name, argument = node.head, arguments[0]
    if name in ("max", "min"):
        return _extremum(name, *arguments)
    if len(arguments) > 1:
        if all(new is old for new, old in zip(arguments, node.body, strict=True)):
            return node
        if name == "^":
            return power(*arguments)
        return apply(language.operators[name], *arguments)
    if name == "abs":
        size = abs(leading_factor(argument))
        return scaled(call(_ABS, scaled(argument, 1.0 / size)), size)
    if name == "log":
        return _logarithm(argument)
    if name in ("sin", "cos") and argument.kind == "+" and argument.head:
        quarter = _QUARTER if name == "cos" else 0.0
        return wave(add(argument.body), argument.head + quarter)
    if name == "tan" and argument.kind == "+" and abs(argument.head) < _LARGEST_SHIFT:
        shift = math.remainder(argument.head, math.pi)
        argument = add(argument.body, shift if abs(shift) > _SAME * abs(argument.head) else 0.0)
    if argument is node.body[0]:
        return node
    return call(language.operators[name], argument)


def wave(argument: Node, shift: float) -> Node:
    """``sin(argument + shift)``, the shift within one period; the argument has no constant."""
    if abs(shift) > _LARGEST_SHIFT:
        return call(_SIN, add([(argument, 1.0)], shift))
    if leading_factor(argument) < 0.0:
        argument, shift = scaled(argument, -1.0), math.pi - shift
    reduced = math.remainder(shift, 2.0 * math.pi)
    quarters = round(reduced / _QUARTER)
    if abs(reduced - quarters * _QUARTER) <= _SAME * max(1.0, abs(shift)):
        plain = call(_COS if quarters % 2 else _SIN, argument)
        return plain if quarters in (0, 1) else scaled(plain, -1.0)
    return function_node("sin", add([(argument, 1.0)], reduced))


def _is_shifted(node: Node) -> bool:
    return node.kind == "f" and node.head == "sin" and node.body[0].kind == "+" and (
        node.body[0].head != 0.0
    )  # fmt: skip


def _turned(node: Node) -> Node:
    """The opposite of a shifted wave, as a shifted wave."""
    inner = node.body[0]
    return wave(add(inner.body), inner.head + math.pi)


def _extremum(name: str, *arguments: Node) -> Node:
    """Its leading argument is written without a factor."""
    found = extremum(name, *arguments)
    first = found
    while first.kind == "f" and first.head == name:
        first = first.body[0]
    factor = leading_factor(first)
    if factor == 1.0:
        return found
    if factor < 0.0:
        name = "min" if name == "max" else "max"
    return scaled(extremum(name, *[scaled(part, 1.0 / factor) for part in arguments]), factor)


def _logarithm(argument: Node) -> Node:
    if argument.kind == "+":
        size = abs(leading_factor(argument))
        return add([(call(_LOG, scaled(argument, 1.0 / size)), 1.0)], math.log(size))
    if argument.kind == "*" and argument.head == 1.0 and len(argument.body) == 1:
        base, p = argument.body[0]
        if is_integer(p) and p % 2 == 0:
            size = abs(leading_factor(base))
            base = call(_ABS, scaled(base, 1.0 / size))
        return add([(_logarithm(base), p)])
    return call(_LOG, argument)


# --- sums -----------------------------------------------------------------------------------------
def _sum(node: Node) -> Node:
    """A sum, or a product that may be one, spread out and put together again."""
    node = _spread(node)
    if node.kind == "*" and len(node.body) == 1 and _is_shifted(node.body[0][0]):
        (base, p), *_ = node.body
        merged = merged_waves(Node("+", 0.0, ((base, node.head),), "")) if p == 1.0 else node
        node = merged if merged.full else node
    if node.kind == "+":
        node = merged_logarithms(merged_waves(node))
    for step in (_first_square, _first_factor):
        while node.kind == "+" and (found := step(node)) is not None:
            if found.kind == "+" and len(found.body) >= len(node.body):
                break  # merged with another term, or spread out again
            node = found
    return _without_turned(_without_rounding(node))


def _without_rounding(node: Node) -> Node:
    """Factors that rounding keeps from one are one."""
    if node.kind == "*" and node.head != _whole(node.head):
        return multiply(node.body, _whole(node.head))
    if node.kind == "+" and any(c != _whole(c) for _, c in node.body):
        return add([(t, _whole(c)) for t, c in node.body], node.head)
    return node


def _whole(factor: float) -> float:
    return math.copysign(1.0, factor) if _is_near(abs(factor), 1.0) else factor


def _without_turned(node: Node) -> Node:
    """Shifted waves take up a sign in front of them."""
    if node.kind == "+" and any(c == -1.0 and _is_shifted(t) for t, c in node.body):
        terms = [
            (_turned(t), 1.0) if c == -1.0 and _is_shifted(t) else (t, c) for t, c in node.body
        ]
        return add(terms, node.head)
    if node.kind == "*" and node.head == -1.0:
        for i, (base, p) in enumerate(node.body):
            if _is_shifted(base) and is_integer(p) and p % 2:
                return multiply([*node.body[:i], (_turned(base), p), *node.body[i + 1 :]])
    return node


def _spread(node: Node) -> Node:
    """Products with one plain sum as a factor become sums, and so do the squares in a sum."""
    while True:
        if node.kind == "*":
            alone = len(node.body) == 1
            expanded = None
            if alone or _shares_a_base(node):
                expanded = expanded_term(node, 1.0, squares=False)
            if expanded is None:
                return node
            node = add(expanded)
        if node.kind != "+" or len(node.body) > _MOST_TERMS:
            return node
        alone = len(node.body) == 1 and node.head == 0.0
        for i, (term, c) in enumerate(node.body):
            expanded = expanded_term(term, c, squares=not alone)
            if expanded is not None:
                rest = [*node.body[:i], *node.body[i + 1 :]]
                node = add([*rest, *expanded], node.head)
                break
        else:
            return node


def _shares_a_base(product: Node) -> bool:
    """Whether a term of a sum in a product has a base that is a factor of the product too.

    Else spreading the product out and putting it together again would change nothing.
    """
    outside = {base.full for base, _ in product.body}
    for base, _ in product.body:
        for term, _ in base.body if base.kind == "+" else ():
            inside = term.body if term.kind == "*" else ((term, 1.0),)
            if any(part.full in outside for part, _ in inside):
                return True
    return False


def expanded_term(term: Node, c: float, *, squares: bool) -> list[Term] | None:
    """The terms of ``c`` times a product with one plain sum as a factor, or None.

    Parameters
    ----------
    term : Node
    c : float
    squares : bool
        Whether a sum of two terms may be squared instead.
    """
    if term.kind != "*":
        return None
    sums = [(base, p) for base, p in term.body if base.kind == "+" and p in (1.0, 2.0)]
    if len(sums) != 1:
        return None
    inner, p = sums[0]
    others = [factor for factor in term.body if factor[0] is not inner]
    if not all(is_integer(q) for _, q in others):
        return None  # roots would join those in the terms, and be defined for other values
    c *= term.head
    terms = [*inner.body, *([(number(1.0), inner.head)] if inner.head else [])]
    if p == 1.0:
        return [(multiply([(t, 1.0), *others]), c * ci) for t, ci in terms]
    if not squares or len(terms) != 2:
        return None
    (a, ca), (b, cb) = terms
    return [
        (multiply([(a, 2.0), *others]), c * ca * ca),
        (multiply([(a, 1.0), (b, 1.0), *others]), 2.0 * c * ca * cb),
        (multiply([(b, 2.0), *others]), c * cb * cb),
    ]


def _without(node: Node, *leave: Node) -> list[Term]:
    return [(t, c) for t, c in node.body if not any(t is other for other in leave)]


# --- waves ----------------------------------------------------------------------------------------
def merged_waves(node: Node) -> Node:
    """A sum in which waves of one argument are one; see :func:`_phasors`."""
    if not any(term.kind == "f" and term.head in ("sin", "cos") for term, _ in node.body):
        return node
    changed = False
    terms: list[Term] = []
    groups: dict[str, list[tuple[Node, Node, float, complex]]] = defaultdict(list)
    for term, c in node.body:
        if term.kind == "f" and term.head in ("sin", "cos"):
            inner = term.body[0]
            shift = inner.head if inner.kind == "+" else 0.0
            argument = add(inner.body) if shift else inner
            turn = cmath.exp(1j * (shift + (_QUARTER if term.head == "cos" else 0.0)))
            groups[argument.full].append((argument, term, c, c * turn))
        else:
            terms.append((term, c))
    for group in groups.values():
        argument = group[0][0]
        total = sum(phasor for *_, phasor in group)
        plain = [(call(_SIN, argument), total.real), (call(_COS, argument), total.imag)]
        small = 1e-14 * sum(abs(c) for _, _, c, _ in group)
        plain = [(t, c) for t, c in plain if abs(c) > small]
        if len(plain) == 2 and not all(_is_near(abs(c), 1.0) for _, c in plain):
            if len(group) == 1:
                plain = [(group[0][1], group[0][2])]
            else:
                size, shift = cmath.polar(total)
                plain = [(wave(argument, shift), _whole(size))]
        else:
            plain = [(t, _whole(c)) for t, c in plain]
        changed = changed or [t.full for t, _ in plain] != [t.full for _, t, *_ in group]
        terms += plain
    return add(terms, node.head) if changed else node


# --- logarithms -----------------------------------------------------------------------------------
def merged_logarithms(node: Node) -> Node:
    """A sum in which logarithms with factors of one size are one, of a product."""
    logs = [(t, c) for t, c in node.body if t.kind == "f" and t.head == "log"]
    for i, (_, c) in enumerate(logs):
        alike = [(t, ci / c) for t, ci in logs[i:] if _is_near(abs(ci), abs(c))]
        if len(alike) > 1:
            inside = multiply([(t.body[0], math.copysign(1.0, sign)) for t, sign in alike])
            rest = _without(node, *[t for t, _ in alike])
            return add([*rest, (_logarithm(inside), c)], node.head)
    return node


# --- squares --------------------------------------------------------------------------------------
def _first_square(node: Node) -> Node | None:
    return next(completed_squares(node), None)


def completed_squares(node: Node) -> Iterator[Node]:
    """Sums with a square completed: ``a t^2 + b t + c`` and ``a t^2 + b t u + b^2 / (4 a) u^2``."""
    roots = [(root, term, c) for term, c in node.body if (root := _root(term)) is not None]
    if not roots:
        return
    by_form = {term.full: (term, c) for term, c in node.body}
    squares = [
        (term, c, *by_form[double])
        for term, c in sorted(node.body, key=lambda entry: entry[0].full)
        if (double := multiply([(term, 2.0)]).full) in by_form
    ]
    if node.head:
        for t, b, square, a in squares:
            shift, rest = b / (2.0 * a), b * b / (4.0 * a)
            left = 0.0 if _is_near(rest, node.head) else node.head - rest
            whole = multiply([(add([(t, 1.0)], shift), 2.0)], a)
            yield add([*_without(node, t, square), (whole, 1.0)], left)
    for i, (t, first, a) in enumerate(roots):
        for u, second, c in roots[i + 1 :]:
            cross, b = by_form.get(multiply([(t, 1.0), (u, 1.0)]).full, (None, 0.0))
            if cross is not None and _is_near(b * b, 4.0 * a * c):
                ratio = _whole(b / (2.0 * a))
                whole = multiply([(add([(t, 1.0), (u, ratio)]), 2.0)], a)
                yield add([*_without(node, first, second, cross), (whole, 1.0)], node.head)


def _root(term: Node) -> Node | None:
    """What a term is the square of: one with even exponents, or an exponential."""
    if term.kind == "f" and term.head == "exp":
        return function_node("exp", scaled(term.body[0], 0.5))
    if term.kind == "*" and all(is_integer(p) and p % 2 == 0 for _, p in term.body):
        return multiply([(base, 0.5 * p) for base, p in term.body])
    return None


# --- common factors -------------------------------------------------------------------------------
def _first_factor(node: Node) -> Node | None:
    """The sum with the common factor taken out that saves most."""
    found = common_factors(node)
    return taken_out(node, *found[0]) if found else None


Common = tuple["Node | float", float, list[Term], bool]


def common_factors(node: Node) -> list[Common]:
    """Factors that several terms of a sum have, those first that save most.

    Each is the factor, its exponent, the terms that have it, and whether the constant of the sum
    has it too.
    """
    return sorted(_common_factors(node), key=_saving)


def _saving(found: Common) -> tuple[int, str, float]:
    factor, p, terms, has_constant = found
    is_node = isinstance(factor, Node)
    size = len(factor.skeleton) if is_node else 1
    name = factor.full if is_node else repr(factor)
    return -(len(terms) + has_constant - 1) * (1 + size), name, p


def _common_factors(node: Node) -> Iterator[Common]:
    having: dict[tuple[str, bool], list[tuple[Node, float, Term]]] = defaultdict(list)
    for term in node.body:
        for base, p in term[0].body if term[0].kind == "*" else ((term[0], 1.0),):
            having[base.full, p > 0].append((base, p, term))
    for entries in having.values():
        if len(entries) > 1:
            exponents = [p for _, p, _ in entries]
            p = min(exponents, key=abs)
            # What is left keeps whole exponents, or has none: a root is not taken out of a power.
            same = [(b, q, t) for b, q, t in entries if q == p or (is_integer(p) and is_integer(q))]
            if len(same) > 1:
                yield same[0][0], p, [term for _, _, term in same], False
    sizes: list[tuple[float, list[Term]]] = []
    for term in node.body:
        size = abs(term[1])
        group = next((terms for known, terms in sizes if _is_near(known, size)), None)
        if group is None:
            sizes.append((size, [term]))
        else:
            group.append(term)
    for size, terms in sizes:
        has_constant = _is_near(abs(node.head), size)  # alone with one term it saves nothing
        if size != 1.0 and len(terms) > 1:
            yield size, 1.0, terms, has_constant


def taken_out(
    node: Node, factor: Node | float, p: float, terms: list[Term], has_constant: bool
) -> Node:
    """The sum with a common factor taken out of some terms; see :func:`common_factors`."""
    head = node.head
    if isinstance(factor, Node):
        inner = _sum(add([(multiply([(t, 1.0), (factor, -p)]), c) for t, c in terms]))
        product = multiply([(factor, p), (inner, 1.0)])
    else:
        inner_terms = [(t, math.copysign(1.0, c)) for t, c in terms]
        constant = math.copysign(1.0, head) if has_constant else 0.0
        head = 0.0 if has_constant else head
        product = multiply([(_sum(add(inner_terms, constant)), 1.0)], factor)
    rest = _without(node, *[t for t, _ in terms])
    return add([*rest, (product, 1.0)], head)
