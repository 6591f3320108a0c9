"""Fitting the constants of a formula: Levenberg-Marquardt with the analytic Jacobian.

The iteration is written out here because SciPy's MINPACK (``leastsq``, 1.17) depends in its last
digits on where its work arrays lie in memory: the same fit of an ill-conditioned formula gave two
results in 300 repetitions, and two fits with one ``random_state`` have to agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.expression import Program

Array = np.ndarray

_CONVERGED = 1e-14  # relative fall of the loss, or relative step, below which a fit ends
_FIRST_DAMPING = 1e-3
_LARGEST_DAMPING = 1e16
_RESTART_SPREAD = 1.0  # standard deviation of log|constant| around the first start


def loss_of(
    expression: Expression, X: Array, y: Array, sample_weight: Array | None = None
) -> float:
    """Mean squared error of a formula, weighted where weights are given.

    Returns
    -------
    float
        In squared units of y; ``inf`` where the formula is undefined on any row.
    """
    residuals = expression.evaluate(X) - y
    with np.errstate(all="ignore"):
        loss = float(np.average(residuals * residuals, weights=sample_weight))
    return loss if np.isfinite(loss) else np.inf


def refit(
    expression: Expression,
    X: Array,
    y: Array,
    sample_weight: Array | None = None,
    *,
    max_evaluations: int = 200,
) -> tuple[Expression, float]:
    """Fit the constants, starting from those that the formula has.

    Parameters
    ----------
    expression : Expression
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,), optional
    max_evaluations : int
        Upper bound of the number of evaluations of the formula.

    Returns
    -------
    expression : Expression
        The same formula with the best constants seen, never worse than the start.
    loss : float
        Its mean squared error; see :func:`loss_of`.
    """
    start_loss = loss_of(expression, X, y, sample_weight)
    if not expression.constants:
        return expression, start_loss
    root = None if sample_weight is None else np.sqrt(sample_weight / np.mean(sample_weight))
    fitted = _levenberg_marquardt(expression, X.T, y, root, max_evaluations)
    candidate = expression.with_constants(fitted)
    loss = loss_of(candidate, X, y, sample_weight)
    if not loss < start_loss:
        return expression, start_loss
    return candidate, loss


def fit_from_starts(
    starts: Sequence[Expression],
    X: Array,
    y: Array,
    sample_weight: Array | None,
    *,
    restarts: int,
    random_state: np.random.RandomState,
    exact: float,
    max_evaluations: int = 60,
) -> tuple[Expression, float]:
    """Fit one formula from several starts and keep the best.

    Parameters
    ----------
    starts : sequence of Expression
        The same formula with different constants. The two best are refined.
    restarts : int
        Number of further starts, scattered log-normally around the best one, that are tried
        while the loss stays above ``exact``.
    random_state : numpy.random.RandomState
    exact : float
        Loss at which the search for a better start ends.
    max_evaluations : int
        Bound for each start.
    """
    losses = [loss_of(e, X, y, sample_weight) for e in starts]
    order = np.argsort(losses, kind="stable")
    best, best_loss = starts[order[0]], losses[order[0]]
    if not best.constants:
        return best, best_loss
    queue = [starts[i] for i in order[:2]]
    first = np.array(queue[0].constants)
    for _ in range(restarts):
        factors = np.exp(_RESTART_SPREAD * random_state.standard_normal(first.size))
        queue.append(queue[0].with_constants(first * factors))
    for start in queue:
        fitted, loss = refit(start, X, y, sample_weight, max_evaluations=max_evaluations)
        if loss < best_loss:
            best, best_loss = fitted, loss
        if best_loss <= exact:
            break
    return best, best_loss


def _levenberg_marquardt(
    expression: Expression, columns: Array, y: Array, root: Array | None, max_evaluations: int
) -> Array:
    """Constants at the end of a damped Gauss-Newton descent.

    Damping by Nielsen (1999), "Damping parameter in Marquardt's method": it follows the ratio of
    the actual to the predicted fall of the loss. A step to where the formula is undefined counts
    as a rise and is refused.
    """
    program = expression.program
    constants = np.array(expression.constants)
    residuals, slopes = _linearise(program, columns, constants, y, root)
    loss = _squares(residuals)
    if not np.isfinite(loss):
        return constants
    damping, growth = _FIRST_DAMPING, 2.0
    identity = np.eye(constants.size)
    curvature, gradient, scale = _normal_equations(residuals, slopes)
    for _ in range(max_evaluations - 1):
        try:
            step = np.linalg.solve(curvature + damping * identity, -gradient)
        except np.linalg.LinAlgError:
            break  # not even the damping can tell the constants apart
        trial = constants + step / scale
        residuals, slopes = _linearise(program, columns, trial, y, root)
        trial_loss = _squares(residuals)
        if trial_loss < loss:  # nan and inf are not
            predicted = float(step @ (damping * step - gradient))
            ratio = (loss - trial_loss) / predicted
            settled = loss - trial_loss <= _CONVERGED * loss or np.all(
                np.abs(trial - constants) <= _CONVERGED * np.abs(trial)
            )
            constants, loss = trial, trial_loss
            if settled or loss == 0.0:
                break
            damping = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3), 1e-12)
            growth = 2.0
            curvature, gradient, scale = _normal_equations(residuals, slopes)
        else:
            damping *= growth
            growth *= 2.0
            if damping > _LARGEST_DAMPING:
                break
    return constants


def _squares(residuals: Array) -> float:
    with np.errstate(all="ignore"):
        return float(residuals @ residuals)


def _linearise(
    program: Program, columns: Array, constants: Array, y: Array, root: Array | None
) -> tuple[Array, Array]:
    """Residuals (n_rows,) and their derivatives (n_constants, n_rows), weighted."""
    values, derivatives = program.jacobian(columns, constants.tolist())
    with np.errstate(all="ignore"):
        residuals = values - y
        slopes = derivatives.T
        if root is not None:
            residuals = residuals * root
            slopes = slopes * root
    return residuals, slopes


def _normal_equations(residuals: Array, slopes: Array) -> tuple[Array, Array, Array]:
    """Curvature with a diagonal of ones, gradient, and the scale of each constant.

    A row without a derivative, of an exponent over a negative base say, does not vote.
    """
    if not np.isfinite(slopes).all():
        slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    with np.errstate(all="ignore"):
        scale = np.sqrt(np.einsum("ij,ij->i", slopes, slopes))
        scale[~((scale > 0.0) & (scale < np.inf))] = np.inf  # such a constant stays as it is
        slopes = slopes / scale[:, None]
    return slopes @ slopes.T, slopes @ residuals, scale
