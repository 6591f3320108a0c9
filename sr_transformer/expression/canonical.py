"""Canonical nodes: sums and products that are flattened, merged and ordered as they are built.

Each constructor takes canonical nodes and returns one. Like terms and like bases meet in a
dictionary, so that one function gets, as far as these rules reach, one form. Values are preserved
wherever the original is defined; the result may be defined in more places (``sqrt(x)^2`` becomes
``x``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import numpy as np

from sr_transformer.expression.language import ARITHMETIC, Operator

_ABS = ARITHMETIC.operators["abs"]
NAMED_POWERS = {2.0: "square", 3.0: "cube", 0.5: "sqrt"}
"""Exponents that have an operator of their own."""
_CANCELLED = 1e-14  # relative size below which a sum of coefficients counts as zero


class UndefinedConstant(Exception):
    """A constant folded to an infinity or nan, or underflowed to zero."""


class Node:
    """A canonical subformula.

    Attributes
    ----------
    kind : str
        ``"n"`` number, ``"x"`` variable, ``"+"`` sum, ``"*"`` product, ``"f"`` function.
    head : float or str
        Value of a number, name of a variable or function, constant of a sum, coefficient of a
        product.
    body : tuple
        ``(term, coefficient)`` pairs, ``(base, exponent)`` pairs, or the arguments.
    full : str
        Structural key with the values of constants: equal keys are equal subformulas.
    """

    __slots__ = ("_skeleton", "body", "full", "head", "kind")

    def __init__(self, kind: str, head: float | str, body: tuple, full: str) -> None:
        self.kind = kind
        self.head = head
        self.body = body
        self.full = full
        self._skeleton: str | None = None

    @property
    def skeleton(self) -> str:
        """Structural key without the values of constants.

        Terms and factors are ordered by it, so that the order does not hang on the constants.
        """
        if self._skeleton is None:
            self._skeleton = self._make_skeleton()
        return self._skeleton

    def _make_skeleton(self) -> str:
        kind, head, body = self.kind, self.head, self.body
        if kind == "x":
            return head
        if kind == "n":
            return "c"
        if kind == "+":
            parts = [t.skeleton if c in (1.0, -1.0) else "c*" + t.skeleton for t, c in body]
            return "(" + "+".join(parts) + ("+c)" if head else ")")
        if kind == "*":
            parts = [b.skeleton if p == 1.0 else f"{b.skeleton}^{p:.4g}" for b, p in body]
            return "*".join(parts if head == 1.0 else ["c", *parts])
        return f"{head}(" + ",".join([argument.skeleton for argument in body]) + ")"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise UndefinedConstant
    return value


def number(value: float) -> Node:
    value = _finite(value)
    return Node("n", value, (), repr(value))


@cache
def variable(column: int) -> Node:
    name = f"x{column}"
    return Node("x", name, (), name)


def _sum_node(constant: float, terms: Iterable[tuple[Node, float]]) -> Node:
    body = tuple(terms)
    parts = [t.full if c == 1.0 else f"{_finite(c)!r}*{t.full}" for t, c in body]
    return Node("+", constant, body, f"({'+'.join(parts)}+{_finite(constant)!r})")


def _product_node(coefficient: float, factors: Iterable[tuple[Node, float]]) -> Node:
    body = tuple(factors)
    full = "*".join([b.full if p == 1.0 else f"{b.full}^{p!r}" for b, p in body])
    if coefficient != 1.0:
        full = f"{coefficient!r}*{full}"
    return Node("*", coefficient, body, full)


def _without_coefficient(node: Node) -> Node:
    """The product with coefficient one."""
    if len(node.body) == 1 and node.body[0][1] == 1.0 and node.body[0][0].kind != "+":
        return node.body[0][0]
    return _product_node(1.0, node.body)


def function_node(name: str, *arguments: Node) -> Node:
    full = arguments[0].full
    for argument in arguments[1:]:
        full += "," + argument.full
    return Node("f", name, arguments, f"{name}({full})")


def add(parts: Iterable[tuple[Node, float]], constant: float = 0.0) -> Node:
    """Sum of ``coefficient * node``, flattened, with like terms merged."""
    terms: dict[str, list] = {}
    size = abs(constant)
    waiting = list(parts)
    has_sums = False
    while waiting:
        node, coefficient = waiting.pop()
        kind = node.kind
        if kind == "n" or kind == "+":
            value = coefficient * node.head
            constant += value
            size = max(size, abs(value))
            waiting += [(term, coefficient * c) for term, c in node.body]
        else:
            if kind == "*":
                if node.head != 1.0:
                    coefficient *= node.head
                    node = _without_coefficient(node)
                has_sums = has_sums or _is_sum(node)
            entry = terms.get(node.full)
            if entry is None:
                terms[node.full] = [node, coefficient]
            else:
                total = entry[1] + coefficient
                if abs(total) <= _CANCELLED * max(abs(coefficient), abs(entry[1])):
                    total = 0.0
                entry[1] = total
        if has_sums and not waiting:
            waiting, has_sums = _loose_sums(terms), False
    kept = [(node, c) for node, c in terms.values() if c != 0.0]
    if abs(constant) <= _CANCELLED * size:
        constant = 0.0
    if not kept:
        return number(constant)
    if len(kept) == 1 and constant == 0.0:
        node, c = kept[0]
        if c == 1.0:
            return node
        return _product_node(c, node.body if node.kind == "*" else ((node, 1.0),))
    if len(kept) > 1:
        kept.sort(key=_term_order)
    return _sum_node(constant, kept)


def _loose_sums(terms: dict[str, list]) -> list[tuple[Node, float]]:
    """Take out the sums whose coefficient has become one: their terms join the sum around them."""
    loose = []
    for key, (node, c) in list(terms.items()):
        if abs(c) == 1.0 and _is_sum(node):
            del terms[key]
            loose.append((node.body[0][0], c))
    return loose


def _is_sum(node: Node) -> bool:
    """Whether a node is a product of coefficient one that is nothing but a sum."""
    if node.kind != "*" or len(node.body) != 1:
        return False
    base, exponent = node.body[0]
    return exponent == 1.0 and base.kind == "+"


def _term_order(term: tuple[Node, float]) -> tuple:
    node, coefficient = term
    skeleton = node.skeleton
    return -len(skeleton), skeleton, node.full, coefficient


def _factor_order(factor: tuple[Node, float]) -> tuple:
    base, exponent = factor
    skeleton = base.skeleton
    return len(skeleton), skeleton, base.full, exponent


def is_integer(value: float) -> bool:
    return abs(value) < 1e9 and value == math.floor(value)


def _real_power(base: float, exponent: float) -> float:
    try:
        value = math.pow(base, exponent)
    except (OverflowError, ValueError, ZeroDivisionError):
        raise UndefinedConstant from None
    if value == 0.0 and base != 0.0:
        raise UndefinedConstant
    return _finite(value)


def _times(a: float, b: float) -> float:
    product = a * b
    if product == 0.0 and a != 0.0 and b != 0.0:
        raise UndefinedConstant
    return product


def multiply(parts: Iterable[tuple[Node, float]], coefficient: float = 1.0) -> Node:
    """Product of ``node ^ exponent``, flattened, with like bases merged."""
    factors: dict[str, list] = {}
    exponentials: list[tuple[Node, float]] = []
    waiting = list(parts)
    while waiting:
        node, exponent = waiting.pop()
        kind = node.kind
        if kind == "n":
            coefficient = _times(coefficient, _real_power(node.head, exponent))
        elif kind == "*" and is_integer(exponent):
            if node.head != 1.0:
                coefficient = _times(coefficient, _real_power(node.head, exponent))
            waiting += [(base, p * exponent) for base, p in node.body]
        elif kind == "*":
            coefficient = _times(coefficient, _real_power(abs(node.head), exponent))
            if node.head > 0.0 and len(node.body) == 1:
                waiting.append(_power_of_power(*node.body[0], exponent))
            else:
                if abs(node.head) != 1.0:
                    node = multiply(node.body, math.copysign(1.0, node.head))
                _put(factors, node, exponent)
        elif kind == "+":
            lead = node.body[0][1] if is_integer(exponent) else abs(node.body[0][1])
            if lead == 1.0:
                _put(factors, node, exponent)
            else:
                coefficient = _times(coefficient, _real_power(lead, exponent))
                node = add([(t, c / lead) for t, c in node.body], node.head / lead)
                waiting.append((node, exponent))  # another term may lead now
        elif kind == "f" and node.head == "exp":
            exponentials.append((node.body[0], exponent))
        elif kind == "f" and node.head == "abs" and _is_even(exponent):
            waiting.append((node.body[0], exponent))
        else:
            _put(factors, node, exponent)
        if exponentials and not waiting:
            factor, waiting, argument = _split_exponent(add(exponentials))
            exponentials = []
            coefficient = _times(coefficient, factor)
            if argument is not None:
                _put(factors, function_node("exp", argument), 1.0)
    return _finish_product(coefficient, factors)


def _put(factors: dict[str, list], base: Node, exponent: float) -> None:
    entry = factors.get(base.full)
    if entry is None:
        factors[base.full] = [base, exponent]
    else:
        entry[1] += exponent


def _power_of_power(base: Node, p: float, exponent: float) -> tuple[Node, float]:
    """``(base ^ p) ^ exponent`` for a broken exponent, as base and exponent."""
    if _is_even(p) and not _is_even(p * exponent):
        base = call(_ABS, base)
    return base, p * exponent


def _is_even(value: float) -> bool:
    return is_integer(value) and value % 2 == 0


def _split_exponent(total: Node) -> tuple[float, list[tuple[Node, float]], Node | None]:
    """Take ``exp(total)`` apart: a factor, powers ``b ^ p`` from ``p * log(b)``, and the rest."""
    constant, terms = (total.head, total.body) if total.kind == "+" else (0.0, ((total, 1.0),))
    if total.kind == "n":
        constant, terms = total.head, ()
    elif total.kind == "*":
        terms = ((_without_coefficient(total), total.head),)
    powers, rest = [], []
    for term, c in terms:
        if term.kind == "f" and term.head == "log":
            powers.append((term.body[0], c))
        else:
            rest.append((term, c))
    factor = 1.0
    if abs(constant) < 700.0:
        factor, constant = math.exp(constant), 0.0
    if not rest and constant == 0.0:
        return factor, powers, None
    return factor, powers, add(rest, constant)


def _finish_product(coefficient: float, factors: dict[str, list]) -> Node:
    kept = [(base, p) for base, p in factors.values() if p != 0.0]
    coefficient = _finite(coefficient)
    if coefficient == 0.0 or not kept:
        return number(coefficient)
    roots = [(base, p) for base, p in kept if abs(p) == 0.5] if len(kept) > 1 else []
    if len(roots) > 1:
        kept = [(base, p) for base, p in kept if abs(p) != 0.5]
        merged = multiply([(base, 2.0 * p) for base, p in roots])
        if merged.kind == "n":
            coefficient *= _real_power(merged.head, 0.5)
        elif merged.kind == "*" and len(merged.body) == 1:
            return multiply([*kept, (merged, 0.5)], coefficient)
        else:
            kept.append((merged, 0.5))
    if len(kept) == 1 and kept[0][1] == 1.0:
        base = kept[0][0]
        if coefficient == 1.0:
            return base
        if base.kind == "+":
            plain = sum(1 for _, c in base.body if c in (1.0, -1.0))
            # A coefficient in front of a sum is spread over its terms where that is no longer.
            if plain <= 1 or coefficient == -1.0:
                return add([(t, c * coefficient) for t, c in base.body], base.head * coefficient)
    if len(kept) > 1:
        kept.sort(key=_factor_order)
    return _product_node(coefficient, kept)


def power(base: Node, exponent: Node) -> Node:
    if exponent.kind == "n":
        return multiply([(base, exponent.head)])
    if base.kind == "n" and base.head > 0.0:
        return multiply([(function_node("exp", add([(exponent, math.log(base.head))])), 1.0)])
    return function_node("^", base, exponent)


def leading_factor(node: Node) -> float:
    """The factor of a product, or of the first term of a sum."""
    if node.kind == "*":
        return node.head
    return node.body[0][1] if node.kind == "+" else 1.0


def apply(row: Operator, *arguments: Node) -> Node:
    """An operator that nothing is known of but its values."""
    if all(argument.kind == "n" for argument in arguments):
        with np.errstate(all="ignore"):
            return number(float(row.function(*[argument.head for argument in arguments])))
    return function_node(row.name, *arguments)


def call(row: Operator, argument: Node) -> Node:
    """A function of one real number, with the identities that keep its spelling unique."""
    name = row.name
    if argument.kind == "n":
        return apply(row, argument)
    if name == "exp":
        return multiply([(function_node("exp", argument), 1.0)])
    if name == "log":
        return _logarithm(argument)
    if argument.kind == "f" and argument.head == row.inverse:
        return argument.body[0]
    if row.parity and leading_factor(argument) < 0.0:
        opposite = call(row, add([(argument, -1.0)]))
        return opposite if row.parity > 0 else add([(opposite, -1.0)])
    if name == "abs":
        if argument.kind == "*" and argument.head != 1.0:
            return add([(call(row, _without_coefficient(argument)), abs(argument.head))])
        if argument.kind == "f" and argument.head in ("abs", "exp", "cosh", "acos"):
            return argument
        if argument.kind == "*" and all(_is_even(p) or not is_integer(p) for _, p in argument.body):
            return argument
    return function_node(name, argument)


def _logarithm(argument: Node) -> Node:
    if argument.kind == "f" and argument.head == "exp":
        return argument.body[0]
    if argument.kind == "*":
        size = abs(argument.head)
        if size != 1.0:
            inner = multiply(argument.body, math.copysign(1.0, argument.head))
            return add([(_logarithm(inner), 1.0)], math.log(size))
        if argument.head == 1.0 and len(argument.body) == 1:
            base, p = argument.body[0]
            if p < 0.0:
                return add([(_logarithm(multiply([(base, -p)])), -1.0)])
            if p not in NAMED_POWERS and not _is_even(p):
                return add([(_logarithm(base), p)])
    if argument.kind == "n":
        if argument.head <= 0.0:
            raise UndefinedConstant
        return number(math.log(argument.head))
    return function_node("log", argument)


def extremum(name: str, a: Node, b: Node) -> Node:
    arguments: dict[str, Node] = {}
    bound: float | None = None
    for node in _flatten(name, a) + _flatten(name, b):
        if node.kind == "n":
            pick = max if name == "max" else min
            bound = node.head if bound is None else pick(bound, node.head)
        else:
            arguments[node.full] = node
    ordered = sorted(arguments.values(), key=lambda n: (-len(n.skeleton), n.skeleton, n.full))
    if bound is not None:
        ordered.append(number(bound))
    result = ordered[0]
    for node in ordered[1:]:
        result = function_node(name, result, node)
    return result


def _flatten(name: str, node: Node) -> list[Node]:
    if node.kind == "f" and node.head == name:
        return _flatten(name, node.body[0]) + _flatten(name, node.body[1])
    return [node]
