"""The estimator end to end: what a fit finds, shows and predicts."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from sr_transformer import Expression, SymbolicTransformerRegressor
from sr_transformer.clock import Clock
from sr_transformer.errors import CheckpointError, EngineFallbackWarning, EngineUnavailableError
from sr_transformer.expression import ARITHMETIC
from sr_transformer.proposal.proposers import PROPOSERS

COLUMNS = [
    "complexity", "loss", "score", "equation", "sympy_format", "source", "description_length",
    "standard_errors", "undefined",
]  # fmt: skip


@pytest.fixture
def fitted(quick, product_table):
    return quick(n_candidates=64).fit(*product_table)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys; import sr_transformer;"
        "print([m for m in ('torch', 'sympy', 'pandas', 'pysr', 'sklearn', 'scipy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_public_names_are_listed_and_others_refused():
    import sr_transformer

    assert set(sr_transformer.__all__) <= set(dir(sr_transformer))
    assert sr_transformer.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sr_transformer.nothing


def test_front_is_a_table_from_simple_to_accurate(fitted):
    equations = fitted.equations_
    assert list(equations.columns) == COLUMNS
    assert equations["complexity"].is_monotonic_increasing
    assert equations["loss"].is_monotonic_decreasing
    assert set(equations["source"]) <= {"constant", *PROPOSERS}
    assert fitted.engine_ == "transformer"
    assert not hasattr(fitted, "search_")


def test_predict_evaluates_exactly_the_shown_formula(fitted, product_table):
    X, _ = product_table
    for row, text in enumerate(fitted.equations_["equation"]):
        shown = Expression.parse(text).evaluate(X)
        np.testing.assert_array_equal(fitted.predict(X, index=row), shown)


def test_loss_is_the_mean_squared_error_of_the_predictions(fitted, product_table):
    X, y = product_table
    for row, loss in enumerate(fitted.equations_["loss"]):
        residual = fitted.predict(X, index=row) - y
        assert loss == pytest.approx(np.mean(residual**2))


def test_sympy_and_latex_are_the_selected_formula_unless_a_row_is_named(fitted, product_table):
    import sympy

    X, _ = product_table
    for index in (None, 0, -1):
        formula = fitted.sympy(index)
        function = sympy.lambdify(sympy.symbols("x0 x1", real=True), formula)
        np.testing.assert_allclose(
            np.broadcast_to(function(*X.T), len(X)), fitted.predict(X, index), rtol=1e-9
        )
        assert isinstance(fitted.latex(index), str)
    selected = fitted.hall_of_fame_.select()
    assert fitted.get_best()["equation"] == fitted.equations_["equation"][selected]
    assert fitted.get_best(0)["complexity"] == fitted.equations_["complexity"][0]


@pytest.fixture
def two_outputs(product_table):
    """The product, and a noisy sine of the first column."""
    X, y = product_table
    noise = np.random.default_rng(7).normal(size=len(y))
    return X, np.column_stack([y, 10.0 * np.sin(X[:, 0]) + noise])


def test_each_output_is_fitted_as_it_would_be_alone(quick, two_outputs):
    X, Y = two_outputs
    weights = np.random.default_rng(3).uniform(size=len(Y))
    model = quick().fit(X, Y, sample_weight=weights)
    assert model.n_outputs_ == 2
    assert model.predict(X).shape == Y.shape
    for output in range(2):
        alone = quick().fit(X, Y[:, output], sample_weight=weights)
        pd.testing.assert_frame_equal(model.equations_[output], alone.equations_)
        np.testing.assert_array_equal(model.predict(X)[:, output], alone.predict(X))
        assert model.sympy()[output] == alone.sympy()
        assert model.latex()[output] == alone.latex()
        assert model.get_best()[output]["equation"] == alone.get_best()["equation"]
    assert model.engine_ == ["transformer", "transformer"]
    assert [report.engine for report in model.seeding_report_] == [None, None]
    assert model.score(X, Y) == pytest.approx(
        np.mean([1 - np.mean((model.predict(X) - Y)[:, i] ** 2) / np.var(Y[:, i]) for i in (0, 1)])
    )
    assert repr(model).count(">>>>") == 2


def test_rows_of_several_outputs_are_a_list(quick, two_outputs):
    X, Y = two_outputs
    model = quick().fit(X, Y)
    rows = model.predict(X, index=[0, -1])
    np.testing.assert_array_equal(rows[:, 0], model.hall_of_fame_[0][0].expression.evaluate(X))
    np.testing.assert_array_equal(rows[:, 1], model.hall_of_fame_[1][-1].expression.evaluate(X))
    for index in (0, [0], [0, 1, 2], np.array([0, 0])):
        with pytest.raises(IndexError, match="2 outputs"):
            model.predict(X, index=index)
    with pytest.raises(IndexError, match="equations_ has"):
        model.predict(X, index=[0, 99])


def test_refit_with_one_output_forgets_the_other(quick, two_outputs):
    X, Y = two_outputs
    model = quick().fit(X, Y).fit(X, Y[:, 0])
    assert isinstance(model.equations_, pd.DataFrame)
    assert model.predict(X).shape == (len(X),)


def test_model_selection_can_be_changed_after_the_fit(fitted):
    accurate = fitted.set_params(model_selection="accuracy").get_best()
    assert accurate["loss"] == fitted.equations_["loss"].min()


@pytest.mark.parametrize("index", [99, -99, 1.0, True, "best"])
def test_row_that_does_not_exist_is_refused(fitted, product_table, index):
    with pytest.raises(IndexError, match="equations_ has"):
        fitted.predict(product_table[0], index=index)


def test_a_row_without_a_value_counts_as_the_mean_in_the_score(quick):
    x = np.linspace(1.0, 5.0, 20)[:, None]
    model = quick(proposers=["link"]).fit(x, np.log(x[:, 0]))
    assert str(model.sympy()) == "log(x0)"
    assert model.score(x, np.log(x[:, 0])) == pytest.approx(1.0)
    unseen, y = np.array([[-1.0], [0.0], [1.0], [np.e]]), np.array([3.0, -3.0, 0.0, 1.0])
    assert np.isfinite(model.predict(unseen)).tolist() == [False, False, True, True]
    left = (y[:2] - y.mean()) ** 2
    assert model.score(unseen, y) == pytest.approx(1.0 - left.sum() / ((y - y.mean()) ** 2).sum())
    weights = np.array([1.0, 0.0, 2.0, 3.0])
    mean = np.average(y, weights=weights)
    expected = 1.0 - (3.0 - mean) ** 2 / (weights @ (y - mean) ** 2)
    assert model.score(unseen, y, weights) == pytest.approx(expected)
    assert model.score(unseen[:2], y[:2]) == 0.0  # undefined on all of them


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e300])
def test_the_score_of_any_size_of_y_is_a_number(fitted, product_table, size):
    X, y = product_table
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted.score(X, y / y.max() * size) < 0.9


def test_what_is_asked_of_a_fit_is_refused_in_words(fitted, product_table):
    X, y = product_table
    for call, words in (
        (lambda: fitted.score(X, y[:-1]), "inconsistent numbers of samples: 60 rows and 59"),
        (lambda: fitted.score(X, np.column_stack([y, y])), r"y has shape \(60, 2\)"),
        (lambda: fitted.score(X, y, np.zeros(60)), "sample_weight is zero in all rows"),
        (lambda: fitted.score(X, None), "y is None"),
        (lambda: fitted.predict(X[:0]), r"X has 0 sample\(s\)"),
        (lambda: fitted.latex(precision=0), "precision is 0; it must be a whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(IndexError, match="output is 1; the fit has outputs 0 to 0"):
        fitted.plot(output=1)


def test_unfitted_estimator_says_so(quick):
    model = quick()
    for call in (model.sympy, model.latex, model.get_best, model.plot):
        with pytest.raises(NotFittedError):
            call()
    with pytest.raises(NotFittedError):
        model.predict([[1.0, 2.0]])
    assert not hasattr(model, "equations_")
    assert repr(model).startswith("SymbolicTransformerRegressor(")
    assert ">>>>" not in repr(model)


def test_fitted_estimator_shows_its_front(fitted):
    assert repr(fitted).count(">>>>") == 1


def test_column_names_are_the_variables_names(quick):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(1, 4, (40, 3)), columns=["mass", "speed of light", "sin"])
    y = table["mass"] * table["speed of light"]
    model = quick(n_candidates=64).fit(table, y)
    names = {str(s) for s in model.sympy(len(model.equations_) - 1).free_symbols}
    assert names <= set(table.columns)
    for row, text in enumerate(model.equations_["equation"]):
        shown = Expression.parse(text, list(table.columns)).evaluate(table.to_numpy())
        np.testing.assert_array_equal(model.predict(table, row), shown)


def test_same_seed_gives_the_same_front_to_the_last_digit(quick, product_table):
    first, second = (quick(n_candidates=48).fit(*product_table) for _ in range(2))
    pd.testing.assert_frame_equal(first.equations_, second.equations_, check_exact=True)


def test_order_of_the_rows_does_not_matter(quick, product_table):
    X, y = product_table
    order = np.random.default_rng(1).permutation(len(y))
    pd.testing.assert_frame_equal(
        quick().fit(X, y).equations_, quick().fit(X[order], y[order]).equations_, check_exact=True
    )


def test_weight_is_repetition_and_weight_zero_is_absence(quick, product_table):
    X, y = product_table
    y = y + np.random.default_rng(2).normal(size=len(y))
    weights = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = quick().fit(X, y, sample_weight=weights)
    repeated = quick().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    pd.testing.assert_frame_equal(weighted.equations_, repeated.equations_, check_exact=True)
    doubled = quick().fit(X, y, sample_weight=np.full(len(y), 2.0))
    pd.testing.assert_frame_equal(
        doubled.equations_, quick().fit(X, y).equations_, check_exact=True
    )


def test_whole_numbers_count_readings_and_other_weights_are_precisions(quick, product_table):
    X, y = product_table
    weights = np.random.default_rng(3).integers(0, 4, len(y))
    counted = quick().fit(X, y, sample_weight=weights)
    precise = quick().fit(X, y, sample_weight=weights.astype(float))
    assert counted.hall_of_fame_.evidence.sample.n_rows == weights.sum()
    assert precise.hall_of_fame_.evidence.sample.n_rows == np.count_nonzero(weights)
    for model in (counted, precise):
        best = min(candidate.loss for candidate in model.hall_of_fame_.candidates)
        assert best == pytest.approx(0.0, abs=1e-20)


def test_formulas_keep_to_the_operators_and_maxsize(quick, product_table):
    model = quick(
        binary_operators=["+", "*"], unary_operators=["sin"], maxsize=9, n_candidates=64
    ).fit(*product_table)
    for text in model.equations_["equation"]:
        formula = Expression.parse(text)
        assert formula.operators <= {"+", "*", "sin"}
        assert formula.complexity() <= 9


def test_units_do_not_change_what_is_found(quick, product_table):
    X, y = product_table
    plain = quick().fit(X, y)
    metric = quick().fit(X * [1e-10, 1e12], y * 1e20)
    assert metric.score(X * [1e-10, 1e12], y * 1e20) == pytest.approx(plain.score(X, y))


def test_table_without_multiplication_is_not_scaled(quick):
    x = np.linspace(1, 3000, 50)[:, None]
    model = quick(binary_operators=["+"], unary_operators=["sin"]).fit(x, x[:, 0] + 5.0)
    assert set().union(
        *(Expression.parse(text).operators for text in model.equations_["equation"])
    ) <= {"+", "sin"}


def test_timings_name_the_stages(fitted):
    assert {"start", "encode", "sample", "fit", "select", "total"} <= set(fitted.timings_)
    assert all(seconds >= 0 for seconds in fitted.timings_.values())


def test_refit_forgets_the_table_before(quick, product_table):
    X, y = product_table
    model = quick().fit(pd.DataFrame(X, columns=["a", "b"]), y)
    model.fit(X[:, :1], X[:, 0])
    assert model.n_features_in_ == 1
    assert "a" not in model.equations_["equation"].iloc[-1]


def test_verbose_fit_on_a_terminal_has_a_bar(quick, product_table, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes a terminal of any stream
    for limit in (None, 60.0):
        quick(verbose=1, timeout_in_seconds=limit).fit(*product_table)
        shown = capsys.readouterr()
        assert "\u2501" in shown.err  # the bar
        assert "proposing 16 formulas" in shown.err
        assert shown.out == ""
    quick(verbose=2).fit(*product_table)
    assert "\u2501" not in capsys.readouterr().err


def test_time_that_is_left_is_shared_and_the_start_is_not_counted():
    clock = Clock(10.0)
    half = clock.part(0.5)
    assert 4.9 < half.left() <= 5.0
    clock.add("start", 3.0)
    assert 7.9 < half.left() <= 8.0
    assert half.deadline - time.perf_counter() == pytest.approx(half.left(), abs=0.1)
    assert Clock().part(0.5).left() is None
    assert Clock(1e-9).part(1.0).left() == Clock().part(0.0).left() == 0.0


def test_verbose_fit_names_its_stages(quick, product_table, capsys):
    quick(verbose=1).fit(*product_table)
    shown = capsys.readouterr()
    assert "proposing 16 formulas" in shown.err
    assert shown.out == ""
    quick().fit(*product_table)
    assert capsys.readouterr() == ("", "")


@pytest.mark.no_pysr
def test_without_julia_auto_warns_once_and_the_transformer_answers(quick, product_table):
    model = quick(search="auto")
    start = time.perf_counter()
    with pytest.warns(EngineFallbackWarning) as caught:
        model.fit(*product_table)
    assert time.perf_counter() - start < 20.0  # on a busy machine; nothing waits for a download
    assert len(caught) == 1
    assert model.engine_ == "transformer"
    assert caught[0].filename == __file__


@pytest.mark.no_pysr
def test_without_julia_pysr_by_name_raises(quick, product_table):
    start = time.perf_counter()
    with pytest.raises(EngineUnavailableError, match="Julia"):
        quick(search="pysr").fit(*product_table)
    assert time.perf_counter() - start < 20.0  # on a busy machine; nothing waits for a download


def test_fit_without_search_warns_of_nothing(quick, product_table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().fit(*product_table)


def test_missing_checkpoint_is_named(quick, product_table, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        quick(checkpoint=str(tmp_path / "nowhere.safetensors")).fit(*product_table)


def test_timeout_holds_for_the_whole_fit(quick, product_table):
    X, y = product_table
    y = y + np.random.default_rng(5).normal(size=len(y))
    quick().fit(X, y)  # warm
    start = time.perf_counter()
    model = quick(n_candidates=100_000, timeout_in_seconds=1.0).fit(X, y)
    assert time.perf_counter() - start < 5.0
    assert len(model.equations_)


def test_plot_draws_the_front(quick, fitted, two_outputs):
    pytest.importorskip("matplotlib").use("Agg")
    assert fitted.plot() is not None
    assert quick().fit(*two_outputs).plot(output=1) is not None


def test_report_says_why_no_search_ran(quick, product_table):
    model = quick().fit(*product_table)
    assert model.seeding_report_.engine is None
    assert "search='none'" in repr(model.seeding_report_)


def test_default_parameters_are_those_of_the_documentation():
    parameters = SymbolicTransformerRegressor().get_params()
    assert parameters["search"] == "auto"
    assert parameters["binary_operators"] == ("+", "-", "*", "/", "^")
    assert (parameters["maxsize"], parameters["n_candidates"]) == (30, None)


def test_a_failed_fit_leaves_the_formula_and_the_columns_of_the_one_before(quick, product_table):
    X, y = product_table
    model = quick().fit(pd.DataFrame(X, columns=["a", "b"]), y)
    before = model.predict(pd.DataFrame(X, columns=["a", "b"]))
    with pytest.raises(ValueError, match="y_units"):
        model.fit(pd.DataFrame(X, columns=["c", "d"]), y, y_units="m")
    assert list(model.feature_names_in_) == ["a", "b"]
    np.testing.assert_array_equal(model.predict(pd.DataFrame(X, columns=["a", "b"])), before)
    unfitted = quick()
    with pytest.raises(ValueError, match="y_units"):
        unfitted.fit(X, y, y_units="m")
    assert not hasattr(unfitted, "n_features_in_")


@pytest.mark.parametrize("seed", range(40))
def test_any_operators_fit_any_table(quick, seed):
    rng = np.random.default_rng(seed)
    arity = ARITHMETIC.arity
    binary, unary = (
        rng.choice([name for name in arity if arity[name] == n], rng.integers(4), replace=False)
        for n in (2, 1)
    )
    n_rows, n_columns = rng.choice([2, 3, 5, 10, 40]), rng.choice([1, 2, 12])
    X = rng.normal(size=(n_rows, n_columns)) * 10.0 ** rng.integers(-5, 6)
    X = [X, np.round(X), np.abs(X), np.sort(X, axis=0)][seed % 4]
    y = [2.0 * X[:, 0], np.abs(X).sum(axis=1), rng.normal(size=n_rows), np.full(n_rows, 3.0)]
    weights = rng.uniform(0.1, 2.0, n_rows) if seed % 3 == 0 else None
    model = quick(
        binary_operators=list(binary) or ["max"], unary_operators=list(unary), n_candidates=4,
        maxsize=int(rng.choice([1, 3, 7, 30])),
    )  # fmt: skip
    model.fit(X, y[seed % 4], weights)
    assert len(model.predict(X)) == n_rows
    assert model.equations_["complexity"].max() <= model.maxsize
    for candidate in model.hall_of_fame_:
        assert candidate.expression.operators <= {*binary, *unary, "max"}
