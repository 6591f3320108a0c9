"""A sample that is explained: all rows are looked at, and those that are missed are taken in."""

from __future__ import annotations

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.proposal.proposers import CLOSED_FORMS
from sr_transformer.proposal.sampled_rows import SampledRows
from sr_transformer.table.table import Table

WITHOUT_DRAWS = (*CLOSED_FORMS, "repair")


def with_rare_rows(n_rare, low, high, n_rows=50_000, seed=0):
    """Columns from one to five, the first of them elsewhere on a few rows."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(1.0, 5.0, (n_rows, 2))
    X[rng.choice(n_rows, n_rare, replace=False), 0] = rng.uniform(low, high, n_rare)
    return X


@pytest.mark.parametrize(
    ("n_rare", "low", "high", "law"),
    [
        (15, -9.0, -3.4, "max(x0, -3.4)"),
        (1, -9.0, -3.4, "max(x0, -3.4)"),
        (4, 40.0, 70.0, "2 * min(x0, 30)"),
        (9, -5.0, -1.0, "x1 * abs(x0)"),
    ],
)
def test_a_case_of_few_rows_of_a_long_table_is_seen(quick, n_rare, low, high, law):
    X = with_rare_rows(n_rare, low, high)
    y = Expression.parse(law).evaluate(X)
    operators = ["+", "-", "*", "/", "max", "min"]
    model = quick(binary_operators=operators, n_candidates=256).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_a_law_of_all_rows_but_a_few_without_one_is_kept(quick):
    X = with_rare_rows(0, 0.0, 1.0)
    y = X[:, 0] * X[:, 1]
    bad = np.random.default_rng(1).choice(len(y), 5, replace=False)
    y[bad] += np.random.default_rng(2).normal(size=5)
    model = quick(proposers=WITHOUT_DRAWS).fit(X, y)
    assert str(model.sympy()) == "x0*x1"


def test_missed_rows_count_as_themselves_and_the_drawn_ones_for_all_others():
    X = with_rare_rows(12, -9.0, -3.4)
    weights = np.random.default_rng(3).uniform(0.5, 2.0, len(X))
    whole = Table(X, np.maximum(X[:, 0], -3.4), weights / weights.mean())
    rows = SampledRows.of(whole, 1000, np.random.RandomState(0))
    first = Expression(["x0"])
    assert rows.table.is_explained_by(first, rows.table.loss(first))
    more = rows.with_missed([first])
    assert np.all(X[more.missed, 0] < -3.4)
    assert not np.intersect1d(more.missed, more.drawn).size
    # So that losses on the sample are those of the whole table.
    assert more.table.loss(first) == pytest.approx(whole.loss(first), rel=0.1)
    law = Expression.parse("max(x0, -3.4)")
    assert more.with_missed([first, law]) is more
    assert SampledRows.of(whole, len(X), np.random.RandomState(0)).with_missed([first]).table is (
        whole
    )


def test_rows_where_a_formula_is_undefined_are_missed():
    X = with_rare_rows(3, -9.0, -3.4)
    whole = Table(X, np.abs(X[:, 0]))
    rows = SampledRows.of(whole, 1000, np.random.RandomState(0))
    more = rows.with_missed([Expression.parse("square(sqrt(x0))")])
    assert set(more.missed) == set(np.flatnonzero(X[:, 0] < 0)) - set(rows.drawn)


@pytest.mark.parametrize("search", ["none", "operon"])
def test_a_signal_far_below_the_offset_is_followed_to_the_end(quick, search):
    if search == "operon":
        pytest.importorskip("pyoperon")
    X = np.linspace(0.0, 10.0, 200)[:, None]
    y = 1e6 + 1e-5 * np.sin(3.0 * X[:, 0])
    model = quick(search=search, timeout_in_seconds=6).fit(X, y)
    residuals = model.predict(X) - y
    assert np.mean(residuals**2) < 1e-6 * np.var(y)
