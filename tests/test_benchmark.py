"""The benchmark: tables from catalogues, fair runs, results that survive a stop."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from sr_transformer.evaluation import suite
from sr_transformer.evaluation.judging import fraction_unexplained, is_law
from sr_transformer.evaluation.methods import (
    METHODS,
    Answer,
    Ours,
    UnknownMethodError,
    expression_of_gplearn,
    find_method,
)
from sr_transformer.evaluation.problems import (
    UNSEEN_ROWS,
    CatalogueError,
    Problem,
    Variable,
    read_catalogue,
)
from sr_transformer.evaluation.suite import Settings, run
from sr_transformer.expression import Expression
from sr_transformer.proposal.draw import PriorSampler

pytest.importorskip("yaml")

CATALOGUE = """
expressions:
  product:
    prepared: 2*v1*v2
    vars:
      v0: {name: y}
      v1: {sample_range: [1.0, 3.0], sample_type: [uni, pos]}
      v2: {sample_range: [0.1, 10.0], sample_type: [log, pos]}
  root:
    prepared: sqrt(v1) + neg(v2)**2
    vars:
      v1: {sample_range: [-1.0, 1.0], sample_type: [uni, pos]}
      v2: {sample_range: [1.0, 5.0], sample_type: [int, pos_neg]}
