"""The canonical spelling of a formula, by way of canonical nodes, and back to prefix notation."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from sr_transformer.expression.canonical import (
    NAMED_POWERS,
    Node,
    UndefinedConstant,
    add,
    apply,
    call,
    extremum,
    multiply,
    number,
    power,
    variable,
)
from sr_transformer.expression.expression import Expression, set_key, set_simplified
from sr_transformer.expression.language import ARITHMETIC, CONSTANT, Language, Operator
from sr_transformer.expression.normal import normal


def simplify(formula: Expression) -> Expression:
    """Return the canonical spelling of a formula (see the module's text).

    A formula whose constants fold to an infinity or nan, or underflow, is returned as it is, and
    so is one that is nested too deeply.
    Sums, products and powers have rules where the language holds all operators of ``ARITHMETIC``,
    which the result may need; in any other, constants are folded.
    """
    known = getattr(formula, "simplified", None)
    return _simplified(formula)[0] if known is None else known


def _simplified(formula: Expression) -> tuple[Expression, Node | None]:
    """The canonical spelling and its node; the formula itself and None where there is none."""
    symbols: list[str] = []
    constants: list[float] = []
    node: Node | None = None
    try:
        node = to_node(formula)
        _emit(node, symbols, constants)
        found = Expression.unchecked(tuple(symbols), tuple(constants), formula.language)
    except (UndefinedConstant, RecursionError):  # the latter hundreds of levels deep
        found = formula
    set_simplified(formula, found)
    set_simplified(found, found)  # a second time nothing would change
    return found, node


def key_of(formula: Expression) -> tuple[str, ...]:
    """What is the same for all spellings of a function, whatever the values of its constants are.

    The symbols of one form of it (:mod:`~sr_transformer.expression.normal`), as far as the rules
    reach; those of the formula itself where its constants fold to an infinity or nan, or underflow.
    """
    known = getattr(formula, "_key", None)
    if known is not None:
        return known
    simple, node = _simplified(formula)
    found = simple.symbols
    if node is not None and _has_several_forms(simple):
        symbols: list[str] = []
        try:
            _emit(normal(node, formula.language), symbols, [])
            found = tuple(symbols)
        except (UndefinedConstant, OverflowError, ZeroDivisionError):
            pass
    set_key(formula, found)
    return found


_ALMOST_ONE = 1e-12  # what rounding alone may keep from one
_MOVABLE = frozenset({"abs", "max", "min", "log", "sin", "cos", "tan"})
"""Functions that factors or shifts are moved out of."""


def _has_several_forms(formula: Expression) -> bool:
    """Whether a canonical form may not be the only one; many formulas are spared the looking."""
    symbols, arity = formula.symbols, formula.language.arity
    if not has_rules(formula.language):
        return False
    n_sums = symbols.count("+") + symbols.count("-")
    if not _MOVABLE.isdisjoint(symbols) or (n_sums > 1 and "square" in symbols):
        return True
    variables = [symbol for symbol in symbols if symbol not in arity and symbol != CONSTANT]
    sizes = [abs(constant) for constant in formula.constants]
    if len(set(variables)) < len(variables) or len(set(sizes)) < len(sizes):
        return True
    return any(abs(size - 1.0) < _ALMOST_ONE for size in sizes)


@lru_cache
def has_rules(language: Language) -> bool:
    """Whether sums, products and powers have rules in a language, which may need all of them."""
    return ARITHMETIC.operators.items() <= language.operators.items()


class _Sum(list):
    """``(term, coefficient)`` pairs of a sum that may still grow."""


class _Product(list):
    """``(base, exponent)`` pairs of a product that may still grow; exponents are whole."""


def to_node(formula: Expression) -> Node:
    """Convert a formula to canonical nodes.

    Neighbouring sums are collected and put in order once, when something else takes them up, and
    so are products: most of the work is in the putting in order.
    """
    rules = _rules(formula.language)
    return _closed(formula.fold(number, variable, lambda name, *parts: rules[name](*parts)))


def _closed(part: Node | _Sum | _Product) -> Node:
    if type(part) is _Product:
        return multiply(part)
    return add(part) if type(part) is _Sum else part


def _terms(part: Node | _Sum | _Product) -> list[tuple[Node, float]]:
    return part if type(part) is _Sum else [(_closed(part), 1.0)]


def _factors(part: Node | _Sum | _Product) -> list[tuple[Node, float]]:
    return part if type(part) is _Product else [(_closed(part), 1.0)]


def _negated(part: Node | _Sum | _Product) -> list[tuple[Node, float]]:
    return [(term, -c) for term, c in _terms(part)]


def _raised(exponent: float, part: Node | _Sum | _Product) -> _Product:
    return _Product([(base, p * exponent) for base, p in _factors(part)])


Rule = Callable[..., "Node | _Sum | _Product"]

_ARITHMETIC_RULES: dict[str, Rule] = {
    "+": lambda a, b: _Sum(_terms(a) + _terms(b)),
    "-": lambda a, b: _Sum(_terms(a) + _negated(b)),
    "*": lambda a, b: _Product(_factors(a) + _factors(b)),
    "/": lambda a, b: _Product(_factors(a) + _raised(-1.0, b)),
    "^": lambda a, b: power(_closed(a), _closed(b)),
    "max": lambda a, b: extremum("max", _closed(a), _closed(b)),
    "min": lambda a, b: extremum("min", _closed(a), _closed(b)),
    "neg": lambda a: _Sum(_negated(a)),
    "inv": partial(_raised, -1.0),
    "square": partial(_raised, 2.0),
    "cube": partial(_raised, 3.0),
    "sqrt": lambda a: multiply([(_closed(a), 0.5)]),
}


@lru_cache
def _rules(language: Language) -> dict[str, Rule]:
    """What each operator of a language makes of its arguments."""
    known = has_rules(language)
    rules = {name: _rule(row, known) for name, row in language.operators.items()}
    return rules | _ARITHMETIC_RULES if known else rules


def _rule(row: Operator, known: bool) -> Rule:
    if known and row.arity == 1:
        return lambda a: call(row, _closed(a))
    return lambda *parts: apply(row, *map(_closed, parts))


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
    if node.head != 0.0:
        terms.append((number(node.head), 1.0))
    first = next((i for i, (_, c) in enumerate(terms) if c != -1.0), None)
    if first is None:
        symbols.append("neg")
        terms = [(term, 1.0) for term, _ in terms]
    elif first:
        terms.insert(0, terms.pop(first))
    symbols.extend(["-" if c == -1.0 else "+" for _, c in terms[:0:-1]])
    for term, c in terms:
        _emit_term(term, 1.0 if c == -1.0 else c, symbols, constants)


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
    n_above = len(above) + (coefficient != 1.0)
    if below:
        symbols.append("/" if n_above else "inv")
    symbols.extend("*" * (n_above - 1))
    if coefficient != 1.0:
        symbols.append("c")
        constants.append(coefficient)
    for base, p in above:
        _emit_power(base, p, symbols, constants)
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
