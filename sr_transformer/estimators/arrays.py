"""Arrays of finite numbers out of what a user gives; what is none is refused by its column's name.

NumPy turns dates into nanoseconds, masked values into what lies below the mask, and a column of
text into an error without its name. So every column is looked at by itself, by its type first.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Sized
from typing import Any, NoReturn

import numpy as np
from scipy.sparse import issparse

from sr_transformer.errors import shown

Array = np.ndarray

_DATES = (datetime.date, datetime.time, np.datetime64)
_DURATIONS = (datetime.timedelta, np.timedelta64)
_MISSING = ("NoneType", "NAType", "NaTType")  # types of pandas by their names: it is not imported
_PLAIN = {bool, int, float, np.float64, np.float32, np.int64, np.int32, np.bool_}
_NUMBERS = "every value must be a finite number"


def numbers_of(given: Any, name: str, dimensions: tuple[int, ...], meant: str) -> Array:
    """Finite float64 numbers.

    Parameters
    ----------
    given : array-like
        Arrays, lists, tables of pandas, polars or pyarrow. Truth values count as 0 and 1, and text
        that Python's ``float`` reads is a number.
    name : str
        What messages call it.
    dimensions : tuple of int
        How many dimensions are allowed.
    meant : str
        What it must be, for messages.

    Raises
    ------
    ValueError
        If it is no such array, or holds dates, durations, text, complex numbers, masked or missing
        values, infinities or numbers beyond float64.
    TypeError
        If it is sparse, or holds objects that are no numbers.
    """
    _check_kind(given, name, meant)
    columns = columns_of(given) if 2 in dimensions else None
    if columns is not None:
        found = [_floats(values, f"column {label!r} of {name}") for label, values in columns]
        return np.column_stack(found) if found else np.empty((len(given), 0))
    array = _array(given, name, meant)
    if array.dtype.names is not None:
        raise ValueError(
            f"{name} is a structured array with the fields {', '.join(array.dtype.names)}; it must "
            f"be {meant}. Make a DataFrame of it."
        )
    if array.ndim not in dimensions:
        size = f"is {shown(given)}, a {type(given).__name__}"
        if array.ndim:
            size = f"has {array.ndim} dimensions, shape {array.shape}"
        raise ValueError(f"{name} {size}; it must be {meant}. Reshape your data.")
    if array.ndim == 1:
        return _floats(array, name)
    labels = [f"column {_place(name, i)} of {name}" for i in range(array.shape[1])]
    if array.dtype.kind in "biuf":
        return _finite(_as_float64(array), labels, array)
    if array.dtype.kind == "c" and array.size:
        _refuse_complex(labels[int(np.argmax((array.imag != 0).any(axis=0)))])
    found = [_floats(column, label) for column, label in zip(array.T, labels, strict=True)]
    return np.column_stack(found) if found else np.empty(array.shape)


def _place(name: str, i: int) -> str:
    return f"x{i}" if name == "X" else str(i)


# --- what it is ---------------------------------------------------------------------------------
def _check_kind(given: Any, name: str, meant: str) -> None:
    if given is None:
        raise ValueError(f"{name} is None; it must be {meant}.")
    if issparse(given):
        raise TypeError(
            f"{name} is a sparse matrix of shape {given.shape}; it must be {meant}, dense: write "
            f"{name}.toarray()."
        )
    # A list of masked arrays would lose its masks, too.
    rows = given if isinstance(given, list | tuple) else [given]
    n_masked = sum(np.ma.count_masked(row) for row in rows if isinstance(row, np.ma.MaskedArray))
    if n_masked:
        raise ValueError(
            f"{name} is a masked array in which {n_masked} of {np.size(given)} values are masked; "
            f"{_NUMBERS}: leave these rows out, or fill them in."
        )


def columns_of(given: Any) -> list[tuple[Any, Any]] | None:
    """Names and values of a table's columns; None for what is no table with named columns."""
    if callable(getattr(given, "get_columns", None)):  # polars
        return [(column.name, column) for column in given.get_columns()]
    if hasattr(given, "iloc") and hasattr(given, "columns"):  # pandas; a name may occur twice
        return [(name, given.iloc[:, i]) for i, name in enumerate(given.columns)]
    if hasattr(given, "column_names") and hasattr(given, "columns"):  # pyarrow
        return list(zip(given.column_names, given.columns, strict=True))
    return None


