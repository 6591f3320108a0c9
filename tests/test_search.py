"""Which engine runs, what PySR is told, what is read back, and what a failing engine costs."""

from __future__ import annotations

import ast
import atexit
import json
import subprocess
import sys
import textwrap
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sr_transformer.engines.base import SearchResult, SearchTask, run_search
from sr_transformer.engines.choose import resolve_engine, unusable_reasons
from sr_transformer.engines.operon.engine import OperonEngine
from sr_transformer.engines.pysr import engine as pysr_module
from sr_transformer.engines.pysr.engine import PySREngine, is_pysr_regressor
from sr_transformer.engines.pysr.settings import ABSOLUTE_SETTINGS, GUESS_SETTINGS, own_settings
from sr_transformer.errors import (
    EngineFallbackWarning,
    EngineUnavailableError,
    SearchInterruptedWarning,
)
from sr_transformer.expression import Expression
from sr_transformer.expression.guess import pysr_names


@pytest.fixture
def task() -> SearchTask:
    X = np.random.default_rng(0).uniform(1, 3, (20, 2))
    return SearchTask(
        X=X,
        y=X[:, 0] * X[:, 1],
        weights=None,
        guesses=[Expression.parse("x0 * x1"), Expression.parse("2.5 * x0 + 1.0")],
        operators=frozenset({"+", "*", "^", "sin"}),
        maxsize=20,
        timeout_in_seconds=5.0,
        random_state=3,
        variable_names=("x0", "x1"),
    )


# --- which engine ---------------------------------------------------------------------------------
def test_none_asks_for_no_engine():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_engine("none") is None


@pytest.mark.parametrize("search", ["julia", "", None, 3, PySREngine])
def test_other_values_of_search_are_refused_with_the_allowed_ones(search):
    with pytest.raises(ValueError, match="'auto', 'pysr', 'operon', 'none'"):
        resolve_engine(search)


@pytest.mark.no_pysr
@pytest.mark.parametrize("operon", [True, False])
def test_auto_falls_back_with_one_warning_that_names_reason_and_remedy(operon, monkeypatch):
    reason = None if operon else "Operon is away."
    monkeypatch.setattr(OperonEngine, "unusable_reason", lambda self: reason)
    for _ in range(2):  # once for each fit, not once for each process
        with pytest.warns(EngineFallbackWarning) as caught:
            engine = resolve_engine("auto")
        assert engine is None or engine.name == "operon"
        assert (engine is not None) is operon
        assert len(caught) == 1
        text = str(caught[0].message)
        assert "PySR" in text
        assert "import pysr" in text or "pip install" in text
        assert ("search='operon'" if operon else "search='none'") in text


@pytest.mark.no_pysr
def test_pysr_by_name_raises_instead():
    with pytest.raises(EngineUnavailableError, match=r"search='pysr' cannot run: .*PySR"):
        resolve_engine("pysr")


