"""Tables of what users give: what is a number, what fits, what is refused and in which words.

Every entry is a name with something that is given and an expectation: ``FITS``, or a regular
expression that the refusal must match.
"""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import pandas as pd
import scipy.sparse

from sr_transformer.expression.language import ARITHMETIC

FITS = ""

N = 6
NUMBERS = [1.0, 2.5, 3.0, 4.5, 6.0, 7.0]
DAYS = pd.date_range("2024-01-31", periods=N)
RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 5.0, (N, 2))
Y = X[:, 0] * X[:, 1] + RNG.normal(size=N)


def with_last(value: object, dtype: object = object) -> np.ndarray:
    """Numbers of which the last is something else."""
    column = np.empty(N, dtype)
    column[:] = NUMBERS
    column[-1] = value
    return column


def numbers(dtype: str) -> np.ndarray:
    return np.arange(1, N + 1).astype(dtype)


DATES, DURATIONS = "holds dates .*number of some unit", "holds durations .*number of some unit"
TEXT, COMPLEX = "holds text, not a number .*'red'", "holds complex numbers"
MISSING = "holds NaN, a missing value, in 1 of 6 rows, first in row 5"
NO_NUMBER = "in row 5, a {}; .* must be an array of numbers"

# One column: it is put beside another column, into a list of rows, in the place of y, ...
COLUMNS: dict[str, tuple[object, str]] = {
    **{dtype: (numbers(dtype), FITS) for dtype in (
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "longdouble", "bool", ">f8", "<i2",
    )},
    **{f"{dtype} objects": (numbers(dtype).astype(object), FITS) for dtype in (
        "int64", "float64", "bool",
    )},
    **{dtype: ((1 + 1j) * numbers(dtype), COMPLEX) for dtype in ("complex64", "complex128")},
    "complex object": (with_last(1j), COMPLEX),
    "decimals": (np.array([Decimal(i) for i in range(1, N + 1)]), FITS),
    "fractions": (np.array([Fraction(i, 3) for i in range(1, N + 1)]), FITS),
    "numbers as text": (np.array(["1", "2.5", "3", "4e0", "5", "6"]), FITS),
    "text": (np.array(["1", "2", "3", "4", "5", "red"]), TEXT),
    "text objects": (with_last("red"), TEXT),
    "text of a Series": (pd.Series(["1", "2", "3", "4", "5", "red"]), TEXT),
    "bytes": (np.array([b"1", b"2", b"3", b"4", b"5", b"red"]), TEXT),
    "empty text": (with_last(""), "holds text, not a number"),
    **{f"datetime64[{unit}]": (DAYS.to_numpy().astype(f"M8[{unit}]"), DATES) for unit in (
        "Y", "M", "D", "h", "s", "ms", "us", "ns",
    )},
    **{f"timedelta64[{unit}]": (numbers("int64").astype(f"m8[{unit}]"), DURATIONS) for unit in (
        "D", "s", "ns",
    )},
    "datetime64 with NaT": (np.append(DAYS.to_numpy()[1:], np.datetime64("NaT")), DATES),
    "dates of a time zone": (pd.Series(DAYS.tz_localize("UTC")), DATES),
    "periods": (pd.Series(pd.period_range("2024-01", periods=N, freq="M")), DATES),
    "a date": (with_last(datetime.date(2024, 1, 1)), DATES),
    "a datetime": (with_last(datetime.datetime(2024, 1, 1)), DATES),
    "a time": (with_last(datetime.time(12)), DATES),
    "a duration": (with_last(datetime.timedelta(days=1)), DURATIONS),
    "a Timestamp": (with_last(DAYS[0]), DATES),
    "a Timedelta": (with_last(pd.Timedelta(days=1)), DURATIONS),
    "a datetime64": (with_last(np.datetime64("2024-01-01")), DATES),
    "a timedelta64": (with_last(np.timedelta64(1, "D")), DURATIONS),
    "NaT": (with_last(pd.NaT), MISSING),
    "None": (with_last(None), MISSING),
    "pd.NA": (with_last(pd.NA), MISSING),
    "nan": (with_last(np.nan, float), MISSING),
    "nan object": (with_last(np.nan), MISSING),
    "nan as text": (with_last("nan"), MISSING),
    "infinity": (with_last(np.inf, float), "holds infinity in 1 of 6 rows, first in row 5"),
    "minus infinity": (with_last(-np.inf), "holds infinity in 1 of 6 rows, first in row 5"),
    "2 ** 64": (with_last(2**64), FITS),
    "10 ** 400": (with_last(10**400), "holds 1000000.*in row 5, beyond the largest float64"),
    "10 ** 5000": (with_last(10**5000), "holds .*in row 5, beyond the largest float64"),
    "a list": (with_last(None).tolist()[:-1] + [[1.0]], NO_NUMBER.format("list")),
    "a dict": (with_last({"a": 1}), NO_NUMBER.format("dict")),
    "a set": (with_last({1}), NO_NUMBER.format("set")),
    "a class": (with_last(int), NO_NUMBER.format("type")),
    "an object": (with_last(object()), NO_NUMBER.format("object")),
    "nullable Int64": (pd.Series([1, 2, 3, 4, 5, 6], dtype="Int64"), FITS),
    "nullable Int64 with NA": (pd.Series([1, 2, 3, 4, 5, None], dtype="Int64"), MISSING),
    "nullable Float64": (pd.Series(NUMBERS, dtype="Float64"), FITS),
    "nullable Float64 with NA": (pd.Series([1, 2, 3, 4, 5, None], dtype="Float64"), MISSING),
    "nullable boolean": (pd.Series([True, False] * 3, dtype="boolean"), FITS),
    "nullable boolean with NA": (pd.Series([True] * 5 + [None], dtype="boolean"), MISSING),
    "nullable string": (pd.Series(["1", "2", "3", "4", "5", "red"], dtype="string"), TEXT),
    "category of numbers": (pd.Series(pd.Categorical([1, 2, 3, 1, 2, 3])), FITS),
    "category of text": (pd.Series(pd.Categorical(["1", "2", "3", "4", "5", "red"])), TEXT),
    "sparse column": (pd.Series(pd.arrays.SparseArray([0.0, 1.0, 2.0] * 2)), FITS),
    "intervals": (pd.Series(pd.interval_range(0, N)), "must be an array of numbers"),
}  # fmt: skip

