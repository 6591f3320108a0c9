"""Powers of ten that bring a table to magnitudes around one, and formulas back from there.

The network, the constant fitter and the search engine all see the scaled table. Columns are only
multiplied, never shifted: an offset would turn ``x * z`` into four terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr_transformer.expression import Expression

Array = np.ndarray

_LARGEST_EXPONENT = 300  # its power of ten and the inverse are ordinary float64 numbers


def magnitude_exponent(values: Array) -> int:
    """Power of ten nearest to the typical size of the values.

    Returns
    -------
    int
        ``round(log10(median of |value|))`` over the finite values that are not zero; 0 where
        there is none, and never beyond 300. Of an even number of values the upper of the two
        middle ones is taken.
    """
    sizes = np.abs(values)
    sizes = sizes[(sizes > 0) & (sizes < np.inf)]
    if sizes.size == 0:
        return 0
    middle = sizes.size // 2
    return _exponent(np.partition(sizes, middle)[middle])


def _magnitude_exponents(X: Array) -> tuple[int, ...]:
    """The same for each column of X (n_rows, n_columns); all at once where the table is wide."""
    sizes = np.abs(X) if X.shape[1] > len(X) else np.zeros(1)
    if not np.all((sizes > 0) & (sizes < np.inf)):
        return tuple(magnitude_exponent(column) for column in X.T)
    middle = len(X) // 2
    return tuple(map(_exponent, np.partition(sizes, middle, axis=0)[middle].tolist()))


def _exponent(size: float) -> int:
    return min(max(round(math.log10(size)), -_LARGEST_EXPONENT), _LARGEST_EXPONENT)


@dataclass(frozen=True)
class Scaling:
    """One power of ten for each column and one for y.

    Parameters
    ----------
    x_exponents : tuple of int
        Column ``i`` is divided by ``10 ** x_exponents[i]``.
    y_exponent : int
        ``y`` is divided by ``10 ** y_exponent``.
    """

    x_exponents: tuple[int, ...]
    y_exponent: int

    @classmethod
    def of(cls, X: Array, y: Array) -> Scaling:
        """Scaling of a table X (n_rows, n_columns) and y (n_rows,)."""
        return cls(_magnitude_exponents(X), magnitude_exponent(y))

    @classmethod
    def identity(cls, n_columns: int) -> Scaling:
        """The scaling that changes nothing."""
        return cls((0,) * n_columns, 0)

    def scale_X(self, X: Array) -> Array:
        """Scaled copy of X (n_rows, n_columns), in column order for fast evaluation."""
        scaled = np.array(X, order="F")
        for column in np.flatnonzero(self.x_exponents):  # most are at their magnitude already
            scaled[:, column] = divided(scaled[:, column], self.x_exponents[column])
        return scaled

    def scale_y(self, y: Array) -> Array:
        """Scaled copy of y (n_rows,)."""
        return divided(y, self.y_exponent)

    def to_user_units(self, formula: Expression) -> Expression:
        """Rewrite a formula of the scaled table for the table as it was given.

        The powers of ten are merged into the formula's constants where its form allows it.
        """
        return _substitute(formula, [-e for e in self.x_exponents], self.y_exponent)

    def to_scaled_units(self, formula: Expression) -> Expression:
        """Rewrite a formula of the given table for the scaled one."""
        return _substitute(formula, self.x_exponents, -self.y_exponent)


def divided(values: Array, exponent: int | Array) -> Array:
    """Values over ``10 ** exponent``."""
    # In two steps, because 10.0 ** 320 overflows where a value of 1e-300 / 1e-320 does not.
    half = exponent // 2
    return values / 10.0**half / 10.0 ** (exponent - half)


def _substitute(formula: Expression, x_exponents: Sequence[int], y_exponent: int) -> Expression:
    """Formula of ``10**y_exponent * f(10**x_exponents[i] * x_i)``, simplified."""
    if y_exponent == 0 and all(x_exponents[i] == 0 for i in formula.variables):
        return formula

    def constant(value: float) -> Expression:
        return Expression.unchecked(("c",), (value,), formula.language)

    def times(exponent: int, part: Expression) -> Expression:
        return Expression.joined("*", constant(10.0**exponent), part) if exponent else part

    def variable(column: int) -> Expression:
        part = Expression.unchecked((f"x{column}",), (), formula.language)
        return times(x_exponents[column], part)

    return times(y_exponent, formula.fold(constant, variable, Expression.joined)).simplify()
