"""How many nats it takes to write down a table's target with the help of a formula.

The formula that makes this shortest is the one that the data support: a longer one is only better
if it saves more on the residuals than it costs itself. This is the two-part code of minimum
description length (Rissanen 1978), in the form that symbolic regression took over from Bartlett,
Desmond and Ferreira (2022), "Exhaustive symbolic regression", with other codes for symbols
(:mod:`sr_transformer.front.form_cost`) and for constants.

Its few numbers are calibrated on tables that nobody picked by hand, by
:mod:`sr_transformer.evaluation.calibration`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sr_transformer.expression import Expression
from sr_transformer.front.constant_cost import free_cost, simple_cost
from sr_transformer.front.form_cost import form_cost
from sr_transformer.table.table import Table

_TINIEST = 1e-300  # losses of zero are compared as this


@dataclass(frozen=True)
class Sample:
    """What the length depends on beside the formula.

    Parameters
    ----------
    n_rows : float
        Number of readings. Weights say how precise each is, and do not change it.
    n_columns : int
    variance : float
        Loss of the best constant.
    operators : frozenset of str
        That a formula may be written with.
    floor : float
        Loss that the digits of y leave uncertain; lower ones count as equal to it.
    """

    n_rows: float
    n_columns: int
    variance: float
    operators: frozenset[str]
    floor: float = 0.0

    @classmethod
    def of(cls, table: Table, operators: frozenset[str]) -> Sample:
        """Sample of a table and the allowed operators."""
        floor = max(table.exact, table.rounding)
        return cls(table.n_readings, table.X.shape[1], table.variance, operators, floor)

    def ratio(self, loss: float) -> float:
        """A loss over that of the best constant, both at least the floor."""
        floor = max(self.floor, _TINIEST)
        return max(loss, floor) / max(self.variance, floor)


def description_length(expression: Expression, loss: float, sample: Sample) -> float:
    """Length of the formula's text, its constants and the residuals.

    Parameters
    ----------
    expression : Expression
    loss : float
        Its loss, as :meth:`Table.loss <sr_transformer.table.table.Table.loss>` gives it.
    sample : Sample

    Returns
    -------
    float
        In nats, but for a term that is the same for all formulas of one table. It is the sum of

        - the nats for the symbols, :func:`~sr_transformer.front.form_cost.form_cost`;
        - for each constant with a simple value the cost of its digits
          (:func:`~sr_transformer.front.constant_cost.simple_cost`), and for any other at most
          ``log(n * variance / loss) / 2``: the digits that the residuals leave certain;
        - ``n * log(loss / variance) / 2`` for the residuals, as normal noise of unknown size.

        Infinite for as many constants as readings, which explain nothing.
    """
    n_rows = sample.n_rows
    if len(expression.constants) >= n_rows or not math.isfinite(loss):
        return math.inf
    ratio = sample.ratio(loss)
    digits = free_cost(n_rows, ratio)
    length = form_cost(expression, sample.operators, sample.n_columns)
    length += sum(min(simple_cost(constant), digits) for constant in expression.constants)
    return length + 0.5 * n_rows * math.log(ratio)
