"""Fitting the constants of a formula: variable projection and Levenberg-Marquardt.

At every step the constants in which the formula is affine are solved by linear least squares, so
that only the others are searched for (Golub & Pereyra 1973, with the Jacobian of Kaufman 1975: the
ordinary derivatives, projected onto what the affine constants cannot explain). Several starts are
refined side by side in one sweep over the formula.

A robust loss is fitted by the same steps on squares whose weights follow the residuals of each
start (iteratively reweighted least squares; see :mod:`sr_transformer.table.loss`).

The iteration is written out here because SciPy's MINPACK (``leastsq``, 1.17) depends in its last
digits on where its work arrays lie in memory: the same fit of an ill-conditioned formula gave two
results in 300 repetitions, and two fits with one ``random_state`` have to agree to the last digit.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.program import BoundProgram, compile_program
from sr_transformer.table.table import Table

Array = np.ndarray

_CONVERGED = 1e-12  # relative fall of the loss, or relative step, below which a fit ends
_FIRST_DAMPING = 1e-3
_LARGEST_DAMPING = 1e16
_RIDGE = 1e-12  # keeps linear least squares solvable where columns depend on each other
_INDEPENDENT = 1e-8  # share of a derivative that the affine constants must leave unexplained

# Of a robust loss: solutions for the affine constants, each with the weights of the one before, at
# the starts of a descent, at its steps, and where there are no other constants; and the relative
# fall of the loss that ends them, or a descent, as they come near the best step by small step.
_FIRST_ROUNDS, _FURTHER_ROUNDS, _AFFINE_ROUNDS = 6, 2, 30
_SLOW = 1e-6
_ROUNDING = 1e-15  # share of a loss in which outliers hide what else there is


def refit(
    expression: Expression,
    table: Table,
    *,
    max_evaluations: int = 200,
    deadline: float = np.inf,
) -> tuple[Expression, float]:
    """Fit the constants, starting from those that the formula has.

    Parameters
    ----------
    expression : Expression
    table : Table
    max_evaluations : int
        Upper bound of the number of evaluations of the formula.
    deadline : float
        Value of ``time.perf_counter()`` after which there is no further step.

    Returns
    -------
    expression : Expression
        The same formula with the best constants seen, never worse than the start; as it was where
        it cannot be fitted.
    loss : float
        Its loss; see :meth:`Table.loss`.
    """
    start_loss = table.loss(expression)
    if not expression.constants or not expression.is_fitted:
        return expression, start_loss
    fit = Descent(expression, table)
    constants, _ = fit.descend(
        np.array([expression.constants]), max_evaluations, _CONVERGED, deadline=deadline
    )
    candidate = expression.with_constants(constants[0])
    loss = table.loss(candidate)
    if not loss < start_loss:
        return expression, start_loss
    return candidate, loss


class Descent:
    """The fit of one formula to one table.

    Parameters
    ----------
    expression : Expression
        The formula; its own constants do not matter.
    table : Table
    """

    def __init__(self, expression: Expression, table: Table) -> None:
        self.program = compile_program(expression.symbols, expression.language)
        self._y = table.y
        self._kind, self._weights = table.loss_kind, table.weights
        # A robust loss has an emphasis of its own at each point.
        self._root = (replace(table, emphasis=None) if table.loss_kind.is_robust else table).root
        with np.errstate(all="ignore"):
            self._bound = BoundProgram(self.program, table.X.T)
        self._linear = np.array(self.program.linear, dtype=int)
        self._nonlinear = np.array(self.program.nonlinear, dtype=int)
        self._ridge = _RIDGE * np.eye(self._linear.size)

    def solve_affine(self, starts: Array) -> tuple[Array, Array]:
        """Constants with the affine ones at their best, and the losses.

        Parameters
        ----------
        starts : ndarray of shape (n_starts, n_constants)

        Returns
        -------
        constants : ndarray of shape (n_starts, n_constants)
        losses : ndarray of shape (n_starts,)
            As of :meth:`Table.loss`; ``inf`` where the formula is undefined.
        """
        constants = starts.copy()
        with np.errstate(all="ignore"):
            losses, *_ = self._project(constants, _FIRST_ROUNDS)
        return constants, losses / self._y.size

    def descend(
        self,
        starts: Array,
        max_evaluations: int,
        tolerance: float,
        *,
        most: int | None = None,
        halve_after: int | None = None,
        enough: float = 0.0,
        hopeless: float = np.inf,
        deadline: float = np.inf,
    ) -> tuple[Array, Array]:
        """Damped Gauss-Newton descents from several starts.

        Damping by Nielsen (1999), "Damping parameter in Marquardt's method": it follows the ratio
        of the actual to the predicted fall of the loss. A step to where the formula is undefined
        counts as a rise and is refused.

        Parameters
        ----------
        starts : ndarray of shape (n_starts, n_constants)
        max_evaluations : int
            Bound for each start.
        tolerance : float
            A relative fall of the loss, or a relative step, below which a descent ends.
        most : int, optional
            Descents are made from so many starts only: from those of the smallest losses once the
            affine constants are solved, and from the first.
        halve_after : int, optional
            After so many evaluations, and as many again, the worse half of the starts is given up.
        enough : float
            All descents end when one reaches this loss.
        hopeless : float
            All end where none is below this loss when the first starts are given up.
        deadline : float
            All end at this value of ``time.perf_counter()``.

        Returns
        -------
        constants : ndarray of shape (n_starts, n_constants)
        losses : ndarray of shape (n_starts,)
            As in :meth:`solve_affine`.
        """
        with np.errstate(all="ignore"):
            return self._descend(
                starts, max_evaluations, tolerance, most, halve_after, enough, hopeless, deadline
            )

    def _descend(
        self,
        starts: Array,
        max_evaluations: int,
        tolerance: float,
        most: int | None,
        halve_after: int | None,
        enough: float,
        hopeless: float,
        deadline: float,
    ) -> tuple[Array, Array]:
        n_rows, nonlinear = self._y.size, self._nonlinear
        constants = starts.copy()
        rounds = _FIRST_ROUNDS if nonlinear.size else _AFFINE_ROUNDS
        loss, *projected = self._project(constants, rounds)
        if robust := self._kind.is_robust:
            tolerance = max(tolerance, _SLOW)
        if most is not None and most < len(loss):
            best = np.argsort(loss, kind="stable")[:most]
            if 0 not in best:
                best[-1] = 0  # the likeliest start is worth a descent wherever it begins
            constants, loss = constants[best], loss[best]
            projected = [each[best] for each in projected]
            self._bound.values(constants)
        if not nonlinear.size:
            for _ in range(2):  # what rounding left in the first solution
                before, before_loss = constants.copy(), loss
                loss, *_ = self._project(constants)
                worse = ~(loss < before_loss)
                constants[worse], loss = before[worse], np.where(worse, before_loss, loss)
            return constants, loss / n_rows
        best, best_loss = constants.copy(), loss.copy()
        curves = self._curve(constants, *projected)
        alive = np.flatnonzero(np.isfinite(loss))
        if alive.size < loss.size:
            constants, loss = constants[alive], loss[alive]
            curves = tuple(each[alive] for each in curves)
        damping, growth = np.full(alive.size, _FIRST_DAMPING), np.full(alive.size, 2.0)
        for evaluation in range(1, max_evaluations):
            if not alive.size or best_loss.min() <= enough * n_rows:
                break
            if time.perf_counter() >= deadline:
                break
            curvature, gradient, scale = curves
            step = _solve(curvature, damping, -gradient)
            trial = constants.copy()
            trial[:, nonlinear] += step / scale
            trial_loss, *projected = self._project(trial)
            better = trial_loss < loss  # inf is not
            fall = loss - trial_loss
            predicted = np.einsum("ij,ij->i", step, damping[:, None] * step - gradient)
            small = np.abs(trial - constants) <= tolerance * np.abs(trial)
            # A fall is small against what most rows have left, not against the outliers.
            usual = projected[-1] if robust else loss
            over = better & ((fall <= tolerance * usual) | small.all(axis=1) | (trial_loss == 0.0))
            easier = damping * np.maximum(1.0 / 3.0, 1.0 - (2.0 * fall / predicted - 1.0) ** 3)
            damping = np.where(better, np.maximum(easier, 1e-12), damping * growth)
            growth = np.where(better, 2.0, 2.0 * growth)
            if better.all():
                constants, loss = trial, trial_loss
            else:
                constants = np.where(better[:, None], trial, constants)
                loss = np.where(better, trial_loss, loss)
            best[alive], best_loss[alive] = constants, loss
            if evaluation == halve_after and best_loss.min() > hopeless * n_rows:
                break
            keep = ~over & (damping <= _LARGEST_DAMPING)
            if halve_after and evaluation % halve_after == 0 and alive.size > 1:
                worst = np.argsort(loss, kind="stable")[(alive.size + 1) // 2 :]
                keep[worst] = False
            if not keep.any() or evaluation == max_evaluations - 1:
                break
            if (better & keep).any():
                new = self._curve(trial, *projected)
                if not better.all():
                    for fresh, old in zip(new, curves, strict=True):
                        fresh[~better] = old[~better]
                curves = new
            if not keep.all():
                alive, constants, loss = alive[keep], constants[keep], loss[keep]
                curves = tuple(each[keep] for each in curves)
                damping, growth = damping[keep], growth[keep]
        return best, best_loss / n_rows

    def _project(self, constants: Array, rounds: int = 0) -> tuple[Array, ...]:
        """Solve the affine constants, in place.

        Parameters
        ----------
        constants : ndarray of shape (n_sets, n_constants)
        rounds : int
            Solutions of a robust loss, where they begin anew, from least squares.

        Returns
        -------
        loss : ndarray of shape (n_sets,)
            Sum of squares, or what a robust loss has in its place; ``inf`` where the formula is
            undefined.
        residuals : ndarray of shape (n_sets, n_rows)
        slopes : ndarray of shape (n_sets, n_linear, n_rows)
            Derivatives by the affine constants.
        inverse : ndarray of shape (n_sets, n_linear, n_linear)
            Of their inner products.
        root : ndarray of shape (n_sets, n_rows)
            Of a robust loss: the roots of the weights that residuals and slopes have in them.
        scale : ndarray of shape (n_sets,)
            The same: what the loss changes by where each row does by the median residual.
        """
        n_sets = len(constants)
        residuals = self._bound.values(constants) - self._y
        if residuals.shape[0] != n_sets:
            residuals = np.repeat(residuals[None], n_sets, axis=0)
        slopes = self._bound.derivatives(self.program.linear, self.program.above_linear, n_sets)
        if self._kind.is_robust:
            return self._reweighted(constants, residuals, slopes, rounds)
        if self._root is not None:
            residuals *= self._root
            slopes *= self._root
        inverse = self._inverse(slopes)
        self._solve_affine(constants, residuals, slopes, inverse)
        loss = np.einsum("ij,ij->i", residuals, residuals)
        loss = np.where(loss < np.inf, loss, np.inf)  # nan is not below
        return loss, residuals, slopes, inverse

    def _inverse(self, slopes: Array) -> Array:
        """Of the inner products of the affine constants' weighted slopes."""
        n_linear = self._linear.size
        if not n_linear:
            return np.empty((len(slopes), 0, 0))
        products, scale = _correlations(slopes)
        products += self._ridge
        inverse = 1.0 / products if n_linear == 1 else np.linalg.inv(products)
        inverse /= scale[:, :, None] * scale[:, None, :]
        return inverse

    def _solve_affine(
        self, constants: Array, residuals: Array, slopes: Array, inverse: Array
    ) -> None:
        """Least squares for the affine constants; they and the residuals are changed in place."""
        if self._linear.size:
            change = -(inverse @ (slopes @ residuals[:, :, None]))
            residuals += (change.transpose(0, 2, 1) @ slopes)[:, 0]
            constants[:, self._linear] += change[:, :, 0]

    def _reweighted(
        self, constants: Array, residuals: Array, slopes: Array, rounds: int
    ) -> tuple[Array, ...]:
        """:meth:`_project` for a robust loss, from plain residuals and slopes.

        A solution that does not lower the loss, by rounding, is given up.
        """
        root = np.ones_like(residuals)
        if self._root is not None:
            root *= self._root
        if rounds:
            weighted = slopes * root[:, None]
            residuals *= root
            self._solve_affine(constants, residuals, weighted, self._inverse(weighted))
            residuals /= root
        loss, root, scale = self._touching(residuals)
        weighted = slopes * root[:, None]
        inverse = self._inverse(weighted)
        for _ in range((rounds or _FURTHER_ROUNDS) if self._linear.size else 0):
            trial, moved = constants.copy(), residuals * root
            self._solve_affine(trial, moved, weighted, inverse)
            moved /= root
            trial_loss, trial_root, scale = self._touching(moved)
            better = trial_loss < loss
            if not better.any():
                break
            fall = (loss - trial_loss)[better]
            constants[better], residuals[better] = trial[better], moved[better]
            loss = np.where(better, trial_loss, loss)
            root = np.where(better[:, None], trial_root, root)
            weighted = slopes * root[:, None]
            inverse = self._inverse(weighted)
            if (fall <= _SLOW * scale[better]).all():
                break
        return loss, residuals * root, weighted, inverse, root, scale

    def _touching(self, residuals: Array) -> tuple[Array, Array, Array]:
        """Loss, root and scale of :meth:`_project` for plain residuals (n_sets, n_rows)."""
        n_rows = self._y.size
        loss, factors, middle = self._kind.touching(residuals, self._weights)
        root = np.sqrt(factors)
        if self._root is not None:
            root *= self._root
        scale = n_rows * np.maximum(2.0 * np.sqrt(loss) * middle[:, 0], _ROUNDING * loss)
        return np.where(loss < np.inf, n_rows * loss, np.inf), root, scale  # nan is not below

    def _curve(
        self,
        constants: Array,
        residuals: Array,
        slopes: Array,
        inverse: Array,
        root: Array | None = None,
        scale: Array | None = None,
    ) -> tuple[Array, Array, Array]:
        """Curvature with a diagonal of ones, gradient, and scale of the other constants.

        A row without a derivative, of an exponent over a negative base say, does not vote.
        """
        program, bound = self.program, self._bound
        if program.linear:
            bound.values(constants, only_linear=True)
        own = bound.derivatives(program.nonlinear, program.above_nonlinear, len(constants))
        if root is not None:
            own *= root[:, None]
        elif self._root is not None:
            own *= self._root
        squares = np.einsum("kij,kij->ki", own, own)
        if not np.isfinite(squares).all():
            own = np.where(np.isfinite(own), own, 0.0)
            squares = np.einsum("kij,kij->ki", own, own)
        if program.linear:
            shares = inverse @ (slopes @ own.transpose(0, 2, 1))
            own -= shares.transpose(0, 2, 1) @ slopes
        curvature, scale = _correlations(own, _INDEPENDENT**2 * squares)
        gradient = (own @ residuals[:, :, None])[:, :, 0] / scale
        return curvature, gradient, scale


def _correlations(slopes: Array, least: Array | float = 0.0) -> tuple[Array, Array]:
    """Inner products of derivatives of length one, and the lengths.

    A length is infinite where its square is not above ``least``: a derivative that says nothing, so
    that the constant stays.
    """
    products = slopes @ slopes.transpose(0, 2, 1)
    squares = np.einsum("kii->ki", products)
    scale = np.sqrt(np.where(squares > least, squares, np.inf))
    products /= scale[:, :, None] * scale[:, None, :]
    return products, scale


def _solve(matrices: Array, damping: Array, right: Array) -> Array:
    """Solutions (n_sets, n) of several damped systems; no step where one has none."""
    n = right.shape[1]
    if n == 1:
        return right / (matrices[:, 0] + damping[:, None])
    matrices = matrices + damping[:, None, None] * np.eye(n)
    try:
        return np.linalg.solve(matrices, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:  # not even the damping can tell the constants apart
        return np.zeros_like(right)
