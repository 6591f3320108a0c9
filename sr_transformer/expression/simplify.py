"""The canonical spelling of a formula, by way of canonical nodes, and back to prefix notation."""

from __future__ import annotations

from sr_transformer.expression.canonical import (
    NAMED_POWERS,
    Node,
    UndefinedConstant,
    add,
    call,
    extremum,
    multiply,
    number,
    power,
    product_node,
)
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.operators import ARITY

_POWER_OF = {"square": 2.0, "cube": 3.0, "sqrt": 0.5, "inv": -1.0}


def simplify(formula: Expression) -> Expression:
    """Return the canonical spelling of a formula (see the module's text).

    A formula whose constants fold to an infinity or nan, or underflow, is returned as it is.
    """
    symbols: list[str] = []
    constants: list[float] = []
    try:
        _emit(to_node(formula), symbols, constants)
    except UndefinedConstant:
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
                stack.append(number(formula.constants[position]))
            else:
                stack.append(Node("x", symbol, (), symbol))
            continue
        a = stack.pop()
        if arity == 1:
            if symbol in _POWER_OF:
                if a.kind == "x":
                    stack.append(product_node(1.0, ((a, _POWER_OF[symbol]),)))
                else:
                    stack.append(multiply([(a, _POWER_OF[symbol])]))
            elif symbol == "neg":
                stack.append(add([(a, -1.0)]))
            else:
                stack.append(call(symbol, a))
            continue
        b = stack.pop()
        if symbol == "+":
            stack.append(add([(a, 1.0), (b, 1.0)]))
        elif symbol == "-":
            stack.append(add([(a, 1.0), (b, -1.0)]))
        elif symbol == "*":
            if a.kind == "n" and b.kind == "x" and a.head not in (0.0, 1.0):
                stack.append(product_node(a.head, ((b, 1.0),)))
            else:
                stack.append(multiply([(a, 1.0), (b, 1.0)]))
        elif symbol == "/":
            stack.append(multiply([(a, 1.0), (b, -1.0)]))
        elif symbol == "^":
            stack.append(power(a, b))
        else:
            stack.append(extremum(symbol, a, b))
    return stack[0]


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
    elif p in NAMED_POWERS:
        symbols.append(NAMED_POWERS[p])
        _emit(base, symbols, constants)
    else:
        symbols.append("^")
        _emit(base, symbols, constants)
        symbols.append("c")
        constants.append(p)
