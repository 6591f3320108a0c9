"""The canonical spelling of a formula: folded constants, flattened and ordered sums and products.

A formula is rebuilt bottom-up from four kinds of node: numbers, sums (a constant plus terms with
coefficients), products (a coefficient times bases with exponents) and function calls. Like terms
meet in a dictionary, so that one function gets, as far as these rules reach, one spelling. Values
are preserved wherever the original is defined; the result may be defined in more places
(``sqrt(x)^2`` becomes ``x``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sr_transformer.expression.expression import Expression
from sr_transformer.expression.operators import ARITY, OPERATORS

_ODD = frozenset({"sin", "tan", "asin", "atan", "sinh", "tanh"})
_EVEN = frozenset({"cos", "cosh", "abs"})
_INVERSE = {"sin": "asin", "cos": "acos", "tan": "atan"}
_NAMED_POWERS = {2.0: "square", 3.0: "cube", 0.5: "sqrt"}
_POWER_OF = {"square": 2.0, "cube": 3.0, "sqrt": 0.5, "inv": -1.0}
_CANCELLED = 1e-14  # relative size below which a sum of coefficients counts as zero


class _UndefinedConstant(Exception):
    """A constant folded to an infinity or nan."""


class Node:
    """A canonical subformula.

    Attributes
    ----------
    kind : str
        ``"n"`` number, ``"x"`` variable, ``"+"`` sum, ``"*"`` product, ``"f"`` function of one
        argument, ``"g"`` function of two.
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


def simplify(formula: Expression) -> Expression:
    """Return the canonical spelling of a formula (see the module's text).

    A formula whose constants fold to an infinity or nan is returned as it is.
    """
    symbols: list[str] = []
    constants: list[float] = []
    try:
        _emit(to_node(formula), symbols, constants)
    except _UndefinedConstant:
        return formula
    return Expression._trusted(tuple(symbols), tuple(constants))


def to_node(formula: Expression) -> Node:
    """Convert a formula to canonical nodes."""
    stack: list[Node] = []
    position = len(formula.constants)
    for symbol in reversed(formula.symbols):
        arity = ARITY.get(symbol, 0)
        if arity == 0:
            if symbol == "c":
                position -= 1
                stack.append(_number(formula.constants[position]))
            else:
                stack.append(Node("x", symbol, (), symbol))
            continue
        a = stack.pop()
        if arity == 1:
            if symbol in _POWER_OF:
                if a.kind == "x":
                    stack.append(_product_node(1.0, ((a, _POWER_OF[symbol]),)))
                else:
                    stack.append(_multiply([(a, _POWER_OF[symbol])]))
            elif symbol == "neg":
                stack.append(_add([(a, -1.0)]))
            else:
                stack.append(_call(symbol, a))
            continue
        b = stack.pop()
        if symbol == "+":
            stack.append(_add([(a, 1.0), (b, 1.0)]))
        elif symbol == "-":
            stack.append(_add([(a, 1.0), (b, -1.0)]))
        elif symbol == "*":
            if a.kind == "n" and b.kind == "x" and a.head not in (0.0, 1.0):
                stack.append(_product_node(a.head, ((b, 1.0),)))
            else:
                stack.append(_multiply([(a, 1.0), (b, 1.0)]))
        elif symbol == "/":
            stack.append(_multiply([(a, 1.0), (b, -1.0)]))
        elif symbol == "^":
            stack.append(_raise(a, b))
        else:
            stack.append(_extremum(symbol, a, b))
    return stack[0]


# --- constructors: each returns a canonical node --------------------------------------------------
def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _UndefinedConstant
    return value


def _number(value: float) -> Node:
    value = _finite(value)
    return Node("n", value, (), repr(value))


def _sum_node(constant: float, terms: Iterable[tuple[Node, float]]) -> Node:
    body = tuple((t, _finite(c)) for t, c in terms)
    constant = _finite(constant)
    parts = [f"{c!r}*{t.full}" for t, c in body]
    return Node("+", constant, body, f"({'+'.join(parts)}+{constant!r})")


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


def _function_node(name: str, argument: Node) -> Node:
    return Node("f", name, (argument,), f"{name}({argument.full})")


