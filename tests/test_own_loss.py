"""The user's loss rules every path: proposals, fits, the choice, and what an engine is told."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from test_search import run_in_pysrs_python

from sr_transformer import SymbolicTransformerRegressor, propose
from sr_transformer.engines.base import SearchTask
from sr_transformer.engines.pysr.settings import own_settings
from sr_transformer.expression import Expression
from sr_transformer.proposal.constants import refit
from sr_transformer.proposal.long_tables import refitted_in_blocks
from sr_transformer.table.loss import LOSSES, Loss
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

ROBUST = ("absolute", "huber")
LAW = Expression.parse("2.0 * x0 * x1")


def shifted(shift: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """2 a b on 60 rows, of which six are wrong."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 5.0, (60, 2))
    y = LAW.evaluate(X) + noise * rng.normal(size=60)
    y[::10] += shift
    return X, y


# --- the numbers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["normal", "heavy", "mostly met", "few met", "all met"])
def test_huber_loss_is_the_smallest_over_all_scales(kind, weighted):
    rng = np.random.default_rng(1)
    residuals = {
        "normal": rng.normal(size=50),
        "heavy": rng.standard_cauchy(50),
        "mostly met": np.r_[np.zeros(44), rng.normal(size=6)],
        "few met": np.r_[np.zeros(10), rng.normal(size=40)],
        "all met": np.zeros(50),
    }[kind]
    weights = rng.uniform(0.1, 2.0, 50) if weighted else np.ones(50)
    weights /= weights.mean()
    k, b = 1.345, 0.7101645  # of standard normal z, the mean of min(z^2, k^2)
    sizes = np.abs(residuals)

    def size(s: float) -> float:
        h = np.where(sizes <= k * s, sizes**2 / s, 2.0 * k * sizes - k**2 * s)
        return float(np.mean(weights * (b * s + h)) / (2.0 * np.sqrt(b)))

    smallest = min(map(size, np.geomspace(1e-12, 1e3, 40_001)))
    loss = LOSSES["huber"].mean(residuals, weights if weighted else None)
    assert loss == pytest.approx(smallest**2, rel=1e-5, abs=1e-20)


def test_losses_without_outliers_and_as_shown():
    residuals = np.array([1.0, -2.0, 2.0, -1.0])
    assert LOSSES["huber"].mean(residuals, None) == pytest.approx(2.5)  # the mean square
    absolute = LOSSES["absolute"]
    assert absolute.shown(absolute.mean(residuals, None)) == 1.5
    assert LOSSES["squared"].shown(LOSSES["squared"].mean(residuals, None)) == 2.5
    fixed = Loss("huber", 1.5)  # Julia's: 1/2, 1.5 * (2 - .75), twice
    assert fixed.shown(fixed.mean(residuals, None)) == pytest.approx((0.5 + 1.875) / 2)


@pytest.mark.parametrize("loss", [LOSSES["huber"], Loss("huber", 0.7)])
def test_weighted_squares_have_the_slope_of_a_robust_loss(loss):
    rng = np.random.default_rng(2)
    residuals, direction = rng.standard_t(2, 40), rng.normal(size=40)
    weights = rng.uniform(0.5, 1.5, 40)
    weights /= weights.mean()
    value, factors, _ = loss.touching(residuals, weights)
    assert np.mean(weights * factors * residuals**2) == pytest.approx(float(value))
    step = 1e-6 * direction
    slope = (loss.mean(residuals + step, weights) - loss.mean(residuals - step, weights)) / 2e-6
    squares = 2.0 * np.mean(weights * factors * residuals * direction)
    share = slope / squares  # of a fixed threshold the squares are scaled to the loss
    assert share == pytest.approx(1.0 if loss.threshold is None else share, rel=1e-5)
    assert share > 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_a_table_and_its_scaled_copy_have_the_same_losses(name):
    rng = np.random.default_rng(3)
    X = rng.uniform(1.0, 5.0, (40, 2)) * [1e6, 1e-3]
    y = 1e130 * LAW.evaluate(X) * (1.0 + 0.1 * rng.normal(size=40))
    table = Table.of(X, y, rng.uniform(0.5, 2.0, 40), LOSSES[name])
    scaling = Scaling.of(X, y)
    formula = Expression.parse("1.9e130 * x0 * x1")
    scaled = table.scaled(scaling)
    assert table.in_units_of(scaling.y_exponent).loss(formula) == pytest.approx(
        scaled.loss(scaling.to_scaled_units(formula)), rel=1e-9
    )
    assert scaled.variance == pytest.approx(scaled.loss(Expression(["c"], [scaled.centre])))
    # No other constant is better.
    for factor in (0.999, 1.001):
        assert scaled.loss(Expression(["c"], [factor * scaled.centre])) >= scaled.variance