@pytest.mark.no_pysr
def test_a_fresh_process_finds_out_that_pysr_cannot_run_and_prints_nothing():
    code = """
        import warnings
        from sr_transformer.engines.choose import resolve_engine
        from sr_transformer.errors import EngineUnavailableError
        warnings.simplefilter("ignore")
        resolve_engine("auto")
        try:
            resolve_engine("pysr")
        except EngineUnavailableError:
            print("refused")
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    ).stdout
    assert output == "refused\n"  # and nothing else on standard output


@pytest.fixture
def julia_is_missing(monkeypatch):
    """PySR is installed, and juliapkg answers that Julia is not, or cannot answer."""

    def pretend(answer):
        def resolve(*, dry_run):
            assert dry_run  # nothing else may be asked of it
            if isinstance(answer, Exception):
                raise answer
            return answer

        for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"):
            monkeypatch.delenv(name, raising=False)
        for name in ("pysr", "juliacall"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, "juliapkg", SimpleNamespace(resolve=resolve))
        monkeypatch.setattr(pysr_module, "find_spec", lambda name: object())

    return pretend


@pytest.mark.parametrize("answer", [False, PermissionError("read only")])
def test_auto_never_downloads_julia_and_says_what_does(julia_is_missing, monkeypatch, answer):
    julia_is_missing(answer)
    monkeypatch.setattr(pysr_module, "_import_failure", lambda: pytest.fail("it was imported"))
    monkeypatch.setattr(OperonEngine, "unusable_reason", lambda self: None)
    with pytest.warns(EngineFallbackWarning, match='not installed yet.*python -c "import pysr"'):
        assert resolve_engine("auto").name == "operon"
    assert "not installed yet" in unusable_reasons()["pysr"]


def test_auto_takes_a_pysr_whose_julia_is_there(julia_is_missing, monkeypatch):
    monkeypatch.setattr(pysr_module, "_import_failure", lambda: None)
    julia_is_missing(True)
    assert resolve_engine("auto").name == "pysr"
    julia_is_missing(False)  # and an own Julia, for which juliapkg is not asked
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "julia")
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", "/project")
    assert resolve_engine("auto").name == "pysr"


class Offline:
    """A finder by which importing PySR fails."""

    @staticmethod
    def find_spec(name, *_):
        if name == "pysr":
            raise OSError("no network")


def test_pysr_by_name_says_that_it_downloads_before_it_does(julia_is_missing, monkeypatch, capsys):
    julia_is_missing(False)
    monkeypatch.setattr(sys, "meta_path", [Offline, *sys.meta_path])
    pysr_module._import_failure.cache_clear()
    try:
        with pytest.raises(EngineUnavailableError, match="no network"):
            resolve_engine("pysr")
    finally:
        pysr_module._import_failure.cache_clear()
    assert "now installs Julia" in capsys.readouterr().err


def test_failed_import_is_tried_once_a_process():
    reason = PySREngine().unusable_reason()
    assert PySREngine().unusable_reason() is reason


def test_missing_package_is_told_apart_from_a_broken_one(monkeypatch):
    monkeypatch.setattr(pysr_module, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "pysr", raising=False)
    pysr_module._import_failure.cache_clear()
    try:
        assert "pip install" in PySREngine().unusable_reason()
    finally:
        pysr_module._import_failure.cache_clear()


def test_importing_the_search_package_starts_no_engine():
    code = (
        "import sys, sr_transformer.engines.choose\n"
        "print({'pysr', 'pyoperon', 'juliacall', 'torch', 'sympy'} & sys.modules.keys())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "set()"


def test_collecting_the_tests_starts_no_julia(julia_at_collection):
    assert julia_at_collection == []


# --- what PySR is told ----------------------------------------------------------------------------
def pysr_parameters(method: str) -> dict[str, object]:
    """Parameters of a PySRRegressor method and their defaults, read without starting Julia."""
    spec = find_spec("pysr")
    if spec is None:
        pytest.skip("pysr is not installed")
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / "sr.py").read_text())
    (regressor,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "PySRRegressor"
    )
    (function,) = (
        node for node in regressor.body if isinstance(node, ast.FunctionDef) and node.name == method
    )
    arguments = function.args
    plain = [a.arg for a in arguments.args[1:]]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    defaults += arguments.kw_defaults
    names = plain + [a.arg for a in arguments.kwonlyargs]
    return {
        name: node.value if isinstance(node, ast.Constant) else node
        for name, node in zip(names, defaults, strict=True)
    }


def test_every_keyword_we_pass_is_a_parameter_of_the_installed_pysr(task):
    known = pysr_parameters("__init__")
    assert set(own_settings(task)) <= set(known)
    assert set(ABSOLUTE_SETTINGS + GUESS_SETTINGS) <= set(known)
    assert {"X", "y", "weights", "variable_names"} <= set(pysr_parameters("fit"))


def test_defaults_that_we_rely_on_are_those_of_the_installed_pysr():
    known = pysr_parameters("__init__")
    assert known["fraction_replaced_guesses"] == 0.001
    assert known["binary_operators"] is None
    assert known["loss_scale"] == "log"


def test_settings_are_quiet_and_leave_no_files(task):
    settings = own_settings(task)
    assert settings["fraction_replaced_guesses"] == 0.05
    assert settings["binary_operators"] == ["+", "*", "^"]
    assert settings["unary_operators"] == ["sin"]
    assert settings["constraints"] == {"^": (-1, 1)}
    assert settings["maxsize"] == 20
    assert settings["timeout_in_seconds"] == 5.0
    assert settings["niterations"] >= 1_000_000  # the time limit ends it
    assert settings["temp_equation_file"] is True
    assert settings["progress"] is False
    assert settings["verbosity"] == 0
    assert settings["input_stream"] == "devnull"


def test_seeded_runs_are_repeatable_and_others_parallel(task):
    seeded = own_settings(task)
    assert (seeded["random_state"], seeded["deterministic"], seeded["parallelism"]) == (
        3, True, "serial",
    )  # fmt: skip
    free = own_settings(SearchTask(**{**task.__dict__, "random_state": None}))
    assert not {"random_state", "deterministic", "parallelism"} & set(free)


def test_size_limit_below_what_pysr_accepts_is_raised_to_that(task):
    assert own_settings(SearchTask(**{**task.__dict__, "maxsize": 3}))["maxsize"] == 7


def test_names_stay_the_users_where_pysr_accepts_them():
    names = ("mass", "semi-major axis", "sin", "N", "x0", "lambda", "end", "square", "αβ", "1st")
    written = pysr_names(names)
    assert written[:2] == ("mass", "semi_major_axis")
    assert written[4] == "x0"
    assert written[2:4] == ("x2", "x3")
    assert len(set(written)) == len(names)
    assert all(name.isidentifier() and name.isascii() for name in written)


def test_names_of_pysrs_functions_are_replaced():
    spec = find_spec("pysr")
    if spec is None:
        pytest.skip("pysr is not installed")
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / "export_sympy.py").read_text())
    (mappings,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "sympy_mappings"
    )
    refused = [key.value for key in mappings.keys]
    assert "relu" in refused
    assert not set(refused) & set(pysr_names(refused))


def test_names_that_become_equal_are_kept_apart():
    assert len(set(pysr_names(("a b", "a_b", "a-b", "x1")))) == 4


# --- an engine that fails -------------------------------------------------------------------------
class BrokenEngine:
    """An engine that ends its search with an exception."""

    name = "broken"
    scaled = True
    operators = None
    maxsize = None
    loss = None
    is_judge = False

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def unusable_reason(self) -> None:
        return None

    def search(self, task: SearchTask) -> SearchResult:
        raise self.error

    def admits(self, expression: Expression) -> bool:
        return True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("the engine exploded\nwith details"), "RuntimeError: the engine exploded"),
        (KeyboardInterrupt(), "interrupted from the keyboard"),
        (OSError(28, "No space left on device"), "No space left"),
        (MemoryError(), "MemoryError: no message"),
    ],
)
def test_failing_engine_costs_one_warning(task, error, words):
    with pytest.warns(SearchInterruptedWarning, match=words) as caught:
        result = run_search(BrokenEngine(error), task)
    assert len(caught) == 1
    assert result.expressions == []


@pytest.mark.parametrize("error", [RuntimeError("exploded"), KeyboardInterrupt()])
def test_fit_returns_the_transformers_front_when_the_engine_fails(
    quick, noisy_table, monkeypatch, error
):
    alone = quick().fit(*noisy_table)
    monkeypatch.setattr(
        "sr_transformer.estimators.regressor.resolve_engine", lambda s: BrokenEngine(error)
    )
    with pytest.warns(SearchInterruptedWarning) as caught:
        model = quick(search="auto").fit(*noisy_table)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert model.seeding_report_.interruption is not None
    assert model.engine_ == "transformer"
    assert not hasattr(model, "search_")
    assert list(model.equations_["equation"]) == list(alone.equations_["equation"])


LAW = "2.3 * x0 * sin(x1 * sin(1.7 * x0))"  # more than a few draws of the Transformer hit


def test_ctrl_c_in_the_search_of_one_output_ends_those_of_the_others(
    quick, noisy_table, monkeypatch
):
    engine = BrokenEngine(KeyboardInterrupt())
    monkeypatch.setattr("sr_transformer.estimators.regressor.resolve_engine", lambda s: engine)
    X, y = noisy_table
    with pytest.warns(SearchInterruptedWarning) as caught:
        model = quick(search="auto").fit(X, np.column_stack([y, y**2, y**3]))
    assert len(caught) == 1
    assert "keyboard" in model.seeding_report_[0].interruption
    assert ["keyboard" in report.not_run for report in model.seeding_report_[1:]] == [True, True]
    assert np.isfinite(model.predict(X)).all()


def test_ctrl_c_while_proposing_starts_no_search(quick, noisy_table, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    engine = BrokenEngine(AssertionError("it was searched"))
    monkeypatch.setattr("sr_transformer.estimators.regressor.resolve_engine", lambda s: engine)
    monkeypatch.setattr("sr_transformer.proposal.draw.NetworkSampler.draw", interrupted)
    with pytest.warns(SearchInterruptedWarning) as caught:
        model = quick(search="auto").fit(*noisy_table)
    assert len(caught) == 1
    assert "keyboard" in model.seeding_report_.not_run
    assert np.isfinite(model.predict(noisy_table[0])).all()


def test_half_of_the_time_is_for_proposing_where_a_search_follows(quick, noisy_table, monkeypatch):
    engine = AnsweringEngine(scaled=True)
    monkeypatch.setattr("sr_transformer.estimators.regressor.resolve_engine", lambda s: engine)
    model = quick(search="auto", n_candidates=None, timeout_in_seconds=4).fit(*noisy_table)
    assert model.seeding_report_.seconds["propose"] > 1.5
    assert 1.0 < engine.task.timeout_in_seconds <= 2.0


class AnsweringEngine(BrokenEngine):
    """An engine that knows the law, but for its constants."""

    name = "answering"

    def __init__(self, scaled: bool) -> None:
        self.scaled = scaled
        self.operators = frozenset({"+", "*", "sin"})
        self.task: SearchTask | None = None

    def search(self, task: SearchTask) -> SearchResult:
        self.task = task
        size = 1.0 if self.scaled else 100.0
        answer = Expression.parse(f"2.2 * x0 * sin(x1 * sin({1.65 / size} * x0))")
        worse = Expression.parse("2.5")
        return SearchResult(
            expressions=[worse, answer],
            fitted=self,
            accepted=[guess for guess in task.guesses if not guess.variables][:1],
            refused={"larger than maxsize": 3},
            start_seconds=0.001,
        )


@pytest.mark.parametrize("scaled", [True, False])
def test_engine_finds_are_refitted_pooled_and_credited(quick, monkeypatch, scaled):
    X = np.random.default_rng(0).uniform(0.5, 3.0, (60, 2)) * [100.0, 1.0]
    y = 1e7 * Expression.parse(LAW).evaluate(X / [100.0, 1.0])
    engine = AnsweringEngine(scaled)
    monkeypatch.setattr("sr_transformer.estimators.regressor.resolve_engine", lambda s: engine)
    model = quick(proposers=["linear"], unary_operators=["exp"]).fit(X, y)
    assert model.engine_ == "answering"
    assert model.search_ is engine
    assert "search" in model.timings_
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9)
    size = np.median(np.abs(engine.task.y))
    assert (0.1 < size < 10.0) if scaled else size > 1e6
    assert engine.task.operators == engine.operators
    assert engine.task.guesses
    assert all(e.operators <= engine.operators for e in engine.task.guesses)
    report = model.seeding_report_
    assert report.engine == "answering"
    assert report.n_guesses == len(engine.task.guesses)
    assert (report.n_accepted, report.n_survived, report.n_front) == (1, 1, 2)
    assert report.n_improved == 1  # the law; the constant was there
    assert "3 refused: larger than maxsize" in repr(report)
    assert set(report.seconds) == {"propose", "seed", "start", "search", "refit"}
    refitted = quick().set_params(search="none")
    monkeypatch.setattr("sr_transformer.estimators.regressor.resolve_engine", resolve_engine)
    assert not hasattr(refitted.fit(X, y), "search_")


# --- PySR's own Python code, up to the call into Julia ------------------------------------------
# juliacall is replaced by a recorder, so that PySR's real classes can be imported without Julia;
# its step that runs the search then answers with fixed equations, or fails.
PREAMBLE = """
import os, sys, warnings
from unittest.mock import MagicMock
import numpy as np, pandas as pd
sys.modules["juliacall"] = MagicMock()
warnings.simplefilter("ignore")
from pysr import PySRRegressor