def _add(parts: Iterable[tuple[Node, float]], constant: float = 0.0) -> Node:
    """Sum of ``coefficient * node``, flattened, with like terms merged."""
    terms: dict[str, list] = {}
    size = abs(constant)

    def collect(node: Node, coefficient: float) -> None:
        nonlocal constant, size
        kind = node.kind
        if kind == "n":
            constant += coefficient * node.head
            size = max(size, abs(coefficient * node.head))
            return
        if kind == "+":
            constant += coefficient * node.head
            size = max(size, abs(coefficient * node.head))
            for term, c in node.body:
                collect(term, coefficient * c)
            return
        if kind == "*" and node.head != 1.0:
            coefficient *= node.head
            node = _without_coefficient(node)
        entry = terms.get(node.full)
        if entry is None:
            terms[node.full] = [node, coefficient]
        else:
            total = entry[1] + coefficient
            if abs(total) <= _CANCELLED * max(abs(coefficient), abs(entry[1])):
                total = 0.0
            entry[1] = total

    for node, coefficient in parts:
        collect(node, coefficient)
    for key, (node, c) in list(terms.items()):
        if abs(c) == 1.0 and node.kind == "*" and node.body[0][0].kind == "+" and _is_sum(node):
            del terms[key]  # its coefficient has become one: the sum within joins this one
            collect(node.body[0][0], c)
    kept = [(node, c) for node, c in terms.values() if c != 0.0]
    if abs(constant) <= _CANCELLED * size:
        constant = 0.0
    if not kept:
        return _number(constant)
    if len(kept) == 1 and constant == 0.0:
        node, c = kept[0]
        if c == 1.0:
            return node
        return _product_node(c, node.body if node.kind == "*" else ((node, 1.0),))
    kept.sort(key=_term_order)
    return _sum_node(constant, kept)


def _is_sum(product: Node) -> bool:
    """Whether a product of coefficient one is nothing but a sum."""
    return len(product.body) == 1 and product.body[0][1] == 1.0


def _term_order(term: tuple[Node, float]) -> tuple:
    node, coefficient = term
    return -len(node.skeleton), node.skeleton, node.full, coefficient


def _factor_order(factor: tuple[Node, float]) -> tuple:
    base, exponent = factor
    return len(base.skeleton), base.skeleton, base.full, exponent


def _is_integer(value: float) -> bool:
    return value == math.floor(value) and abs(value) < 1e9


def _real_power(base: float, exponent: float) -> float:
    try:
        value = math.pow(base, exponent)
    except (OverflowError, ValueError, ZeroDivisionError):
        raise _UndefinedConstant from None
    return _finite(value)


def _multiply(parts: Iterable[tuple[Node, float]], coefficient: float = 1.0) -> Node:
    """Product of ``node ^ exponent``, flattened, with like bases merged."""
    factors: dict[str, list] = {}
    exponentials: list[tuple[Node, float]] = []

    def put(base: Node, exponent: float) -> None:
        entry = factors.get(base.full)
        if entry is None:
            factors[base.full] = [base, exponent]
        else:
            entry[1] += exponent

    def collect(node: Node, exponent: float) -> None:
        nonlocal coefficient
        kind = node.kind
        if kind == "n":
            coefficient *= _real_power(node.head, exponent)
        elif kind == "*":
            collect_product(node, exponent)
        elif kind == "+":
            lead = node.body[0][1]
            if not _is_integer(exponent):
                lead = abs(lead)
            if lead == 1.0:
                put(node, exponent)
            else:
                coefficient *= _real_power(lead, exponent)
                put(_add([(t, c / lead) for t, c in node.body], node.head / lead), exponent)
        elif kind == "f" and node.head == "exp":
            exponentials.append((node.body[0], exponent))
        elif kind == "f" and node.head == "abs" and _is_integer(exponent) and exponent % 2 == 0:
            collect(node.body[0], exponent)
        else:
            put(node, exponent)

    def collect_product(node: Node, exponent: float) -> None:
        nonlocal coefficient
        if _is_integer(exponent):
            coefficient *= _real_power(node.head, exponent)
            for base, p in node.body:
                collect(base, p * exponent)
            return
        coefficient *= _real_power(abs(node.head), exponent)
        sign = 1.0 if node.head > 0 else -1.0
        if sign > 0 and len(node.body) == 1:
            base, p = node.body[0]
            if _is_integer(p) and p % 2 == 0 and not _is_even(p * exponent):
                base = _call("abs", base)
            collect(base, p * exponent)
        else:
            put(_product_node(sign, node.body), exponent)

    for node, exponent in parts:
        if exponent != 0.0:
            collect(node, exponent)
    if exponentials:
        factor, powers, argument = _split_exponent(_add(exponentials))
        coefficient *= factor
        for base, p in powers:
            collect(base, p)
        if argument is not None:
            put(_function_node("exp", argument), 1.0)
    return _finish_product(coefficient, factors)


