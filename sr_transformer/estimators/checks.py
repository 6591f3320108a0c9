"""The checks of what a user gives: parameters, tables, units."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import column_or_1d, validate_data

from sr_transformer.engines.base import SearchEngine
from sr_transformer.errors import shown
from sr_transformer.estimators.arrays import columns_of, numbers_of
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.front.hall_of_fame import check_model_selection
from sr_transformer.model.vocabulary import LONGEST_FORMULA
from sr_transformer.proposal.proposers import check_proposers
from sr_transformer.table.loss import check_loss

Array = np.ndarray

_TABLE = "a 2D array: a row for each observation, a column for each variable"
_TARGETS = "an array of one number for each row of X, or of a column for each output"
_WEIGHTS = "an array of one number for each row of X"


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


# --- parameters ---------------------------------------------------------------------------------
class _Range(NamedTuple):
    """The numbers that a parameter may be."""

    kind: type
    least: float  # the bound itself is allowed for whole numbers only
    most: float = math.inf
    or_none: bool = False


_NUMBERS = {
    "maxsize": _Range(Integral, 1, LONGEST_FORMULA),
    "n_candidates": _Range(Integral, 1, or_none=True),
    "temperature": _Range(Real, 0),
    "timeout_in_seconds": _Range(Real, 0, or_none=True),
    "verbose": _Range(Integral, 0),
}


def check_parameters(estimator: Any) -> dict[str, Any]:
    """The parameters of an estimator as plain Python values.

    Returns
    -------
    dict
        By name, and under ``"operators"`` the binary and unary ones together.

    Raises
    ------
    ValueError
        If one cannot be used.
    """
    given = estimator.get_params(deep=False)
    given["operators"] = ARITHMETIC.check(
        check_names("binary_operators", given["binary_operators"], "+"),
        check_names("unary_operators", given["unary_operators"], "sin"),
    )
    if not given["operators"]:
        raise ValueError("binary_operators and unary_operators are both empty; name some.")
    proposers = check_names("proposers", given["proposers"], "transformer")
    given["proposers"] = check_proposers(proposers)
    check_model_selection(given["model_selection"])
    check_loss(given["loss"])
    for name, numbers in _NUMBERS.items():
        given[name] = _number(name, given[name], numbers)
    n_jobs = given["n_jobs"]
    if n_jobs is not None and not (is_whole(n_jobs) and 0 < abs(n_jobs) < 2**31):
        raise ValueError(
            f"n_jobs is {shown(n_jobs)}; allowed are None, a positive number of workers, or -1 for "
            "all cores."
        )
    if not isinstance(given["checkpoint"], str | os.PathLike):
        raise ValueError(
            f"checkpoint is {shown(given['checkpoint'])}; it must be the name of a checkpoint that "
            "comes with the package, such as 'default', or the path of a *.safetensors file."
        )
    if not isinstance(given["device"], str):
        raise ValueError(
            f"device is {shown(given['device'])}; it must be a str: 'auto', 'cpu', 'cuda', "
            "'cuda:1', ..."
        )
    _check_random_state(given["random_state"])
    return given


def _number(name: str, value: Any, numbers: _Range) -> float | None:
    """The value as a plain number, if it is of the kind and within the range."""
    if value is None and numbers.or_none:
        return None
    whole = numbers.kind is Integral
    try:
        if isinstance(value, numbers.kind) and not isinstance(value, bool):
            number = int(value) if whole else float(value)
            enough = number >= numbers.least if whole else number > numbers.least
            if enough and number <= numbers.most and math.isfinite(float(number)):
                return number
    except OverflowError:  # of a whole number beyond float64
        pass
    bound = f"of at least {numbers.least}" if whole else f"above {numbers.least}"
    if numbers.most < math.inf:
        bound += f" and at most {numbers.most}"
    raise ValueError(
        f"{name} is {shown(value)}; it must be {'a whole' if whole else 'a finite'} number {bound}"
        f"{', or None' if numbers.or_none else ''}."
    )


def is_whole(value: Any) -> bool:
    """Whether the value is a whole number, as NumPy's are, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_digits(precision: Any) -> int:
    """Digits of the constants in a text; ValueError for what is no such number."""
    return int(_number("precision", precision, _Range(Integral, 1, 17)))


def check_names(parameter: str, given: Any, example: str) -> tuple[str, ...]:
    """The names that a parameter lists; ValueError if it is no list, tuple, set or array of str."""
    # Not a generator: a second fit would find nothing in it.
    listed = isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping)
    listed = listed and getattr(given, "ndim", 1) == 1
    names = tuple(given) if listed else ()
    if not listed or not all(isinstance(name, str) for name in names):
        kind = "the string " if isinstance(given, str) else ""
        such = given if isinstance(given, str) else example
        raise ValueError(
            f"{parameter} is {kind}{shown(given)}; give a list of names, such as [{such!r}]."
        )
    return names


def _check_random_state(given: Any) -> None:
    """Raise ValueError for what seeds nothing."""
    usable = given is None or isinstance(given, np.random.RandomState)
    if not usable and not (is_whole(given) and 0 <= given < 2**32):
        raise ValueError(
            f"random_state is {shown(given)}; allowed are None, a whole number from 0 to "
            "4294967295, or a numpy.random.RandomState."
        )