if np.finfo(np.longdouble).max > np.finfo(float).max:
    COLUMNS["beyond float64"] = (
        with_last(np.longdouble("1e4000"), np.longdouble), r"1e\+4000.*beyond the largest float64",
    )  # fmt: skip
if find_spec("pyarrow"):
    COLUMNS["arrow integers"] = (pd.Series([1, 2, 3, 4, 5, 6], dtype="int64[pyarrow]"), FITS)
    COLUMNS["arrow dates"] = (DAYS.to_series().astype("date32[pyarrow]"), DATES)

# Tables that are none, and what y may not be beside them.
MASKED = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) == 3)
SHAPES: dict[str, tuple[object, object, str]] = {
    "two rows": (X[:2], Y[:2], FITS),
    "one row": (X[:1], Y[:1], r"X has 1 sample .*at least 2 rows"),
    "no rows": (X[:0], Y[:0], r"X has 0 sample\(s\) .*minimum of 1"),
    "no columns": (X[:, :0], Y, r"X has 0 feature\(s\) .*minimum of 1"),
    "no columns of a DataFrame": (pd.DataFrame(index=range(N)), Y, r"0 feature\(s\)"),
    "no rows of a DataFrame": (pd.DataFrame({"a": []}), [], r"X has 0 sample\(s\)"),
    "one dimension": (X[:, 0], Y, "X has 1 dim.*must be a 2D array.*Reshape your data"),
    "a Series": (pd.Series(X[:, 0]), Y, "X has 1 dim.*must be a 2D array"),
    "three dimensions": (X[:, :, None], Y, r"X has 3 dim.*\(6, 2, 1\).*must be a 2D array"),
    "no dimension": (np.array(3.0), Y, "X is array.*must be a 2D array"),
    "a number": (3.0, Y, "X is 3.0, a float; it must be a 2D array"),
    "text": ("table.csv", Y, "X is 'table.csv', a str; it must be a 2D array"),
    "None": (None, Y, "X is None; it must be a 2D array"),
    "a dict": ({"a": NUMBERS}, Y, "X is {'a':.*a dict; it must be a 2D array"),
    "a list of dicts": ([{"a": 1.0}] * N, Y, "X has 1 dim"),
    "a generator": ((row for row in X), Y, "a generator; it must be a 2D array"),
    "a list of lists": (X.tolist(), Y.tolist(), FITS),
    "a list of tuples": ([tuple(row) for row in X], tuple(Y), FITS),
    "a list of arrays": (list(X), list(Y), FITS),
    "rows of different lengths": ([[1.0, 2.0], [3.0]] * 3, Y, "X has rows of 1 to 2 values"),
    "an empty list": ([], Y, "X has 1 dim"),
    "a list of empty lists": ([[]] * N, Y, r"0 feature\(s\)"),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), Y, r"X is a sparse matrix .*X.toarray\(\)"),
    "a sparse array": (scipy.sparse.coo_array(X), Y, r"X is a sparse matrix .*X.toarray\(\)"),
    "a matrix": (np.asmatrix(X), Y, FITS),
    "a record array": (pd.DataFrame(X, columns=["a", "b"]).to_records(), Y, "fields index, a, b"),
    "a masked array": (MASKED, Y, "X is a masked array in which 1 of 12 values are masked"),
    "a masked array without a mask": (np.ma.masked_array(X), Y, FITS),
    "masked arrays in a list": (list(MASKED), Y, "masked array in which 1 of 12 values are masked"),
    "a masked value in a list": ([[1.0, np.ma.masked]] + X[1:].tolist(), Y, "column x1.*NaN"),
    "a masked object": (np.array([[1.0, np.ma.masked]] * N, object), Y, "x1 of X holds a masked"),
    "fewer y": (X, Y[:-1], "inconsistent numbers of samples: 6 rows and 5"),
    "more y": (X, np.append(Y, 1.0), "inconsistent numbers of samples: 6 rows and 7"),
    "no y": (X, None, "target y is None; it must be an array of one number for each row"),
    "y a number": (X, 3.0, "y is 3.0, a float; it must be an array of one number for each row"),
    "y text": (X, "y", "y is 'y', a str; it must be an array"),
    "y of two columns": (X, np.column_stack([Y, Y]), FITS),
    "y without columns": (X, np.empty((N, 0)), r"y has no column \(shape=\(6, 0\)\)"),
    "y of three dimensions": (X, Y[:, None, None], "y has 3 dim"),
    "y sparse": (X, scipy.sparse.csr_matrix(Y[:, None]), "y is a sparse matrix"),
    "y masked": (X, np.ma.masked_array(Y, Y > 9.0), "y is a masked array in which .* of 6"),
    "y a frame without columns": (X, pd.DataFrame(index=range(N)), "y has no column"),
    "y a frame with text": (X, pd.DataFrame({"u": Y, "v": ["red"] * N}), "column 'v' of y.*text"),
    "columns of one name": (pd.DataFrame(X, columns=["a", "a"]), Y, "several columns.*'a'.*rename"),
    "numbered columns": (pd.DataFrame(X), Y, FITS),
    "some numbered columns": (pd.DataFrame(X, columns=["a", 1]), Y, "string names"),
    "a column named None": (pd.DataFrame(X, columns=["a", None]), Y, "string names"),
    "columns of two levels": (
        pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a"], ["b", "c"]])), Y, FITS,
    ),
    "other index of y": (pd.DataFrame(X, columns=["a", "b"]), pd.Series(Y, range(9, 15)), FITS),
}  # fmt: skip

