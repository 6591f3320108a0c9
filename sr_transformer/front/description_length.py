"""How many nats it takes to write down a table's target with the help of a formula.

The formula that makes this shortest is the one that the data support: a longer one is only better
if it saves more on the residuals than it costs itself. This is the two-part code of minimum
description length (Rissanen 1978), in the form that symbolic regression took over from Bartlett,
Desmond and Ferreira (2022), "Exhaustive symbolic regression", with simpler codes for symbols and
for constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT
from sr_transformer.table.table import Table

_KIND = math.log(3.0)  # whether a symbol is an operator, a variable or a constant

_PI = math.log(200.0)  # that a fraction is one of pi: rare

_LARGEST_DENOMINATOR = 6
_LARGEST_NUMERATOR = 100


@dataclass(frozen=True)
class Sample:
    """What the length depends on beside the formula.

    Parameters
    ----------
    n_rows : float
        Number of rows; with weights their effective number (Kish 1965), the square of the sum of
        the weights over the sum of their squares.
    n_columns : int
    variance : float
        Of y, in the units of the losses.
    n_operators : int
        How many operators a formula may be written with.
    """

    n_rows: float
    n_columns: int
    variance: float
    n_operators: int

    @classmethod
    def of(cls, table: Table, n_operators: int) -> Sample:
        """Sample of a table and the number of allowed operators."""
        weights = table.weights
        n_rows = float(len(table.y))
        if weights is not None:
            n_rows = float(weights.sum() ** 2 / (weights @ weights))
        return cls(n_rows, table.X.shape[1], table.variance, n_operators)


def description_length(expression: Expression, loss: float, sample: Sample) -> float:
    """Length of the formula's text, its constants and the residuals.

    Parameters
    ----------
    expression : Expression
    loss : float
        Its loss, as :meth:`Table.loss` gives it; above 0.
    sample : Sample

    Returns
    -------
    float
        In nats, but for a term that is the same for all formulas of one table. It is the sum of

        - for each symbol log(3) for its kind, and the logarithm of the number of operators or of
          columns for which one;
        - for each constant with a simple value (:func:`simple_value`) the cost of its digits, and
          for any other ``log(n * variance / loss) / 2``: the digits that the residuals leave
          certain;
        - ``n * log(loss / variance) / 2`` for the residuals, as normal noise of unknown size.
    """
    ratio = loss / sample.variance if sample.variance > 0 else 1.0
    digits = max(0.5 * math.log(sample.n_rows / ratio), 0.0) if ratio > 0 else math.inf
    length = 0.5 * sample.n_rows * math.log(ratio)
    constants = iter(expression.constants)
    arity = expression.language.arity
    for symbol in expression.symbols:
        length += _KIND
        if symbol == CONSTANT:
            length += min(simple_cost(next(constants)), digits)
        else:
            length += math.log(sample.n_operators if symbol in arity else sample.n_columns)
    return length


@lru_cache(maxsize=4096)
def simple_cost(constant: float) -> float:
    """Nats that a constant with a simple value costs, ``inf`` for any other.

    Simple are fractions with a numerator of at most 100 and a denominator of at most 6, and these
    times or over pi.
    """
    if not math.isfinite(constant):
        return math.inf
    costs = [_fraction_cost(constant)]
    for value in (constant / math.pi, constant * math.pi):
        costs.append(_fraction_cost(value) + _PI)
    return min(costs)


def _fraction_cost(value: float) -> float:
    for denominator in range(1, _LARGEST_DENOMINATOR + 1):
        numerator = round(value * denominator)
        if 0 < abs(numerator) <= _LARGEST_NUMERATOR and math.isclose(
            numerator / denominator, value, rel_tol=1e-13
        ):
            # A sign, and numbers about as dear as their size: half of all are below 2.
            return math.log(2.0) + 2.0 * math.log(abs(numerator)) + 2.0 * math.log(denominator)
    return 0.0 if value == 0.0 else math.inf
