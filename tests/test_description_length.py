"""The selection rule against noise, and constants that are simple numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from strategies import finished

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.front.constant_cost import simple_cost, simple_values, without_rounding
from sr_transformer.front.description_length import Sample, description_length
from sr_transformer.front.form_cost import _costs, _counts, form_cost
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate
from sr_transformer.front.simple_constants import with_simple_constants
from sr_transformer.prior.frequencies import count_forms
from sr_transformer.proposal.constants import refit
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

OPERATORS = frozenset({"+", "-", "*", "/", "^", "sin", "exp", "square", "sqrt"})


def hall_of(X: np.ndarray, y: np.ndarray, texts: list[str], weight=None) -> HallOfFame:
    """Formulas with fitted constants, in a hall that knows their table."""
    table = Table.of(X, y, weight)
    fitted = [refit(Expression.parse(text), table) for text in texts]
    candidates = [Candidate(expression, loss, "transformer") for expression, loss in fitted]
    return finished(candidates, table, scaling=Scaling.identity(X.shape[1]), operators=OPERATORS)


def chosen(hall: HallOfFame) -> str:
    return hall[hall.select()].expression.to_text(precision=6)


# Longer and longer: the first is a constant, the third the law, the last fits noise.
TEXTS = [
    "1.0",
    "1.0 * x0",
    "1.0 * x0 ^ 1.4 / x1",
    "1.0 * x0 ^ 1.4 / x1 + 0.1 * sin(x1)",
    "1.0 * x0 ^ 1.4 / x1 + 0.1 * sin(3.0 * x1) + 0.1 * sin(5.0 * x0)",
    "1.0 * x0 ^ 1.4 / x1 + 0.1 * sin(3.0 * x1) + 0.1 * sin(5.0 * x0) + 0.01 * x0 * exp(x1)",
]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_the_law_is_chosen_whatever_the_noise(noise, seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 3.0, (100, 2))
    law = 2.37 * X[:, 0] ** 1.5 / X[:, 1]
    hall = hall_of(X, law + noise * law.std() * rng.standard_normal(100), TEXTS)
    assert hall[hall.select()].expression.complexity() == 7


@pytest.mark.parametrize("seed", range(5))
def test_pure_noise_is_described_by_a_constant(seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 3.0, (60, 2))
    hall = hall_of(X, rng.standard_normal(60), TEXTS)
    assert hall.select() == 0
    assert hall.select("accuracy") > 0


def test_as_many_constants_as_rows_explain_nothing():
    rng = np.random.default_rng(0)
    x = np.linspace(1.0, 2.0, 4)[:, None]
    y = 3.3 * x[:, 0] + 0.1 * rng.standard_normal(4)
    cubic = "1.0 + 1.0 * x0 + 1.0 * square(x0) + 1.0 * x0 * square(x0)"
    hall = hall_of(x, y, ["1.0", "1.0 * x0", cubic])
    assert min(candidate.loss for candidate in hall.candidates) < 1e-12
    assert [candidate.complexity for candidate in hall] == [1, 3]


def test_the_rule_needs_the_size_of_the_table():
    hall = HallOfFame()
    hall.add(Candidate(Expression(["x0"]), 1.0, "transformer"))
    with pytest.raises(ValueError, match="evidence="):
        hall.select("description_length")
    assert "description_length" not in hall.to_frame()


def test_the_table_shows_what_the_rule_compares():
    X = np.linspace(1.0, 2.0, 30)[:, None]
    hall = hall_of(X, 2.0 * X[:, 0] + 0.1 * np.sin(40 * X[:, 0]), ["1.0", "1.0*x0"])
    frame = hall.to_frame()
    assert frame["description_length"].argmin() == hall.select() == 1
    expected = [description_length(c.expression, c.loss, hall.evidence.sample) for c in hall]
    assert frame["description_length"].tolist() == expected


def test_repeating_all_rows_by_weights_changes_no_choice():
    rng = np.random.default_rng(1)
    X = rng.uniform(0.5, 3.0, (40, 2))
    y = X[:, 0] + 0.3 * rng.standard_normal(40)
    plain, doubled = hall_of(X, y, TEXTS), hall_of(X, y, TEXTS, np.full(40, 2.0))
    assert plain.description_lengths == pytest.approx(doubled.description_lengths, rel=1e-6)


def test_length_is_the_sum_of_its_documented_parts():
    operators = frozenset({"+", "*", "exp"})
    sample = Sample(n_rows=50.0, n_columns=4, variance=2.0, operators=operators)
    formula = Expression(["*", "c", "x3"], [1.2345])
    residuals = 25.0 * math.log(0.02 / 2.0)
    constant = 0.5 * math.log(50.0 * 2.0 / 0.02)
    expected = residuals + form_cost(formula, operators, 4) + constant
    assert description_length(formula, 0.02, sample) == pytest.approx(expected)


def test_symbols_of_all_forms_are_one_code():
    # The shares of all that may stand at a place, each variable and the constant included.
    for place in ("", "* 0", "exp 0", "/ 1"):
        costs, _ = _costs(place, OPERATORS)
        assert sum(math.exp(-nats) for nats in costs.values()) == pytest.approx(1.0)


def test_a_usual_form_is_shorter_than_an_odd_one():
    def cost(text):
        return form_cost(Expression.parse(text), frozenset(ARITHMETIC.operators), 1)

    peak = cost("2.5 * exp(-square((x0 - 3.0) / 0.7))")
    assert peak < cost("2.5 * exp(77.0 * cos(0.03 * x0))")
    assert cost("1.5 + 2.5 * x0") < cost("2.5 * tanh(x0)") < cost("2.5 * tanh(sin(atan(x0)))")
    assert cost("2.5 * x0") < cost("2.5 * exp(x0)")
    assert cost("x0") < cost("sin(x0)") < cost("sin(sin(x0))")


def test_the_counts_of_forms_are_those_of_the_prior():
    few = count_forms(500)
    assert few[""]["+"] / sum(few[""].values()) == pytest.approx(
        _counts()[""]["+"] / sum(_counts()[""].values()), rel=0.3
    )
    assert count_forms(500) == few


@pytest.mark.parametrize("value", [1.0, -2.0, 1.5, 2 / 3, math.pi, -math.pi / 2, 1 / math.pi, 7.0])
def test_simple_values_cost_less_than_others(value):
    assert simple_cost(value) < 9.0
    assert math.isinf(simple_cost(value * (1 + 1e-6)))


@pytest.mark.parametrize(
    ("law", "start", "expected"),
    [
        ("2.37 * x0 ^ 1.5", "2 * x0 ^ 1.3", "x0 ^ 1.5"),
        ("2.37 / sqrt(x0)", "2 * x0 ^ -0.6", "/ sqrt(x0)"),
        ("2.37 * x0 ^ 0.3333333333333333", "2 * x0 ^ 0.4", "x0 ^ 0.333333"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_exponents_come_out_simple_where_the_data_agree(law, start, expected, noise):
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 3.0, (200, 1))
    y = Expression.parse(law).evaluate(X) + noise * rng.standard_normal(200)
    assert expected in hall_of(X, y, [start])[0].expression.to_text(precision=6)


def test_constants_that_the_data_tell_from_simple_ones_stay():
    X = np.linspace(1.0, 3.0, 100)[:, None]
    y = 2.01 * X[:, 0] ** 1.52
    constants = hall_of(X, y, ["2.0 * x0 ^ 1.4"])[0].expression.constants
    assert constants == pytest.approx((2.01, 1.52), rel=1e-9)


def test_factors_with_pi_are_recognised_but_not_in_exponents():
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3.0, (100, 1))
    y = math.pi * X[:, 0] ** (math.pi / 3)
    constants = hall_of(X, y, ["3.0 * x0 ^ 1.1"])[0].expression.constants
    assert constants[0] == pytest.approx(math.pi, rel=1e-15)
    assert constants[1] == pytest.approx(math.pi / 3, rel=1e-9)


def test_the_other_constants_follow_one_that_becomes_simple():
    rng = np.random.default_rng(5)
    X = rng.uniform(1.0, 3.0, (300, 1))
    y = 1.234 * X[:, 0] ** 1.5 + 1e-3 * rng.standard_normal(300)
    hall = hall_of(X, y, ["1.2 * x0 ^ 1.5"])
    factor, exponent = hall[0].expression.constants
    assert exponent == 1.5
    best = (X[:, 0] ** 1.5 @ y) / (X[:, 0] ** 1.5 @ X[:, 0] ** 1.5)
    assert factor == pytest.approx(best, rel=1e-6)


def test_undefined_slopes_leave_a_formula_as_it_is():
    X = np.array([[0.0], [1.0], [2.0]])
    formula = Expression.parse("2.01 * x0 ^ 0.51")  # the slope by the exponent is 0 * log(0)
    sample = Sample(3.0, 1, 1.0, OPERATORS)
    assert with_simple_constants(formula, Table(X, np.arange(3.0)), sample, 0.0) == formula


# --- what constants cost ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        (0.5, 0.37), (2.03, 19 / (3 * math.pi)), (9.8, 9.81), (0.1, 0.13), (1.6e-3, 1.602e-3),
        (2.0, math.pi), (math.pi, 3.1416), (1 / 3, 0.333), (100.0, 137.0),
    ],
)  # fmt: skip
def test_of_two_simple_numbers_the_one_that_is_shorter_to_write_is_cheaper(cheap, dear):
    assert simple_cost(cheap) < simple_cost(dear) < math.inf


@pytest.mark.parametrize(
    ("constant", "reach", "expected"),
    [
        (2.0299, 2e-4, 2.03), (0.50003866, 1e-4, 0.5), (9.7993, 1e-3, 9.8), (0.3331, 3e-4, 1 / 3),
        (3.14157, 5e-5, math.pi), (1.5999e-3, 2e-7, 1.6e-3), (2.1, 0.2, 2.0), (99.97, 0.05, 100.0),
    ],
)  # fmt: skip
def test_the_simplest_number_within_reach_comes_first(constant, reach, expected):
    assert simple_values(constant, reach)[0] == expected


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        (0.33333333333333337, 1 / 3), (0.30000000000000004, 0.3), (0.9999999999999998, 1.0),
        (3.1415926535897936, math.pi), (0.333333333, 0.333333333), (-0.0, -0.0),
    ],
)  # fmt: skip
def test_numbers_that_rounding_alone_keeps_from_simple_ones_are_these(constant, expected):
    assert without_rounding(constant) == expected


def test_no_constant_becomes_simple_because_the_loss_falls():
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3.0, (200, 1))
    y = 2.03 * X[:, 0] + 1e-3 * rng.standard_normal(200)
    hall = hall_of(X, y, ["2.0 * x0"])
    assert hall[0].expression.constants == (2.03,)
