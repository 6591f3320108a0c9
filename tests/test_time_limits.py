"""Time limits: every stage has a bound, and what is found in little time is as good as can be."""

from __future__ import annotations

import time
from contextlib import nullcontext
from itertools import count

import numpy as np
import pytest
from strategies import DEFAULT_OPERATORS, finished, proposed

from sr_transformer import SymbolicTransformerRegressor, pipeline
from sr_transformer.clock import Clock
from sr_transformer.engines.base import SearchResult
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.evaluation.limits import SizedTable, TimedFit, measure_limits
from sr_transformer.expression import Expression
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.model.checkpoint import load_model
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.proposal import fit as fitting
from sr_transformer.proposal import relevance as relevances
from sr_transformer.proposal.closed import closed_form_candidates
from sr_transformer.proposal.constants import refit
from sr_transformer.proposal.draw import NetworkSampler, PriorSampler
from sr_transformer.proposal.fit import Fitter, polish, refit_on_all_rows
from sr_transformer.proposal.proposers import CLOSED_FORMS
from sr_transformer.proposal.relevance import linear_columns, relevant_columns
from sr_transformer.table.pace import evaluation_seconds
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

PAST = -np.inf


class Ticking:
    """A clock whose every reading is a second later than the one before."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def ticks(monkeypatch):
    clock = Ticking()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def noisy(n_rows, n_columns, law, noise, seed=0):
    X, y, clean = SizedTable(n_rows, n_columns, law, noise).rows(seed)
    return X, y, clean


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "left"), [(0.0, 10.0), (4.0, 6.0), (12.0, 0.0)])
def test_a_clock_that_ends_earlier(seconds, left):
    assert Clock(10.0).earlier(seconds).left() == pytest.approx(left, abs=0.1)
    assert Clock().earlier(seconds).left() is None


def test_a_time_that_is_over_is_not_prolonged_by_ending_earlier():
    over = Clock(10.0)
    over.add("start", -20.0)  # as if twenty seconds had passed
    assert over.left() == over.earlier(5.0).left() == 0.0
    assert over.earlier(5.0).limit == over.limit


def test_a_clock_that_lasts_some_seconds_more():
    assert Clock(10.0).lasting(3.0).left() == pytest.approx(10.0, abs=0.1)
    assert Clock(1.0).lasting(3.0).left() == pytest.approx(3.0, abs=0.1)
    assert Clock().lasting(3.0).left() is None


def test_the_pace_of_a_table_grows_with_its_rows():
    few, many = (Table(np.ones((n, 1)), np.ones(n)) for n in (100, 1_000_000))
    assert evaluation_seconds(many) > evaluation_seconds(few) > 0.0


# --- wide tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, np.inf])
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "law", "noise"),
    [(10, 20_000, "3 * x17", 0.01), (100, 20_000, "3 * x17 + 2 * x11111", 0.1),
     (60, 400, "4 * x17 - 3 * x230", 0.1)],
)  # fmt: skip
def test_what_matters_among_thousands_of_columns_is_found_in_any_time(
    n_rows, n_columns, law, noise, seconds
):
    X, y, _ = noisy(n_rows, n_columns, law, noise)
    found = relevant_columns(X, y, 10, np.random.RandomState(0), seconds)
    assert set(Expression.parse(law).variables) <= set(found.columns)
    assert len(found.columns) == 10
    assert set(found.certain) <= set(found.columns)
    assert len(found.certain) > 0


def test_the_work_on_a_wide_table_follows_from_the_time_and_has_a_bound(monkeypatch):
    ranked, paired, trees = [], [], []

    def noting(name, sizes, size):
        function = getattr(relevances, name)

        def noted(X, *arguments):
            sizes.append(size(X))
            return function(X, *arguments)

        monkeypatch.setattr(relevances, name, noted)

    noting("_ranks", ranked, np.size)
    noting("_with_another", paired, lambda X: X.shape[1] ** 2 * X.shape[0])
    noting("_important", trees, np.size)
    X, y, _ = noisy(300, 3000, "x1 * x2", 0.1)
    numbers, products = [], []
    for seconds in (0.0, 0.1, 0.5, 2.0, np.inf):
        ranked.clear()
        paired.clear()
        relevant_columns(X, y, 10, np.random.RandomState(0), seconds)
        numbers.append(max(ranked))
        products.append(max(paired, default=0))
    assert numbers == sorted(numbers)
    assert products == sorted(products)
    assert products[0] == 0 < products[1] < products[-1]
    assert numbers[0] == 100 * 2000  # hundred rows of those that simple correlations choose
    assert products[-1] <= 1000**2 * 300
    assert max(trees) <= 300 * 60


def test_no_forest_is_begun_after_the_time(monkeypatch, ticks):
    grown = []
    X, y, _ = noisy(100, 40, "x1 + x2", 0.1)
    import sklearn.ensemble

    class Forest(sklearn.ensemble.ExtraTreesRegressor):
        def fit(self, *arguments):
            grown.append(self.n_estimators)
            return super().fit(*arguments)

    monkeypatch.setattr(sklearn.ensemble, "ExtraTreesRegressor", Forest)
    relevant_columns(X, y, 10, np.random.RandomState(0), 0.5)
    assert len(grown) == 1
    grown.clear()
    relevant_columns(X, y, 10, np.random.RandomState(0), np.inf)
    assert len(grown) == 6  # however slow the machine is


def test_a_sum_is_sought_among_a_bounded_number_of_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3000))
    X[:, 7] = 1.0
    y = 5.0 * X[:, 3] - 4.0 * X[:, 1500] + 0.3 * X[:, 2999] + 0.01 * rng.normal(size=200)
    columns = linear_columns(X, y)
    assert len(columns) <= 300
    assert {3, 1500, 2999} <= set(columns)  # the third is hidden below the others
    assert 7 not in columns
    assert columns == sorted(set(columns))
    assert linear_columns(X[:, :50], y) == [i for i in range(50) if i != 7]
    assert len(linear_columns(X[:5], y[:5])) <= 300
    assert len(linear_columns(X, np.ones(200))) <= 300


def test_a_sum_of_two_columns_of_five_thousand_is_found():
    X, y, clean = noisy(100, 5000, "3.7 * x17 + 2.2 * x4111", 0.1)
    outcome = proposed(X, y, proposers=["linear"])
    best = outcome.hall_of_fame[outcome.hall_of_fame.select()].expression
    assert best.variables == (17, 4111)
    assert np.linalg.norm(best.evaluate(X) - clean) < 4 * 0.1


# --- every stage looks at the clock ---------------------------------------------------------------


def test_closed_forms_end_with_the_first_that_wrote_something_where_the_time_is_over():
    X, y, _ = noisy(60, 3, "x0 * x1 + sin(3 * x2)", 0.1)
    given = {
        "columns": (0, 1, 2), "proposers": CLOSED_FORMS, "operators": DEFAULT_OPERATORS,
        "maxsize": 20,
    }  # fmt: skip
    table = Table.of(X, y)
    every = list(closed_form_candidates(table, **given))
    hurried = list(closed_form_candidates(table, **given, deadline=PAST))
    assert 0 < len(hurried) < len(every)
    assert len({candidate.source for candidate in hurried}) == 1


@pytest.mark.parametrize("kind", ["network", "prior"])
def test_drawing_ends_with_its_time(kind):
    sampler = PriorSampler() if kind == "prior" else NetworkSampler(load_model("default", "cpu"))
    X = np.random.default_rng(0).uniform(1.0, 3.0, (30, 2))
    sampler.read(X, X[:, 0])
    settings = (DEFAULT_OPERATORS, 12, 1.0)
    assert sampler.draw(64, *settings, np.random.RandomState(0), PAST).total() == 0
    assert sampler.draw(64, *settings, np.random.RandomState(0), np.inf).total() == 64


def test_what_is_written_when_the_time_ends_keeps_its_constants():
    table = Table.of(*noisy(50, 2, "2 * x0", 0.1)[:2])
    fitter = Fitter(
        table=table, operators=DEFAULT_OPERATORS, maxsize=20, deadline=PAST, n_jobs=None
    )
    formula = Expression.parse("exp(0.5 * x0)")
    ((kept, loss),) = fitter._refine([(formula, True)])
    assert kept == formula
    assert loss == table.loss(formula)


@pytest.mark.parametrize(("seconds", "used"), [(1.0, False), (1000.0, True)])
def test_other_processes_are_started_only_where_there_is_time_for_it(monkeypatch, seconds, used):
    asked = []

    class Workers:
        def __init__(self, n_jobs):
            asked.append(n_jobs)

        def __call__(self, tasks):
            return [function(*arguments, **named) for function, arguments, named in tasks]

    monkeypatch.setattr(fitting, "Parallel", Workers)
    table = Table.of(*noisy(50, 2, "2 * x0", 0.1)[:2])
    fitter = Fitter(
        table=table, operators=DEFAULT_OPERATORS, maxsize=20, n_jobs=2,
        deadline=time.perf_counter() + seconds,
    )  # fmt: skip
    formulas = [Expression.parse(f"x0 + {'sin(' * n}x1{')' * n}") for n in range(80)]
    fitter.fit([f for f in formulas if len(f.symbols) <= 20] * 8, np.random.RandomState(0))
    items = [(formula, True) for formula in formulas[:15]] * 5
    fitter._shared(fitter._refine, items)
    assert bool(asked) is used


def pool_of(texts, table):
    pool = Pool()
    for text in texts:
        formula = Expression.parse(text)
        pool.add(Candidate(formula, table.loss(formula), "test"))
    return pool


def test_the_front_is_polished_first_and_a_fit_ends_with_its_time(monkeypatch, ticks):
    table = Table.of(*noisy(50, 2, "2 * x0 + 1", 0.1)[:2])
    pool = pool_of(["1.8 * x0 + 1", "2.5 * x0", "1.9 * x1", "1.8 * x0 + 1.1 * x1"], table)
    front = [candidate.expression for candidate in pool.front]
    fitted = []

    def noted(expression, rows, *, deadline):
        fitted.append(expression)
        return refit(expression, rows, deadline=deadline)

    monkeypatch.setattr(fitting, "refit", noted)
    polish(pool, table, np.inf)
    assert fitted[: len(front)] == front
    pool = pool_of(["1.8 * x0 + 1", "2.5 * x0"], table)
    fitted.clear()
    polish(pool, table, ticks.now + 1.5)
    assert len(fitted) == 1


def test_a_descent_ends_with_its_time(ticks):
    X, y, _ = noisy(50, 1, "2 * exp(0.8 * x0)", 0.01)
    start = Expression.parse("2 * exp(0.2 * x0)")
    table = Table.of(X, y)
    short, long = (refit(start, table, deadline=ticks.now + n) for n in (2.5, 1e9))
    assert table.loss(start) >= short[1] > 1.01 * long[1]


def test_in_no_time_the_first_formula_alone_is_fitted_to_all_rows():
    X, y, _ = noisy(30_000, 2, "2 * x0 + 3 * x1", 0.5)
    table = Table(np.asfortranarray(X), y)
    pool = pool_of(["1.8 * x0 + 3.1 * x1", "5.2 * x0", "5.1 * x1"], table)
    first, *others = sorted(pool.front, key=lambda c: c.loss)
    refit_on_all_rows(pool, [first, *others], table, PAST)
    best, loss = refit(first.expression, table)
    fitted = min(pool.candidates, key=lambda c: c.loss)
    np.testing.assert_allclose(fitted.expression.constants, best.constants, rtol=1e-9)
    assert fitted.loss == pytest.approx(loss)
    assert all(candidate in pool.candidates for candidate in others)
    refit_on_all_rows(pool, pool.front, table, np.inf)
    assert not any(candidate in pool.candidates for candidate in others)


@pytest.mark.parametrize("deadline", [PAST, np.inf])
def test_finishing_shows_one_formula_at_least(deadline):
    X, y, _ = noisy(50, 2, "2 * x0 + 3", 0.1)
    table = Table.of(X, y)
    fitted = [Candidate(*refit(Expression.parse(text), table), "test") for text in (
        "1.9 * x0 + 3", "2 * x0 + x1 + 1", "3 * sqrt(x0) + 1")]  # fmt: skip
    hall = finished(fitted, table, scaling=Scaling.identity(2), deadline=deadline)
    constants = hall[hall.select()].expression.constants
    if deadline == PAST:
        assert len(hall.candidates) == 1
        assert constants == fitted[0].expression.constants
    else:
        assert len(hall.candidates) > 1
        assert set(constants) == {2.0, 3.0}  # simple ones, which took a look at the rows


# --- the whole path -------------------------------------------------------------------------------


class Waiting:
    """An engine that notes the time it gets, and may take more of it and fail."""

    name, scaled, operators, maxsize = "waiting", True, None, None
    loss, is_judge = None, False

    def __init__(self, clock: Clock, longer: float) -> None:
        self.clock, self.longer = clock, longer
        self.seconds: list[float] = []

    def unusable_reason(self) -> None:
        """It can always run."""

    def admits(self, expression: Expression) -> bool:
        return True

    def search(self, task) -> SearchResult:
        self.seconds.append(task.timeout_in_seconds)
        self.clock.add("start", -self.longer)
        return SearchResult(interruption="it was late" if self.longer else None)


def searched(limit, longer=0.0, **settings):
    X, y, _ = noisy(60, 2, "x0 * x1", 0.3)
    clock = Clock(limit)
    engine = Waiting(clock, longer)
    task = Task(table=Table.of(X, y), operators=DEFAULT_OPERATORS, variable_names=("a", "b"))
    settings = Settings(**{"n_candidates": 8, "random_state": 0, **settings})
    return engine, run(task, settings, PriorSampler(), engine, clock)


@pytest.mark.parametrize("pace", [0.0, 0.01, 100.0])
def test_a_search_leaves_the_time_that_finishing_takes(monkeypatch, pace):
    monkeypatch.setattr(pipeline, "evaluation_seconds", lambda table: pace)
    engine, _ = searched(1000.0, proposers=())
    kept = 1000.0 - engine.seconds[0]
    # A second at most is for the constants of what the search found.
    assert min(0.3 + 150 * pace, 350.0) < kept < min(0.3 + 150 * pace, 350.0) + 60.0


@pytest.mark.parametrize(
    ("limit", "proposers", "runs"),
    [
        (0.6, ["linear"], False),
        (0.6, [], True),
        (100.0, ["linear"], True),
        (None, ["linear"], True),
    ],
)
def test_a_search_that_would_be_too_short_is_left_out(limit, proposers, runs):
    engine, outcome = searched(limit, proposers=proposers)
    assert bool(engine.seconds) is runs
    if not runs:
        assert "too short" in outcome.report.not_run
    assert len(outcome.hall_of_fame) > 0


def test_a_search_that_went_on_after_its_time_costs_no_formulas():
    kept = []
    for longer in (0.0, 1000.0):
        with pytest.warns(SearchInterruptedWarning) if longer else nullcontext():
            _, outcome = searched(100.0, longer, proposers=["linear", "polynomial"])
        kept.append([candidate.expression for candidate in outcome.hall_of_fame])
    assert len(kept[0]) > 1
    assert kept[0] == kept[1]


def test_outputs_for_which_no_time_is_left_get_what_is_quick(monkeypatch):
    X, y, _ = noisy(60, 2, "x0 * x1", 0.3)
    drawn = count()
    monkeypatch.setattr(NetworkSampler, "draw", lambda *_: next(drawn))
    model = SymbolicTransformerRegressor("none", timeout_in_seconds=1e-6, random_state=0)
    model.fit(X, np.column_stack([y, y, y]))
    assert next(drawn) == 0
    assert [len(hall) for hall in model.hall_of_fame_] == [1, 1, 1]
    np.testing.assert_allclose(model.predict(X), np.full((60, 3), y.mean()))


@pytest.mark.parametrize("limit", [None, 3.0])
def test_constants_of_a_long_noisy_table_are_those_of_all_rows(limit):
    X, y, clean = noisy(300_000, 8, "2.37 * x3^2 * x7 + 1.64 * x1", 0.5)
    model = SymbolicTransformerRegressor(
        "none", timeout_in_seconds=limit, n_candidates=16, random_state=0,
        proposers=["linear", "polynomial", "transformer"],
    )  # fmt: skip
    best = model.fit(X, y).hall_of_fame_[model.hall_of_fame_.select()].expression
    # Each constant is then within 3 standard errors, however the law is spelled.
    assert np.linalg.norm(best.evaluate(X) - clean) / 0.5 < 3.0
    assert set(best.variables) == {1, 3, 7}


def test_a_long_noisy_table_gives_the_same_again():
    X, y, _ = noisy(60_000, 4, "2.37 * x3^2 / x1", 0.5)
    first, second = (
        SymbolicTransformerRegressor("none", n_candidates=16, random_state=3).fit(X, y)
        for _ in "ab"
    )
    assert list(first.equations_["equation"]) == list(second.equations_["equation"])


# --- measuring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "late"), [(2.4, False), (2.6, True)])
def test_late_is_more_than_a_tenth_and_three_tenths_of_a_second(seconds, late):
    table = SizedTable(8, 1, "x0", 0.1)
    assert TimedFit(table, 2.0, seconds, 1.0, 0.0, "x0").is_late is late


def test_limits_are_measured_against_the_law():
    said = []
    tables = [SizedTable(2000, 2, "3 * x0", 0.01)]

    def make(limit):
        return SymbolicTransformerRegressor("none", timeout_in_seconds=limit, random_state=0)

    (fit,) = measure_limits(make, [0.4], tables=tables, say=said.append)
    assert said == ["2,000 x 2 in 0.4 s"]
    assert fit.distance < 4.0
    assert fit.seconds > 0.0 < fit.cpu_seconds
    assert "x0" in fit.formula
