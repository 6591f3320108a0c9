"""The table: one loss, weights that only count by their ratios, one meaning of "explained"."""

from __future__ import annotations

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

LINE = Expression.parse("2.0 * x0 + 1.0")


def rows(n=40, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(1.0, 3.0, (n, 2))
    return X, 2.0 * X[:, 0] + 1.0 + 0.1 * rng.normal(size=n), rng.uniform(0.1, 2.0, n)


@pytest.mark.parametrize("size", [1.0, 3.0, 1e160, 1e-170, 1e300])
def test_only_the_ratios_of_weights_matter(size):
    X, y, weights = rows()
    residuals = LINE.evaluate(X) - y
    expected = np.average(residuals**2, weights=weights)
    table = Table.of(X, y, weights * size)
    assert table.loss(LINE) == pytest.approx(expected)
    assert table.weights.mean() == pytest.approx(1.0)
    assert Table.of(X, y, np.full(len(y), size)).weights is None


def test_repeated_rows_are_one_row_of_their_weight():
    X, y, _ = rows()
    times = np.arange(len(y)) % 3 + 1
    repeated = Table.of(np.repeat(X, times, axis=0), np.repeat(y, times))
    weighted = Table.of(X, y, times.astype(float))
    np.testing.assert_array_equal(repeated.X, weighted.X)
    np.testing.assert_array_equal(repeated.weights, weighted.weights)
    assert repeated.loss(LINE) == weighted.loss(LINE)


@pytest.mark.parametrize("ties", ["none", "few", "all"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_ordered_by_y_and_then_by_the_last_columns(ties, weighted):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (60, 3)).astype(float)
    y = {"none": rng.normal(size=60), "few": rng.integers(0, 30, 60), "all": np.ones(60)}[ties]
    weights = rng.uniform(0.5, 2.0, 60) if weighted else np.ones(60)
    table = Table.of(X, y, weights)
    rows, inverse = np.unique(np.column_stack([y, X[:, ::-1]]), axis=0, return_inverse=True)
    np.testing.assert_array_equal(np.column_stack([table.y, table.X[:, ::-1]]), rows)
    summed = np.bincount(inverse.ravel(), weights)
    found = np.ones(len(rows)) if table.weights is None else table.weights
    np.testing.assert_allclose(found, summed / summed.mean())


def test_some_rows_have_weights_of_their_own_scale():
    some = Table.of(*rows()).rows(slice(10))
    assert some.weights.mean() == pytest.approx(1.0)
    assert some.sample(20, np.random.RandomState(0)) is some


@pytest.mark.parametrize("size", [1e-250, 1e-9, 1.0, 1e7, 1e200])
def test_losses_in_the_units_of_the_scaled_table_are_those_of_the_scaled_table(size):
    X, y, weights = rows()
    table = Table.of(X, y * size, weights)
    scaling = Scaling.of(table.X, table.y)
    formula = scaling.to_user_units(LINE)
    users = table.in_units_of(scaling.y_exponent)
    assert users.loss(formula) == pytest.approx(table.scaled(scaling).loss(LINE))
    assert users.exact == pytest.approx(table.scaled(scaling).exact)


@pytest.mark.parametrize(
    ("y", "residual", "explained"),
    [
        # A spread that is nothing beside the offset: its rounding is the bound.
        (lambda x: 1e6 + 1e-5 * np.sin(3 * x), 1e-5, False),
        (lambda x: 1e6 + 1e-5 * np.sin(3 * x), 1e-10, True),
        # Many decades: a few rows have all of the variance.
        (lambda x: np.exp(9 * x), 2.0, False),
        (lambda x: np.sin(x), 1e-9, False),
        (lambda x: np.sin(x), 1e-12, True),
        # More than half of the rows are the same.
        (lambda x: np.maximum(x, 2.9), 1e-9, False),
        (lambda x: np.maximum(x, 2.9), 1e-13, True),
    ],
)
def test_what_is_explained_is_judged_by_the_spread_of_most_rows(y, residual, explained):
    x = np.linspace(0.5, 3.0, 60)
    table = Table(x[:, None], y(x))
    loss = table.loss_of(np.full(60, residual))
    assert table.is_explained_by(Expression(["x0"]), loss) is bool(explained)


def test_as_many_constants_as_rows_explain_nothing():
    table = Table(np.arange(4.0)[:, None], np.array([1.0, 2.0, 4.0, 3.0]))
    cubic = Expression.parse("1.0 + 1.0 * x0 + 1.0 * square(x0) + 1.0 * cube(x0)")
    assert not table.is_explained_by(cubic, 0.0)
    assert table.is_explained_by(LINE, 0.0)


def test_a_formula_that_is_undefined_on_a_row_has_an_infinite_loss():
    X, y, weights = rows()
    assert Table.of(X, y, weights).loss(Expression.parse("log(x0 - 2.0)")) == np.inf


def test_a_spread_whose_squares_overflow_is_refused_with_what_to_do():
    y = np.array([1.0, 2.0, 3.0, 1e200])
    table = Table.of(np.arange(4.0)[:, None], y)
    with pytest.raises(ValueError, match="Fit log"):
        table.scaled(Scaling.of(table.X, table.y))