def test_scaled_tables_scale_a_fixed_threshold():
    X, y = shifted(20.0)
    table = Table.of(X, 1e4 * y, None, Loss("huber", 2e4))
    scaling = Scaling.of(X, 1e4 * y)
    assert table.scaled(scaling).loss_kind.threshold == pytest.approx(
        2e4 / 10.0**scaling.y_exponent
    )


# --- the fits -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("shift", [20.0, 1e3, -1e6])
@pytest.mark.parametrize(
    ("start", "wanted"),
    [
        ("1.0 * x0 * x1", (2.0,)),
        ("1.0 * x0 ^ 1.3 * x1", (2.0, 1.0)),
        ("1.0 * x0 * x1 + 1.0 * x0 + 1.0", (2.0, 0.0, 0.0)),
    ],
)
def test_fits_under_a_robust_loss_pass_by_the_outliers(name, shift, start, wanted):
    X, y = shifted(shift)
    fitted, _ = refit(Expression.parse(start), Table.of(X, y, None, LOSSES[name]))
    np.testing.assert_allclose(fitted.constants, wanted, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
def test_absolute_fits_come_to_what_linear_programming_finds(weighted):
    from scipy.optimize import linprog

    rng = np.random.default_rng(4)
    X = rng.uniform(1.0, 5.0, (50, 2))
    y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_t(1.5, 50)
    weights = rng.uniform(0.2, 2.0, 50) if weighted else np.ones(50)
    table = Table.of(X, y, weights if weighted else None, LOSSES["absolute"])
    _, loss = refit(Expression.parse("1.0 * x0 + 1.0 * x1 + 1.0"), table)
    design = np.column_stack([X, np.ones(50)])
    eye = np.eye(50)
    best = linprog(
        np.r_[np.zeros(3), weights, weights],
        A_eq=np.hstack([design, eye, -eye]),
        b_eq=y,
        bounds=[(None, None)] * 3 + [(0.0, None)] * 100,
    )
    assert table.loss_kind.shown(loss) == pytest.approx(best.fun / weights.sum(), rel=1e-3)


def test_huber_fits_come_to_what_a_general_minimiser_finds():
    from scipy.optimize import minimize

    rng = np.random.default_rng(5)
    X = rng.uniform(1.0, 3.0, (80, 1))
    y = 1.5 * np.exp(0.7 * X[:, 0]) + rng.standard_t(2, 80)
    table = Table.of(X, y, None, LOSSES["huber"])
    start = Expression.parse("1.0 * exp(1.0 * x0)")
    _, loss = refit(start, table)
    best = minimize(lambda c: table.loss(start.with_constants(c)), [1.4, 0.7], method="Nelder-Mead")
    assert loss <= best.fun * (1.0 + 1e-6)


@pytest.mark.parametrize("name", ROBUST)
def test_long_tables_are_refitted_under_the_loss(name):
    rng = np.random.default_rng(6)
    X = rng.uniform(1.0, 5.0, (50_000, 2))
    y = LAW.evaluate(X) + 0.1 * rng.normal(size=50_000)
    y[::10] += 500.0
    table = Table.of(X, y, None, LOSSES[name])
    start = Expression.parse("2.01 * x0 * x1")
    fitted, loss = refitted_in_blocks(start, table)
    best, _ = refit(start, table)
    left = abs(fitted.constants[0] - best.constants[0])
    assert left < 0.2 * abs(start.constants[0] - best.constants[0])
    assert loss == pytest.approx(table.loss(fitted))


# --- the estimator --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("loss", "shift", "noise"),
    [
        ("absolute", 20.0, 0.0), ("absolute", 100.0, 0.3), ("absolute", 1e3, 0.3),
        ("absolute", -1e3, 0.0), ("huber", 20.0, 0.0), ("huber", 100.0, 0.3),
    ],
)  # fmt: skip
def test_shifted_rows_do_not_change_the_answer_of_a_robust_loss(quick, loss, shift, noise):
    X, y = shifted(shift, noise)
    model = quick(loss=loss, proposers=["power-law", "linear", "link", "repair"]).fit(X, y)
    best = model.hall_of_fame_[model.hall_of_fame_.select()].expression
    assert best.simplify().symbols == LAW.simplify().symbols
    np.testing.assert_allclose(best.simplify().constants, [2.0], atol=0.02 if noise else 1e-12)
    row = model.get_best()
    residuals = model.predict(X) - y
    if loss == "absolute":
        assert row["loss"] == pytest.approx(np.mean(np.abs(residuals)))
    assert pickle.loads(pickle.dumps(model)).get_best()["loss"] == row["loss"]


