"""How certain the fitted constants of a formula are."""

from __future__ import annotations

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.constant_cost import is_exact
from sr_transformer.table.scaling import divided
from sr_transformer.table.table import Table


def standard_errors(
    expression: Expression, table: Table, n_readings: float
) -> tuple[float | None, ...]:
    """Standard error of each constant at the fit.

    The square roots of the diagonal of ``s^2 (J' W J)^-1``, with J the derivatives by the fitted
    constants, W the weights and ``s^2`` the weighted sum of squares over the number of readings
    less that of fitted constants (Seber and Wild 1989, "Nonlinear regression", section 2.1): what
    ``scipy.optimize.curve_fit`` gives with ``absolute_sigma=False``.

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
    if free and n_readings > len(free):
        values, slopes = expression.jacobian(table.X)
        with np.errstate(all="ignore"):
            slopes = divided(slopes[:, free], table.exponent)
            if table.weights is not None:
                slopes = slopes * table.root[:, None]
            lengths = np.sqrt(np.einsum("ij,ij->j", slopes, slopes))
            unit = slopes / lengths
            if np.isfinite(unit).all():
                curvature = unit.T @ unit
                if np.linalg.matrix_rank(curvature, hermitian=True) == len(free):
                    loss = table.mean_of_squares(values - table.y)
                    variance = loss * n_readings / (n_readings - len(free))
                    # The rows at hand are a share of the readings.
                    variance *= len(table.y) / n_readings
                    inverse = np.diagonal(np.linalg.inv(curvature))
                    found = np.sqrt(variance * np.maximum(inverse, 0.0)) / lengths
    errors: list[float | None] = [None] * len(constants)
    for i, error in zip(free, found.tolist(), strict=True):
        errors[i] = error
    return tuple(errors)