def _is_even(value: float) -> bool:
    return _is_integer(value) and value % 2 == 0


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
    return factor, powers, _add(rest, constant)


def _finish_product(coefficient: float, factors: dict[str, list]) -> Node:
    kept = [(base, p) for base, p in factors.values() if p != 0.0]
    coefficient = _finite(coefficient)
    if coefficient == 0.0 or not kept:
        return _number(coefficient)
    roots = [(base, p) for base, p in kept if abs(p) == 0.5]
    if len(roots) > 1:
        kept = [(base, p) for base, p in kept if abs(p) != 0.5]
        merged = _multiply([(base, 2.0 * p) for base, p in roots])
        if merged.kind == "n":
            coefficient *= _real_power(merged.head, 0.5)
        elif merged.kind == "*" and len(merged.body) == 1:
            return _multiply([*kept, (merged, 0.5)], coefficient)
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
                return _add([(t, c * coefficient) for t, c in base.body], base.head * coefficient)
    if len(kept) > 1:
        kept.sort(key=_factor_order)
    return _product_node(coefficient, kept)


def _raise(base: Node, exponent: Node) -> Node:
    if exponent.kind == "n":
        return _multiply([(base, exponent.head)])
    if base.kind == "n" and base.head > 0.0:
        return _multiply([(_function_node("exp", _add([(exponent, math.log(base.head))])), 1.0)])
    return Node("g", "^", (base, exponent), f"({base.full})^({exponent.full})")


def _leads_negative(node: Node) -> bool:
    if node.kind == "*":
        return node.head < 0.0
    return node.kind == "+" and node.body[0][1] < 0.0


def _call(name: str, argument: Node) -> Node:
    """A function of one argument, with the identities that keep its spelling unique."""
    if argument.kind == "n":
        with np.errstate(all="ignore"):
            return _number(float(OPERATORS[name].function(argument.head)))
    if name == "exp":
        return _multiply([(_function_node("exp", argument), 1.0)])
    if name == "log":
        return _logarithm(argument)
    if argument.kind == "f" and _INVERSE.get(name) == argument.head:
        return argument.body[0]
    if name in _ODD and _leads_negative(argument):
        return _add([(_function_node(name, _add([(argument, -1.0)])), -1.0)])
    if name in _EVEN and _leads_negative(argument):
        argument = _add([(argument, -1.0)])
    if name == "abs":
        if argument.kind == "*" and argument.head != 1.0:
            return _add([(_call("abs", _without_coefficient(argument)), abs(argument.head))])
        if argument.kind == "f" and argument.head in ("abs", "exp", "cosh", "acos"):
            return argument
        if argument.kind == "*" and all(
            _is_even(p) or not _is_integer(p) for _, p in argument.body
        ):
            return argument
    return _function_node(name, argument)


def _logarithm(argument: Node) -> Node:
    if argument.kind == "f" and argument.head == "exp":
        return argument.body[0]
    if argument.kind == "*":
        size = abs(argument.head)
        if size != 1.0:
            inner = _product_node(math.copysign(1.0, argument.head), argument.body)
            if argument.head > 0.0:
                inner = _without_coefficient(inner)
            return _add([(_logarithm(inner), 1.0)], math.log(size))
        if argument.head == 1.0 and len(argument.body) == 1:
            base, p = argument.body[0]
            if p < 0.0:
                return _add([(_logarithm(_multiply([(base, -p)])), -1.0)])
            if p not in _NAMED_POWERS and not _is_even(p):
                return _add([(_logarithm(base), p)])
    if argument.kind == "n":
        if argument.head <= 0.0:
            raise _UndefinedConstant
        return _number(math.log(argument.head))
    return _function_node("log", argument)