EQUATIONS = [(1, 9.0, "2.5"), (3, 0.5, "a * b_c"), (4, 0.4, "twice(a)")]
RUNS = []
FAIL = None

def run(self, X, y, runtime_params, weights, **others):
    RUNS.append({
        "X": X, "y": y, "weights": weights, "names": list(self.feature_names_in_),
        "guesses": self.guesses, "run_id": self.run_id, "X_units": self.X_units_,
        "y_units": self.y_units_, "complexity_of_variables": self.complexity_of_variables_,
    })
    if FAIL is not None:
        raise FAIL
    frame = pd.DataFrame(EQUATIONS, columns=["complexity", "loss", "equation"])
    self.equation_file_contents_ = [frame]
    self.equations_ = self.get_hof()
    return self

PySRRegressor._run = run

import sklearn.base
from sr_transformer.expression import Expression
from sr_transformer.expression.guess import pysr_names
from sr_transformer.engines.base import SearchTask
from sr_transformer.engines.choose import resolve_engine
X = np.random.default_rng(0).uniform(1, 3, (20, 2))
def task(**changes):
    settings = dict(
        X=X, y=X[:, 0] * X[:, 1], weights=None, operators=frozenset("+*"), maxsize=20,
        guesses=[Expression.parse("x0 * x1"), Expression.parse("sin(x0)"),
                 Expression.parse("square(x0)")],
        timeout_in_seconds=5.0, random_state=None, variable_names=("a", "b c"),
    )
    return SearchTask(**{**settings, **changes})