_NO_ARGUMENTS = {
    "weights": "Weights of the rows are given as sample_weight.",
    "variable_names": "Columns are named by a DataFrame: X = pandas.DataFrame(X, columns=names).",
    "Xresampled": "Denoising is PySR's own: search with a PySRRegressor.",
    "category": "Templates are PySR's own: use a PySRRegressor.",
    "complexity_of_variables": "Give it to a PySRRegressor, and that as search.",
}


def refuse_arguments(unknown: Mapping[str, Any]) -> None:
    """Raise TypeError for arguments that ``fit`` does not have, with what does the same."""
    for name in unknown:
        hint = _NO_ARGUMENTS.get(name, "Settings are given to the estimator itself.")
        raise TypeError(
            f"fit() has no argument {name!r}; it has X, y, sample_weight, X_units and y_units. "
            f"{hint}"
        )


def check_units(
    engine: SearchEngine | None,
    X: Array,
    y: Array,
    X_units: Sequence[str] | None,
    y_units: str | Sequence[str] | None,
) -> None:
    """Raise ValueError for units that do not fit the table, or that nothing here understands."""
    n_outputs = 1 if y.ndim == 1 else y.shape[1]
    for name, units, n in (("X_units", X_units, X.shape[1]), ("y_units", y_units, n_outputs)):
        alone = isinstance(units, str)
        if units is None or (alone and name == "y_units" and n == 1):
            continue
        if alone or len(check_names(name, units, "m")) != n:
            raise ValueError(
                f"{name} is {shown(units)}; {name[0]} has {n} columns: give a unit of each."
            )
    if (X_units is not None or y_units is not None) and (engine is None or engine.name != "pysr"):
        raise ValueError(
            f"X_units and y_units are understood by PySR only, and the search is by "
            f"{'the Transformer alone' if engine is None else engine.name}. Search with 'pysr' or "
            "your own PySRRegressor, or leave the units out."
        )


# --- tables -------------------------------------------------------------------------------------
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
    TypeError
        If it is sparse, or holds objects that are no numbers.
    """
    if y is None:
        raise ValueError(
            f"fit requires y to be passed, but the target y is None; it must be {_TARGETS}."
        )
    X = check_X(estimator, X, reset=True)
    y = check_y(y, X)
    if len(X) < 2:
        raise ValueError(
            f"X has 1 sample (shape={X.shape}); at least 2 rows are needed to find a formula."
        )
    if sample_weight is None:
        return X, y, None
    weights = check_weights(sample_weight, X)
    used = weights > 0
    if used.sum() < 2:
        raise ValueError(
            f"sample_weight is zero in all but {used.sum()} of {len(used)} rows; at least 2 rows "
            "need a weight above zero."
        )
    return X[used], y[used], weights[used]


def check_X(estimator: BaseEstimator, X: Any, *, reset: bool) -> Array:
    """Finite float64 columns; their number and names are learnt, or else must be those learnt."""
    table = check_columns(X)
    columns = columns_of(X)
    _check_names([name for name, _ in columns or () if isinstance(name, str)])
    named = table if columns is None else X
    validate_data(estimator, named, reset=reset, skip_check_array=True)
    return table


def check_columns(X: Any) -> Array:
    """Finite float64 columns, at least one, of at least one row."""
    table = numbers_of(X, "X", (2,), _TABLE)
    if table.shape[1] == 0:
        raise ValueError(
            f"X has 0 feature(s) (shape={table.shape}) while a minimum of 1 is required."
        )
    if len(table) == 0:
        raise ValueError(f"X has 0 sample(s) (shape={table.shape}) while a minimum of 1 is needed.")
    return table


def check_y(y: Any, X: Array) -> Array:
    """Finite float64 targets (n_rows,) or (n_rows, n_outputs) of the rows of X."""
    y = numbers_of(y, "y", (1, 2), _TARGETS)
    _check_length("y", y, X)
    if y.ndim == 2 and y.shape[1] < 2:
        if y.shape[1] == 0:
            raise ValueError(f"y has no column (shape={y.shape}); it must be {_TARGETS}.")
        y = column_or_1d(y, warn=True)
    return y


def are_counts(sample_weight: Any) -> bool:
    """Whether weights are of a type of whole numbers: how often each row was read."""
    return np.asarray(sample_weight).dtype.kind in "iub"


def check_weights(sample_weight: Any, X: Array) -> Array:
    """Finite float64 weights (n_rows,) of the rows of X, none below 0."""
    weights = numbers_of(sample_weight, "sample_weight", (1,), _WEIGHTS)
    _check_length("sample_weight", weights, X)
    below = np.flatnonzero(weights < 0)
    if below.size:
        raise ValueError(
            f"sample_weight is negative in {below.size} of {len(weights)} rows, first "
            f"{weights[below[0]]:.6g} in row {below[0]}; weights must be at least 0."
        )
    return weights


def _check_length(name: str, values: Array, X: Array) -> None:
    if len(values) != len(X):
        raise ValueError(
            f"X and {name} have inconsistent numbers of samples: {len(X)} rows and {len(values)}; "
            f"there must be one of {name} for each row of X."
        )


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
