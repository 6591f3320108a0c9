"""The statistics that the network gets as hints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sr_transformer.model.prompt import Prompt
from sr_transformer.model.statistics import statistics_sizes, table_statistics
from sr_transformer.model.vocabulary import N_VARIABLES

OF_COLUMN, OF_TABLE = statistics_sizes(N_VARIABLES)
N_CORRELATIONS = 20 * (18 + 3 * N_VARIABLES)  # of the functions, products and ratios of a column
CERTAIN = 5.0  # what Fisher's transformation makes of a correlation of .9999


def statistics_of(X: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    columns, whole = table_statistics(Prompt.of([(X, y)], N_VARIABLES).to("cpu"))
    return columns[0], whole[0]


def inputs(n_rows: int = 50, n_columns: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 3.0, (n_rows, n_columns))


def strongest(X: np.ndarray, y: np.ndarray) -> list[float]:
    """For each column, the strongest correlation of its terms."""
    columns, _ = statistics_of(X, y)
    return columns[: X.shape[1], :N_CORRELATIONS].abs().amax(1).tolist()


@pytest.mark.parametrize(
    "law",
    [
        lambda x: 3.0 / x[:, 0],
        lambda x: 2.0 + 5.0 * np.log(x[:, 0]),
        lambda x: 4.0 * x[:, 0] ** 2.7,
        lambda x: 1.0 / (1.0 + np.exp(-x[:, 0])),
        lambda x: np.sqrt(1.0 + x[:, 0] ** 2),
        lambda x: np.exp(1.0 - 0.3 * x[:, 0]),
    ],
    ids=["inverse", "logarithm", "power", "logistic", "root of a sum", "decay"],
)
def test_a_law_of_one_column_makes_one_correlation_certain(law):
    X = inputs()
    first, second, third = strongest(X, law(X))
    assert first > CERTAIN
    assert max(second, third) < CERTAIN


@pytest.mark.parametrize(
    "law", [lambda x: x[:, 0] * x[:, 1], lambda x: x[:, 1] / x[:, 0]], ids=["product", "ratio"]
)
def test_products_and_ratios_of_two_columns_are_seen_by_both(law):
    X = inputs()
    first, second, third = strongest(X, law(X))
    assert min(first, second) > CERTAIN > third


def test_two_terms_leave_nothing_unexplained():
    X = inputs()
    for y, explained in (
        (X[:, 0] ** 2 + 0.5 / X[:, 1], True),
        (X[:, 0] ** 2 + 0.5 / X[:, 1] + np.sin(2 * X[:, 2]), False),
    ):
        _, whole = statistics_of(X, y)
        nothing_left = np.log(1e-8) / 8.0
        assert bool(((whole - nothing_left).abs() < 0.02).any()) == explained


def test_noise_makes_correlations_smaller():
    X = inputs(200)
    y = X[:, 0] * X[:, 1]
    noise = 0.1 * y.std() * np.random.default_rng(1).standard_normal(len(y))
    assert strongest(X, y)[0] > CERTAIN > strongest(X, y + noise)[0]


def test_the_order_of_rows_does_not_matter():
    X = inputs()
    y = X[:, 0] + np.sin(X[:, 1])
    order = np.random.default_rng(2).permutation(len(y))
    for given_, shuffled in zip(
        statistics_of(X, y), statistics_of(X[order], y[order]), strict=True
    ):
        assert torch.allclose(given_, shuffled, atol=2e-2)  # close to one, Fisher's is steep


def test_absent_columns_have_none():
    columns, _ = statistics_of(inputs(), inputs()[:, 0])
    assert columns.shape == (N_VARIABLES, OF_COLUMN)
    assert (columns[3:] == 0.0).all()
    assert columns[:3].abs().sum(1).min() > 0.0


def test_constant_columns_and_targets_correlate_with_nothing():
    X = inputs()
    X[:, 1] = 2.5
    columns, whole = statistics_of(X, np.full(len(X), 3.0))
    assert columns[:, :N_CORRELATIONS].abs().max() < CERTAIN
    assert whole.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(
    table=arrays(
        np.float32,
        st.tuples(st.just(2), st.integers(1, 20), st.just(N_VARIABLES + 1)),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    ),
    n_columns=st.integers(1, N_VARIABLES),
)
def test_they_are_finite_for_every_table(table, n_columns):
    mask = np.arange(N_VARIABLES)[None].repeat(2, 0) < n_columns
    columns, whole = table_statistics(Prompt(table, mask).to("cpu"))
    assert columns.shape == (2, N_VARIABLES, OF_COLUMN)
    assert whole.shape == (2, OF_TABLE)
    assert columns.isfinite().all()
    assert whole.isfinite().all()
    assert columns.abs().max() < 1e3
    assert whole.abs().max() < 1e3