def test_draws_and_repairs_follow_the_loss_too(quick):
    X, y = shifted(40.0, 0.1)
    model = quick(loss="absolute", proposers=["transformer", "repair"]).fit(X, y)
    assert np.median(np.abs(model.predict(X) - y)) < 0.3


def test_gross_outliers_of_squares_are_what_was_asked_for(quick):
    X, y = shifted(1e5)
    model = quick(proposers=["linear"]).fit(X, y)
    assert model.get_best()["loss"] == pytest.approx(np.mean((model.predict(X) - y) ** 2))


@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_relative_errors_are_fitted_over_six_decades(quick, offset):
    rng = np.random.default_rng(1)
    x = np.geomspace(1e-3, 1e3, 60)[:, None]
    law = 3.7 * x[:, 0] ** 1.5 + offset
    y = law * (1.0 + 0.05 * rng.normal(size=60))
    model = quick(loss="relative", proposers=["power-law", "additive", "repair"]).fit(x, y)
    np.testing.assert_allclose(model.predict(x), law, rtol=0.06)
    relative = model.predict(x) / y - 1.0
    assert model.get_best()["loss"] == pytest.approx(np.mean(relative**2))
    assert model.get_best()["complexity"] <= 7


def test_a_relative_loss_is_the_same_in_all_units(quick):
    rng = np.random.default_rng(1)
    X = rng.uniform(1.0, 5.0, (40, 2))
    y = LAW.evaluate(X) * (1.0 + 0.05 * rng.normal(size=40))
    plain, large = (
        quick(loss="relative", proposers=["power-law"]).fit(X, size * y) for size in (1.0, 1e200)
    )
    np.testing.assert_allclose(large.predict(X) / 1e200, plain.predict(X), rtol=0.02)
    assert large.get_best()["loss"] == pytest.approx(plain.get_best()["loss"], rel=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1e-300, 1.0, 1e200])
def test_losses_take_targets_of_any_size_and_few_values(quick, loss, size):
    X = np.random.default_rng(7).normal(size=(30, 2))
    for y in (size * X[:, 0], np.full(30, size), size * (1.0 + (X[:, 0] > 1.0))):
        model = quick(loss=loss, proposers=["linear"]).fit(X, y)
        assert np.isfinite(model.predict(X)).all()
        if np.ptp(y) == 0.0 or len(np.unique(y)) > 2:
            np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)


