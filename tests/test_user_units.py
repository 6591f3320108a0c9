"""Formulas of the scaled table, in the units of the user's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from strategies import finished

from sr_transformer.expression import Expression
from sr_transformer.front.finish import most_finished
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.proposal.constants import refit
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

ARITHMETIC = frozenset("+-*/")


def hall_of(candidates: list[Candidate], X, y, sample_weight=None, **changes) -> HallOfFame:
    return finished(candidates, Table.of(X, y, sample_weight), **changes)


def test_formulas_come_back_in_the_units_of_the_table_without_leftover_factors():
    X = np.random.default_rng(0).uniform(1e5, 9e5, (50, 2))
    y = X[:, 0] * X[:, 1]
    scaling = Scaling.of(X, y)
    factor = 10.0 ** (sum(scaling.x_exponents) - scaling.y_exponent)
    formula = Expression(["*", "*", "c", "x0", "x1"], [factor * (1 + 3e-16)])
    hall = hall_of([Candidate(formula, 0.0, "transformer")], X, y)
    assert [c.expression.to_text() for c in hall] == ["x0 * x1"]
    assert hall[0].loss == 0.0


def test_loss_is_that_of_the_shown_formula_on_the_given_table():
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 5, (40, 1)) * 1e-6
    y = rng.uniform(1, 5, 40) * 1e9
    weights = rng.uniform(0.1, 2, 40)
    line = Candidate(Expression(["+", "*", "c", "x0", "c"], [0.3, 2.0]), 0.0, "transformer")
    hall = hall_of([line], X, y, sample_weight=weights)
    residual = hall[0].expression.evaluate(X) - y
    assert hall.to_frame()["loss"][0] == pytest.approx(np.average(residual**2, weights=weights))


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_extreme_values_are_ranked_although_their_squares_leave_float64(size):
    x = np.linspace(1.0, 4.0, 30)
    X, y = x[:, None] * size, 2.0 * x * size
    scaling = Scaling.of(X, y)
    slope = 2.0 * 10.0 ** (scaling.x_exponents[0] - scaling.y_exponent)
    candidates = [
        Candidate(Expression(["c"], [5.0]), 1.0, "transformer"),
        Candidate(Expression(["*", "c", "x0"], [slope]), 0.0, "transformer"),
    ]
    hall = hall_of(candidates, X, y)
    assert [c.complexity for c in hall] == [1, 3]
    np.testing.assert_allclose(hall[1].expression.evaluate(X), y)


def test_formulas_keep_to_the_operators_and_the_size_limit():
    X = np.random.default_rng(0).uniform(1, 5, (20, 2))
    y = X[:, 0] ** 2
    candidates = [
        Candidate(Expression(["c"], [4.0]), 3.0, "transformer"),
        Candidate(Expression(["square", "x0"]), 0.0, "transformer"),
        Candidate(Expression(["sin", "x0"]), 1.0, "transformer"),
        Candidate(Expression(["+", "*", "x0", "x0", "*", "x1", "x1"]), 0.1, "transformer"),
    ]
    hall = hall_of(candidates, X, y, operators=ARITHMETIC, maxsize=3, scaling=Scaling.identity(2))
    assert [c.expression.symbols for c in hall] == [("c",), ("*", "x0", "x0")]


@pytest.mark.parametrize(("n_rows", "most"), [(100, 200), (1_000_000, 60)])
def test_only_the_best_of_many_formulas_are_brought_to_user_units(n_rows, most):
    x = np.linspace(1.0, 2.0, n_rows)
    chains = list(product(("sin", "cos", "tanh", "atan", "square"), repeat=4))[:400]
    candidates = [
        Candidate(Expression([*chain, "x0"]), float(rank), "transformer")
        for rank, chain in enumerate(chains)
    ]
    table = Table.of(x[:, None], 2 * x)
    pool = Pool()
    pool.extend(candidates)
    assert most_finished(table) == most
    hall = finished(pool.ladder(most), table, scaling=Scaling.identity(1))
    shown = {c.expression.symbols for c in hall.candidates}
    assert len(shown) > 0.8 * most
    assert shown <= {c.expression.simplify().symbols for c in candidates[:most]} | {
        c.expression.symbols for c in candidates[:most]
    }


# --- what noise put in ----------------------------------------------------------------------------
def fitted_to_noise(law: str, draft: str, noise: float, **changes) -> HallOfFame:
    """Hall of fame of a draft alone, fitted to a noisy table of a law."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3.0, (300, 2))
    y = Expression.parse(law).evaluate(X)
    y = y + noise * y.std() * rng.standard_normal(300)
    fitted, loss = refit(Expression.parse(draft), Table.of(X, y))
    return hall_of(
        [Candidate(fitted, loss, "transformer")], X, y, scaling=Scaling.identity(2), **changes
    )


@pytest.mark.parametrize(
    ("law", "draft"),
    [
        ("x0 * x1", "1.1 * x0 * x1 + 0.1"),
        ("log(x0)", "1.1 * log(x0) + 0.1"),
        ("x0 ^ 1.5 / x1", "0.1 * sin(x1) + x0 ^ 1.6 / x1"),
        ("x0 / (x0 + x1)", "x0 ^ 1.1 / (x0 + 1.1 * x1)"),
    ],
)
def test_terms_and_factors_that_noise_put_in_are_left_out(law, draft):
    hall = fitted_to_noise(law, draft, noise=0.05)
    assert hall[hall.select()].expression.to_text() == Expression.parse(law).simplify().to_text()


def test_what_was_fitted_stays_beside_what_is_shorter():
    hall = fitted_to_noise("x0 * x1", "1.1 * x0 * x1 + 0.1", noise=0.05)
    assert [c.complexity for c in hall] == [3, 5]


def test_terms_and_factors_that_the_table_shows_stay():
    hall = fitted_to_noise("1.1 * x0 * x1 + 0.3", "x0 * 1.2 * x1 + 0.1", noise=0.01)
    chosen = hall[hall.select()].expression
    assert sorted(chosen.symbols) == ["*", "*", "+", "c", "c", "x0", "x1"]
    assert sorted(chosen.constants) == pytest.approx([0.3, 1.1], rel=0.05)


def test_shorter_formulas_keep_to_the_operators():
    allowed = frozenset("+-*/") | {"^"}
    hall = fitted_to_noise("x0 * x0", "1.1 * x0 ^ 2.1 + 0.1", noise=0.05, operators=allowed)
    assert all(c.expression.operators <= allowed for c in hall.candidates)
    assert hall[hall.select()].expression.to_text() in ("x0 * x0", "x0 ^ 2.0")


def test_constants_that_may_carry_units_stay():
    hall = fitted_to_noise("1.02 * x0", "1.1 * x0 + 0.1", noise=0.2, has_units=True)
    assert [c.expression.complexity() for c in hall] == [5]
