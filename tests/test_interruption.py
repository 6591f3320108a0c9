"""Ctrl-C at any moment: what a fit keeps, and what ends with it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from strategies import DEFAULT_OPERATORS
from typer.testing import CliRunner

from sr_transformer import SymbolicTransformerRegressor
from sr_transformer.cli import app
from sr_transformer.clock import Clock
from sr_transformer.engines.base import SearchResult
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.proposal.draw import PriorSampler
from sr_transformer.proposal.proposers import CLOSED_FORMS
from sr_transformer.table.table import Table

RNG = np.random.default_rng(0)
X = RNG.uniform(1.0, 3.0, (40, 2))
Y = RNG.normal(size=40)


class Engine:
    """Brings back one formula; its settings are those of the task."""

    name, scaled, operators, maxsize = "engine", True, None, None
    loss, is_judge = None, False

    def admits(self, expression):
        return True

    def search(self, task):
        return SearchResult(expressions=[Expression.parse("1.5 * sin(x0 * x1) + 0.3")])


def fit_once():
    task = Task(table=Table.of(X, Y), operators=DEFAULT_OPERATORS, variable_names=("a", "b"))
    settings = Settings(n_candidates=12, random_state=0)
    return run(task, settings, PriorSampler(), Engine(), Clock())


def calls_of(work, interrupt_at=None):
    """Do some work, with Ctrl-C at a call of a function of the package.

    Returns
    -------
    result : object
    number : int
        How many calls there were.
    """
    counter = itertools.count()

    def count(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("sr_transformer."):
            if frame.f_code.co_name in ("__del__", "<genexpr>"):
                return  # an error there, or where a generator is given up, is nobody's
            if next(counter) == interrupt_at:
                sys.setprofile(None)
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return work(), next(counter)
    finally:
        sys.setprofile(before)


@pytest.fixture(scope="module")
def n_calls():
    fit_once()  # fills caches
    return calls_of(fit_once)[1]


# The first calls check the table, before there is anything.
@pytest.mark.parametrize("share", [*np.linspace(0.01, 0.999, 14), 0.9999])
def test_ctrl_c_at_any_call_keeps_what_was_found(n_calls, share):
    with pytest.warns(SearchInterruptedWarning) as caught:
        outcome, _ = calls_of(fit_once, int(share * n_calls))
    assert len(caught) == 1
    assert outcome.interrupted
    hall = outcome.hall_of_fame
    assert np.isfinite(hall[hall.select()].expression.evaluate(X)).all()
    assert len(hall) <= len(list(outcome.pool.candidates))


def test_ctrl_c_before_anything_was_found_raises(n_calls):
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        calls_of(lambda: model.fit(X, Y), 5)
    assert vars(model) == vars(quick())


def quick(**parameters):
    settings = {"n_candidates": 8, "random_state": 0, **parameters}
    return SymbolicTransformerRegressor("none", **settings)


def interrupts(monkeypatch, *targets, times=1):
    """Let the first calls of functions be interrupted by the keyboard; how often each is called."""
    calls = dict.fromkeys(targets, 0)

    def replace(target):
        module, _, name = target.rpartition(".")
        owner = sys.modules[module]
        function = getattr(owner, name)

        def interrupted(*arguments, **keywords):
            calls[target] += 1
            if calls[target] <= times:
                raise KeyboardInterrupt
            return function(*arguments, **keywords)

        monkeypatch.setattr(owner, name, interrupted)

    for target in targets:
        replace(target)
    return calls


SCOUT = "sr_transformer.proposal.fit.scout"


@pytest.mark.parametrize(
    "second",
    [
        "sr_transformer.proposal.proposing.polish",
        "sr_transformer.pipeline.bring_to_users_units",
        "sr_transformer.pipeline.simplify_constants",
    ],
)
def test_a_second_ctrl_c_raises_and_leaves_the_model_as_it_was(monkeypatch, second):
    model = quick(proposers=["linear"]).fit(X, Y)
    before = dict(vars(model))
    model.set_params(proposers=["transformer"])
    interrupts(monkeypatch, SCOUT, second)
    with pytest.raises(KeyboardInterrupt), pytest.warns(SearchInterruptedWarning):
        model.fit(X[:20], Y[:20])
    assert vars(model) == before | {"proposers": ["transformer"]}
    monkeypatch.undo()
    assert not model.fit(X, Y).interrupted_


@pytest.mark.parametrize("finished", [1, 2])
def test_after_ctrl_c_other_outputs_get_what_is_quick_and_a_second_one_raises(
    monkeypatch, finished
):
    pipeline = sys.modules["sr_transformer.pipeline"]
    real, calls = pipeline.bring_to_users_units, []

    def interrupted(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) > finished:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    interrupts(monkeypatch, SCOUT)
    monkeypatch.setattr(pipeline, "bring_to_users_units", interrupted)
    model, several = quick(), np.column_stack([Y, Y**2])
    if finished == 1:
        with pytest.raises(KeyboardInterrupt), pytest.warns(SearchInterruptedWarning):
            model.fit(X, several)
        assert not hasattr(model, "hall_of_fame_")
    else:
        with pytest.warns(SearchInterruptedWarning):
            model.fit(X, several)
        assert model.interrupted_
        assert np.isfinite(model.predict(X)).all()


def test_what_a_family_of_closed_forms_has_found_stays(monkeypatch):
    closed = sys.modules["sr_transformer.proposal.closed"]
    real = closed.FAMILIES["linear"]

    def interrupted(bench):
        yield from real(bench)
        raise KeyboardInterrupt

    monkeypatch.setitem(closed.FAMILIES, "linear", interrupted)
    with pytest.warns(SearchInterruptedWarning):
        model = quick(proposers=CLOSED_FORMS).fit(X, 2.0 * X[:, 0] + X[:, 1] + 0.1 * Y)
    assert {"linear"} <= {c.source for c in model.hall_of_fame_} <= {*CLOSED_FORMS[:2], "constant"}


# --- many fits ------------------------------------------------------------------------------------
def search(**keywords):
    return GridSearchCV(quick(), {"maxsize": [5, 9]}, cv=2, **keywords)


@pytest.mark.parametrize(
    "fit_many",
    [
        lambda: cross_val_score(quick(), X, Y, cv=3),
        lambda: cross_val_score(make_pipeline(FunctionTransformer(), quick()), X, Y, cv=3),
        lambda: search().fit(X, Y),
        lambda: BaggingRegressor(quick(), n_estimators=3).fit(X, Y),
        lambda: AdaBoostRegressor(quick(), n_estimators=3).fit(X, Y),
        lambda: RegressorChain(quick()).fit(X, np.column_stack([Y, Y**2])),
    ],
)
def test_the_first_ctrl_c_ends_what_fits_again_and_again(monkeypatch, fit_many):
    fits = interrupts(monkeypatch, "sr_transformer.estimators.regressor.run", times=0)
    interrupts(monkeypatch, SCOUT)
    with pytest.raises(KeyboardInterrupt):
        fit_many()
    assert list(fits.values()) == [1]


@pytest.mark.parametrize(
    "fit_one",
    [
        lambda: make_pipeline(FunctionTransformer(), quick()).fit(X, Y)[-1],
        lambda: TransformedTargetRegressor(quick(), func=np.cbrt, inverse_func=lambda v: v**3)
        .fit(X, Y)
        .regressor_,
        lambda: clone(quick()).fit(X, Y),
    ],
)
def test_a_fit_that_is_one_keeps_what_was_found_whoever_passes_it_on(monkeypatch, fit_one):
    interrupts(monkeypatch, SCOUT)
    with pytest.warns(SearchInterruptedWarning):
        assert fit_one().interrupted_


def test_the_last_fit_of_a_search_keeps_what_was_found(monkeypatch):
    regressor = sys.modules["sr_transformer.estimators.regressor"]
    real = regressor.run

    def interrupted_on_all_rows(task, *arguments, **keywords):
        if len(task.table.y) == len(Y):
            interrupts(monkeypatch, SCOUT)
        return real(task, *arguments, **keywords)

    monkeypatch.setattr(regressor, "run", interrupted_on_all_rows)
    with pytest.warns(SearchInterruptedWarning):
        found = search().fit(X, Y)
    assert found.best_estimator_.interrupted_
    assert len(found.cv_results_["params"]) == 2


def test_a_loop_of_ones_own_goes_on_and_can_see_that_a_fit_was_interrupted(monkeypatch):
    interrupts(monkeypatch, SCOUT)

    def fit_each():
        for rows, _ in KFold(3).split(X):
            yield quick().fit(X[rows], Y[rows])

    with pytest.warns(SearchInterruptedWarning):
        models = list(fit_each())
    assert [model.interrupted_ for model in models] == [True, False, False]


# --- real signals ---------------------------------------------------------------------------------
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@posix
@pytest.mark.slow
def test_real_signals_at_random_moments_lose_no_fit():
    model = quick(n_candidates=None, timeout_in_seconds=60.0).fit(X[:3], Y[:3])
    for delay in np.random.default_rng(1).uniform(0.2, 2.0, 20):
        threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT]).start()
        begun = time.monotonic()
        with pytest.warns(SearchInterruptedWarning):
            model.fit(X, Y)
        assert model.interrupted_
        assert np.isfinite(model.predict(X)).all()
        assert time.monotonic() - begun < 40.0


def started(*arguments):
    """The command in a process group of its own, which is what a terminal sends Ctrl-C to."""
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "sr_transformer.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def press_ctrl_c_after_records(process, out, n_records):
    """What the command said after Ctrl-C came in the middle of a measurement, and its records."""
    while process.poll() is None and (
        not out.exists() or out.read_bytes().count(b"\n") < n_records
    ):
        time.sleep(0.02)
    time.sleep(0.2)
    pressed_at = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert time.monotonic() - pressed_at < 60
    assert "Traceback" not in said
    assert "interrupted" in said.splitlines()[-1]
    assert process.returncode == 130
    return [json.loads(line) for line in out.read_text().splitlines()]


@posix
@pytest.mark.slow
def test_ctrl_c_ends_a_suite_and_keeps_what_was_complete(tmp_path):
    pytest.importorskip("yaml")
    law = "{prepared: v1*sin(v1), vars: {v1: {sample_range: [1.0, 3.0], sample_type: [uni, pos]}}}"
    catalogue = tmp_path / "laws.yaml"
    catalogue.write_text("expressions:\n" + "".join(f"  law{i}: {law}\n" for i in range(9)))
    out = tmp_path / "results.jsonl"
    process = started(
        "benchmark", "suite", catalogue, "--methods", "none", "--seconds", 2, "--noise", 0.1,
        "--out", out,
    )  # fmt: skip
    results = press_ctrl_c_after_records(process, out, 2)
    assert [result["problem"] for result in results] == ["law0", "law1"]
    assert all(result["error"] is None and result["formula"] for result in results)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_an_evaluation_and_keeps_what_was_complete(tmp_path, workers):
    out = tmp_path / "outcomes.jsonl"
    process = started(
        "train", "--evaluate", "--problems", 500, "--draws", 64, "--workers", workers,
        "--out", out, "--card", tmp_path / "card.md",
    )  # fmt: skip
    records = press_ctrl_c_after_records(process, out, 2)
    assert 2 <= len(records) < 20
    assert not (tmp_path / "card.md").exists()


@posix
@pytest.mark.slow
def test_ctrl_c_ends_a_training_that_goes_on_later(tmp_path):
    pytest.importorskip("lightning")
    process = started("train", tmp_path, "--preset", "tiny", "--minutes", 60, "--device", "cpu")
    log = tmp_path / "log.csv"
    while process.poll() is None and (not log.exists() or log.read_text().count("\n") < 3):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: the run at" in said
    assert "Traceback" not in said
    assert (tmp_path / "checkpoint.pt").exists()
    again = started("train", tmp_path, "--preset", "tiny", "--cool-down", "--device", "cpu")
    printed, _ = again.communicate(timeout=300)
    assert printed == f"{tmp_path / 'model.safetensors'}\n"


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["benchmark", "suite", "x.yaml"], "sr_transformer.evaluation.suite.run"),
        (["benchmark", "fit"], "sr_transformer.evaluation.fit_speed.measure_fit"),
        (["train", "--evaluate"], "sr_transformer.evaluation.recovery.evaluate_recovery"),
    ],
)
def test_a_command_that_ctrl_c_ends_says_so_in_one_line(monkeypatch, arguments, target):
    pytest.importorskip(target.rpartition(".")[0], exc_type=ImportError)
    interrupts(monkeypatch, target)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "FOLDER", "--minutes", "nan"], "minutes is nan; it must be above 0 and finite"),
        (["train", "FOLDER", "--minutes", "-1"], "minutes is -1.0; it must be above 0"),
        (["train", "FOLDER", "--workers", "0"], "workers is 0; it must be at least 1"),
        (["train", "FOLDER", "--processes", "0"], "processes is 0; it must be at least 1"),
        (["train", "FOLDER", "--threads", "-3"], "threads is -3; it must be at least 1"),
        (["train", "FOLDER", "--seed", "-1"], "seed is -1; it must be from 0 to 4294967295"),
        (["train", "FOLDER", "--seed", str(2**64)], "it must be from 0 to 4294967295"),
        (["train", "--evaluate", "--problems", "0"], "problems is 0; it must be at least 1"),
        (["train", "--evaluate", "--workers", "0"], "processes is 0; it must be at least 1"),
        (["train", "--evaluate", "--workers", "-1"], "processes is -1; it must be at least 1"),
        (["train", "--evaluate", "--seconds", "nan"], "seconds is nan; it must be above 0"),
        (["train", "--evaluate", "--draws", "0"], "must ascend from at least 1"),
        (["train", "--evaluate", "--device", "abacus"], "device is 'abacus'"),
        (["benchmark", "suite", "x.yaml", "--seconds", "nan"], "seconds is nan; it must be above"),
        (["benchmark", "suite", "x.yaml", "--seconds", "inf"], "seconds is inf; it must be above"),
        (["benchmark", "suite", "x.yaml", "--rows", "1"], "rows is 1; it must be at least 2"),
        (["benchmark", "suite", "x.yaml", "--noise", "nan"], "noise is nan; it must be at least 0"),
        (["benchmark", "suite", "x.yaml", "--noise", "inf"], "noise is inf; it must be at least 0"),
        (["benchmark", "suite", "x.yaml", "--seed", "-1"], "seed is -1; it must be from 0"),
        (["benchmark", "suite", "x.yaml", "--limit", "0"], "limit is 0; it must be at least 1"),
        (["benchmark", "suite", "x.yaml", "--limit", "-1"], "limit is -1; it must be at least 1"),
        (["benchmark", "suite", "x.yaml", "--methods", ","], "no method is named; there are none"),
        (["benchmark", "train", "--seconds", "nan"], "seconds is nan; it must be above 0"),
        (["benchmark", "train", "--seconds", "-1"], "seconds is -1.0; it must be above 0"),
        (["benchmark", "train", "--workers", "0"], "workers is 0; it must be at least 1"),
        (["benchmark", "train", "--processes", "0"], "processes is 0; it must be at least 1"),
        (["benchmark", "train", "--threads", "0"], "threads is 0; it must be at least 1"),
        (["benchmark", "fit", "--candidates", "0"], "candidates is 0; it must be at least 1"),
        (["benchmark", "fit", "--seed", "-1"], "seed is -1; it must be from 0"),
    ],
)
def test_numbers_that_a_command_does_not_allow_are_said_in_one_line(tmp_path, arguments, words):
    if "train" in arguments and "--evaluate" not in arguments:
        pytest.importorskip("lightning")
    folder = tmp_path / "run"
    arguments = [str(folder) if each == "FOLDER" else each for each in arguments]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert words in line
    assert "Traceback" not in result.stderr
    assert not folder.exists()