def test_relative_loss_refuses_a_y_of_zero(quick):
    X, y = shifted(0.0)
    y[[7, 9]] = 0.0
    with pytest.raises(ValueError, match=r"loss='relative'.*0 in 2 of 60 rows.*row 7"):
        quick(loss="relative").fit(X, y)


@pytest.mark.parametrize("loss", ["l1", None, 3, ["squared"]])
def test_other_losses_are_refused_with_the_allowed_ones(quick, loss):
    with pytest.raises(ValueError, match="'squared', 'absolute', 'huber', 'relative'"):
        quick(loss=loss).fit(*shifted(1.0))


def test_propose_takes_the_loss():
    X, y = shifted(100.0)
    hall = propose(X, y, loss="absolute", proposers=["power-law"], random_state=0)
    assert hall[hall.select()].expression.to_text() == "2.0 * x0 * x1"


def test_the_command_takes_the_loss(tmp_path):
    from typer.testing import CliRunner

    from sr_transformer.cli import app

    X, y = shifted(40.0)
    rows = "\n".join(f"{a!r},{b!r},{c!r}" for a, b, c in np.column_stack([X, y]).tolist())
    (tmp_path / "table.csv").write_text(f"a,b,y\n{rows}\n")
    settings = ["--search", "none", "--candidates", "8", "--seed", "0", "--json"]
    arguments = ["fit", str(tmp_path / "table.csv"), "--target", "y", *settings]
    found = CliRunner().invoke(app, [*arguments, "--loss", "absolute"])
    (chosen,) = [row for row in json.loads(found.stdout) if row["selected"]]
    assert (chosen["equation"], chosen["loss"]) == ("2.0 * a * b", pytest.approx(4.0))
    refused = CliRunner().invoke(app, [*arguments, "--loss", "l1"])
    assert refused.exit_code == 2
    assert "'huber'" in refused.output


def test_weights_count_in_every_loss_as_repeated_rows_do(quick):
    X, y = shifted(40.0, 0.3)
    times = np.random.default_rng(0).integers(1, 4, 60)
    for loss in LOSSES:
        settings = dict(loss=loss, proposers=["power-law", "linear"])
        weighted = quick(**settings).fit(X, y, times)
        repeated = quick(**settings).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
        assert list(weighted.equations_["equation"]) == list(repeated.equations_["equation"])


# --- engines --------------------------------------------------------------------------------------
def search_task(loss: Loss) -> SearchTask:
    X, y = shifted(20.0)
    return SearchTask(
        X=X, y=y, weights=None, guesses=[], operators=frozenset("+*"), maxsize=9, loss=loss,
        timeout_in_seconds=5.0, random_state=0, variable_names=("x0", "x1"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (LOSSES["squared"], None), (LOSSES["relative"], None),
        (LOSSES["absolute"], "L1DistLoss()"), (Loss("huber", 0.5), "HuberLoss(0.5)"),
    ],
)  # fmt: skip
def test_pysr_is_told_the_loss(loss, told):
    assert own_settings(search_task(loss)).get("elementwise_loss") == told


def test_hubers_threshold_for_an_engine_is_that_of_given_residuals():
    residuals = np.random.default_rng(0).normal(size=20_000)
    threshold = LOSSES["huber"].with_threshold(residuals, None).threshold
    assert threshold == pytest.approx(1.345, rel=0.02)
    outliers = np.where(np.arange(100) % 10 == 0, 50.0, 0.0)
    assert LOSSES["huber"].with_threshold(outliers, None) == LOSSES["absolute"]


