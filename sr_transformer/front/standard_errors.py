"""How certain the fitted constants of a formula are, and what they are worth on other rows."""

from __future__ import annotations

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.constant_cost import is_exact
from sr_transformer.table.scaling import divided
from sr_transformer.table.table import Table

Array = np.ndarray

_LARGEST_LEVERAGE = 0.99  # of a row that a constant is for

_WIDTH = 1.57  # median residuals: 1.06 deviations, for a density (Silverman 1986)


def standard_errors(
    expression: Expression, table: Table, n_readings: float
) -> tuple[float | None, ...]:
    """Standard error of each constant at the fit.

    The square roots of the diagonal of ``s^2 (J' W J)^-1``, with J the derivatives by the fitted
    constants, W the weights and ``s^2`` the weighted sum of squares over the number of readings
    less that of fitted constants (Seber and Wild 1989, "Nonlinear regression", section 2.1): what
    ``scipy.optimize.curve_fit`` gives with ``absolute_sigma=False``. Under a robust loss ``s^2`` is
    that of its estimate.

    Parameters
    ----------
    expression : Expression
        With the constants of the best fit.
    table : Table
        All rows, or a sample of them that is representative.
    n_readings : float
        That the rows stand for.

    Returns
    -------
    tuple of float or None
        One for each constant: ``None`` for simple fractions and those of pi, which are taken to be
        exact, and ``inf`` where the readings do not determine the constants.
    """
    constants = expression.constants
    free = [i for i, constant in enumerate(constants) if not is_exact(constant)]
    found = np.full(len(free), np.inf)
    if free and n_readings > len(free) and expression.is_fitted:
        values, slopes = expression.jacobian(table.X)
        root = 1.0 if table.root is None else table.root
        with np.errstate(all="ignore"):
            slopes = divided(slopes[:, free], table.exponent) * np.reshape(root, (-1, 1))
            residuals = divided(values - table.y, table.exponent) * root
            lengths = np.sqrt(np.einsum("ij,ij->j", slopes, slopes))
            unit = slopes / lengths
            if np.isfinite(unit).all() and np.isfinite(residuals).all():
                curvature = unit.T @ unit
                if np.linalg.matrix_rank(curvature, hermitian=True) == len(free):
                    # The rows at hand are a share of the readings.
                    share = len(table.y) / n_readings
                    freedom = n_readings / (n_readings - len(free))
                    variance = share * freedom * _variance(residuals, table)
                    inverse = np.diagonal(np.linalg.inv(curvature))
                    found = np.sqrt(variance * np.maximum(inverse, 0.0)) / lengths
    errors: list[float | None] = [None] * len(constants)
    for i, error in zip(free, found.tolist(), strict=True):
        errors[i] = error
    return tuple(errors)


def left_out(expression: Expression, table: Table) -> float:
    """Mean square of the residuals of rows, had each been left out of the fit.

    To first order, by the leverage of the rows (Allen 1974, the PRESS statistic). Infinite where
    the formula has no derivatives.
    """
    if not expression.is_fitted:
        return np.inf
    values, slopes = expression.jacobian(table.X)
    root = 1.0 if table.root is None else table.root
    with np.errstate(all="ignore"):
        residuals = divided(values - table.y, table.exponent) * root
        slopes = slopes * np.reshape(root, (-1, 1))
        lengths = np.sqrt(np.einsum("ij,ij->j", slopes, slopes))
        unit = slopes[:, lengths > 0] / lengths[lengths > 0]
        if not (np.isfinite(unit).all() and np.isfinite(residuals).all()):
            return np.inf
        basis = np.linalg.qr(unit)[0]
        leverage = np.minimum(np.einsum("ij,ij->i", basis, basis), _LARGEST_LEVERAGE)
        return float(np.mean(np.square(residuals / (1.0 - leverage))))


def _variance(residuals: Array, table: Table) -> float:
    """What stands for the variance of the residuals (n_rows,) under the table's loss.

    Huber (1981), section 7.6, for his loss; for absolute values that of the median's error, one
    over the squared double density of the residuals at 0 (Koenker and Bassett 1978).
    """
    kind = table.loss_kind.scaled(table.exponent)
    if not kind.is_robust:
        return float(np.mean(residuals * residuals))
    sizes = np.abs(residuals)
    if kind.name == "absolute":
        width = _WIDTH * float(np.median(sizes)) * len(sizes) ** -0.2
        density = float(np.mean(sizes <= width)) / (2.0 * width) if width > 0.0 else np.inf
        return (0.5 / density) ** 2
    threshold = kind.with_threshold(residuals, table.weights).threshold or np.inf
    inside = float(np.mean(sizes <= threshold))
    return float(np.mean(np.square(np.minimum(sizes, threshold)))) / inside**2
