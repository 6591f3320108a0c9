"""Laws that have a name: curves of one column, and models of several, that science meets often.

Spelled out, a logistic curve is as long as any other formula of nine symbols; known by name it is
one of a few. :func:`sr_transformer.front.form_cost.form_cost` takes the shorter of the two.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT

CURVES = {
    "line": ("2.5 * x0 + 1.3",),
    "power": ("2.5 * x0 ^ 1.3",),
    "exponential": ("2.5 * exp(1.3 * x0)",),
    "logarithm": ("2.5 * log(x0) + 1.3",),
    "wave": ("2.5 * sin(1.3 * x0 + 0.7)", "2.5 * cos(1.3 * x0 + 0.7)"),
    "parabola": ("2.5 * x0 ^ 2.0 + 1.3 * x0 + 0.7", "2.5 * (x0 + 1.3) ^ 2.0 + 0.7"),
    "exponential with offset": ("2.5 * exp(1.3 * x0) + 0.7",),
    "inverse with offset": ("2.5 / x0 + 1.3",),
    "Gaussian": ("2.5 * exp(0.7 * (x0 + 1.3) ^ 2.0)", "2.5 * exp(0.7 * x0 ^ 2.0)"),
    "hyperbola": ("2.5 / (x0 + 1.3)",),
    "Michaelis-Menten, Langmuir, Antoine": ("2.5 * x0 / (x0 + 1.3)", "1.3 / (x0 + 0.7) + 2.5"),
    "logistic": ("2.5 / (1.0 + exp(1.3 + 0.7 * x0))",),
    "Arrhenius": ("2.5 * exp(1.3 / x0)",),
    "power with offset": ("2.5 * x0 ^ 1.3 + 0.7", "2.5 * (x0 + 1.3) ^ 0.7"),
    "wave with offset": ("2.5 * sin(1.3 * x0 + 0.7) + 0.3", "2.5 * cos(1.3 * x0 + 0.7) + 0.3"),
    "damped wave": (
        "2.5 * exp(1.3 * x0) * sin(0.7 * x0 + 0.3)", "2.5 * exp(1.3 * x0) * cos(0.7 * x0 + 0.3)",
    ),
    "Hill": ("2.5 / (0.7 + x0 ^ 1.3)", "2.5 * x0 ^ 1.3 / (x0 ^ 1.3 + 0.7)"),
    "Lorentzian": ("2.5 / (0.7 + (x0 + 1.3) ^ 2.0)", "2.5 / (0.7 + x0 ^ 2.0)"),
    "Vogel": ("2.5 * exp(1.3 / (x0 + 0.7))",),
    "thermistor": ("2.5 / (log(x0) + 1.3)", "2.5 / (log(x0) + 1.3) + 0.7"),
    "hyperbolic tangent": ("2.5 * tanh(1.3 * x0)",),
    "Gaussian with offset": (
        "2.5 * exp(0.7 * (x0 + 1.3) ^ 2.0) + 0.3", "2.5 * exp(0.7 * x0 ^ 2.0) + 0.3",
    ),
    "Ricker, gamma": ("2.5 * x0 * exp(1.3 * x0)", "2.5 * x0 ^ 0.7 * exp(1.3 * x0)"),
    "Gompertz": ("2.5 * exp(1.3 * exp(0.7 * x0))",),
    "stretched exponential": ("2.5 * exp(1.3 * x0 ^ 0.7)",),
    "two exponentials": ("2.5 * exp(1.3 * x0) + 0.7 * exp(0.3 * x0)",),
    "log-normal": ("2.5 * exp(0.7 * (log(x0) + 1.3) ^ 2.0)",),
}  # fmt: skip
"""By name, the spellings; what numbers they hold means nothing."""

RARE = frozenset({"Ricker, gamma", "stretched exponential", "two exponentials", "log-normal"})
"""Names of those that are met less often than what they look like: a Gaussian, a decay."""

_RARER = math.log(5.0)
_MODELS = 3  # polynomials; and of several columns a weighted sum, and a product of powers
_DEGREE = 6  # of a polynomial
_WHOLE = frozenset(map(float, range(1, _DEGREE + 1)))

_POWERS = frozenset({"square", "cube", "sqrt", "inv"})


def cost_by_name(expression: Expression, n_columns: int) -> float:
    """Nats that say which of the named laws a formula is, and of which columns.

    Parameters
    ----------
    expression : Expression
        With any constants.
    n_columns : int
        Of the table, from which those of the formula are chosen.

    Returns
    -------
    float
        Infinite for what has no name.
    """
    columns = expression.variables
    n, m = n_columns, len(columns)
    cost = math.log(len(CURVES) + _MODELS)
    if m == 1:
        cost += math.log(n)
        name = _name(expression, columns[0])
        if name is not None:
            return cost + (_RARER if name in RARE else 0.0)
        n_powers = _powers_of_polynomial(expression)
        return cost + _sets(_DEGREE, n_powers) if n_powers else math.inf
    if m == 0 or not (_is_weighted_sum(expression) or _is_product_of_powers(expression)):
        return math.inf
    return cost + _sets(n, m)


def _sets(n: int, m: int) -> float:
    """Nats for how many of n, and which."""
    return math.log(n) + math.lgamma(n + 1.0) - math.lgamma(m + 1.0) - math.lgamma(n - m + 1.0)


def _powers_of_polynomial(expression: Expression) -> int:
    """How many powers of its one column a formula sums up; 0 where it is no such sum."""
    n_powers = 0
    for term in _taken_apart(expression, ("+", "-")):
        powers = [f for f in _taken_apart(term, ("*", "neg")) if f.symbols != (CONSTANT,)]
        if len(powers) > 1 or not all(map(_is_whole_power, powers)):
            return 0
        n_powers += len(powers)
    return n_powers if n_powers <= _DEGREE else 0


def _is_whole_power(part: Expression) -> bool:
    head, *below = part.symbols
    if not below or head in ("square", "cube"):
        return len(below) <= 1
    return head == "^" and len(below) == 2 and below[1] == CONSTANT and part.constants[0] in _WHOLE


def _name(expression: Expression, column: int) -> str | None:
    """Name of a curve; ``None`` where it is none of them."""
    if len(expression.symbols) > _longest():
        return None
    return _forms().get(expression.renamed({column: 0}).simplify().symbols)


def _is_weighted_sum(expression: Expression) -> bool:
    """Whether a formula is a sum of columns with factors, and perhaps an offset."""
    terms = _taken_apart(expression, ("+", "-"))
    leaves = [leaf for term in terms for leaf in _taken_apart(term, ("*", "neg"))]
    return _all_leaves(leaves) and _is_once(terms)


def _is_product_of_powers(expression: Expression) -> bool:
    """Whether a formula is a product of powers of columns, with a factor."""
    factors = _taken_apart(expression, ("*", "/", "neg"))
    bases = []
    for factor in factors:
        head = factor.symbols[0]
        if head in _POWERS or (head == "^" and factor.arguments[1].symbols == (CONSTANT,)):
            factor = factor.arguments[0]
        bases.append(factor)
    return _all_leaves(bases) and _is_once(bases)


def _taken_apart(expression: Expression, operators: tuple[str, ...]) -> list[Expression]:
    if expression.symbols[0] not in operators:
        return [expression]
    parts = expression.arguments
    return [below for part in parts for below in _taken_apart(part, operators)]


def _all_leaves(parts: list[Expression]) -> bool:
    return all(len(part.symbols) == 1 for part in parts)


def _is_once(parts: list[Expression]) -> bool:
    """Whether each part reads one column at most, and none reads that of another."""
    read = [part.variables for part in parts]
    columns = [column for own in read for column in own]
    return all(len(own) <= 1 for own in read) and len(columns) == len(set(columns))


@cache
def _forms() -> dict[tuple[str, ...], str]:
    """The name by each spelling's canonical symbols, which the signs of constants change, too."""
    names: dict[tuple[str, ...], str] = {}
    for name, spellings in CURVES.items():
        for law in map(Expression.parse, spellings):
            for signs in product((1.0, -1.0), repeat=len(law.constants)):
                flipped = [
                    sign * c if c not in (1.0, 2.0) else c
                    for sign, c in zip(signs, law.constants, strict=True)
                ]
                names.setdefault(law.with_constants(flipped).simplify().symbols, name)
    return names


@cache
def _longest() -> int:
    return 2 + max(map(len, _forms()))
