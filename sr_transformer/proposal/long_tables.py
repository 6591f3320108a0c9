"""The last fit on all rows of a long table, in memory that does not grow with it."""

from __future__ import annotations

import time

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.table.table import Table

Array = np.ndarray

# Rows whose values and derivatives stay in the processor's cache. Of a million rows, blocks of
# 2,000 to 8,000 took 20 to 70 ms an evaluation and those of 12,000 to 20,000 took 400 to 650: the
# C library takes arrays of 128 KiB and more from the system, which clears every page of them.
_BLOCK = 4000
_STEPS = 2  # the start was fitted on a sample: the second step is far smaller than the first
_SETTLED = 1e-6  # of the squared standard errors: a step that moves constants by less is none

_ROBUST_STEPS = 6  # the same where each step has weights of its own


def refitted_in_blocks(
    start: Expression, table: Table, deadline: float = np.inf
) -> tuple[Expression, float]:
    """Gauss-Newton steps from constants that are nearly right; never worse than the start.

    Parameters
    ----------
    start : Expression
        Fitted on a random sample of the rows.
    table : Table
        All rows.
    deadline : float
        Value of ``time.perf_counter()`` after which the first step is the last.

    Returns
    -------
    expression : Expression
    loss : float
        Of all rows.
    """
    best, best_loss, step = start, np.inf, np.zeros(len(start.constants))
    for number in range((_ROBUST_STEPS if table.loss_kind.is_robust else _STEPS) + 1):
        trial = best.with_constants(np.array(best.constants) + step)
        loss, curvature, gradient = _normal_equations(trial, table)
        if not loss < best_loss:
            break
        best, best_loss = trial, loss
        if number and time.perf_counter() >= deadline:
            break
        scale = np.sqrt(np.diagonal(curvature))
        scale = np.where(scale > 0, scale, np.inf)
        with np.errstate(all="ignore"):
            unit, right = curvature / scale / scale[:, None], gradient / scale
        if not np.isfinite(unit).all() or not np.isfinite(right).all():
            break  # LAPACK would print that to standard output
        step = -np.linalg.lstsq(unit, right, rcond=1e-12)[0] / scale
        # What the sum of squares would fall by, over the variance of the residuals.
        if not -(gradient @ step) > _SETTLED * loss:
            break
    return best, best_loss


def _residuals(expression: Expression, table: Table) -> Array:
    n_rows = len(table.y)
    blocks = (slice(first, first + _BLOCK) for first in range(0, n_rows, _BLOCK))
    return np.concatenate([expression.evaluate(table.X[b]) - table.y[b] for b in blocks])


def _normal_equations(expression: Expression, table: Table) -> tuple[float, Array, Array]:
    """Loss, and the sums of which Gauss-Newton's step is made."""
    n = len(expression.constants)
    total = 0.0
    curvature, gradient = np.zeros((n, n)), np.zeros(n)
    n_rows = len(table.y)
    with np.errstate(all="ignore"):
        if table.loss_kind.is_robust:
            table = table.seen_with(_residuals(expression, table), soft=False)
        all_weights = table.square_weights
        for first in range(0, n_rows, _BLOCK):
            block = slice(first, first + _BLOCK)
            values, slopes = expression.jacobian(table.X[block])
            residuals = values - table.y[block]
            weighted = residuals if all_weights is None else residuals * all_weights[block]
            total += float(weighted @ residuals)
            if all_weights is not None:
                curvature += slopes.T @ (slopes * all_weights[block, None])
            else:
                curvature += slopes.T @ slopes
            gradient += slopes.T @ weighted
    loss = total / n_rows
    return (loss if np.isfinite(loss) else np.inf), curvature, gradient