def own(**changes):
    return PySRRegressor(**{**dict(
        binary_operators=["+", "*"], unary_operators=["twice(x) = 2x"], temp_equation_file=True,
        extra_sympy_mappings={"twice": lambda x: 2 * x}), **changes})
"""


# Importing PySR and torch takes longer than most of these tests. So where a process can be forked
# safely, one imports them and runs each code in a fork of itself, as fresh as a process of its own.
FORKS = """
import json, tempfile, traceback
import torch, sr_transformer.estimators.regressor
for line in sys.stdin:
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            status = 1
            try:
                exec(json.loads(line), globals())
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        print(json.dumps([status, output.read()]), flush=True)
"""


@cache
def forking_process() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + FORKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)  # its input ends, and so does it
    return process


def run_in_pysrs_python(code: str) -> None:
    if find_spec("pysr") is None:
        pytest.skip("pysr is not installed")
    code = textwrap.dedent(code)
    if sys.platform == "linux":
        process = forking_process()
        process.stdin.write(json.dumps(code) + "\n")
        process.stdin.flush()
        status, output = json.loads(process.stdout.readline())
    else:
        done = subprocess.run(
            [sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, check=False
        )
        status, output = done.returncode, done.stderr
    assert status == 0, output or f"it ended with {status}"


def test_own_regressor_is_cloned_seeded_in_its_operators_and_read_back():
    run_in_pysrs_python(
        """
        mine = own(niterations=7)
        before = mine.get_params()
        engine = resolve_engine(mine)
        assert (engine.name, engine.scaled, engine.maxsize) == ("pysr", True, 30)
        assert engine.operators == {"+", "*"}
        result = engine.search(task(operators=engine.operators))
        assert mine.get_params() == before and not hasattr(mine, "equations_")
        model = result.fitted
        assert model.niterations == 7
        assert model.guesses == ["(a * b_c)", "(a * a)"], model.guesses
        assert model.fraction_replaced_guesses == 0.05
        assert model.timeout_in_seconds == 5.0
        assert RUNS[0]["names"] == ["a", "b_c"]
        assert result.interruption is None
        assert [e.to_text() for e in result.expressions] == ["2.5", "x0 * x1", "twice(x0)"]
        assert result.n_unreadable == 0
        assert [e.to_text() for e in result.accepted] == ["x0 * x1", "x0 * x0"]
        assert result.refused == {"operator not enabled": 1}
        """
    )


def test_own_guesses_stay_first_and_own_limits_stay():
    run_in_pysrs_python(
        """
        mine = own(
            guesses=["a + 1.5"], fraction_replaced_guesses=0.2, timeout_in_seconds=2.0, maxsize=9
        )
        engine = resolve_engine(mine)
        assert not engine.scaled and engine.maxsize == 9
        model = engine.search(task(operators=engine.operators)).fitted
        assert model.guesses == ["a + 1.5", "(a * b_c)", "(a * a)"]
        assert model.fraction_replaced_guesses == 0.2
        assert model.timeout_in_seconds == 2.0
        assert mine.guesses == ["a + 1.5"]
        """
    )


def test_fit_with_an_own_regressor_pools_its_front_in_the_users_units():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        table = pd.DataFrame(X * [1e6, 1.0], columns=["a", "b c"])
        # A law that eight draws of the Transformer do not hit.
        y = 7.0 * table["a"] * np.sin(table["b c"] * np.sin(1.7e-6 * table["a"]))
        found = "(a * sin(b_c * sin(a * 1.7))) * 0.9"
        EQUATIONS[:] = [(1, 9.0, "2.5"), (11, 0.5, found), (4, 0.4, "twice(a)")]
        mine = own(unary_operators=["sin", "twice(x) = 2x"], maxsize=11)
        model = SymbolicTransformerRegressor(
            mine, n_candidates=8, unary_operators=["exp"], random_state=0
        ).fit(table, y)
        assert model.engine_ == "pysr"
        assert isinstance(model.search_, PySRRegressor) and model.search_ is not mine
        assert model.search_.guesses and not hasattr(mine, "equations_")
        assert 0.1 < np.median(np.abs(RUNS[0]["y"])) < 10.0
        best = model.get_best()
        assert best["source"] == "pysr" and best["complexity"] == 11, model
        np.testing.assert_allclose(model.predict(table), y, rtol=1e-12)
        for text in model.equations_["equation"]:
            assert Expression.parse(text, ["a", "b c"]).operators <= {"+", "*", "sin"}
        import pickle
        text = pickle.dumps(model.set_params(search="none"))
        assert b"pysr.sr" not in text and hasattr(model, "search_")
        assert np.array_equal(pickle.loads(text).predict(table), model.predict(table))
        """
    )


