"""What is fitted: rows with normalised weights, the loss on them, and when they are explained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.table.loss import SQUARED, Loss
from sr_transformer.table.scaling import Scaling, divided

Array = np.ndarray

# Repeated rows are merged in tables of up to so many numbers; above, sorting costs seconds.
_MERGED_NUMBERS = 2_000_000

# Share of the squared spread of y that may be left for a formula to explain a table: residuals of
# 1e-10, where the rounding of float64 and of a longer formula's constants begins.
_EXPLAINED = 1e-20
_ROUNDING = 1e-30  # the same of the mean square: y itself is only given to 16 digits
_ROUNDING_OF_CONSTANTS = 1e-28  # the same of the variance, where a peak has nearly all of it

# Digits after the first within which the last digit of y is looked for, in at most so many rows.
_MOST_DIGITS = 9
_DIGIT_ROWS = 10_000
_FEWEST_STEPS = 3  # of the last digit from the smallest y to the largest
_DIGIT_ERROR = 1e-14  # relative distance of a number from its decimals that is rounding

_REACH = 5.0  # times the median residual, 3.4 standard deviations of normal noise

# Largest power of ten of y whose square is still safely inside float64's range.
_SAFE_EXPONENT = 100
_LARGEST_SUM = 1e300  # of the squares of y: weights and many times the loss are finite, too


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that formulas are fitted to.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        In column order, as formulas read columns.
    y : ndarray of shape (n_rows,)
    weights : ndarray of shape (n_rows,) or None
        Of the rows in the loss, with a mean of one; ``None`` where all rows count the same.
    exponent : int
        Losses are in units of ``10 ** (2 * exponent)``: those of a table and of its scaled copy
        are the same numbers.
    merged : int
        How many equal rows were left out: there are so many more readings.
    units : tuple of int or None
        Powers of ten by which the columns were divided; ``None`` where they were not.
    loss_kind : Loss
        What the loss of a formula is.
    emphasis : ndarray of shape (n_rows,) or None
        Further factors of the weights for what is fitted by least squares, and of no loss: least
        squares with them come near a robust loss.
    """

    X: Array
    y: Array
    weights: Array | None = None
    exponent: int = 0
    merged: int = 0
    units: tuple[int, ...] | None = None
    loss_kind: Loss = SQUARED
    emphasis: Array | None = None

    @classmethod
    def of(
        cls,
        X: Array,
        y: Array,
        weights: Array | None = None,
        loss_kind: Loss = SQUARED,
        *,
        counts: bool = False,
    ) -> Table:
        """Table of each different row once, in a fixed order, with the sum of its weights.

        The loss stays the same, and so repeating a row is the same as giving it weight,
        and the order of the rows does not matter. Very large tables stay as they are.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_columns)
        y : ndarray of shape (n_rows,)
        weights : ndarray of shape (n_rows,), optional
            Positive; only their ratios matter.
        loss_kind : Loss
        counts : bool
            Whether the weights say how often each row was read, and not how precise it is.

        Raises
        ------
        ValueError
            If a relative loss would divide by a y of 0.
        """
        if loss_kind.name == "relative" and not y.all():
            rows = np.flatnonzero(y == 0.0)
            raise ValueError(
                f"loss='relative' divides by y, and y is 0 in {len(rows)} of {len(y)} rows, the "
                f"first of them row {rows[0]}: leave these rows out, or use another loss."
            )
        n_readings = len(y)
        if weights is not None:
            if counts:
                n_readings = round(float(weights.sum()))
            # By a power of two, which is exact: no sum of them overflows.
            weights = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
        if X.shape[0] * (X.shape[1] + 1) <= _MERGED_NUMBERS:
            order, first = _different_rows(X, y)
            weights = None if weights is None else weights[order]
            if len(first) < len(y):
                ones = np.ones(len(y)) if weights is None else weights
                order, weights = order[first], np.add.reduceat(ones, first)
            X, y = X[order], y[order]
        X = np.asfortranarray(X)
        merged = n_readings - len(y)
        return cls(X, y, _normalised(weights), merged=merged, loss_kind=loss_kind)

    def rows(self, index: Array | slice) -> Table:
        """Some of the rows."""
        weights = None if self.weights is None else _normalised(self.weights[index])
        emphasis = None if self.emphasis is None else self.emphasis[index]
        y = self.y[index]
        merged = round(self.merged * len(y) / len(self.y))
        return replace(
            self, X=np.asfortranarray(self.X[index]), y=y, weights=weights, merged=merged,
            emphasis=emphasis,
        )  # fmt: skip

    def sample(self, most: int, random_state: np.random.RandomState) -> Table:
        """At most so many rows, drawn at random; the table itself where it has no more."""
        if len(self.y) <= most:
            return self
        return self.rows(np.sort(random_state.choice(len(self.y), most, replace=False)))

    def scaled(self, scaling: Scaling) -> Table:
        """The table at magnitudes around one.

        Raises
        ------
        ValueError
            If differences of y, or squared errors, would overflow.
        """
        y = scaling.scale_y(self.y)
        with np.errstate(over="ignore"):
            if not np.isfinite(np.ptp(self.y)):
                raise ValueError(
                    f"y runs from {self.y.min():.3g} to {self.y.max():.3g}: differences overflow "
                    "at such a range. Give y in a larger unit."
                )
            if not np.sum(np.square(y)) < _LARGEST_SUM:
                sizes = np.abs(self.y)
                raise ValueError(
                    f"y reaches {sizes.max():.3g} with a typical size of {np.median(sizes):.3g}: "
                    "squared errors overflow at such a spread. Fit log(y), or leave the outliers "
                    "out."
                )
        return Table(
            scaling.scale_X(self.X), y, self.weights, merged=self.merged,
            units=scaling.x_exponents, loss_kind=self.loss_kind.scaled(scaling.y_exponent),
        )  # fmt: skip

    def in_units_of(self, exponent: int) -> Table:
        """The same rows, with losses in units of ``10 ** (2 * exponent)`` where they have units."""
        return self if self.loss_kind.name == "relative" else replace(self, exponent=exponent)

    def seen_with(self, residuals: Array, *, soft: bool = True) -> Table:
        """The table on which least squares come near the loss, where residuals are such.

        See :meth:`Loss.touching`.
        """
        if not self.loss_kind.is_robust:
            return self
        with np.errstate(all="ignore"):
            _, emphasis, _ = self.loss_kind.touching(residuals, self.weights, soft=soft)
        return replace(self, emphasis=emphasis)

    def tamed(self, expression: Expression) -> Array:
        """The target (n_rows,) for who judges by squares: with a robust loss, without outliers.

        What lies further from a formula than most rows is pulled in (Huber's pseudo-observations).
        """
        if not self.loss_kind.is_robust:
            return self.y
        values = expression.evaluate(self.X)
        residuals = self.y - values
        reach = _REACH * np.median(np.abs(residuals))
        return values + np.clip(residuals, -reach, reach)

    # --- the loss -----------------------------------------------------------------------------
    def loss(self, expression: Expression) -> float:
        """Loss of a formula, as a square; ``inf`` where it is undefined on any row."""
        with np.errstate(all="ignore"):
            loss = self.loss_of(expression.evaluate(self.X) - self.y)
        return loss if np.isfinite(loss) else np.inf

    def loss_of(self, residuals: Array) -> float:
        """Loss of residuals (n_rows,), in units of the losses."""
        kind = self.loss_kind
        with np.errstate(all="ignore"):
            if kind.name == "relative":
                residuals = residuals / self.y
            if self._is_extreme:
                residuals, kind = divided(residuals, self.exponent), kind.scaled(self.exponent)
            loss = float(kind.mean(residuals, self.weights))
        return loss if self._is_extreme else loss * 10.0 ** (-2 * self.exponent)

    @cached_property
    def _is_extreme(self) -> bool:
        """Whether y has to be brought to the units of the losses before it is squared."""
        safe = 10.0**_SAFE_EXPONENT
        return abs(self.exponent) > _SAFE_EXPONENT or bool(np.abs(self.y).max() > safe)

    def evidence(self, expression: Expression) -> float:
        """What stands for the loss of a formula where formulas are chosen, or constants rounded.

        It is the loss itself, but of a robust one; see :meth:`Loss.evidence`. ``inf`` where the
        formula is undefined.
        """
        loss = self.loss(expression)
        if not self.loss_kind.is_robust or not np.isfinite(loss):
            return loss
        residuals = divided(expression.evaluate(self.X) - self.y, self.exponent)
        kind = self.loss_kind.scaled(self.exponent)
        return min(loss, kind.evidence(residuals, self.weights, self.exact))

    @property
    def n_readings(self) -> float:
        """How many readings the rows stand for."""
        return float(len(self.y) + self.merged)

    @cached_property
    def resolution(self) -> float:
        """Unit of the last decimal that y is given to, 0 where it is given to all digits."""
        y = self.y[:: -(-len(self.y) // _DIGIT_ROWS)]
        largest = float(np.abs(y).max())
        if not largest > 0.0:
            return 0.0
        first = math.floor(math.log10(largest))
        for place in range(first, first - _MOST_DIGITS, -1):
            with np.errstate(all="ignore"):
                units = divided(y, place)
            error = np.abs(units - np.round(units))
            if np.all(error <= _DIGIT_ERROR * np.maximum(np.abs(units), 1.0)):
                return 10.0**place
        return 0.0

    @property
    def rounding(self) -> float:
        """Loss of the law itself, in the mean, where y was rounded to its last decimal."""
        if np.ptp(self.y) < _FEWEST_STEPS * self.resolution:
            return 0.0  # no rounded quantity, but two or three classes
        step = float(divided(np.array(self.resolution), self.exponent))
        if self.loss_kind.name == "relative":
            step *= math.sqrt(float(self.shares @ np.square(1.0 / self.y)))
        return step * step / 12.0

    @cached_property
    def root(self) -> Array | None:
        """Factors (n_rows,) of the residuals whose squares a fit by least squares adds up.

        ``None`` where all rows count the same.
        """
        root = None if self.weights is None else np.sqrt(self.weights)
        if self.emphasis is not None:
            factors = np.sqrt(self.emphasis)
            root = factors if root is None else root * factors
        if self.loss_kind.name == "relative":
            sizes = np.abs(self.y)
            root = 1.0 / sizes if root is None else root / sizes
        return root

    @cached_property
    def square_weights(self) -> Array | None:
        """Weights (n_rows,) of the squares in a fit by least squares; see :attr:`root`."""
        return np.square(self.root) if self._has_own_root else self.weights

    @property
    def _has_own_root(self) -> bool:
        return self.emphasis is not None or self.loss_kind.name == "relative"

    @cached_property
    def shares(self) -> Array:
        """The weights of the squares (n_rows,) with a sum of one, equal ones too."""
        weights = self.square_weights
        if weights is self.weights:
            return (np.ones(len(self.y)) if weights is None else weights) / len(self.y)
        return weights / weights.sum()

    @cached_property
    def mean(self) -> float:
        """The constant that least squares give."""
        weights = self.weights
        if self._has_own_root:
            weights = np.square(self.root / self.root.max())  # of any y, none of their sums is 0
        if not self._is_extreme:
            return float(np.average(self.y, weights=weights))
        mean = np.average(divided(self.y, self.exponent), weights=weights)
        return float(divided(mean, -self.exponent))

    @cached_property
    def centre(self) -> float:
        """The best constant."""
        if self.loss_kind.is_robust:
            return self.loss_kind.centre(self.y, self.weights)
        return self.mean

    @cached_property
    def variance(self) -> float:
        """Loss of the best constant."""
        return self.loss_of(self.y - self.centre)

    @cached_property
    def exact(self) -> float:
        """Loss at which a formula explains everything but rounding; lower ones count as equal.

        The spread of y is that of most rows, its median absolute deviation: where y runs over many
        decades, a few rows have all of the variance, and what is nothing to them is not to others.
        """
        deviations = np.abs(self.y - np.median(self.y))
        if self.loss_kind.name == "relative":
            spread = float(np.median(deviations / np.abs(self.y)))
        else:
            spread = float(divided(np.median(deviations), self.exponent))
        unit = spread**2 if spread > 0.0 else self.variance
        return max(
            _EXPLAINED * unit,
            _ROUNDING * self.loss_of(self.y),
            _ROUNDING_OF_CONSTANTS * self.variance,
        )

    def is_explained_by(self, expression: Expression, loss: float) -> bool:
        """Whether a formula of this loss explains the table to machine precision.

        A formula with as many constants as there are rows passes through all of them and explains
        nothing.
        """
        return loss <= self.exact and len(expression.constants) < len(self.y)


def _different_rows(X: Array, y: Array) -> tuple[Array, Array]:
    """Order of the rows by y and then by the last columns, and where in it each new row begins.

    Only rows that agree in y are sorted by the columns, of which there may be thousands.
    """
    order = np.argsort(y, kind="stable")
    tied = np.append(False, y[order[1:]] == y[order[:-1]])  # with the row before
    among = np.flatnonzero(tied | np.append(tied[1:], False))
    alike = order[among]
    order[among] = alike[np.lexsort([*X[alike].T, y[alike]])]
    again = np.flatnonzero(tied)
    again = again[np.all(X[order[again]] == X[order[again - 1]], axis=1)]
    return order, np.delete(np.arange(len(y)), again)


def _normalised(weights: Array | None) -> Array | None:
    """Weights with a mean of one; ``None`` for equal ones."""
    if weights is None or np.all(weights == weights[0]):
        return None
    return weights / np.mean(weights)