def _array(given: Any, name: str, meant: str) -> Array:
    try:
        with warnings.catch_warnings():
            # A masked value in a list becomes nan, which is refused as such.
            warnings.simplefilter("ignore", UserWarning)
            return np.asarray(given)
    except Exception as error:  # any type may be given, and its conversion can raise anything
        if isinstance(given, list | tuple):
            lengths = {len(row) for row in given if isinstance(row, Sized)}
            if len(lengths) > 1:
                raise ValueError(
                    f"{name} has rows of {min(lengths)} to {max(lengths)} values; it must be "
                    f"{meant}, and every row as long as the others."
                ) from None
            array = np.empty(len(given), object)
            array[:] = [*given]
            return array
        raise ValueError(
            f"{name}, a {type(given).__name__}, cannot be read as an array "
            f"({shown(str(error))}); it must be {meant}."
        ) from error


# --- one column ---------------------------------------------------------------------------------
def _floats(values: Any, label: str) -> Array:
    """Numbers (n_rows,) of one column."""
    _check_kind(values, label, "a column of numbers")
    array = _array(values, label, "a column of numbers")
    kind = array.dtype.kind
    if kind == "M":
        _refuse_dates(label, f"dates ({array.dtype})")
    if kind == "m":
        _refuse_dates(label, f"durations ({array.dtype})")
    if kind == "c":
        _refuse_complex(label)
    if kind in "biuf":
        return _finite(_as_float64(array), [label], array)
    objects = array.astype(object)
    if set(map(type, objects)) <= _PLAIN:
        try:
            return _finite(objects.astype(np.float64), [label], array)
        except OverflowError:
            pass  # of a whole number: it is looked for
    found = np.array([_number(value, label, row) for row, value in enumerate(objects)], float)
    return _finite(found, [label], array)


def _as_float64(array: Array) -> Array:
    with np.errstate(over="ignore"):  # of a wider type: found as an infinity
        return array.astype(np.float64, copy=False)


def _number(value: Any, label: str, row: int) -> float:
    """The number that an object is."""
    if type(value).__name__ in _MISSING:
        return np.nan
    where = f"{shown(value)} in row {row}"
    if isinstance(value, np.ma.core.MaskedConstant):
        raise ValueError(f"{label} holds a masked value in row {row}; {_NUMBERS}.")
    if isinstance(value, _DATES) or type(value).__name__ == "Period":
        _refuse_dates(label, f"dates ({where})")
    if isinstance(value, _DURATIONS):
        _refuse_dates(label, f"durations ({where})")
    if isinstance(value, complex | np.complexfloating):
        _refuse_complex(label)
    is_text = isinstance(value, str | bytes)
    try:
        if isinstance(value, Sized) and not is_text:
            raise TypeError
        return float(value)
    except OverflowError:
        raise ValueError(
            f"{label} holds {where}, beyond the largest float64, 1.8e308; {_NUMBERS}."
        ) from None
    except Exception:  # any type may be given
        if is_text:
            raise ValueError(
                f"{label} holds text, not a number ({where}); {_NUMBERS}: write it in numbers, or "
                "leave it out."
            ) from None
        # scikit-learn's own checks want some of these words.
        raise TypeError(
            f"{label} holds {where}, a {type(value).__name__}; the argument must be an array of "
            "numbers, or of strings that are numbers."
        ) from None


def _refuse_dates(label: str, found: str) -> NoReturn:
    raise ValueError(
        f"{label} holds {found}; {_NUMBERS}: write it as a number of some unit, such as the days "
        "since the first of them, (t - t.min()) / numpy.timedelta64(1, 'D'), or leave it out."
    )


def _refuse_complex(label: str) -> NoReturn:
    raise ValueError(
        f"Complex data not supported: {label} holds complex numbers; {_NUMBERS}: give the real and "
        "the imaginary part as columns of their own."
    )


def _finite(numbers: Array, labels: list[str], given: Array) -> Array:
    """The numbers (n_rows,) or (n_rows, n_columns), all of them finite; else ValueError."""
    if np.isfinite(numbers).all():
        return numbers
    table, origin = (each.reshape(len(each), -1) for each in (numbers, given))
    column = int(np.argmax(~np.isfinite(table).all(axis=0)))
    found, bad = "NaN, a missing value,", np.isnan(table[:, column])
    if not bad.any():
        found, bad = "infinity", np.isinf(table[:, column])
        first = origin[np.argmax(bad), column]
        if isinstance(first, np.floating) and np.isfinite(first):
            found = f"{shown(first)}, beyond the largest float64, 1.8e308,"
    raise ValueError(
        f"{labels[column]} holds {found} in {bad.sum()} of {len(bad)} rows, first in row "
        f"{np.argmax(bad)}; {_NUMBERS}: leave these rows out, or fill them in."
    )
