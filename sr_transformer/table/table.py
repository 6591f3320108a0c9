"""What is fitted: rows with normalised weights, the loss on them, and when they are explained."""

from __future__ import annotations

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

# Largest power of ten of y whose square is still safely inside float64's range.
_SAFE_EXPONENT = 100


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
    units : tuple of int or None
        Powers of ten by which the columns were divided; ``None`` where they were not.
    """

    X: Array
    y: Array
    weights: Array | None = None
    exponent: int = 0
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
        if X.shape[0] * (X.shape[1] + 1) <= _MERGED_NUMBERS:
            rows = np.column_stack([X, y])
            order = np.lexsort(rows.T)
            rows = rows[order]
            first = np.flatnonzero(np.append(True, np.any(rows[1:] != rows[:-1], axis=1)))
            if len(first) == len(y):
                X, y, weights = X[order], y[order], None if weights is None else weights[order]
            else:
                ones = np.ones(len(y)) if weights is None else weights[order]
                X, y, weights = rows[first, :-1], rows[first, -1], np.add.reduceat(ones, first)
        return cls(np.asfortranarray(X), y, _normalised(weights))

    def rows(self, index: Array | slice) -> Table:
        """Some of the rows."""
        weights = None if self.weights is None else _normalised(self.weights[index])
        return replace(self, X=np.asfortranarray(self.X[index]), y=self.y[index], weights=weights)

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
            If the squared errors would overflow.
        """
        y = scaling.scale_y(self.y)
        with np.errstate(over="ignore"):
            if not np.isfinite(np.sum(np.square(y))):
                sizes = np.abs(self.y)
                raise ValueError(
                    f"y reaches {sizes.max():.3g} with a typical size of {np.median(sizes):.3g}: "
                    "squared errors overflow at such a spread. Fit log(y), or leave the outliers "
                    "out."
                )
        return Table(scaling.scale_X(self.X), y, self.weights, units=scaling.x_exponents)

    def in_units_of(self, exponent: int) -> Table:
        """The same rows, with losses in units of ``10 ** (2 * exponent)``."""
        return Table(self.X, self.y, self.weights, exponent)

    # --- the loss -----------------------------------------------------------------------------
    def loss(self, expression: Expression) -> float:
        """Weighted mean squared error of a formula; ``inf`` where it is undefined on any row."""
        with np.errstate(all="ignore"):
            loss = self.mean_of_squares(expression.evaluate(self.X) - self.y)
        return loss if np.isfinite(loss) else np.inf

    def mean_of_squares(self, values: Array) -> float:
        """Weighted mean of the squares of values (n_rows,), in units of the losses."""
        with np.errstate(all="ignore"):
            if abs(self.exponent) > _SAFE_EXPONENT:
                values = divided(values, self.exponent)
            squares = values * values
            if self.weights is None:
                mean = float(np.mean(squares))
            else:
                mean = float(self.weights @ squares) / len(squares)
        return mean if abs(self.exponent) > _SAFE_EXPONENT else mean * 10.0 ** (-2 * self.exponent)

    @cached_property
    def shares(self) -> Array:
        """The weights (n_rows,) with a sum of one, equal ones too."""
        weights = np.ones(len(self.y)) if self.weights is None else self.weights
        return weights / len(self.y)

    @cached_property
    def mean(self) -> float:
        """Weighted mean of y: the best constant."""
        return float(np.average(self.y, weights=self.weights))

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
        unit = (spread * 10.0**-self.exponent) ** 2 if spread > 0.0 else self.variance
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


def _normalised(weights: Array | None) -> Array | None:
    """Weights with a mean of one; ``None`` for equal ones."""
    if weights is None or np.all(weights == weights[0]):
        return None
    return weights / np.mean(weights)