def test_guesses_that_break_own_constraints_are_not_offered():
    run_in_pysrs_python(
        """
        formulas = ["x0 * (x0 + x1)", "x0 * x1", "x0 + x1 * 2.5"]
        guesses = [Expression.parse(text) for text in formulas]
        for changes, expected in (
            (dict(constraints={"*": (1, 1)}), 2),
            (dict(maxdepth=2), 1),
            (dict(complexity_of_constants=9, maxsize=10), 2),
            (dict(), 3),
        ):
            model = resolve_engine(own(**changes)).search(task(guesses=guesses)).fitted
            assert len(model.guesses) == expected, (changes, model.guesses)
        """
    )


def test_formulas_with_constants_that_are_not_finite_do_not_end_the_search():
    run_in_pysrs_python(
        """
        guesses = [Expression.parse(text) for text in ("x0 * inf", "x0 * x1", "x1 + nan")]
        engine = resolve_engine(own())
        assert [engine.admits(guess) for guess in guesses] == [False, True, False]
        result = engine.search(task(guesses=guesses))
        assert result.interruption is None and RUNS[0]["guesses"] == ["(a * b_c)"]
        assert result.refused == {"number out of range": 2}
        """
    )


def test_settings_in_absolute_units_keep_the_table_as_it_is():
    run_in_pysrs_python(
        """
        for change in (
            dict(elementwise_loss="L1DistLoss()"), dict(loss_function="f(t, d, o) = 1.0"),
            dict(early_stop_condition=1e-9), dict(dimensional_constraint_penalty=10.0),
            dict(loss_scale="linear"),
        ):
            assert not resolve_engine(own(**change)).scaled, change
        assert resolve_engine(own(parsimony=0.1, nested_constraints={"twice": {"twice": 0}})).scaled
        """
    )


def test_operators_by_arity_are_understood_and_template_searches_refused():
    run_in_pysrs_python(
        """
        mine = PySRRegressor(operators={1: ["sin", "sign"], 2: ["+", "^"], 3: ["clamp"]})
        assert resolve_engine(mine).operators == {"sin", "+", "^"}
        assert resolve_engine(PySRRegressor()).operators == set("+-*/")
        from pysr import TemplateExpressionSpec
        spec = TemplateExpressionSpec("f(x0) + x1", expressions=["f"], variable_names=["x0", "x1"])
        try:
            resolve_engine(PySRRegressor(expression_spec=spec))
        except ValueError as error:
            assert "TemplateExpressionSpec" in str(error)
        else:
            raise AssertionError("accepted")
        """
    )


def test_searches_that_go_on_from_earlier_ones_are_refused():
    run_in_pysrs_python(
        """
        try:
            resolve_engine(own(warm_start=True))
        except ValueError as error:
            assert "warm_start" in str(error) and "guesses" in str(error)
        else:
            raise AssertionError("accepted")
        """
    )