"""

QUICK = Settings(seconds=0.5, rows=30)


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(CATALOGUE)
    return path


def write(path, text):
    path.write_text(text)
    return path


# --- problems -----------------------------------------------------------------------------------


def test_a_catalogue_gives_its_problems_in_order(catalogue):
    product, root = read_catalogue(catalogue)
    assert (product.catalogue, product.name, root.name) == ("small", "product", "root")
    X = np.array([[4.0, 3.0], [9.0, -1.0]])
    np.testing.assert_allclose(product.truth.evaluate(X), [24.0, -18.0])
    np.testing.assert_allclose(root.truth.evaluate(X), [11.0, 4.0])


@pytest.mark.parametrize(
    ("variable", "low", "high"),
    [
        (Variable(1.0, 3.0, "uni", "pos"), 1.0, 3.0),
        (Variable(-50.0, 50.0, "uni", "pos"), -50.0, 50.0),
        (Variable(1e-2, 1e2, "log", "neg"), -1e2, -1e-2),
        (Variable(1.0, 4.0, "int", "pos"), 1.0, 4.0),
    ],
)
def test_values_lie_in_the_range(variable, low, high):
    values = variable.draw(2000, np.random.default_rng(0))
    assert low <= values.min() < low + 0.1 * (high - low) + 1e-9
    assert high - 0.1 * (high - low) - 1e-9 < values.max() <= high


def test_logarithmic_values_have_as_many_below_as_above_the_geometric_middle():
    values = Variable(1e-4, 1e4, "log", "pos").draw(4000, np.random.default_rng(0))
    assert 0.45 < np.mean(values < 1.0) < 0.55


def test_whole_numbers_and_both_signs():
    values = Variable(1.0, 3.0, "int", "pos_neg").draw(500, np.random.default_rng(0))
    assert set(values) == {-3.0, -2.0, -1.0, 1.0, 2.0, 3.0}


def test_undefined_rows_are_drawn_again(catalogue):
    problem = read_catalogue(catalogue)[1].problem(rows=40, noise=0.0, seed=0)
    assert problem.X.shape == (40, 2)
    assert problem.X_unseen.shape == (UNSEEN_ROWS, 2)
    assert np.all(problem.X[:, 0] >= 0)
    assert np.all(np.isfinite(problem.y))
    assert not problem.noisy


def test_a_formula_that_is_never_finite_is_reported(tmp_path):
    path = write(tmp_path / "bad.yaml", CATALOGUE.replace("sqrt(v1)", "sqrt(v1 - 2)"))
    with pytest.raises(CatalogueError, match="bad/root: only 0 of 5 rows"):
        read_catalogue(path)[1].problem(rows=5, noise=0.0, seed=0)


def test_tables_depend_on_the_seed_alone(catalogue):
    law = read_catalogue(catalogue)[0]
    first, again = (law.problem(rows=20, noise=0.1, seed=3) for _ in range(2))
    other = law.problem(rows=20, noise=0.1, seed=4)
    np.testing.assert_array_equal(first.X, again.X)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.X, other.X)


def test_noise_is_a_share_of_the_spread_and_spares_the_unseen_rows(catalogue):
    problem = read_catalogue(catalogue)[0].problem(rows=4000, noise=0.1, seed=0)
    clean = problem.truth.evaluate(problem.X)
    assert problem.noisy
    assert np.std(problem.y - clean) / np.std(clean) == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(problem.clean, clean)
    np.testing.assert_array_equal(problem.y_unseen, problem.truth.evaluate(problem.X_unseen))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("uni, pos", "normal, pos", "scale in sample_type is 'normal'; allowed are uni, log, int"),
        ("uni, pos", "uni, up", "sign in sample_type is 'up'"),
        ("[0.1, 10.0]", "[-0.1, 10.0]", "logarithmic range must be positive"),
        ("[0.1, 10.0]", "[0.1]", r"expected sample_range: \[low, high\]"),
        ("prepared: 2*v1*v2", "prepared: 2*v1*frob(v2)", "frob"),
        ("v2: {sample_range: [0.1", "w: {sample_range: [0.1", "must describe v1 ... v2"),
        ("prepared: 2*v1*v2", "formula: 2*v1*v2", "small/product lacks 'prepared'"),
        ("expressions:", "problems:", "holds no problems"),
        ("expressions:", "expressions: [", "not valid YAML"),
    ],
)
def test_mistakes_in_a_catalogue_are_named(tmp_path, old, new, message):
    path = write(tmp_path / "small.yaml", CATALOGUE.replace(old, new, 1))
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(path)


def test_a_missing_catalogue_is_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"nowhere\.yaml cannot be read"):
        read_catalogue(tmp_path / "nowhere.yaml")


# --- methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "none", "transformer", "closed-forms", "operon", "operon-alone", "prior", "gplearn",
        pytest.param("pysr", marks=pytest.mark.pysr),
        pytest.param("pysr-alone", marks=pytest.mark.pysr),
    ],
)  # fmt: skip
def test_methods_answer_with_a_formula_within_the_time(name):
    method = find_method(name)
    if reason := method.unusable_reason():
        pytest.skip(reason)
    method.prepare()
    X = np.random.default_rng(0).uniform(1.0, 3.0, (50, 2))
    answer = method.fit(X, X[:, 0] * X[:, 1] + 0.3 * np.sin(9 * X[:, 0]), seconds=1.0, seed=0)
    assert answer.predict(X).shape == (50,)
    assert answer.complexity >= 1
    assert answer.formula
    # gplearn's protected functions have values of their own close to their poles.
    same = np.isclose(answer.expression.evaluate(X), answer.predict(X), rtol=1e-9)
    assert same.mean() > 0.9
    if name.endswith("-alone"):
        assert not {"encode", "sample", "fit"} & set(answer.timings)
    elif name != "gplearn":
        assert {"encode", "sample", "fit", "select"} <= set(answer.timings)
        assert answer.timings["total"] < 20.0  # drawing without end would not come back


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(UnknownMethodError, match="no method 'magic'; there are none, transformer"):
        find_method("magic")


# --- runs -----------------------------------------------------------------------------------------


class Counting:
    """The true product for the first problem, and a failure for the second."""

    name = "counting"
    release = "1"

    def __init__(self):
        self.calls = 0

    def unusable_reason(self):
        return None

    def version(self):
        return self.release

    def prepare(self):
        pass

    def fit(self, X, y, *, seconds, seed):
        self.calls += 1
        if np.any(X < 0):
            raise RuntimeError("no negative numbers here")
        law = Expression.parse("2.1 * x0 * x1")  # as noise would have it
        return Answer(lambda X: 2 * X[:, 0] * X[:, 1], "2*x0*x1", 5, law)


@pytest.fixture
def counting(monkeypatch):
    method = Counting()
    monkeypatch.setitem(METHODS, "counting", method)
    return method


def test_results_are_written_as_they_come_and_not_run_twice(catalogue, tmp_path, counting):
    out = tmp_path / "results.jsonl"
    first = run([catalogue], ["counting"], settings=QUICK, out=out)
    assert [result["recovered"] for result in first] == [True, False]
    assert first[1]["error"] == "RuntimeError: no negative numbers here"
    assert [json.loads(line) for line in out.read_text().splitlines()] == first
    assert run([catalogue], ["counting"], settings=QUICK, out=out) == first
    assert counting.calls == 2


def test_other_settings_are_run_anew(catalogue, tmp_path, counting):
    out = tmp_path / "results.jsonl"
    run([catalogue], ["counting"], settings=QUICK, out=out)
    run([catalogue], ["counting"], settings=Settings(seconds=0.5, rows=31), out=out)
    assert counting.calls == 4
    assert len(out.read_text().splitlines()) == 4


def test_another_version_of_a_method_is_run_anew(catalogue, tmp_path, counting):
    out = tmp_path / "results.jsonl"
    run([catalogue], ["counting"], settings=QUICK, out=out)
    counting.release = "2"
    again = run([catalogue], ["counting"], settings=QUICK, out=out)
    assert counting.calls == 4
    assert {result["version"] for result in again} == {"2"}


def test_a_run_stopped_in_the_middle_of_a_line_goes_on(catalogue, tmp_path, counting):
    out = tmp_path / "results.jsonl"
    run([catalogue], ["counting"], settings=QUICK, out=out)
    whole = out.read_bytes()
    out.write_bytes(whole[:-40])
    run([catalogue], ["counting"], settings=QUICK, out=out)
    assert counting.calls == 3
    assert len(out.read_text().splitlines()) == 2


def test_a_file_of_something_else_is_not_appended_to(catalogue, tmp_path, counting):
    out = write(tmp_path / "notes.txt", "remember the milk\n")
    with pytest.raises(ValueError, match=r"line 1 of .*notes\.txt is not a benchmark result"):
        run([catalogue], ["counting"], settings=QUICK, out=out)
    assert out.read_text() == "remember the milk\n"


def test_a_file_that_cannot_be_written_is_said_before_the_first_fit(catalogue, tmp_path, counting):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run([catalogue], ["counting"], settings=QUICK, out=tmp_path / "nowhere" / "results.jsonl")
    assert counting.calls == 0


def test_a_method_that_cannot_run_is_reported_and_left_out(catalogue, tmp_path, monkeypatch):
    class Absent(Counting):
        name = "absent"

        def unusable_reason(self):
            return "it is not there"

    monkeypatch.setitem(METHODS, "absent", Absent())
    console = Console(record=True, width=100, file=(tmp_path / "log").open("w"))
    results = run(
        [catalogue], ["absent"], settings=QUICK, out=tmp_path / "r.jsonl", console=console
    )
    assert results == []
    assert "absent is not available and is left out: it is not there" in console.export_text()


def test_an_interrupted_fit_ends_the_run_and_is_measured_again(catalogue, tmp_path, monkeypatch):
    class Interrupted(Counting):
        def fit(self, X, y, **settings):
            if self.calls == 1:
                self.calls += 1
                raise KeyboardInterrupt
            return super().fit(X, y, **settings)

    method = Interrupted()
    monkeypatch.setitem(METHODS, "counting", method)
    out = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run([catalogue], ["counting"], settings=QUICK, out=out)
    assert [json.loads(line)["problem"] for line in out.read_text().splitlines()] == ["product"]
    results = run([catalogue], ["counting"], settings=QUICK, out=out)
    assert [result["problem"] for result in results] == ["product", "root"]
    assert method.calls == 3


def test_our_methods_keep_nothing_of_a_fit_that_the_keyboard_ended(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    X, y = np.random.default_rng(0).uniform(1.0, 3.0, (2, 30))
    method = Ours("formulas of the prior", proposers=["transformer"], sampler=PriorSampler())
    monkeypatch.setattr(PriorSampler, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        method.fit(X[:, None], y, seconds=1.0, seed=0)
    with pytest.raises(KeyboardInterrupt):
        method.prepare()


def test_the_summary_counts_what_was_recovered(catalogue, tmp_path, counting):
    results = run([catalogue], ["counting"], settings=QUICK, out=tmp_path / "r.jsonl")
    console = Console(record=True, width=120, file=(tmp_path / "log").open("w"))
    suite.print_summary(results, console)
    text = console.export_text()
    assert "1 (50%)" in text
    assert "counting" in text


@pytest.mark.parametrize(
    ("predicted", "unexplained"),
    [([1.0, 2.0, 3.0], 0.0), ([2.0, 2.0, 2.0], 1.0), ([1.0, np.nan, 3.0], np.inf)],
)
def test_unexplained_variance(predicted, unexplained):
    y = np.array([1.0, 2.0, 3.0])
    law = Expression.parse("x0")
    problem = Problem(y[:, None], y, y, y[:, None], y, law, noisy=False)
    assert fraction_unexplained(np.array(predicted), problem) == unexplained


@pytest.mark.parametrize(
    ("formula", "counts"),
    [
        ("2.1 * x0 * x1", True),
        ("x0 * x1 / 0.49", True),
        ("x0 * (x1 + x1)", True),
        ("2.1 * x0 * x1 + 0.01", False),
        ("2.1 * x0 * x1 + 0.02 * sin(x0)", False),
        ("x0 * x1", False),
        ("2.1 * x0 + x1", False),
        ("2.1 * log(-x0)", False),
    ],
)
def test_with_noise_the_form_counts_and_nothing_may_be_superfluous(catalogue, formula, counts):
    problem = read_catalogue(catalogue)[0].problem(rows=50, noise=0.1, seed=0)
    assert is_law(Expression.parse(formula), problem) is counts


def test_a_term_too_many_counts_where_it_is_allowed(catalogue):
    problem = read_catalogue(catalogue)[0].problem(rows=50, noise=0.1, seed=0)
    longer = Expression.parse("2.1 * x0 * x1 + 0.01")
    assert is_law(longer, problem, superfluous=True)
    assert not is_law(Expression.parse("2.1 * x0 + x1"), problem, superfluous=True)


def test_without_noise_the_values_count(catalogue):
    problem = read_catalogue(catalogue)[0].problem(rows=50, noise=0.0, seed=0)
    assert is_law(Expression.parse("2 * x0 * x1"), problem)
    assert not is_law(Expression.parse("2.1 * x0 * x1"), problem)


def test_a_noisy_problem_is_recovered_by_its_form(catalogue, tmp_path, counting):
    noisy = Settings(seconds=0.5, rows=30, noise=0.05)
    results = run([catalogue], ["counting"], settings=noisy, out=tmp_path / "r.jsonl", limit=1)
    assert results[0]["recovered"] is True


def test_gplearns_programs_are_read_with_their_protected_functions():
    names = ("div", "log", "add", 1, 2.5, "square", "sqrt", 0)
    program = [SimpleNamespace(name=n) if isinstance(n, str) else n for n in names]
    expression = expression_of_gplearn(program)
    assert expression.symbols == (
        "/", "log", "abs", "+", "x1", "c", "square", "sqrt", "abs", "x0",
    )  # fmt: skip
    assert expression.constants == (2.5,)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"rows": 1}, {"noise": -1.0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)
