"""Constants that are simple numbers in truth: 1.4999987 becomes 3/2 where the data agree.

A constant is only replaced where the data cannot tell the two values apart, by the simplest value
of those, and where that takes fewer nats to write down than what was fitted
(:mod:`sr_transformer.front.constant_cost`). That a loss falls by it is no reason. One that may be
nought or one is not needed at all: without it, it is another formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.program import compile_program
from sr_transformer.front.constant_cost import free_cost, simple_cost, simple_values
from sr_transformer.front.description_length import Sample
from sr_transformer.table.scaling import divided
from sr_transformer.table.table import Table

Array = np.ndarray

# Nats that the residuals may grow by: two are two standard errors of one constant, within which
# 19 of 20 fitted constants are of the true one.
MOST_TOLERATED = 2.0

# Larger relative standard errors leave a constant as it is: any number would do for it.
_LARGEST_ERROR = 0.1

# A constant so many standard errors from nought and one is needed: what it adds to the description
# (about 20 nats, with the operators of its term) is less than what it saves on the residuals.
_NEEDED = 8.0

_CHEAPEST = 3  # simple values that are tried for each constant
_MOST_CONSTANTS = 12


def with_simple_constants(
    expression: Expression, table: Table, sample: Sample, loss_floor: float
) -> Expression:
    """Replace fitted constants by simple numbers where the data allow it.

    The other constants follow by one Gauss-Newton step, which is exact to second order.

    Parameters
    ----------
    expression : Expression
        A formula whose constants are fitted.
    table : Table
    sample : Sample
    loss_floor : float
        Losses below are rounding errors.

    Returns
    -------
    Expression
        The same formula, perhaps with other constants.
    """
    loss = table.evidence(expression)
    slopes = _slopes(expression, table) if math.isfinite(loss) else None
    if slopes is None:
        return expression

    constants = np.array(expression.constants)
    exponents = set(compile_program(expression.symbols, expression.language).exponents)
    free = [i for i, c in enumerate(constants) if math.isinf(simple_cost(float(c)))]
    floor = max(loss_floor, np.finfo(float).tiny)
    first = max(loss, floor)
    price = free_cost(sample.n_rows, sample.ratio(first))
    while free:
        moves = _moves(constants, free, exponents, slopes, first, len(expression.symbols) == 1)
        for cost, index, moved in moves:
            trial = expression.with_constants(moved)
            trial_loss = table.evidence(trial)
            if not math.isfinite(trial_loss):
                continue
            grown = 0.5 * sample.n_rows * (math.log(max(trial_loss, floor)) - math.log(first))
            if grown <= MOST_TOLERATED and cost + max(grown, 0.0) < price:
                expression, constants = trial, moved
                free = [i for i in free if i != index]
                break
        else:
            break
    return expression


def without_a_constant(expression: Expression, table: Table, loss: float) -> Iterator[Expression]:
    """Shorter formulas in which one constant is nought or one, where that is near its value.

    The other constants follow as in :func:`with_simple_constants`. Fitted to noise, an offset or a
    factor that the law does not have is never quite nought or one.

    Parameters
    ----------
    expression : Expression
        A formula whose constants are fitted.
    table : Table
    loss : float
        Its loss on these rows; above 0.
    """
    slopes = _slopes(expression, table)
    if slopes is None:
        return
    constants = np.array(expression.constants)
    every = list(range(constants.size))
    covariance = _covariance(slopes)
    if not np.isfinite(covariance).all():
        return
    for index in every:
        reach = _NEEDED * math.sqrt(max(covariance[index, index], 0.0)) * math.sqrt(loss)
        for value in (0.0, 1.0):
            if 0.0 < abs(value - constants[index]) <= reach:
                moved = _moved(constants, every, covariance, index, value)
                if not np.isfinite(moved).all():
                    continue
                shorter = expression.with_constants(moved).simplify()
                if len(shorter.symbols) < len(expression.symbols):
                    yield shorter


def _slopes(expression: Expression, table: Table) -> Array | None:
    """Derivatives (n_rows, n_constants) by the constants, weighted, in the units of the losses.

    None where they are undefined, and for formulas of no constants, of more than are tried, or that
    cannot be fitted.
    """
    if not 0 < len(expression.constants) <= _MOST_CONSTANTS or not expression.is_fitted:
        return None
    _, derivatives = expression.jacobian(table.X)
    with np.errstate(all="ignore"):
        if table.exponent:
            derivatives = divided(derivatives, table.exponent)
        if table.root is not None:
            derivatives = derivatives * table.root[:, None]
        size = np.sqrt(np.einsum("ij,ij->j", derivatives, derivatives))
    return derivatives if np.isfinite(size).all() and (size > 0).all() else None


def _moves(
    constants: Array,
    free: list[int],
    exponents: set[int],
    slopes: Array,
    loss: float,
    is_alone: bool,
) -> list[tuple[float, int, Array]]:
    """Constants with one more of them simple, the cheapest first.

    Each with the cost of the simple value and the index of the constant. A constant alone may be
    nought; a term that may be is left out as a whole.
    """
    covariance = _covariance(slopes[:, free])
    ranked = []
    for position, index in enumerate(free):
        variance = covariance[position, position]
        constant = float(constants[index])
        error = math.sqrt(max(variance, 0.0)) * math.sqrt(loss)
        if not 0 < error < math.inf:
            continue
        # The rise of half of n log(loss) is half of the square of the standard errors.
        reach = math.sqrt(2.0 * MOST_TOLERATED) * error
        values = simple_values(constant, reach, of_pi=index not in exponents)
        if is_alone and abs(constant) <= reach:
            values = [0.0]
        elif error > _LARGEST_ERROR * abs(constant):
            continue
        for value in values[:_CHEAPEST]:
            moved = _moved(constants, free, covariance, position, value)
            rank = simple_cost(value), abs(value - constant) / error
            ranked.append((rank, index, moved))
    ranked.sort(key=lambda move: move[0])
    return [(cost, index, moved) for (cost, _), index, moved in ranked]


def _covariance(slopes: Array) -> Array:
    """Of the constants (n_constants, n_constants), for residuals of one."""
    scale = np.sqrt(np.einsum("ij,ij->j", slopes, slopes))
    covariance = np.linalg.pinv((slopes / scale).T @ (slopes / scale), hermitian=True)
    with np.errstate(all="ignore"):  # of columns or y at the ends of float64's range
        return covariance / scale / scale[:, None]


def _moved(
    constants: Array, free: list[int], covariance: Array, position: int, value: float
) -> Array:
    """All constants where one of the free ones has a new value and the others follow."""
    index = free[position]
    moved = constants.copy()
    step = value - constants[index]
    with np.errstate(all="ignore"):
        moved[free] += covariance[:, position] * (step / covariance[position, position])
    moved[index] = value
    return moved
