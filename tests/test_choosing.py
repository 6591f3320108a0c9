"""What is chosen where there are few rows, weights, rounded readings, lookalikes, or only noise."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import curve_fit

from sr_transformer import SymbolicTransformerRegressor
from sr_transformer.evaluation.laboratory import LEVELS, SIZES, draw_case
from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.expression.writing import with_error
from sr_transformer.front.constant_cost import is_exact
from sr_transformer.front.evidence import Evidence
from sr_transformer.front.form_cost import form_cost
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.named_laws import CURVES, cost_by_name
from sr_transformer.front.pool import Candidate
from sr_transformer.front.standard_errors import left_out, standard_errors
from sr_transformer.proposal.constants import refit
from sr_transformer.table.loss import LOSSES
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))


def fitted(X, y, weights=None, **parameters):
    X = np.asarray(X, dtype=float).reshape(len(y), -1)
    settings = {"n_candidates": 32, "random_state": 0} | parameters
    return SymbolicTransformerRegressor("none", **settings).fit(X, np.asarray(y, float), weights)


def chosen(model) -> Expression:
    hall = model.hall_of_fame_
    return hall[hall.select()].expression


def evidence_of(X, y, weights=None) -> Evidence:
    return Evidence(Table.of(X, y, weights), OPERATORS, Scaling.of(X, y))


def length(evidence: Evidence, table: Table, text: str) -> float:
    expression, loss = refit(Expression.parse(text), table)
    return evidence.length(Candidate(expression, loss, ""))


# --- few rows ---------------------------------------------------------------------------------
def test_seven_readings_of_a_thermistor_pay_for_a_curve():
    resistance = [32128.0, 19549, 12262, 9814, 7908, 5331, 3542]
    degrees = np.array([0.0, 10, 20, 25, 30, 40, 50])
    model = fitted(resistance, degrees)
    assert np.abs(model.predict(np.array(resistance)[:, None]) - degrees).max() < 1.5


def test_nine_readings_of_growth_pay_for_a_curve():
    # Rat42, Ratkowsky (1983), of NIST's reference data; its certified sum of squares is 8.0565.
    x = np.array([9.0, 14, 21, 28, 42, 57, 63, 70, 79])
    y = np.array([8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08])
    model = fitted(x, y)
    assert np.sum((model.predict(x[:, None]) - y) ** 2) < 1.5 * 8.0565
    assert len(chosen(model).symbols) <= 10


def test_weak_columns_of_a_survey_are_in_the_sum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(750, 10))
    effects = np.array([0.1, 0.2, 0.0, -0.3, 0.3, 0.2, -0.2, 0.2, 0.0, 0.0])
    model = fitted(X, X @ effects + rng.normal(size=750), proposers=["linear"])
    assert {1, 3, 4, 5, 6, 7} <= set(chosen(model).variables)


@pytest.mark.parametrize("n_rows", [5, 7, 10, 30, 100])
@pytest.mark.parametrize("seed", range(4))
def test_noise_of_every_kind_is_a_constant(n_rows, seed):
    case = draw_case("noise", n_rows, 1.0, 100 + seed)
    assert not chosen(fitted(case.X, case.y, proposers=["linear", "polynomial", "curve"])).variables


def test_a_formula_of_as_many_constants_as_rows_is_not_shown():
    x = np.linspace(1.0, 3.0, 6)[:, None]
    y = x[:, 0] ** 2 + 0.3 * np.random.default_rng(0).normal(size=6)
    model = fitted(x, y)
    assert all(len(row.expression.constants) < 6 for row in model.hall_of_fame_)


def test_where_no_law_is_in_sight_nearly_equal_rows_are_told_apart_by_rows_left_out():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1.0, 0.8, 0.6] + 1.5 * rng.normal(size=40)
    model = fitted(X, y, proposers=["linear", "power-law"])
    hall = model.hall_of_fame_
    lengths = hall.description_lengths
    row = hall.select()
    assert lengths[row] <= min(lengths) + 5.0
    near = [
        left_out(c.expression, Table.of(X, y))
        for c, length in zip(hall, lengths, strict=True)
        if length <= min(lengths) + 5.0 and c.expression.variables
    ]
    assert left_out(hall[row].expression, Table.of(X, y)) == pytest.approx(min(near))
    law = fitted(X, X @ [1.0, 0.8, 0.6] + 0.01 * rng.normal(size=40), proposers=["linear"])
    assert law.hall_of_fame_.select() == np.argmin(law.hall_of_fame_.description_lengths)


def test_rows_left_out_are_those_of_fits_without_them():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(12), rng.normal(size=12)])
    y = X @ [0.31, 1.47] + 0.3 * rng.normal(size=12)
    errors = []
    for i in range(12):
        others = np.arange(12) != i
        errors.append(X[i] @ np.linalg.lstsq(X[others], y[others], rcond=None)[0] - y[i])
    table = Table.of(X[:, 1:], y)
    expression, _ = refit(Expression.parse("0.3 + 1.5 * x0"), table)
    assert left_out(expression, table) == pytest.approx(np.mean(np.square(errors)))


# --- weights and digits -----------------------------------------------------------------------
def test_readings_that_coincide_are_readings():
    x = np.repeat(1.34 * np.arange(1, 7), 3)[:, None]
    y = np.array([
        2.75, 2.74, 2.76, 2.79, 2.81, 2.79, 2.8, 2.8, 2.81, 2.83, 2.81, 2.8, 2.84, 2.83, 2.84, 2.83,
        2.83, 2.82,
    ])  # fmt: skip
    for target in (y, y + 1e-6 * np.random.default_rng(0).normal(size=18)):
        best = chosen(fitted(x, target))
        assert best.variables == (0,)
        expected = 2.843 - 0.126 / x[:, 0]
        assert np.abs(best.evaluate(x) - expected).max() < 0.01


@pytest.mark.parametrize("factor", [1.0, 1e160, 1e-170])
def test_weights_are_precisions_of_any_unit(factor):
    rng = np.random.default_rng(2)
    x = np.linspace(1.0, 5.0, 20)[:, None]
    error = 10.0 ** rng.uniform(-3.0, 0.0, 20)
    y = 2.5 * x[:, 0] ** 1.3 + error * rng.normal(size=20)
    model = fitted(x, y, factor / error**2, proposers=["power-law", "linear"])
    best = chosen(model)
    assert best.symbols == ("*", "c", "^", "x0", "c")
    assert best.constants == pytest.approx((2.5, 1.3), rel=1e-2)
    assert np.isfinite(model.equations_["description_length"]).all()


def test_whole_numbers_are_not_fitted_below_a_half():
    x = np.arange(1.0, 9.0)
    best = chosen(fitted(x, [2, 4, 6, 8, 10, 12, 14, 17]))
    assert len(best.symbols) == 3
    assert best.evaluate(x[:, None]) == pytest.approx(2.04 * x, rel=0.025)


@pytest.mark.parametrize(
    ("y", "resolution"),
    [
        ([1.0, 2.0, 5.0], 1.0), ([0.25, 0.5, 1.0], 0.01), ([100.0, 300.0], 100.0),
        ([1.234, 5.678], 0.001), ([np.pi, np.e], 0.0), ([0.0, 0.0], 0.0), ([-3e-7, 2e-7], 1e-7),
    ],
)  # fmt: skip
def test_the_last_decimal_of_y_is_found(y, resolution):
    table = Table.of(np.arange(float(len(y)))[:, None], np.array(y))
    assert table.resolution == pytest.approx(resolution)


def test_two_classes_are_no_rounded_readings():
    x = np.linspace(0.0, 1.0, 40)[:, None]
    table = Table.of(x, np.where(x[:, 0] > 0.5, 1.0, 0.0))
    assert table.resolution == 1.0
    assert table.rounding == 0.0
    assert Table.of(x, np.round(10.0 * x[:, 0])).rounding == pytest.approx(1.0 / 12.0)


# --- lookalikes -------------------------------------------------------------------------------
def test_a_peak_is_a_gaussian():
    x = np.arange(400.0, 501.0, 3.0)
    noise = 0.005 * np.random.default_rng(0).normal(size=len(x))
    model = fitted(x, 0.38 * np.exp(-0.5 * ((x - 451.5) / 4.1) ** 2) + noise)
    far = np.array([[0.0], [300.0], [600.0], [1000.0]])
    assert model.predict(far) == pytest.approx(np.zeros(4), abs=1e-3)
    assert chosen(model).operators <= {"*", "/", "exp", "square", "+", "-", "neg"}


def test_rivals_of_one_size_are_settled_by_how_usual_they_are():
    rng = np.random.default_rng(0)
    x = np.linspace(0.5, 4.0, 30)[:, None]
    table = Table.of(x, 2.0 * np.exp(-0.7 * x[:, 0]) + 0.01 * rng.normal(size=30))
    evidence = evidence_of(table.X, table.y)
    usual = length(evidence, table, "2.1 * exp(-0.8 * x0)")
    assert usual < length(evidence, table, "2.1 * (1.0 - tanh(0.8 * x0))")


def test_a_shorter_lookalike_does_not_push_the_likeliest_off_the_front():
    rng = np.random.default_rng(0)
    x = np.linspace(0.2, 3.0, 60)[:, None]
    table = Table.of(x, 1.3 + 0.7 * x[:, 0] + 0.1 * rng.normal(size=60))
    hall = HallOfFame(
        model_selection="description_length",
        evidence=Evidence(table, OPERATORS, Scaling.of(x, table.y)),
    )
    line, loss = refit(Expression.parse("1.2 + 0.8 * x0"), table)
    odd = Expression.parse("tan(sin(asin(x0)))")  # said to be a little closer
    hall.extend([Candidate(line, loss, ""), Candidate(odd, 0.99 * loss, "")])
    assert len(odd.symbols) < len(line.symbols)
    assert [c.expression for c in hall] == [line]


def test_what_is_won_on_a_few_outlying_rows_counts_little():
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 10.0, 300)[:, None]
    y = rng.standard_t(2.0, 300)
    spikes = "1.0 / (0.01 + square(sin(20.0 * x0)))"
    best = min(
        (refit(Expression.parse(spikes.replace("20.0", str(w))), Table.of(x, y)) for w in
         np.linspace(1.0, 40.0, 200)),
        key=lambda found: found[1],
    )  # fmt: skip
    evidence = evidence_of(x, y)
    constant = Candidate(Expression.number(float(y.mean())), float(y.var()), "")
    assert evidence.length(constant) < evidence.length(Candidate(*best, ""))


def test_the_names_of_laws_hold_for_any_constants_and_column():
    for spellings in CURVES.values():
        for text in spellings:
            law = Expression.parse(text)
            other = law.with_constants([-3.3 * c if c not in (1.0, 2.0) else c
                                        for c in law.constants])  # fmt: skip
            assert cost_by_name(law, 1) < 5.1
            assert cost_by_name(other.renamed([3]), 5) < 7.0
    assert np.isinf(cost_by_name(Expression.parse("sin(tanh(x0))"), 1))
    assert cost_by_name(Expression.parse("2.5 * x0 + x1 - 0.3 * x2 + 1.3"), 3) < 5.0
    assert cost_by_name(Expression.parse("2.5 * x0 ^ 1.3 / x1"), 2) < 5.0
    assert np.isinf(cost_by_name(Expression.parse("2.5 * x0 * x1 + x1"), 2))
    assert np.isinf(cost_by_name(Expression.parse("x0 ^ (x1 - 0.3)"), 2))
    polynomial = Expression.parse("x0 ^ 5.0 - 1.3 * x0 ^ 4.0 + square(x0) + 0.7 * x0")
    assert cost_by_name(polynomial, 1) < 9.0
    assert np.isinf(cost_by_name(Expression.parse("x0 ^ 5.0 + sin(x0)"), 1))


# --- beside the rows --------------------------------------------------------------------------
def test_a_formula_that_is_undefined_between_the_rows_is_said_to_be():
    x = np.concatenate([np.linspace(-3.0, -0.2, 12), np.linspace(0.2, 3.0, 12)])[:, None]
    law = Expression.parse("sqrt(abs(x0) - 0.15)")
    table = Table.of(x, law.evaluate(x))
    hall = HallOfFame(
        model_selection="description_length",
        evidence=Evidence(table, OPERATORS, Scaling.of(x, table.y)),
    )
    hall.add(Candidate(law, table.loss(law), ""))
    assert hall.to_frame()["undefined"][0] == pytest.approx(0.05, abs=0.01)
    assert "It is undefined on 4." in repr(hall) or "It is undefined on 5" in repr(hall)
    assert abs(hall.evidence.behaviour(law).example[0]) < 0.15


def test_a_saved_model_knows_what_was_not_asked_before():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X @ [1.0, 0.8, 0.6] + 1.5 * rng.normal(size=40)
    model = fitted(X, y, proposers=["linear", "polynomial"])
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.hall_of_fame_.evidence._table is None
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert repr(loaded) == repr(model)
    assert loaded.equations_["standard_errors"].tolist() == (
        model.equations_["standard_errors"].tolist()
    )


def test_of_two_equal_formulas_the_calm_one_is_chosen():
    x = np.linspace(0.0, 10.0, 11)[:, None]
    rng = np.random.default_rng(0)
    table = Table.of(x, 2.0 + 0.5 * x[:, 0] + 0.3 * rng.normal(size=11))
    evidence = evidence_of(x, table.y)
    poles = Expression.parse("1.98 + 0.51 * x0 + 0.13 / (x0 - 4.5)")
    calm = Expression.parse("1.98 + 0.51 * x0 + 0.13 / (x0 + 4.5)")
    assert 0.0 < evidence.behaviour(poles).wild < 0.02
    assert evidence.behaviour(calm).wild == 0.0
    loss = table.loss(calm)
    assert evidence.length(Candidate(calm, loss, "")) < evidence.length(Candidate(poles, loss, ""))


# --- standard errors --------------------------------------------------------------------------
def test_standard_errors_are_those_of_scipy():
    rng = np.random.default_rng(0)
    x = np.linspace(0.0, 4.0, 25)
    error = rng.uniform(0.01, 0.1, 25)
    y = 2.34567 * np.exp(-0.71234 * x) + 0.31313 + error * rng.normal(size=25)

    def law(x, a, b, c):
        return a * np.exp(b * x) + c

    best, covariance = curve_fit(law, x, y, (2.0, -1.0, 0.0), sigma=error)
    table = Table.of(x[:, None], y, error**-2)
    expression, _ = refit(Expression.parse("2.1 * exp(-0.9 * x0) + 0.2"), table)
    assert expression.constants == pytest.approx(best, rel=1e-4)
    found = standard_errors(expression, table, table.n_readings)
    assert found == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-3)


@pytest.mark.parametrize("name", ["absolute", "huber"])
def test_standard_errors_of_robust_losses_are_those_of_repeated_tables(name):
    rng = np.random.default_rng(0)
    x = np.linspace(1.0, 4.0, 80)[:, None]
    slopes, errors = [], []
    for _ in range(120):
        y = 2.34567 * x[:, 0] + 0.3 * rng.standard_t(3.0, 80)
        table = Table.of(x, y, None, LOSSES[name])
        expression, _ = refit(Expression.parse("2.1987 * x0"), table)
        slopes.append(expression.constants[0])
        errors.append(standard_errors(expression, table, 80.0)[0])
    assert np.median(errors) == pytest.approx(np.std(slopes), rel=0.35)


def test_simple_numbers_are_exact_and_others_are_not():
    assert all(map(is_exact, (2.0, 0.5, -1.0, np.pi, 2.0 * np.pi, 0.0)))
    assert not any(map(is_exact, (2.84, 0.126, 9.81, 1e300)))
    x = np.linspace(1.0, 2.0, 12)[:, None]
    expression = Expression.parse("0.31 * x0 ^ 2.0")
    error, none = standard_errors(expression, Table.of(x, x[:, 0] ** 2 / 3.0), 12.0)
    assert none is None
    assert error > 0.0


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.8431, 0.0042, "2.843(4)"), (-0.12649, 0.0123, "-0.126(12)"), (1.2345e-7, 3e-9,
        "1.23(3)e-07"), (123456.0, 0.4, "123456.0(4)"), (123456.0, 789.0, "1.235(8)e+05"),
        (0.0, 0.02, "0.00(2)"), (5.0, 0.096, "5.0(1)"), (2.5, 0.0, "2.5"), (2.5, np.inf, "2.5"),
    ],
)  # fmt: skip
def test_numbers_are_written_with_the_uncertainty_of_their_last_digit(value, error, text):
    assert with_error(value, error) == text


def test_the_table_of_a_fit_tells_the_errors_and_its_text_shows_them():
    rng = np.random.default_rng(0)
    x = np.linspace(0.5, 5.0, 40)
    model = fitted(x, 2.843 * x**1.37 + 0.05 * rng.normal(size=40))
    errors = model.get_best()["standard_errors"]
    assert all(error is None or 0.0 < error < 0.1 for error in errors)
    assert "With standard errors: " in repr(model)
    assert "(" in repr(model).split("With standard errors: ")[1]


# --- the grid ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["noise", "laboratory", "prior"])
def test_every_case_of_the_grid_is_a_table_and_its_own_law(kind):
    for n_rows in (SIZES[0], SIZES[4]):
        for seed, noise in enumerate(LEVELS):
            case = draw_case(kind, n_rows, noise, seed)
            again = draw_case(kind, n_rows, noise, seed)
            assert case.X.shape[0] == n_rows == len(case.y)
            assert np.array_equal(case.y, again.y)
            assert case.is_law(case.law)
            if kind != "noise":
                assert not case.is_law(Expression.number(float(case.y.mean())))


def test_custom_symbols_have_a_cost():
    allowed = form_cost(Expression.parse("sin(x0)"), frozenset({"+", "sin"}), 3)
    assert allowed < form_cost(Expression.parse("sin(x0)"), frozenset({"+"}), 3) < np.inf
