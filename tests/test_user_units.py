"""Formulas of the scaled table, in the units of the user's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from strategies import finished, proposed

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


# --- what the estimator shows -----------------------------------------------------------------
COLUMN = np.random.default_rng(0).uniform(1.0, 20.0, (100, 1))
NOISE = np.random.default_rng(1).standard_normal(100)


@pytest.mark.parametrize(
    ("law", "maxsize", "noise", "text"),
    [
        ("abs(x0 - 8.0)", 30, 0.0, "abs(x0 - 8.0)"),
        ("x0 ^ -1.5", 30, 0.0, "x0 ^ -1.5"),
        ("x0 ^ -1.5", 3, 0.0, "x0 ^ -1.5"),
        ("sin(-2.0 * x0)", 30, 0.0, "sin(-2.0 * x0)"),
        ("4.9 * square(x0)", 30, 0.0, "4.9 * square(x0)"),
        ("square(x0) - 6.0 * x0 + 9.0", 30, 0.0, "square(x0 - 3.0)"),
        ("cos(3.141592653589793 * x0 - 1.5707963267948966)", 30, 0.0,
         "sin(3.141592653589793 * x0)"),
        ("x0 / 3.0", 30, 0.0, "x0 / 3.0"),
        ("2.03 * x0", 12, 1e-3, "2.03 * x0"),
        ("0.5 * square(x0)", 12, 1e-3, "0.5 * square(x0)"),
    ],
)  # fmt: skip
def test_a_law_comes_back_as_it_was_written(law, maxsize, noise, text):
    y = Expression.parse(law).evaluate(COLUMN) + noise * NOISE
    hall = proposed(COLUMN, y, maxsize=maxsize, n_candidates=16).hall_of_fame
    assert hall[hall.select()].expression.to_text() == text


def test_a_constant_that_may_be_nought_is_nought():
    mean = Expression.number(NOISE.mean())
    table = Table.of(COLUMN, NOISE)
    hall = hall_of([Candidate(mean, table.loss(mean), "transformer")], COLUMN, NOISE,
                   scaling=Scaling.identity(1))  # fmt: skip
    assert [c.expression.to_text() for c in hall] == ["0.0"]


@pytest.mark.parametrize(
    ("scaled", "text"),
    [
        ("x2 * min(x0, x1)", "x2 * min(x0, x1)"),
        ("max(x0, x1) / x2", "max(x0, x1) / x2"),
        ("sqrt(x0 + 0.3 * x1)", "sqrt(x0 + 0.3 * x1)"),
        ("abs(x0 - x1) * x2", "x2 * abs(x0 - x1)"),
        ("log(x0 + x1)", "log(x0 + x1)"),
    ],
)
def test_scaling_leaves_no_trace(scaled, text):
    operators = frozenset("+-*/") | {"min", "max", "sqrt", "abs", "log"}
    X = np.random.default_rng(2).uniform(100.0, 900.0, (60, 3))
    law = Expression.parse(scaled)
    y = law.evaluate(X)
    scaling = Scaling.of(X, y)
    candidate = Candidate(scaling.to_scaled_units(law), 0.0, "transformer")
    hall = hall_of([candidate], X, y, scaling=scaling, operators=operators)
    assert Expression.parse(text).key == hall[-1].expression.key
    assert len(hall[-1].expression.symbols) == len(Expression.parse(text).symbols)


def test_the_fitted_form_of_a_rounded_formula_does_not_come_back():
    rng = np.random.default_rng(4)
    X = rng.uniform(0.5, 3.0, (200, 2))
    y = 0.5 * X[:, 0] + 1e-3 * rng.standard_normal(200)
    table = Table.of(X, y)
    drafts = ["0.4 * x0", "0.4 * x0 + 0.1 * x1", "0.4 * x0 + 0.1", "0.4 * x0 + 0.1 * sin(x1)"]
    fitted = [refit(Expression.parse(draft), table) for draft in drafts]
    hall = hall_of([Candidate(f, loss, "transformer") for f, loss in fitted], X, y,
                   scaling=Scaling.identity(2))  # fmt: skip
    assert hall[hall.select()].expression.to_text() == "0.5 * x0"
    assert all(c.expression.constants == (0.5,) for c in hall if c.complexity == 3)
