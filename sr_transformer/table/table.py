"""The table of a fit: what the user gave, checked, and the same in scaled units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from sr_transformer.front.finish import in_user_units
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.table.scaling import Scaling

Array = np.ndarray

# Repeated rows are merged in tables of up to so many numbers; above, sorting costs seconds.
_MERGED_NUMBERS = 2_000_000


@dataclass(frozen=True)
class UserTable:
    """A checked table in the user's units, and what formulas of it may look like.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    weights : ndarray of shape (n_rows,) or None
        ``None`` where all rows count the same.
    operators : frozenset of str
        Operators that the formulas may use.
    maxsize : int or None
        Largest complexity of a formula; ``None`` is no limit.
    names : tuple of str
        Names of the columns.
    """

    X: Array
    y: Array
    weights: Array | None
    operators: frozenset[str]
    maxsize: int | None
    names: tuple[str, ...]

    @cached_property
    def scaling(self) -> Scaling:
        """Powers of ten that bring the table to magnitudes around one."""
        # A formula of a scaled table is written back with factors, so that "*" is needed.
        if "*" not in self.operators:
            return Scaling.identity(self.X.shape[1])
        return Scaling.of(self.X, self.y)

    @cached_property
    def scaled_X(self) -> Array:
        """X (n_rows, n_columns) in scaled units."""
        return self.scaling.scale_X(self.X)

    @cached_property
    def scaled_y(self) -> Array:
        """y (n_rows,) in scaled units.

        Raises
        ------
        ValueError
            If the squared errors would overflow.
        """
        scaled = self.scaling.scale_y(self.y)
        with np.errstate(over="ignore"):
            if np.isfinite(np.sum(np.square(scaled))):
                return scaled
        sizes = np.abs(self.y)
        raise ValueError(
            f"y reaches {sizes.max():.3g} with a typical size of {np.median(sizes):.3g}: squared "
            "errors overflow at such a spread. Fit log(y), or leave the outliers out."
        )

    def pool(
        self,
        candidates: Iterable[Candidate],
        model_selection: str = "description_length",
        has_units: bool = False,
    ) -> HallOfFame:
        """Hall of fame, in the user's units, of formulas of the scaled table."""
        return in_user_units(
            candidates,
            self.X,
            self.y,
            sample_weight=self.weights,
            scaling=self.scaling,
            operators=self.operators,
            maxsize=self.maxsize,
            variable_names=self.names,
            model_selection=model_selection,
            has_units=has_units,
        )


def check_table(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any
) -> tuple[Array, Array, Array | None]:
    """Finite float64 arrays of what was given to ``estimator.fit``.

    The estimator learns the number and the names of the columns.

    Returns
    -------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        A single output has one dimension.
    weights : ndarray of shape (n_rows,) or None
        Above 0: rows of weight 0 are left out.

    Raises
    ------
    ValueError
        If the table cannot be used; the message names the column or the value.
    """
    try:
        if issparse(y):
            raise ValueError("y is a sparse matrix; give an array of numbers.")
        X, y = validate_data(
            estimator, X, y, dtype=np.float64, y_numeric=True, multi_output=True,
            ensure_min_samples=2,
        )  # fmt: skip
    except ValueError as error:
        raise _name_text_column(X, error) from error
    try:
        y = np.asarray(y, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"y holds something that is not a number: {error}.") from error
    if y.ndim == 2 and y.shape[1] < 2:
        y = column_or_1d(y, warn=True)
    _check_names(column_names(estimator))
    if sample_weight is None:
        return X, y, None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    used = weights > 0
    if used.sum() < 2:
        raise ValueError(f"sample_weight is above 0 in {used.sum()} rows; at least 2 are needed.")
    return X[used], y[used], weights[used]


def column_names(estimator: BaseEstimator) -> tuple[str, ...]:
    """Names of the columns of a fitted estimator: the table's own, or x0, x1, ..."""
    if hasattr(estimator, "feature_names_in_"):
        return tuple(map(str, estimator.feature_names_in_))
    return tuple(f"x{i}" for i in range(estimator.n_features_in_))


def merge_repeated_rows(
    X: Array, y: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Each different row once, in a fixed order, with the sum of its weights.

    The squared error stays the same, and so repeating a row is the same as giving it weight, and
    the order of the rows does not matter. Very large tables stay as they are. Equal weights become
    ``None``.
    """
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
    if weights is not None and np.all(weights == weights[0]):
        weights = None
    return X, y, weights


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f"several columns have the name {name!r}, so that a formula could not say which "
                "one it means; rename them."
            )
        seen.add(name)


def _name_text_column(X: Any, error: ValueError) -> ValueError:
    """The error, or a clearer one where a DataFrame's column of text is the reason."""
    if "could not convert string" not in str(error) or not hasattr(X, "columns"):
        return error
    for column in X.columns:
        try:
            np.asarray(X[column], dtype=np.float64)
        except (ValueError, TypeError):
            return ValueError(
                f"column {column!r} holds something that is not a number ({error}). Leave the "
                "column out or write it in numbers."
            )
    return error