if find_spec("polars"):
    import polars as pl

    SHAPES |= {
        "polars": (pl.DataFrame({"a": NUMBERS, "b": [1, 2, 3, 4, 5, 7]}), pl.Series(Y), FITS),
        "polars dates": (pl.DataFrame({"a": NUMBERS, "b": list(DAYS)}), Y, f"'b' of X {DATES}"),
        "polars text": (pl.DataFrame({"a": NUMBERS, "b": ["red"] * N}), Y, f"'b' of X {TEXT}"),
        "polars null": (pl.DataFrame({"b": [1, 2, 3, 4, 5, None]}), Y, f"'b' of X {MISSING}"),
        "polars lists": (pl.DataFrame({"b": [[1]] * N}), Y, "'b' of X holds"),
    }
if find_spec("pyarrow"):
    import pyarrow as pa

    SHAPES |= {
        "arrow": (pa.table({"a": NUMBERS, "b": [1, 2, 3, 4, 5, 7]}), Y, FITS),
        "arrow dates": (pa.table({"a": NUMBERS, "b": list(DAYS.date)}), Y, f"'b' of X {DATES}"),
        "arrow null": (pa.table({"b": [1, 2, 3, 4, 5, None]}), Y, f"'b' of X {MISSING}"),
    }

WEIGHTS: dict[str, tuple[object, str]] = {
    "ones": (np.ones(N), FITS),
    "a zero": ([0, 1, 1, 1, 1, 1], FITS),
    "huge": (np.full(N, 1e308), FITS),
    "tiny": (np.full(N, 5e-324), FITS),
    "of all sizes": ([1e-300, 1.0, 1e300, 1e-170, 1e160, 2.0], FITS),
    "zeros": (np.zeros(N), "zero in all but 0 of 6 rows; at least 2 rows"),
    "one above zero": (np.eye(N)[0], "zero in all but 1 of 6 rows; at least 2 rows"),
    "negative": (np.append(np.ones(5), -2.0), "negative in 1 of 6 rows, first -2 in row 5"),
    "too few": (np.ones(5), "X and sample_weight have inconsistent.*6 rows and 5"),
    "two columns": (np.ones((N, 2)), "sample_weight has 2 dim.*must be an array of one number"),
    "a frame": (pd.DataFrame({"w": np.ones(N)}), "sample_weight has 2 dim"),
    "a number": (1.0, "sample_weight is 1.0, a float; it must be an array of one number"),
    "text": ("weights", "sample_weight is 'weights', a str; it must be"),
    "masked": (np.ma.masked_array(np.ones(N), np.arange(N) < 2), "masked array in which 2 of 6"),
    "a dict": ({"a": 1}, "sample_weight is {'a': 1}, a dict; it must be"),
    "sparse": (scipy.sparse.eye(N), "sample_weight is a sparse matrix"),
}