@pytest.mark.parametrize("loss", ["absolute", "huber", "relative"])
def test_operon_searches_and_is_refitted_under_the_loss(quick, loss):
    pytest.importorskip("pyoperon")
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 3.0, (80, 2))
    y = 2.0 + np.cos(1.3 * X[:, 1]) * X[:, 1] + 0.5 * X[:, 0] + 0.02 * rng.normal(size=80)
    if loss != "relative":
        y[::10] += 30.0
    model = quick(
        search="operon", loss=loss, timeout_in_seconds=4.0, maxsize=15, proposers=["linear"],
        unary_operators=("cos",), binary_operators=("+", "*"),
    ).fit(X, y)  # fmt: skip
    assert model.seeding_report_.engine == "operon"
    found = [c for c in model.hall_of_fame_ if c.source == "operon"]
    assert found
    table = Table.of(X, y, None, LOSSES[loss])
    for candidate in found:
        assert candidate.loss == pytest.approx(table.loss(candidate.expression))
        _, best = refit(candidate.expression, table)
        assert candidate.loss <= 1.6 * best  # simple constants may have taken the others' place


@pytest.mark.parametrize(
    ("changes", "loss", "is_judge"),
    [
        ('elementwise_loss="L1DistLoss()"', 'Loss("absolute")', False),
        ('elementwise_loss="LPDistLoss{1}()"', 'Loss("absolute")', False),
        ('elementwise_loss="loss(x, y) = abs(x - y)"', 'Loss("absolute")', False),
        ('elementwise_loss="L2DistLoss()"', 'Loss("squared")', False),
        ('elementwise_loss="f(p, t) = (p - t)^2"', 'Loss("squared")', False),
        ('elementwise_loss="HuberLoss(0.5)"', 'Loss("huber", 0.5)', False),
        ('elementwise_loss="LogitDistLoss()"', "None", True),
        ('elementwise_loss="loss(x, y) = abs(x - y)^1.5"', "None", True),
        ('elementwise_loss="loss(x, y, w) = w * abs(x - y)"', "None", True),
        ('loss_function="f(tree, dataset, options) = 1.0"', "None", True),
        ("", "None", False),
    ],
)
def test_losses_of_an_own_regressor_are_known_or_left_to_pysr(changes, loss, is_judge):
    run_in_pysrs_python(
        f"""
        from sr_transformer.table.loss import Loss
        engine = resolve_engine(own({changes}))
        assert engine.loss == {loss}, engine.loss
        assert engine.is_judge is {is_judge}
        """
    )


def test_an_own_regressors_absolute_loss_rules_before_and_after_the_search():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        rng = np.random.default_rng(0)
        X = rng.uniform(1, 5, (60, 2))
        y = 2 * X[:, 0] * np.sin(X[:, 1])
        y[::10] += 30.0
        EQUATIONS[:] = [(1, 9.0, "2.5"), (6, 0.5, "x0 * sin(x1) * 1.9")]
        mine = own(unary_operators=["sin"], elementwise_loss="L1DistLoss()")
        model = SymbolicTransformerRegressor(mine, proposers=["linear"]).fit(X, y)
        assert model.search_.elementwise_loss == "L1DistLoss()"
        best = model.get_best()
        np.testing.assert_allclose(model.predict(X)[1::10], y[1::10], rtol=1e-9)
        assert best["source"] == "pysr", model
        assert abs(best["loss"] - np.mean(np.abs(model.predict(X) - y))) < 1e-9
        """
    )


def test_the_estimators_loss_reaches_an_own_regressor_that_sets_none():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        y = X[:, 0] + np.random.default_rng(0).normal(size=20)
        EQUATIONS[:] = [(1, 9.0, "2.5")]
        for loss, told in (("absolute", "L1DistLoss()"), ("squared", None)):
            model = SymbolicTransformerRegressor(own(), loss=loss, proposers=["linear"]).fit(X, y)
            assert model.search_.elementwise_loss == told
        """
    )


