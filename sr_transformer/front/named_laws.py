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
    "parabola": ("2.5 * x0 ^ 2.0 + 1.3 * x0 + 0.7", "2.5 * (x0 + 1.3) ^ 2.0 + 0.7"),
    "inverse with offset": ("2.5 / x0 + 1.3",),
    "power": ("2.5 * x0 ^ 1.3",),
    "power with offset": ("2.5 * x0 ^ 1.3 + 0.7", "2.5 * (x0 + 1.3) ^ 0.7"),
    "logarithm": ("2.5 * log(x0) + 1.3",),
    "exponential": ("2.5 * exp(1.3 * x0)",),
    "exponential with offset": ("2.5 * exp(1.3 * x0) + 0.7",),
    "two exponentials": ("2.5 * exp(1.3 * x0) + 0.7 * exp(0.3 * x0)",),
    "Arrhenius": ("2.5 * exp(1.3 / x0)",),
    "Vogel": ("2.5 * exp(1.3 / (x0 + 0.7))",),
    "thermistor": ("2.5 / (log(x0) + 1.3)", "2.5 / (log(x0) + 1.3) + 0.7"),
    "logistic": ("2.5 / (1.0 + exp(1.3 + 0.7 * x0))",),
    "Gompertz": ("2.5 * exp(1.3 * exp(0.7 * x0))",),
    "stretched exponential": ("2.5 * exp(1.3 * x0 ^ 0.7)",),
    "hyperbola": ("2.5 / (x0 + 1.3)",),
    "Michaelis-Menten, Langmuir, Antoine": ("2.5 * x0 / (x0 + 1.3)", "1.3 / (x0 + 0.7) + 2.5"),
    "Hill": ("2.5 / (0.7 + x0 ^ 1.3)", "2.5 * x0 ^ 1.3 / (x0 ^ 1.3 + 0.7)"),
    "Gaussian": ("2.5 * exp(0.7 * (x0 + 1.3) ^ 2.0)", "2.5 * exp(0.7 * x0 ^ 2.0)"),
    "Gaussian with offset": (
        "2.5 * exp(0.7 * (x0 + 1.3) ^ 2.0) + 0.3", "2.5 * exp(0.7 * x0 ^ 2.0) + 0.3",
    ),
    "log-normal": ("2.5 * exp(0.7 * (log(x0) + 1.3) ^ 2.0)",),
    "Lorentzian": ("2.5 / (0.7 + (x0 + 1.3) ^ 2.0)", "2.5 / (0.7 + x0 ^ 2.0)"),
    "wave": ("2.5 * sin(1.3 * x0 + 0.7)", "2.5 * cos(1.3 * x0 + 0.7)"),
    "wave with offset": ("2.5 * sin(1.3 * x0 + 0.7) + 0.3", "2.5 * cos(1.3 * x0 + 0.7) + 0.3"),
    "damped wave": (
        "2.5 * exp(1.3 * x0) * sin(0.7 * x0 + 0.3)", "2.5 * exp(1.3 * x0) * cos(0.7 * x0 + 0.3)",
    ),
    "Ricker, gamma": ("2.5 * x0 * exp(1.3 * x0)", "2.5 * x0 ^ 0.7 * exp(1.3 * x0)"),
    "hyperbolic tangent": ("2.5 * tanh(1.3 * x0)",),
}  # fmt: skip
"""By name, the spellings; what numbers they hold means nothing."""

_MODELS = 2  # of several columns: a weighted sum of them, and a product of their powers
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
    cost = math.log(len(CURVES) + _MODELS)
    if len(columns) == 1:
        return cost + math.log(n_columns) if _is_curve(expression, columns[0]) else math.inf
    if not columns or not (_is_weighted_sum(expression) or _is_product_of_powers(expression)):
        return math.inf
    # How many columns, and which.
    n, m = n_columns, len(columns)
    sets = math.lgamma(n + 1.0) - math.lgamma(m + 1.0) - math.lgamma(n - m + 1.0)
    return cost + math.log(n) + sets


def _is_curve(expression: Expression, column: int) -> bool:
    if len(expression.symbols) > _longest():
        return False
    return expression.renamed({column: 0}).simplify().symbols in _forms()


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
        if head in _POWERS or (head == "^" and factor.symbols[-1] == CONSTANT):
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
def _forms() -> frozenset[tuple[str, ...]]:
    """The canonical symbols of each spelling, which the signs of constants change, too."""
    forms = set()
    for text in (text for spellings in CURVES.values() for text in spellings):
        law = Expression.parse(text)
        for signs in product((1.0, -1.0), repeat=len(law.constants)):
            flipped = [
                sign * c if c not in (1.0, 2.0) else c
                for sign, c in zip(signs, law.constants, strict=True)
            ]
            forms.add(law.with_constants(flipped).simplify().symbols)
    return frozenset(forms)


@cache
def _longest() -> int:
    return 2 + max(map(len, _forms()))
