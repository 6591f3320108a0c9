"""Odd tables that can be fitted are fitted; what is refused is in ``test_input_fuzz``."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from sr_transformer import propose
from sr_transformer.expression import Expression
from sr_transformer.model.checkpoint import load_model
from sr_transformer.model.vocabulary import LONGEST_FORMULA
from sr_transformer.proposal.closed.bench import Bench, least_squares
from sr_transformer.proposal.closed.power_laws import power_laws
from sr_transformer.proposal.draw import NetworkSampler
from sr_transformer.proposal.long_tables import refitted_in_blocks
from sr_transformer.table.table import Table

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 5.0, (30, 2))
Y = X[:, 0] * X[:, 1]


def with_value(table: np.ndarray, value: float) -> np.ndarray:
    changed = table.astype(float).copy()
    changed.flat[3] = value
    return changed


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


def test_propose_keeps_names_of_columns_as_they_are():
    hall = propose(pd.DataFrame(X, columns=["a b", "sin"]), Y, n_candidates=8, random_state=0)
    assert len(hall) >= 1
    assert all(isinstance(guess, str) for guess in hall.guesses())
    named = propose(X, 2.0 * Y, variable_names=["u", "v"], proposers=["power-law"])
    assert "u" in named[-1].expression.to_text(named.variable_names)


def test_weights_and_columns_are_named_in_a_prediction_too(quick):
    model = quick(proposers=["linear"]).fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    later = pd.DataFrame({"a": X[:, 0], "b": pd.date_range("2024-01-01", periods=30)})
    with pytest.raises(ValueError, match="column 'b' of X holds dates"):
        model.predict(later)
    with pytest.raises(ValueError, match="column 'b' of X holds dates"):
        model.score(later, Y)


def test_an_engines_own_maxsize_may_be_longer_than_the_network_can_write():
    sampler = NetworkSampler(load_model())
    sampler.read(X, Y)
    drawn = sampler.draw(2, frozenset("+*"), LONGEST_FORMULA + 100, 1.0, np.random.RandomState(0))
    assert drawn.total() == 2


def test_formulas_nested_hundreds_deep_are_left_as_they_are():
    deep = Expression([*["-", "x0", "square"] * 170, "x1"])
    assert len(deep.symbols) == LONGEST_FORMULA
    assert deep.simplify() == deep


def test_what_is_not_finite_does_not_reach_lapack_which_prints(capfd):
    values = np.array([[1.0, np.inf], [1.0, 2.0], [1.0, 3.0]])
    with np.errstate(all="ignore"):
        assert least_squares(values, np.ones(3)) is None
        assert least_squares(values[:, :1], np.array([1.0, np.nan, 2.0])) is None
        bench = Bench(Table.of(X, np.exp(60.0 * Y) * 1e-30), [0, 1], frozenset("+*^"), 9)
        list(power_laws(bench))
    huge = Table(np.array([[1e200], [2e200], [3e200]]), np.arange(3.0))
    assert refitted_in_blocks(Expression.parse("0.0 * x0"), huge)[1] == pytest.approx(5 / 3)
    assert capfd.readouterr() == ("", "")
