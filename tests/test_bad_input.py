"""Tables that cannot be fitted are refused clearly; odd ones that can be are fitted."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from sr_transformer import propose

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 5.0, (30, 2))
Y = X[:, 0] * X[:, 1]


def with_value(table: np.ndarray, value: float) -> np.ndarray:
    changed = table.astype(float).copy()
    changed.flat[3] = value
    return changed


REFUSED = {
    "nan in X": (with_value(X, np.nan), Y, "NaN"),
    "infinity in X": (with_value(X, np.inf), Y, "infinity"),
    "nan in y": (X, with_value(Y, np.nan), "NaN"),
    "infinity in y": (X, with_value(Y, -np.inf), "infinity"),
    "no rows": (X[:0], Y[:0], "0 sample"),
    "one row": (X[:1], Y[:1], "1 sample"),
    "no columns": (X[:, :0], Y, "0 feature"),
    "one dimension": (X[:, 0], Y, "2D array"),
    "three dimensions": (X[:, :, None], Y, "X has 3 dim"),
    "sparse": (scipy.sparse.csr_matrix(X), Y, "(?i)sparse"),
    "other length": (X, Y[:-1], "inconsistent numbers of samples"),
    "no y": (X, None, "y"),
    "sparse y": (X, scipy.sparse.csr_matrix(Y[:, None]), "y is a sparse matrix"),
    "y of three dimensions": (X, Y[:, None, None], "y has 3 dim"),
    "y without columns": (X, np.empty((30, 0)), "0 feature|shape"),
    "complex": (X + 1j, Y, "Complex"),
    "text in y": (X, np.array(["high", "low"] * 15), "not a number"),
    "text column": (
        pd.DataFrame({"size": X[:, 0], "city": ["Rome", "Bonn"] * 15}), Y, "column 'city'.*Rome",
    ),
    "one name for two columns": (pd.DataFrame(X, columns=["a", "a"]), Y, "(?s)name.*'a'"),
    "text array": (np.array([["a", "b"]] * 30), Y, "column x0 of X holds text.*'a'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_tables_are_refused(quick, case):
    table, target, words = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=words):
        quick().fit(table, target)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(29), "sample_weight"),
        (np.full(30, -1.0), "(?i)negative"),
        (np.zeros(30), "(?i)sample.weight"),
        (np.eye(1, 30)[0], "zero in all but 1 of 30"),
        (np.full(30, np.nan), "NaN"),
        (np.ones((30, 2)), "sample_weight has 2 dim"),
    ],
)
def test_unusable_weights_are_refused(quick, weights, words):
    with pytest.raises(ValueError, match=words):
        quick().fit(X, Y, sample_weight=weights)


def test_column_of_y_is_flattened_with_scikit_learns_warning(quick):
    from sklearn.exceptions import DataConversionWarning

    with pytest.warns(DataConversionWarning):
        model = quick().fit(X, Y[:, None])
    assert model.predict(X).shape == (30,)


def fits(quick, table, target, **parameters):
    """Fit without any warning; the front is finite and the prediction complete."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = quick(**parameters).fit(table, target)
        prediction = model.predict(table)
    assert len(model.equations_) >= 1
    assert prediction.shape == (len(target),)
    return model


def test_constant_y_is_that_constant(quick):
    model = fits(quick, X, np.full(30, 2.5))
    assert list(model.equations_["equation"]) == ["2.5"]
    assert fits(quick, X, np.zeros(30)).predict(X).tolist() == [0.0] * 30


def test_constant_column_is_accepted(quick):
    fits(quick, np.column_stack([X[:, 0], np.ones(30), np.zeros(30)]), Y)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_extreme_values_are_fitted(quick, size):
    model = fits(quick, X * size, X[:, 0] * size)
    np.testing.assert_allclose(model.predict(X * size), X[:, 0] * size, rtol=1e-9)


@pytest.mark.parametrize("size", [1e300, 1e-300, 5e-324])
def test_extreme_values_beside_usual_ones_are_fitted(quick, size):
    fits(quick, with_value(X, size), Y)
    if size < 1.0:
        fits(quick, X, with_value(Y, size))
    fits(quick, X * size, Y)
    fits(quick, X, Y * size)


def test_spread_of_y_whose_squares_overflow_is_refused(quick):
    with pytest.raises(ValueError, match=r"y reaches 1e\+300"):
        quick().fit(X, with_value(Y, 1e300))


def test_two_rows_and_repeated_rows_are_fitted(quick):
    fits(quick, X[:2], Y[:2])
    fits(quick, np.repeat(X[:1], 10, axis=0), np.repeat(Y[:1], 10))
    fits(quick, np.repeat(X[:1], 2, axis=0), np.array([1.0, 2.0]))


def test_duplicated_columns_are_fitted(quick):
    model = fits(quick, np.column_stack([X[:, 0], X[:, 0], X[:, 1]]), Y)
    assert model.score(np.column_stack([X[:, 0], X[:, 0], X[:, 1]]), Y) > 0.5


def test_integer_and_boolean_columns_are_numbers(quick):
    table = pd.DataFrame({"n": np.arange(30), "on": np.arange(30) % 3 == 0})
    model = fits(quick, table, table["n"] * 2)
    assert model.score(table, table["n"] * 2) > 0.99
    fits(quick, table.to_numpy(dtype=int), np.arange(30) % 2 == 0)


def test_numbers_written_as_text_objects_are_numbers(quick):
    fits(quick, X.astype(object), Y.astype(object))


@pytest.mark.parametrize("name", ["sin", "x0", "N", "E", "lambda", "c", "x1 + x2", "`", "", "Δt"])
def test_any_column_name_can_be_used(quick, name):
    table = pd.DataFrame({"other": X[:, 0], name: X[:, 1]})
    model = fits(quick, table, X[:, 1] * 3.0)
    assert model.score(table, X[:, 1] * 3.0) > 0.99
    assert isinstance(model.latex(), str)
    assert {str(symbol) for symbol in model.sympy().free_symbols} == {name}


def test_columns_named_after_other_columns_positions_are_not_confused(quick):
    table = pd.DataFrame({"x1": X[:, 0], "x0": X[:, 1]})
    model = fits(quick, table, X[:, 0] * 3.0)
    assert {str(symbol) for symbol in model.sympy().free_symbols} == {"x1"}


def test_five_hundred_columns_are_fitted(quick):
    wide = np.random.default_rng(1).uniform(1, 5, (100, 500))
    model = fits(quick, wide, 2.0 * wide[:, 321] + 1.0)
    assert model.score(wide, 2.0 * wide[:, 321] + 1.0) > 0.99


def test_a_million_rows_are_fitted(quick):
    rng = np.random.default_rng(2)
    long = rng.uniform(1, 5, (1_000_000, 2))
    model = fits(quick, long, 2.0 * long[:, 0] + long[:, 1] + rng.normal(size=1_000_000))
    assert model.equations_["loss"].min() == pytest.approx(1.0, rel=0.1)


def test_propose_refuses_and_accepts_alike():
    with pytest.raises(ValueError, match="NaN"):
        propose(with_value(X, np.nan), Y)
    hall = propose(pd.DataFrame(X, columns=["a b", "sin"]), Y, n_candidates=8, random_state=0)
    assert len(hall) >= 1
    assert all(isinstance(guess, str) for guess in hall.guesses())