def test_settings_that_seeding_does_not_need_stay_as_they_are(tmp_path):
    run_in_pysrs_python(
        f"""
        folder = {str(tmp_path)!r}
        mine = own(
            niterations=3, populations=4, population_size=20, parsimony=0.01, precision=64,
            batching=True, batch_size=7, weight_optimize=0.02, run_id="mine", procs=2,
            parallelism="multithreading", tempdir=folder, delete_tempfiles=False,
            nested_constraints=dict(twice=dict(twice=0)), model_selection="accuracy", denoise=False,
            input_stream="stdin", verbosity=0, progress=False, update_verbosity=1,
            heap_size_hint_in_bytes=10**9, worker_timeout=3.0, max_evals=10**6,
        )
        model = resolve_engine(mine).search(task(random_state=5)).fitted
        changed = [
            name for name, value in mine.get_params().items()
            if model.get_params()[name] is not value and model.get_params()[name] != value
        ]
        expected = ["fraction_replaced_guesses", "guesses", "timeout_in_seconds"]
        assert sorted(changed) == expected, changed
        """
    )


def test_columns_named_as_custom_operators_get_another_name():
    run_in_pysrs_python(
        """
        result = resolve_engine(own()).search(task(variable_names=("twice", "b")))
        assert RUNS[0]["names"] == ["x0", "b"], RUNS
        assert result.interruption is None
        """
    )


def test_guesses_keep_to_the_columns_that_are_selected():
    run_in_pysrs_python(
        """
        wide = np.random.default_rng(0).uniform(1, 3, (50, 4))
        guesses = [Expression.parse(text) for text in ("x0 * x3", "x3 + x1", "x2 * 2.5", "x3 * x3")]
        EQUATIONS[:] = [(1, 9.0, "2.5"), (3, 0.5, "c * d")]
        mine = own(select_k_features=2, complexity_of_variables=[1, 2, 3, 4])
        result = resolve_engine(mine).search(
            task(X=wide, y=wide[:, 2] + 5 * wide[:, 3], guesses=guesses, random_state=0,
                 variable_names=("a", "b", "c", "d"))
        )
        assert result.interruption is None, result.interruption
        assert result.columns == (2, 3)
        assert result.refused == {"column not among select_k_features": 2}
        assert RUNS[0]["names"] == ["c", "d"] and RUNS[0]["X"].shape == (50, 2)
        assert RUNS[0]["complexity_of_variables"] == [3, 4]
        assert RUNS[0]["guesses"] == ["(c * 2.5)", "(d * d)"], RUNS[0]["guesses"]
        assert [e.variables for e in result.expressions] == [(), (2, 3)]
        model = result.fitted
        assert model.select_k_features == 2 and model.complexity_of_variables == [1, 2, 3, 4]
        assert list(model.selection_mask_) == [False, False, True, True]
        np.testing.assert_allclose(model.predict(wide), wide[:, 2] * wide[:, 3])
        """
    )


def test_only_selected_columns_are_shown():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        rng = np.random.default_rng(0)
        wide = rng.uniform(1, 3, (60, 4))
        y = wide[:, 0] + 0.3 * wide[:, 3] + rng.normal(size=60) * 0.1
        EQUATIONS[:] = [(1, 9.0, "2.5")]
        mine = own(select_k_features=1)
        model = SymbolicTransformerRegressor(mine, n_candidates=8, random_state=0).fit(wide, y)
        used = {i for c in model.hall_of_fame_.candidates for i in c.expression.variables}
        assert used == {0}, used
        """
    )


def test_formulas_against_own_constraints_are_not_shown():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        # An exact law, which the constraint forbids.
        y = X[:, 0] * X[:, 1]
        EQUATIONS[:] = [(1, 9.0, "2.5")]
        free = SymbolicTransformerRegressor(own(), n_candidates=8, random_state=0).fit(X, y)
        assert free.engine_ == "transformer" and not RUNS and not hasattr(free, "search_")
        assert "machine precision" in free.seeding_report_.not_run
        mine = own(maxdepth=1)
        model = SymbolicTransformerRegressor(mine, n_candidates=8, random_state=0).fit(X, y)
        assert len(RUNS) == 1
        assert all(len(c.expression.variables) < 2 for c in model.hall_of_fame_.candidates)
        """
    )


