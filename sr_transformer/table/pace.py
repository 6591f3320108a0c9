"""How long one look at all rows of a table takes on this machine, from which budgets follow."""

from __future__ import annotations

import time

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.table.table import Table

_TYPICAL = Expression.parse("1.3 * exp(-0.7 * x0) + 0.5 * sin(x1) / (x0 + 2.5)")
_MEASURED_ROWS = 100_000


def evaluation_seconds(table: Table) -> float:
    """Seconds that the evaluation of a formula of 15 symbols takes; measured on a part of it."""
    X = table.X[:_MEASURED_ROWS]
    began = time.perf_counter()
    _TYPICAL.evaluate(np.broadcast_to(X[:, :1], (len(X), 2)))
    return (time.perf_counter() - began) * len(table.y) / len(X)