# Sizes of the whole table, of a column, of one value, of y, ...
SIZES = (1.7e308, 1e307, -1e308, 1e300, 1e200, 1e155, 1e154, 1e150, 1e-150, 1e-300, 1e-308, 5e-324)
SPREAD = r"y reaches .* with a typical size of .*: squared errors overflow at such a spread"


def sized(place: str, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A table and y of which something has an extreme size."""
    table, y = X.copy(), Y.copy()
    if place in ("X", "both"):
        table *= size / 6.0
    if place in ("y", "both"):
        y *= size / np.abs(y).max()
    if place == "column":
        table[:, 1] = size
    if place == "value":
        table[3, 1] = size
    if place == "constant y":
        y[:] = size
    if place == "value of y":
        y[3] = size
    return table, y


def is_outlier(place: str, size: float) -> bool:
    """Whether squared errors overflow: what all of y has is scaled away."""
    return place == "value of y" and abs(size) > 1e151


RANGES = {
    f"{place} {size}": (*sized(place, size), SPREAD if is_outlier(place, size) else FITS)
    for place in ("X", "y", "both", "column", "value", "constant y", "value of y")
    for size in SIZES
}  # fmt: skip

BINARY = [name for name, arity in ARITHMETIC.arity.items() if arity == 2]
UNARY = [name for name, arity in ARITHMETIC.arity.items() if arity == 1]


def subsets(n: int) -> dict[str, tuple[list[str], list[str]]]:
    """Random sets of operators, small ones most of all, and every operator alone."""
    draw = random.Random(0)
    found = {name: ([name], []) for name in BINARY} | {name: ([], [name]) for name in UNARY}
    while len(found) < n:
        chosen = [
            draw.sample(names, draw.choice((0, 1, 1, 2, 4))) for names in (BINARY, UNARY)
        ]
        if any(chosen):
            found[" ".join(chosen[0] + chosen[1])] = (chosen[0], chosen[1])
    return found


# Names in lists: operators and proposers.
LISTS: dict[str, tuple[object, str]] = {
    "None": (None, "is None; give a list of names"),
    "a number": (3, "is 3; give a list of names"),
    "a str": ("+", r"is the string '\+'; give a list of names, such as \['\+'\]"),
    "bytes": (b"+", "give a list of names"),
    "a dict": ({"+": 1}, "give a list of names"),
    "a generator": ((name for name in "+"), "give a list of names"),
    "a nested list": ([["+"]], "give a list of names"),
    "a list of None": ([None], "give a list of names"),
    "a list of numbers": ([1, 2], "give a list of names"),
    "an array of two dimensions": (np.array([["+"]]), "give a list of names"),
    "an array of none": (np.array("+"), "give a list of names"),
    "a list of arrays": ([np.array(["+"]), np.array(["-"])], "give a list of names"),
    "an unknown name": (["gamma"], "holds 'gamma'; .*"),
    "an empty name": ([""], "holds ''"),
    "PySR's own definition": (["inv(x) = 1 / x"], r"holds 'inv\(x\) = 1 / x'"),
}

# What is tried for every parameter of the estimator.
VALUES: dict[str, object] = {
    "None": None, "True": True, "False": False, "np.True_": np.True_, "0": 0, "1": 1, "2": 2,
    "-1": -1, "0.0": 0.0, "0.5": 0.5, "-0.5": -0.5, "3.0": 3.0, "1e308": 1e308, "5e-324": 5e-324,
    "511": 511, "512": 512, "2**32": 2**32, "10**400": 10**400, "10**5000": 10**5000,
    "-10**400": -(10**400), "nan": np.nan, "inf": np.inf, "-inf": -np.inf, "np.int8": np.int8(3),
    "np.uint64": np.uint64(3), "np.float32": np.float32(3.0), "np.nan": np.float32("nan"),
    "0-d array": np.array(3), "array": np.array([1, 2]), "Fraction": Fraction(7, 2),
    "Decimal": Decimal(3), "1j": 1j, "empty str": "", "str": "7", "auto": "auto", "bytes": b"auto",
    "list": [3], "tuple": (), "dict": {}, "set": {1}, "object": object(), "class": int,
    "function": len, "frame": pd.DataFrame({"a": [1, 2]}), "pd.NA": pd.NA, "NaT": pd.NaT,
    "date": datetime.date(2024, 1, 1), "RandomState": np.random.RandomState(0),
    "Generator": np.random.default_rng(0), "long str": "long " * 60, "zero byte": "a\0b",
    "home": "~nobody/model",
}  # fmt: skip

WHOLE = ("1", "2", "np.int8", "np.uint64")
ABOVE_ZERO = (
    *WHOLE, "0.5", "3.0", "1e308", "5e-324", "np.float32", "Fraction", "511", "512", "2**32",
)  # fmt: skip
# The values of each parameter that are allowed, and the words in which all others are refused.
PARAMETERS: dict[str, tuple[tuple[str, ...], str]] = {
    "search": ((), "search is .*; allowed are 'auto'"),
    "maxsize": ((*WHOLE, "511"), "maxsize is .*; it must be a whole .* at least 1 and at most 511"),
    "n_candidates": ((*WHOLE, "None"), "n_candidates is .*; it must be a whole .* of at least 1"),
    "temperature": (ABOVE_ZERO, "temperature is .*; it must be a finite number above 0"),
    "timeout_in_seconds": ((*ABOVE_ZERO, "None"), "timeout_in_seconds is .*; .*number above 0"),
    "model_selection": ((), "model_selection is .*; allowed are 'desc"),
    "loss": ((), "loss is .*; allowed are 'squared'"),
    "checkpoint": ((), "checkpoint is .*; it must be|there is no checkpoint at .*; give the path"),
    "device": (("auto",), "device is .*; it must be a str|device is .*; allowed are 'auto'"),
    "n_jobs": (
        (*WHOLE, "-1", "511", "512", "None"), "n_jobs is .*; allowed are None",
    ),
    "random_state": (
        (*WHOLE, "None", "0", "511", "512", "RandomState"), "random_state is .*; allowed are None",
    ),
    "verbose": ((*WHOLE, "0", "511", "512", "2**32"), "verbose is .*; it must be a whole number"),
}
DEAR = {"n_candidates": ("511", "512", "2**32"), "search": ("auto",)}  # allowed, but not quick

UNITS: dict[str, tuple[dict, str]] = {
    "a str": ({"X_units": "m"}, "X_units is 'm'; X has 2 columns: give a unit"),
    "a number": ({"X_units": 3}, "X_units is 3; give a list of names"),
    "too few": ({"X_units": ["m"]}, "X has 2 columns: give a unit of each"),
    "too many": ({"X_units": ["m"] * 3}, "X has 2 columns: give a unit of each"),
    "no names": ({"X_units": [1, 2]}, "X_units is .*; give a list of names"),
    "y a number": ({"y_units": 3}, "y_units is 3; give a list of names"),
    "y too many": ({"y_units": ["m", "s"]}, "y has 1 columns: give a unit of each"),
    "no engine": ({"X_units": ["m", "s"]}, "understood by PySR only"),
    "no engine for y": ({"y_units": "m"}, "understood by PySR only"),
}

ARGUMENTS: dict[str, tuple[dict, str]] = {
    "weights": ({"weights": np.ones(N)}, "no argument 'weights'.*given as sample_weight"),
    "variable_names": ({"variable_names": ["a", "b"]}, "no argument 'variable_names'.*DataFrame"),
    "Xresampled": ({"Xresampled": X}, "no argument 'Xresampled'.*PySRRegressor"),
    "a parameter": ({"maxsize": 7}, "no argument 'maxsize'.*estimator itself"),
    "a slip": ({"sample_weights": np.ones(N)}, "no argument 'sample_weights'; it has X, y, sample"),
}
PROPOSE: dict[str, tuple[dict, str]] = {
    "names": ({"variable_names": ["a", "b"]}, FITS),
    "names in an array": ({"variable_names": np.array(["a", "b"])}, FITS),
    "too few names": ({"variable_names": ["a"]}, "X has 2 columns: give a name of each"),
    "a str": ({"variable_names": "ab"}, "variable_names is the string 'ab'; give a list"),
    "numbers": ({"variable_names": [1, 2]}, "variable_names is .*; give a list of names"),
    "a name twice": ({"variable_names": ["a", "a"]}, "several columns have the name 'a'"),
    "weights": ({"weights": np.ones(N)}, "no parameter 'weights'.*given as sample_weight"),
    "search": ({"search": "none"}, "no parameter 'search'.*never searches"),
    "a slip": ({"max_size": 7}, "no parameter 'max_size'; allowed are .*maxsize"),
}