def test_each_output_is_a_search_of_its_own():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        rng = np.random.default_rng(0)
        Y = rng.normal(size=(20, 2))
        EQUATIONS[:] = [(1, 9.0, "2.5")]
        mine = own(guesses=[["x0 + 1.5"], ["x1 * 2.5"]], run_id="mine")
        model = SymbolicTransformerRegressor(mine, n_candidates=8, timeout_in_seconds=20).fit(
            X, Y, X_units=["m", "s"], y_units=["m", "s"]
        )
        assert [run["guesses"][0] for run in RUNS] == ["x0 + 1.5", "x1 * 2.5"]
        assert [run["run_id"] for run in RUNS] == ["mine_output0", "mine_output1"]
        assert [run["y"].shape for run in RUNS] == [(20,), (20,)]
        assert [(run["X_units"], run["y_units"]) for run in RUNS] == [
            (["m", "s"], "m"), (["m", "s"], "s"),
        ]
        assert len(model.search_) == len(model.seeding_report_) == 2
        assert model.engine_ == ["pysr", "pysr"]
        limits = [search.timeout_in_seconds for search in model.search_]
        assert 5.0 < limits[0] < 10.0 < limits[1] < 20.0, limits
        """
    )


def test_with_units_only_what_pysr_found_right_is_shown():
    run_in_pysrs_python(
        """
        from sr_transformer import SymbolicTransformerRegressor
        table = X * [1000.0, 1.0]
        y = table[:, 0] / table[:, 1]
        mse = lambda values: float(np.mean((values - y) ** 2))
        wrong, right = table[:, 0], table[:, 0] * 0.5
        EQUATIONS[:] = [
            (1, mse(wrong) + 1000.0, "x0"), (3, mse(right), "x0 * 0.5"),
        ]
        model = SymbolicTransformerRegressor(own(), n_candidates=8, random_state=0).fit(
            table, y, X_units=["m", "s"], y_units="m/s"
        )
        np.testing.assert_array_equal(np.sort(RUNS[0]["y"]), np.sort(y))  # not scaled
        assert set(model.equations_["source"]) == {"pysr"}
        assert len(model.equations_) == 1
        for units in (dict(X_units=["m"]), dict(X_units="ms"), dict(y_units=["m", "s"])):
            try:
                model.fit(table, y, **units)
            except ValueError as error:
                assert "give a unit of each" in str(error)
            else:
                raise AssertionError(units)
        """
    )


def test_complexity_that_julia_defines_is_left_to_it():
    run_in_pysrs_python(
        """
        mine = own(maxsize=7, complexity_mapping="f(tree) = 1")
        guess = Expression.parse("x0 * x1 + x0 * x0 + x1 * x1")
        assert len(resolve_engine(mine).search(task(guesses=[guess])).accepted) == 1
        assert resolve_engine(mine).admits(guess)
        assert not resolve_engine(own(maxsize=7)).admits(guess)
        """
    )


def test_engine_built_for_a_task_passes_pysrs_own_validation():
    run_in_pysrs_python(
        """
        from sr_transformer.engines.pysr.engine import PySREngine
        warnings.simplefilter("error")
        weights = np.linspace(1, 2, 20)
        result = PySREngine().search(
            task(weights=weights, random_state=4, maxsize=5, variable_names=("x0", "x1"))
        )
        assert result.interruption is None, result.interruption
        assert np.array_equal(RUNS[0]["weights"], weights)
        assert RUNS[0]["names"] == ["x0", "x1"]
        assert result.fitted.deterministic and result.fitted.parallelism == "serial"
        """
    )


def test_crash_and_keyboard_within_pysr_end_the_search_not_the_fit():
    run_in_pysrs_python(
        """
        for FAIL, words in (
            (RuntimeError("JuliaError: BoundsError"), "BoundsError"),
            (KeyboardInterrupt(), "interrupted from the keyboard"),
        ):
            result = resolve_engine(own()).search(task())
            assert words in result.interruption, result.interruption
            assert result.expressions == []
        """
    )


def test_what_pysr_had_written_before_a_crash_is_read():
    run_in_pysrs_python(
        """
        def crash(self, X, y, runtime_params, weights, **others):
            folder = os.path.join(self.output_directory_, str(self.run_id_))
            os.makedirs(folder)
            with open(os.path.join(folder, "hall_of_fame.csv"), "w") as file:
                file.write('Complexity,Loss,Equation\\n1,9.0,"2.5"\\n3,0.5,"a * b_c"\\n')
            raise RuntimeError("lost")
        PySRRegressor._run = crash
        result = resolve_engine(own(run_id="here")).search(task())
        assert "lost" in result.interruption
        assert [e.to_text() for e in result.expressions] == ["2.5", "x0 * x1"]
        """
    )


# --- whole fits while the engine fails ------------------------------------------------------------
FIT = """
import signal, threading, time
from sr_transformer import SymbolicTransformerRegressor
from sr_transformer.errors import SearchInterruptedWarning

noise = np.random.default_rng(1).normal(size=20)
y = X[:, 0] * X[:, 1] + noise

