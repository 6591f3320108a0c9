"""The evaluation on held-out problems, its table, and the model card."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from sr_transformer.cli import app
from sr_transformer.errors import CheckpointError
from sr_transformer.evaluation import recovery
from sr_transformer.evaluation.card import BY_HAND, markdown_table, write_card
from sr_transformer.evaluation.judging import holds_law
from sr_transformer.evaluation.recovery import (
    Evaluation,
    Outcome,
    evaluate_recovery,
    make_problem,
)
from sr_transformer.expression import Expression
from sr_transformer.model.checkpoint import load_model, save_model
from sr_transformer.model.transformer import PRESETS, Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.prior.holdout import held_out_suites
from sr_transformer.proposal.draw import NetworkSampler

VALIDATION = {
    "loss": 1.25, "token_accuracy": 0.5, "formula_accuracy": 0.125, "formula_loss": 9.0,
    "examples": 1024.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network: its formulas are as good as any to see whether they are counted."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(
        Transformer(PRESETS["tiny"]), path, vocabulary=Vocabulary.of(), rows=256, preset="tiny",
        examples_seen=123_456, prior_version="1", validation={},
    )  # fmt: skip
    return path


MEASURED = {"draws": (1, 2), "device": "cpu"}


@pytest.fixture(scope="module")
def measured(checkpoint, tmp_path_factory):
    """Two problems measured once: what came out, and its file."""
    out = tmp_path_factory.mktemp("outcomes") / "outcomes.jsonl"
    evaluation = evaluate_recovery(checkpoint, **MEASURED, n_problems=2, out=out)
    return evaluation, out.read_text()


DRAWS = (32, 256, 1024)


def evaluation_of(*outcomes, n_asked=None, draws=DRAWS):
    return Evaluation(outcomes, VALIDATION, n_asked or len(outcomes), draws)


# --- problems -------------------------------------------------------------------------------------
@pytest.mark.parametrize("index", range(6))
def test_a_problem_is_always_the_same_and_its_formula_explains_it(index):
    problem, again = make_problem(index), make_problem(index)
    assert problem.truth == again.truth
    assert np.array_equal(problem.X, again.X)
    assert np.array_equal(problem.y, again.y)
    assert 8 <= len(problem.y) <= 1024
    assert problem.X_unseen.shape == (256, problem.X.shape[1])
    assert np.array_equal(problem.truth.evaluate(problem.X), problem.clean)
    assert np.array_equal(problem.truth.evaluate(problem.X_unseen), problem.y_unseen)
    assert problem.noisy == (index % 2 == 1)
    assert problem.noisy != np.allclose(problem.y, problem.clean, rtol=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_the_formula_itself_counts_and_a_constant_does_not(index):
    problem = make_problem(index)
    constant = Expression(["c"], [float(problem.y.mean())])
    assert holds_law([constant, problem.truth], problem)
    assert not holds_law([constant], problem)


def test_with_noise_the_form_counts_and_without_it_the_values():
    for index, noisy in ((12, False), (3, True)):
        problem = make_problem(index)
        assert problem.noisy is noisy
        moved = [1.01 * c for c in problem.truth.constants]
        assert holds_law([problem.truth.with_constants(moved)], problem) is noisy


# --- the measurement ------------------------------------------------------------------------------
def test_the_evaluation_is_repeatable_whatever_the_number_of_processes(checkpoint, measured):
    one, _ = measured
    assert one.n_asked == 2
    assert [outcome.noisy for outcome in one.outcomes] == [False, True]
    for outcome in one.outcomes:
        assert {*outcome.needed} <= {None, 1, 2}
    assert one.validation["examples"] == 1024
    assert evaluate_recovery(checkpoint, **MEASURED, n_problems=2, n_jobs=2) == one


def test_an_easy_problem_is_recovered_within_the_first_draws(checkpoint):
    # Problem 14 is a sum of two variables: repair finds it, whoever drew two formulas.
    assert make_problem(14).truth.symbols == ("+", "x0", "x1")
    outcome = recovery.solve(14, str(checkpoint), "cpu", (2, 4))
    assert outcome[:3] == (3, 2, False)
    assert outcome.needed[2:] == (2, 2)


def test_a_time_limit_ends_the_evaluation_with_what_was_done(checkpoint):
    result = evaluate_recovery(checkpoint, n_problems=5, draws=(1,), seconds=1e-6, device="cpu")
    assert len(result.outcomes) == 1
    assert result.n_asked == 5


def test_a_stopped_evaluation_goes_on_from_its_file(checkpoint, measured, tmp_path):
    whole, text = measured
    first, second = map(json.loads, text.splitlines())
    assert (first["problem"], second["problem"]) == (0, 1)
    # What was measured is believed; what was cut off by a crash is measured again. Other first
    # draws are another measurement, though it may share the file.
    first["needed"] = [2, None, 1, 2]
    other = {**second, "draws": [2, 4], "needed": [2, 2, 2, 2]}
    out = tmp_path / "outcomes.jsonl"
    out.write_text(f"{json.dumps(first)}\n{json.dumps(other)}\n{json.dumps(second)[:-9]}")
    evaluation = evaluate_recovery(checkpoint, **MEASURED, n_problems=2, out=out)
    assert evaluation.outcomes[0].needed == (2, None, 1, 2)
    assert evaluation.outcomes[1] == whole.outcomes[1]
    assert [json.loads(line) for line in out.read_text().splitlines()] == [first, other, second]


def test_more_draws_go_on_after_the_fewer_that_a_file_holds(checkpoint, measured, tmp_path):
    whole, text = measured
    known = json.loads(text.splitlines()[0])
    settings = {"n_problems": 1, "device": "cpu", "out": tmp_path / "outcomes.jsonl"}
    # What one draw recovered is believed, and the others go on with the second draw.
    without_model = [n if n == 1 else None for n in known["needed"][1::2]]
    known |= {"draws": [1], "needed": [1, without_model[0], 1, without_model[1]]}
    settings["out"].write_text(f"{json.dumps(known)}\n")
    (outcome,) = evaluate_recovery(checkpoint, draws=(1, 2), **settings).outcomes
    assert outcome.needed[::2] == (1, 1)
    assert outcome.needed[1::2] == whole.outcomes[0].needed[1::2]
    fewer, more = map(json.loads, settings["out"].read_text().splitlines())
    assert (fewer["draws"], more["draws"]) == ([1], [1, 2])
    # Fewer draws need no measurement, and what is known is believed.
    more["needed"] = [2, None, 1, 2]
    settings["out"].write_text(f"{json.dumps(more)}\n")
    (outcome,) = evaluate_recovery(checkpoint, draws=(1,), **settings).outcomes
    assert outcome.needed == (None, None, 1, None)
    assert len(settings["out"].read_text().splitlines()) == 1


def test_a_file_of_something_else_is_refused(checkpoint, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"line 1 of .*table\.csv is not an outcome"):
        evaluate_recovery(checkpoint, n_problems=1, out=path)
    assert path.read_text() == "x,y\n1,2\n"


def test_a_file_that_cannot_be_written_is_said_before_the_first_problem(
    checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(recovery, "solve", lambda *_: pytest.fail("a problem was begun"))
    out = tmp_path / "nowhere" / "outcomes.jsonl"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate_recovery(checkpoint, n_problems=1, out=out)


def test_an_interrupted_problem_ends_the_evaluation_and_is_not_written(
    checkpoint, tmp_path, monkeypatch
):
    def read_unless_second(self, X, y):
        if len(y) == second:
            raise KeyboardInterrupt
        read(self, X, y)

    first, second = (min(len(make_problem(index).y), 256) for index in range(2))
    assert first != second
    read = NetworkSampler.read
    monkeypatch.setattr(NetworkSampler, "read", read_unless_second)
    settings = {"n_problems": 3, "draws": (2,), "device": "cpu", "out": tmp_path / "outcomes.jsonl"}
    with pytest.raises(KeyboardInterrupt):
        evaluate_recovery(checkpoint, **settings)
    (line,) = settings["out"].read_text().splitlines()
    assert json.loads(line)["problem"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_problems": 0}, "must be at least 1"),
        ({"seconds": 0.0}, "must be above 0"),
        ({"draws": (256, 32)}, "must ascend"),
        ({"draws": ()}, "must ascend"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        evaluate_recovery("default", **settings)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        evaluate_recovery(tmp_path / "none.safetensors", n_problems=1)


# --- table and card -------------------------------------------------------------------------------
def test_shares_are_counted_by_kind_and_number_of_draws():
    evaluation = evaluation_of(
        Outcome(4, 1, False, DRAWS, (32, 1024, 32, 32)),
        Outcome(12, 3, False, DRAWS, (256, None, 32, None)),
        Outcome(12, 4, True, DRAWS, (None, None, None, None)),
        Outcome(20, 3, True, DRAWS, (1024, 32, 256, 32)),
    )
    rows = {row.label: row for row in evaluation.rows}
    assert rows["all"].n_problems == 4
    assert rows["all"].shares == (
        (0.25, 0.5, 0.75), (0.25, 0.25, 0.5), (0.5, 0.75, 0.75), (0.5, 0.5, 0.5),
    )  # fmt: skip
    assert rows["without noise"].shares[:2] == ((0.5, 1.0, 1.0), (0.0, 0.0, 0.5))
    assert rows["complexity 11 to 15"].shares[:2] == ((0.0, 0.5, 0.5), (0.0, 0.0, 0.0))
    assert rows["4 or more variables"].shares == ((0.0, 0.0, 0.0),) * 4
    assert rows["without noise, complexity to 15, to 3 variables"].n_problems == 2
    assert "2 variables" not in rows
    title, _, *lines = markdown_table(evaluation).splitlines()
    assert title == "Per cent of the problems recovered within 32/256/1,024 draws:"
    assert lines[2] == "| all | 4 | 25/50/75 | 25/25/50 | 50/75/75 | 50/50/50 |"
    assert len({line.count("|") for line in lines}) == 1


def test_the_card_says_what_the_model_is_and_where_it_fails(checkpoint, tmp_path):
    easy = [Outcome(5, 1, False, DRAWS, (32, None, 32, None))] * 30
    hard = [Outcome(20, 5, True, DRAWS, (None, None, None, 1024))] * 10
    hard += [Outcome(20, 5, True, DRAWS, (None, None, 256, None))] * 15
    path = tmp_path / "MODEL_CARD.md"
    model = load_model(checkpoint, "cpu")
    write_card(path, model, evaluation_of(*easy, *hard, n_asked=100))
    card = path.read_text()
    for text in (
        "tiny.safetensors", "examples seen | 123,456", "licence | Apache-2.0", "Nguyen",
        model.metadata["date"], model.metadata["vocabulary_hash"], "1.250 nats",
        "55 problems drawn", "rest of 100.", "0.1 % to 20 %", *held_out_suites()[:1],
        "- with noise: 40% of 25 problems are not recovered (40% are recovered without a model).",
    ):  # fmt: skip
        assert text in card
    assert markdown_table(evaluation_of(*easy, *hard)) in card
    assert "No better than" not in card


def test_what_was_added_to_a_card_by_hand_stays(checkpoint, tmp_path):
    path = tmp_path / "MODEL_CARD.md"
    model = load_model(checkpoint, "cpu")
    write_card(path, model, evaluation_of(Outcome(3, 1, False, DRAWS, (32,) * 4)))
    assert path.read_text().endswith(BY_HAND + "\n")
    path.write_text(path.read_text() + "\n## Ablations\n\nNone yet.\n")
    write_card(path, model, evaluation_of(*[Outcome(3, 1, False, DRAWS, (32,) * 4)] * 7))
    card = path.read_text()
    assert "Measured on 7 problems" in card
    assert card.endswith(BY_HAND + "\n\n## Ablations\n\nNone yet.\n")


def test_the_card_in_the_package_is_about_the_model_in_the_package():
    model = load_model("default", "cpu")
    card = model.path.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {model.path.name}\n")
    assert f"| examples seen | {model.metadata['examples_seen']:,} |" in card


def test_the_suites_that_are_held_out_are_named():
    suites = held_out_suites()
    assert len(suites) > 15
    assert suites[0].startswith("FastSRB")
    for name in ("Feynman Symbolic", "Nguyen", "Keijzer", "Korns", "Livermore", "Vladislavleva"):
        assert any(suite.startswith(name) for suite in suites)


# --- the command ----------------------------------------------------------------------------------
def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_the_command_prints_the_table_and_writes_the_card(checkpoint, measured, tmp_path):
    evaluation, text = measured
    card, out = tmp_path / "CARD.md", tmp_path / "outcomes.jsonl"
    out.write_text(text)
    result = run(
        "train", "--evaluate", "--checkpoint", checkpoint, "--problems", 2, "--draws", "1,2",
        "--card", card, "--out", out, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0
    table = result.stdout[result.stdout.rindex("Per cent of the problems") :].strip()
    assert table == markdown_table(evaluation).strip()
    assert table in card.read_text()
    with safe_open(checkpoint, framework="pt") as file:
        assert json.loads(file.metadata()["date"]) in card.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder", "--evaluate"], "--evaluate trains nothing in folder"),
        ([], "name a folder for the run"),
        (["folder", "--card", "card.md"], "--card is written by an evaluation only"),
        (["folder", "--out", "outcomes.jsonl"], "--out is written by an evaluation only"),
        (["--evaluate", "--card", "/nowhere/card.md"], "/nowhere does not exist"),
        (["--evaluate", "--draws", "many"], "--draws is 'many'"),
        (["--evaluate", "--draws", "8,4"], "must ascend"),
        (["--evaluate", "--checkpoint", "nowhere"], "no checkpoint at nowhere"),
    ],
)
def test_mistakes_are_one_clear_line(arguments, message):
    result = run("train", *arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
