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

from sr_transformer.expression import Expression
from sr_transformer.expression.language import CONSTANT
from sr_transformer.front.constant_cost import simple_cost
from sr_transformer.table.table import Table

_KIND = math.log(3.0)  # whether a symbol is an operator, a variable or a constant


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
        Its mean squared error; above 0.
    sample : Sample

    Returns
    -------
    float
        In nats, but for a term that is the same for all formulas of one table. It is the sum of

        - for each symbol log(3) for its kind, and the logarithm of the number of operators or of
          columns for which one;
        - for each constant with a simple value the cost of its digits
          (:func:`~sr_transformer.front.constant_cost.simple_cost`), and for any other
          ``log(n * variance / loss) / 2``: the digits that the residuals leave certain;
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