def fit(search=None, **settings):
    # The front with one warning, and that of the Transformer alone.
    parameters = dict(n_candidates=16, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SymbolicTransformerRegressor(
            own() if search is None else search, **parameters, **settings
        ).fit(X, y)
    found = [w for w in caught if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    assert len(found) == 1, [str(w.message) for w in found]
    assert found[0].category is SearchInterruptedWarning, found[0]
    alone = SymbolicTransformerRegressor(
        "none", binary_operators=["+", "*"], unary_operators=[], **parameters
    ).fit(X, y)
    assert np.isfinite(model.predict(X)).all() and model.sympy() is not None
    rounding = np.exp(4 / len(y))  # what the loss of a better formula may rise by simple constants
    for ours in alone.hall_of_fame_:
        assert any(
            row.loss <= ours.loss * rounding and row.complexity <= ours.complexity
            for row in model.hall_of_fame_
        ), (ours, model)
    return model, str(found[0].message)
"""


def fit_in_pysrs_python(code: str) -> None:
    run_in_pysrs_python(FIT + textwrap.dedent(code))


def test_engine_that_raises_in_the_middle_keeps_what_it_had_written():
    fit_in_pysrs_python(
        """
        def crash(self, X, y, runtime_params, weights, **others):
            folder = os.path.join(self.output_directory_, self.run_id_)
            os.makedirs(folder)
            with open(os.path.join(folder, "hall_of_fame.csv"), "w") as file:
                file.write('Complexity,Loss,Equation\\n5,0.5,"(x0 * x1) * 0.97"\\n')
            raise RuntimeError("JuliaError: BoundsError")
        PySRRegressor._run = crash
        model, text = fit(own(run_id="here"))
        assert "BoundsError" in text and "BoundsError" in model.seeding_report_.interruption
        assert model.seeding_report_.n_front == 1
        """
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c_during_the_search_ends_it_with_what_is_there():
    fit_in_pysrs_python(
        """
        def slow(self, *_, **__):
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            time.sleep(60)
        PySRRegressor._run = slow
        begun = time.monotonic()
        model, text = fit()
        assert time.monotonic() - begun < 40
        assert "interrupted from the keyboard" in text
        assert model.engine_ == "transformer"
        """
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_engine_that_hangs_beyond_its_timeout_is_stopped():
    fit_in_pysrs_python(
        """
        from sr_transformer.engines.pysr import engine as pysr
        pysr._GRACE_SECONDS = 0.5
        PySRRegressor._run = lambda self, *_, **__: time.sleep(60)
        begun = time.monotonic()
        model, text = fit(timeout_in_seconds=2.0)
        assert time.monotonic() - begun < 40
        assert "and was stopped" in text, text
        """
    )


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are those of POSIX")
def test_output_folder_that_cannot_be_written_costs_the_search_not_the_fit():
    fit_in_pysrs_python(
        """
        import tempfile
        folder = tempfile.mkdtemp()
        os.chmod(folder, 0o555)
        SymbolicTransformerRegressor("none", n_candidates=8).fit(X, y)  # imports what it needs
        if os.geteuid() == 0:
            os.seteuid(65534)  # permissions do not bind the superuser
        model, text = fit(own(temp_equation_file=False, output_directory=folder, run_id="run"))
        assert "Permission denied" in text, text
        """
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_costs_the_search_not_the_fit():
    fit_in_pysrs_python(
        """
        def write_front(self, *_, **__):
            with open("/dev/full", "w") as file:
                file.write("Complexity,Loss,Equation")
        PySRRegressor._run = write_front
        model, text = fit()
        assert "No space left on device" in text, text
        """
    )


def test_julia_that_cannot_be_imported_costs_one_warning():
    code = """
        import sys, warnings
        import numpy as np
        sys.modules["juliacall"] = None
        from sr_transformer import SymbolicTransformerRegressor
        X = np.random.default_rng(0).uniform(1, 3, (20, 2))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = SymbolicTransformerRegressor(n_candidates=8).fit(X, X[:, 0])
        (warning,) = caught
        assert warning.category.__name__ == "EngineFallbackWarning"
        assert model.engine_ == "transformer"
        assert model.seeding_report_.not_run
        assert np.isfinite(model.predict(X)).all()
    """
    if find_spec("pysr") is None:
        pytest.skip("pysr is not installed")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- the real engine ------------------------------------------------------------------------------
@pytest.mark.pysr
def test_real_pysr_improves_on_its_guesses(task):
    result = PySREngine().search(task)
    assert is_pysr_regressor(result.fitted)
    assert result.interruption is None
    assert result.n_unreadable == 0
    errors = [np.mean((e.evaluate(task.X) - task.y) ** 2) for e in result.expressions]
    assert min(errors) < 1e-9


@pytest.mark.pysr
def test_real_regressor_of_the_user_is_cloned_and_rules(quick, noisy_table):
    from pysr import PySRRegressor

    own = PySRRegressor(
        binary_operators=["+", "*"], maxsize=12, niterations=2, populations=4, progress=False,
        verbosity=0, temp_equation_file=True,
    )  # fmt: skip
    before = dict(own.get_params())
    model = quick(search=own).fit(*noisy_table)
    assert own.get_params() == before
    assert not hasattr(own, "equations_")
    assert model.seeding_report_.engine == "pysr"
    assert model.search_.binary_operators == ["+", "*"]
    assert model.search_.equations_["complexity"].max() <= 12
    assert model.score(*noisy_table) > 0.9
    report = model.seeding_report_
    assert report.interruption is None
    assert report.n_guesses == report.n_accepted + sum(report.refused.values())
    assert report.n_accepted >= 1
    assert report.n_survived >= 1
    assert report.n_front >= 1


@pytest.mark.pysr
def test_real_search_of_selected_columns_and_several_outputs(quick):
    from pysr import PySRRegressor

    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (60, 4))
    Y = np.column_stack([X[:, 1] + X[:, 2], X[:, 1] * X[:, 2]]) + 0.1 * rng.normal(size=(60, 2))
    own = PySRRegressor(
        binary_operators=["+", "*"], niterations=2, populations=4, select_k_features=2,
        progress=False, verbosity=0, temp_equation_file=True,
    )  # fmt: skip
    model = quick(search=own).fit(X, Y)
    assert model.engine_ == ["pysr", "pysr"]
    for hall, search, report in zip(
        model.hall_of_fame_, model.search_, model.seeding_report_, strict=True
    ):
        assert report.interruption is None
        used = {column for row in hall.candidates for column in row.expression.variables}
        assert used <= set(np.flatnonzero(search.selection_mask_))
        assert search.predict(X).shape == (60,)
    assert model.score(X, Y) > 0.8
