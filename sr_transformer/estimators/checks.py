"""The checks of what a user gives: parameters, tables, units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from sr_transformer.engines.base import SearchEngine
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.front.hall_of_fame import check_model_selection
from sr_transformer.proposal.proposers import check_proposers
from sr_transformer.table.loss import check_loss

Array = np.ndarray


@contextmanager
def unchanged_by_errors(estimator: Any) -> Iterator[None]:
    """Leave the estimator as it was where the block fails: an old formula with its own columns."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_parameters(estimator: Any) -> frozenset[str]:
    """Raise ValueError for a parameter that cannot be used.

    Returns
    -------
    frozenset of str
        Binary and unary operators together.
    """
    operators = ARITHMETIC.check(estimator.binary_operators, estimator.unary_operators)
    if not operators:
        raise ValueError("binary_operators and unary_operators are both empty; name some.")
    check_model_selection(estimator.model_selection)
    check_loss(estimator.loss)
    _check_number("maxsize", estimator.maxsize, Integral, 1)
    if estimator.n_candidates is not None:
        _check_number("n_candidates", estimator.n_candidates, Integral, 1)
    check_proposers(estimator.proposers)
    _check_number("temperature", estimator.temperature, Real, above=0)
    _check_number("verbose", estimator.verbose, Integral, 0)
    if estimator.timeout_in_seconds is not None:
        _check_number("timeout_in_seconds", estimator.timeout_in_seconds, Real, above=0)
    n_jobs = estimator.n_jobs
    if n_jobs is not None and not (isinstance(n_jobs, Integral) and n_jobs):
        raise ValueError(
            f"n_jobs is {n_jobs!r}; allowed are None, a positive number of workers, or -1 for all "
            "cores."
        )
    return operators


def _check_number(
    name: str, value: Any, kind: type, at_least: float | None = None, above: float | None = None
) -> None:
    """Raise ValueError unless the value is a finite number of the kind and within the bound."""
    bound = f"above {above}" if at_least is None else f"of at least {at_least}"
    valid = (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and np.isfinite(value)
        and (value > above if at_least is None else value >= at_least)
    )
    if not valid:
        noun = "a whole number" if kind is Integral else "a number"
        raise ValueError(f"{name} is {value!r}; it must be {noun} {bound}.")


def check_units(
    engine: SearchEngine | None,
    X: Array,
    y: Array,
    X_units: Sequence[str] | None,
    y_units: str | Sequence[str] | None,
) -> None:
    """Raise ValueError for units that do not fit the table, or that nothing here understands."""
    if X_units is None and y_units is None:
        return
    if engine is None or engine.name != "pysr":
        raise ValueError(
            f"X_units and y_units are understood by PySR only, and the search is by "
            f"{'the Transformer alone' if engine is None else engine.name}. Search with 'pysr' or "
            "your own PySRRegressor, or leave the units out."
        )
    if X_units is not None and (isinstance(X_units, str) or len(X_units) != X.shape[1]):
        raise ValueError(
            f"X_units is {X_units!r}; X has {X.shape[1]} columns: give a unit of each."
        )
    n_outputs = 1 if y.ndim == 1 else y.shape[1]
    n_units = 1 if isinstance(y_units, str) else n_outputs if y_units is None else len(y_units)
    if n_units != n_outputs:
        raise ValueError(f"y_units is {y_units!r}; y has {n_outputs} columns: give a unit of each.")


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
