"""How unusual a form is: nats that its symbols take, written in the language of the prior's laws.

``form_frequencies.json`` counts, over formulas of the prior, what stands below each argument of
each operator (:func:`sr_transformer.prior.frequencies.count_forms` made it). A sum is usual, a sine
of an arcus tangent is not: so of two formulas that fit equally well, the more usual one is the
shorter to write. Priors over forms from counts of operators go back to Guimera et al. (2020), "A
Bayesian machine scientist"; here a count depends on what stands above.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path

from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT
from sr_transformer.front.named_laws import cost_by_name

VARIABLE = "x"
"""What stands for any column in the counts."""

# Odds that y has nothing to do with the columns. A pool holds hundreds of forms, some of which come
# near any noise: of 127 tables of noise the constant was chosen in 97 % with odds of four, and with
# ten in all (sr_transformer/evaluation/calibration.py).
_NOTHING = 10.0

# What was never counted is taken for one in two thousand.
_UNSEEN = 0.0005


def form_cost(expression: Expression, operators: frozenset[str], n_columns: int) -> float:
    """Nats for the symbols of a formula, without the values of its constants.

    The shorter of two codes: symbol by symbol, or by the name of a law that has one.

    Parameters
    ----------
    expression : Expression
    operators : frozenset of str
        That formulas may be written with: where there are few, each says less.
    n_columns : int
        Each variable is one of so many.
    """
    spelled = _spelled(expression, operators, n_columns)
    named = cost_by_name(expression, n_columns)
    if named >= spelled:
        return spelled
    costs, _ = _costs("", operators)
    something = -math.log1p(-math.exp(-costs[CONSTANT]))
    return min(spelled, something + named)


def _spelled(expression: Expression, operators: frozenset[str], n_columns: int) -> float:
    """Nats symbol by symbol, each by what stands above it."""
    arity = expression.language.arity
    column = math.log(n_columns) if n_columns > 1 else 0.0
    waiting = [""]
    total = 0.0
    for symbol in expression.symbols:
        costs, unseen = _costs(waiting.pop(), operators)
        n_arguments = arity.get(symbol, 0)
        if n_arguments:
            waiting += [f"{symbol} {i}" for i in range(n_arguments - 1, -1, -1)]
        elif symbol != CONSTANT:
            symbol = VARIABLE
            total += column
        total += costs.get(symbol, unseen)
    return total - _orders(expression) if n_columns > 1 else total


def _orders(expression: Expression) -> float:
    """Nats that are saved because terms alike may stand in any order, and so may factors.

    A sum of m of the columns is one of so many sets, and not of so many rows of m columns.
    """
    operator = expression.symbols[0]
    if operator not in ("+", "*"):
        return sum(map(_orders, expression.arguments))
    terms = _chain(expression, operator)
    alike = Counter(map(_masked, terms))
    return sum(math.lgamma(n + 1.0) for n in alike.values()) + sum(map(_orders, terms))


def _chain(expression: Expression, operator: str) -> list[Expression]:
    """The terms of a sum, or the factors of a product."""
    if expression.symbols[0] != operator:
        return [expression]
    return [term for part in expression.arguments for term in _chain(part, operator)]


def _masked(expression: Expression) -> tuple[str, ...]:
    arity = expression.language.arity
    return tuple(s if s in arity or s == CONSTANT else VARIABLE for s in expression.symbols)


@lru_cache(maxsize=4096)
def _costs(place: str, operators: frozenset[str]) -> tuple[dict[str, float], float]:
    """Nats of each symbol below an argument of an operator, and of one that is not allowed."""
    counts = dict(_counts().get(place, {}))
    if not place:
        counts[CONSTANT] = _NOTHING * sum(counts.values())
    least = _UNSEEN * sum(counts.values()) + 0.5
    weights = {s: counts.get(s, 0) + least for s in (*sorted(operators), VARIABLE, CONSTANT)}
    total = math.log(sum(weights.values()))
    return {s: total - math.log(w) for s, w in weights.items()}, total - math.log(least)


@cache
def _counts() -> dict[str, dict[str, int]]:
    path = Path(__file__).with_name("form_frequencies.json")
    return json.loads(path.read_text(encoding="utf-8"))