def test_under_an_unknown_loss_pysrs_front_constants_and_choice_stand():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        y = X[:, 0] * X[:, 1]  # which a proposal explains
        EQUATIONS[:] = [(1, 9.0, "2.5"), (3, 0.5, "x0 * 1.5"), (5, 0.45, "x0 * x1 * 1.25")]
        mine = own(elementwise_loss="f(x, y) = exp(x - y)")
        model = SymbolicTransformerRegressor(mine, proposers=["power-law", "linear"]).fit(X, y)
        assert RUNS[0]["guesses"], "the proposals are what it starts from"
        np.testing.assert_array_equal(np.sort(RUNS[0]["y"]), np.sort(y))
        assert list(model.equations_["equation"]) == ["2.5", "x0 * 1.5", "x0 * x1 * 1.25"]
        assert list(model.equations_["loss"]) == [9.0, 0.5, 0.45]
        assert model.engine_ == "pysr" and set(model.equations_["source"]) == {"pysr"}
        np.testing.assert_allclose(model.equations_["score"], model.search_.equations_["score"])
        chosen = model.search_.get_best()["equation"]
        assert model.get_best()["equation"] == chosen == "x0 * 1.5"
        np.testing.assert_array_equal(model.predict(X), 1.5 * X[:, 0])
        for rule, row in (("accuracy", 2), ("score", 1), ("best", 1)):
            assert model.hall_of_fame_.select(rule) == row, rule
        import pickle
        again = pickle.loads(pickle.dumps(model.set_params(search="none")))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert ">>>>           3" in repr(model.hall_of_fame_), repr(model.hall_of_fame_)
        """
    )


def test_proposals_answer_where_the_search_under_an_unknown_loss_fails():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        y = X[:, 0] * X[:, 1]
        FAIL = RuntimeError("exploded")
        globals()["FAIL"] = FAIL
        mine = own(elementwise_loss="f(x, y) = exp(x - y)")
        model = SymbolicTransformerRegressor(mine, proposers=["power-law"]).fit(X, y)
        assert "exploded" in model.seeding_report_.interruption
        assert model.get_best()["equation"] == "x0 * x1"
        """
    )


@pytest.mark.parametrize(
    ("operator", "mapping", "law", "values"),
    [
        ("arch(x) = x * (5 - x)", "lambda x: x * (5 - x)", "arch(x0)", "X[:, 0] * (5 - X[:, 0])"),
        ("relu", "None", "relu(x0 - 2.0)", "np.maximum(X[:, 0] - 2.0, 0.0)"),
        ("mix(x, y) = x + 3y", "lambda x, y: x + 3 * y", "mix(x0, x1)", "X[:, 0] + 3 * X[:, 1]"),
        ("sign", "None", "sign(x0 - 2.0)", "np.sign(X[:, 0] - 2.0)"),
        (
            "bump(x) = exp(-x^2)", "lambda x: __import__('sympy').exp(-x**2)",
            "bump(x0 - 2.0)", "np.exp(-(X[:, 0] - 2.0) ** 2)",
        ),
        ("erf", "None", "erf(x0 - 2.0)", "__import__('scipy.special').special.erf(X[:, 0] - 2.0)"),
        ("mod", "None", "mod(x0, x1)", "np.mod(X[:, 0], X[:, 1])"),
    ],
)  # fmt: skip
def test_formulas_with_custom_operators_are_fitted_chosen_shown_and_kept(
    operator, mapping, law, values
):
    run_in_pysrs_python(
        f"""
        import pickle, sympy
        from sr_transformer import SymbolicTransformerRegressor
        name, mapping = {operator!r}.partition("(")[0], {mapping}
        arity = {law!r}.split("(")[1].count(",") + 1
        own_operators = dict(unary_operators=[], binary_operators=["+", "-", "*"])
        kind = "unary_operators" if arity == 1 else "binary_operators"
        own_operators[kind] = own_operators[kind] + [{operator!r}]
        mine = PySRRegressor(
            **own_operators, temp_equation_file=True,
            extra_sympy_mappings=None if mapping is None else {{name: mapping}},
        )
        rng = np.random.default_rng(0)
        X = rng.uniform(1.0, 3.0, (60, 2))
        y = 1.7 * ({values}) + 0.001 * rng.normal(size=60)
        EQUATIONS[:] = [(1, 9.0, "2.5"), (5, 0.5, "{law} * 1.6")]
        model = SymbolicTransformerRegressor(mine, proposers=["power-law"]).fit(X, y)
        assert model.seeding_report_.n_unreadable == 0, model.seeding_report_
        (row,) = [i for i, text in enumerate(model.equations_["equation"]) if name in text]
        best = model.get_best(row)
        assert best["source"] == "pysr" and name in best["equation"], model
        predicted = model.predict(X, row)
        np.testing.assert_allclose(predicted, 1.7 * ({values}), atol=0.01)
        shown = sympy.lambdify(sympy.symbols("x0 x1", real=True), best["sympy_format"],
                               modules=["scipy", "numpy"])
        np.testing.assert_allclose(shown(*X.T), predicted, rtol=1e-9, atol=1e-9)
        assert model.latex(row)
        formula = model.hall_of_fame_[row].expression
        import scipy, scipy.special
        named = dict(np=np, numpy=np, scipy=scipy, x0=X[:, 0], x1=X[:, 1])
        np.testing.assert_allclose(eval(formula.to_python(), named), predicted, rtol=1e-9)
        again = pickle.loads(pickle.dumps(model.set_params(search="none")))
        np.testing.assert_array_equal(again.predict(X, row), predicted)
        assert Expression.parse(formula.to_text(), language=formula.language) == formula
        """
    )


