"""What is fitted: rows with normalised weights, the loss on them, and when they are explained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sr_transformer.expression import Expression
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
_DIGIT_ERROR = 1e-9  # relative distance of a number from its decimals that is rounding

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
        Weights of the squared errors, with a mean of one; ``None`` where all rows count the same.
    exponent : int
        Losses are in units of ``10 ** (2 * exponent)``: those of a table and of its scaled copy
        are the same numbers.
    merged : int
        How many equal rows were left out: there are so many more readings.
    units : tuple of int or None
        Powers of ten by which the columns were divided; ``None`` where they were not.
    """

    X: Array
    y: Array
    weights: Array | None = None
    exponent: int = 0
    merged: int = 0
    units: tuple[int, ...] | None = None

    @classmethod
    def of(cls, X: Array, y: Array, weights: Array | None = None) -> Table:
        """Table of each different row once, in a fixed order, with the sum of its weights.

        The squared error stays the same, and so repeating a row is the same as giving it weight,
        and the order of the rows does not matter. Very large tables stay as they are.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_columns)
        y : ndarray of shape (n_rows,)
        weights : ndarray of shape (n_rows,), optional
            Positive; only their ratios matter.
        """
        if weights is not None:
            # By a power of two, which is exact: no sum of them overflows.
            weights = np.ldexp(weights, -int(np.frexp(weights.max())[1]))
        merged = 0
        if X.shape[0] * (X.shape[1] + 1) <= _MERGED_NUMBERS:
            order, first = _different_rows(X, y)
            weights = None if weights is None else weights[order]
            if len(first) < len(y):
                merged = len(y) - len(first)
                ones = np.ones(len(y)) if weights is None else weights
                order, weights = order[first], np.add.reduceat(ones, first)
            X, y = X[order], y[order]
        return cls(np.asfortranarray(X), y, _normalised(weights), merged=merged)

    def rows(self, index: Array | slice) -> Table:
        """Some of the rows."""
        weights = None if self.weights is None else _normalised(self.weights[index])
        y = self.y[index]
        merged = round(self.merged * len(y) / len(self.y))
        return replace(
            self, X=np.asfortranarray(self.X[index]), y=y, weights=weights, merged=merged
        )

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
            units=scaling.x_exponents,
        )  # fmt: skip

    def in_units_of(self, exponent: int) -> Table:
        """The same rows, with losses in units of ``10 ** (2 * exponent)``."""
        return replace(self, exponent=exponent)

    # --- the loss -----------------------------------------------------------------------------
    def loss(self, expression: Expression) -> float:
        """Weighted mean squared error of a formula; ``inf`` where it is undefined on any row."""
        with np.errstate(all="ignore"):
            loss = self.mean_of_squares(expression.evaluate(self.X) - self.y)
        return loss if np.isfinite(loss) else np.inf

    def mean_of_squares(self, values: Array) -> float:
        """Weighted mean of the squares of values (n_rows,), in units of the losses."""
        with np.errstate(all="ignore"):
            if self._is_extreme:
                values = divided(values, self.exponent)
            squares = values * values
            if self.weights is None:
                mean = float(np.mean(squares))
            else:
                mean = float(self.weights @ squares) / len(squares)
        return mean if self._is_extreme else mean * 10.0 ** (-2 * self.exponent)

    @cached_property
    def _is_extreme(self) -> bool:
        """Whether y has to be brought to the units of the losses before it is squared."""
        safe = 10.0**_SAFE_EXPONENT
        return abs(self.exponent) > _SAFE_EXPONENT or bool(np.abs(self.y).max() > safe)

    @property
    def n_readings(self) -> float:
        """How many readings the rows stand for."""
        return float(len(self.y) + self.merged)

    @cached_property
    def root(self) -> Array:
        """Square roots (n_rows,) of the weights."""
        return np.ones(len(self.y)) if self.weights is None else np.sqrt(self.weights)

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
        step = float(divided(np.array(self.resolution), self.exponent))
        return step * step / 12.0

    @cached_property
    def shares(self) -> Array:
        """The weights (n_rows,) with a sum of one, equal ones too."""
        weights = np.ones(len(self.y)) if self.weights is None else self.weights
        return weights / len(self.y)

    @cached_property
    def mean(self) -> float:
        """Weighted mean of y: the best constant."""
        if not self._is_extreme:
            return float(np.average(self.y, weights=self.weights))
        mean = np.average(divided(self.y, self.exponent), weights=self.weights)
        return float(divided(mean, -self.exponent))

    @cached_property
    def variance(self) -> float:
        """Loss of the best constant."""
        return self.mean_of_squares(self.y - self.mean)

    @cached_property
    def exact(self) -> float:
        """Loss at which a formula explains everything but rounding; lower ones count as equal.

        The spread of y is that of most rows, its median absolute deviation: where y runs over many
        decades, a few rows have all of the variance, and what is nothing to them is not to others.
        """
        spread = float(np.median(np.abs(self.y - np.median(self.y))))
        unit = self.variance
        if spread > 0.0:
            spread = float(divided(np.float64(spread), self.exponent))
            unit = spread * spread
        return max(
            _EXPLAINED * unit,
            _ROUNDING * self.mean_of_squares(self.y),
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