def _extremum(name: str, a: Node, b: Node) -> Node:
    arguments: dict[str, Node] = {}
    number: float | None = None
    for node in _flatten(name, a) + _flatten(name, b):
        if node.kind == "n":
            pick = max if name == "max" else min
            number = node.head if number is None else pick(number, node.head)
        else:
            arguments[node.full] = node
    ordered = sorted(arguments.values(), key=lambda n: (-len(n.skeleton), n.skeleton, n.full))
    if number is not None:
        ordered.append(_number(number))
    result = ordered[0]
    for node in ordered[1:]:
        result = Node("g", name, (result, node), f"{name}({result.full},{node.full})")
    return result


def _flatten(name: str, node: Node) -> list[Node]:
    if node.kind == "g" and node.head == name:
        return _flatten(name, node.body[0]) + _flatten(name, node.body[1])
    return [node]


# --- back to prefix -------------------------------------------------------------------------------
def _emit(node: Node, symbols: list[str], constants: list[float]) -> None:
    kind = node.kind
    if kind == "n":
        symbols.append("c")
        constants.append(node.head)
    elif kind == "x":
        symbols.append(node.head)
    elif kind == "+":
        _emit_sum(node, symbols, constants)
    elif kind == "*":
        _emit_product(node.head, node.body, symbols, constants)
    else:
        symbols.append(node.head)
        for argument in node.body:
            _emit(argument, symbols, constants)


def _emit_sum(node: Node, symbols: list[str], constants: list[float]) -> None:
    terms = list(node.body)
    constant = node.head
    first = next((i for i, (_, c) in enumerate(terms) if c != -1.0), None)
    if first is None and constant == 0.0:
        symbols.append("neg")
        terms = [(t, 1.0) for t, _ in terms]
        first = 0
    tail = terms if first is None else terms[:first] + terms[first + 1 :]
    operators = ["-" if c == -1.0 else "+" for _, c in tail]
    if constant != 0.0 and first is not None:
        operators.append("+")
    symbols.extend(reversed(operators))
    if first is None:
        symbols.append("c")
        constants.append(constant)
    else:
        _emit_term(*terms[first], symbols, constants)
    for term, c in tail:
        _emit_term(term, 1.0 if c == -1.0 else c, symbols, constants)
    if constant != 0.0 and first is not None:
        symbols.append("c")
        constants.append(constant)


def _emit_term(term: Node, c: float, symbols: list[str], constants: list[float]) -> None:
    if c == 1.0:
        _emit(term, symbols, constants)
    else:
        body = term.body if term.kind == "*" and term.head == 1.0 else ((term, 1.0),)
        _emit_product(c, body, symbols, constants)


def _emit_product(
    coefficient: float, factors: tuple, symbols: list[str], constants: list[float]
) -> None:
    above = [(b, p) for b, p in factors if p > 0.0]
    below = [(b, -p) for b, p in factors if p < 0.0]
    if coefficient == -1.0 and above:
        symbols.append("neg")
        coefficient = 1.0
    if below:
        if not above and coefficient == 1.0:
            symbols.append("inv")
        else:
            symbols.append("/")
    if above or coefficient != 1.0:
        leading = coefficient != 1.0
        symbols.extend("*" * (len(above) - 1 + leading))
        if leading:
            symbols.append("c")
            constants.append(coefficient)
        for base, p in above:
            _emit_power(base, p, symbols, constants)
    if below:
        symbols.extend("*" * (len(below) - 1))
        for base, p in below:
            _emit_power(base, p, symbols, constants)


def _emit_power(base: Node, p: float, symbols: list[str], constants: list[float]) -> None:
    if p == 1.0:
        _emit(base, symbols, constants)
    elif p in _NAMED_POWERS:
        symbols.append(_NAMED_POWERS[p])
        _emit(base, symbols, constants)
    else:
        symbols.append("^")
        _emit(base, symbols, constants)
        symbols.append("c")
        constants.append(p)