def test_operators_of_three_arguments_keep_pysrs_constants():
    run_in_pysrs_python(
        """
        import pickle
        from sr_transformer import SymbolicTransformerRegressor
        mine = PySRRegressor(operators={1: [], 2: ["+", "*"], 3: ["clamp"]})
        X = np.random.default_rng(0).uniform(1.0, 3.0, (60, 2))
        y = 0.5 * np.clip(X[:, 0], 1.5, 2.5) + 0.001 * X[:, 1]
        EQUATIONS[:] = [(1, 9.0, "2.5"), (6, 0.5, "clamp(x0, 1.5, 2.5) * 0.5")]
        model = SymbolicTransformerRegressor(mine, proposers=["power-law"]).fit(X, y)
        (row,) = [i for i, text in enumerate(model.equations_["equation"]) if "clamp" in text]
        assert model.equations_["equation"][row] == "clamp(x0, 1.5, 2.5) * 0.5", model
        np.testing.assert_allclose(model.predict(X, row), 0.5 * np.clip(X[:, 0], 1.5, 2.5))
        assert model.latex(row) and model.get_best(row)["sympy_format"] is not None
        again = pickle.loads(pickle.dumps(model.set_params(search="none")))
        np.testing.assert_array_equal(again.predict(X, row), model.predict(X, row))
        """
    )


@pytest.mark.pysr
def test_own_loss_and_operators_end_to_end(quick):
    from pysr import PySRRegressor

    X, y = shifted(20.0)
    mine = PySRRegressor(
        binary_operators=["*"], unary_operators=["twice(x) = 2x"],
        extra_sympy_mappings={"twice": lambda x: 2 * x}, elementwise_loss="L1DistLoss()",
        niterations=5, temp_equation_file=True, progress=False, verbosity=0,
    )  # fmt: skip
    model = SymbolicTransformerRegressor(mine, proposers=["linear"], maxsize=9).fit(X, y)
    np.testing.assert_allclose(model.predict(X)[1::10], 2.0 * X[1::10, 0] * X[1::10, 1], rtol=1e-6)
    assert model.seeding_report_.n_unreadable == 0
