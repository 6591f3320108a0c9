"""The command line: results, and one clear line for each mistake."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from sr_transformer.cli import app

ROOT = Path(__file__).resolve().parents[1]
PLANETS = ROOT / "examples" / "planets.csv"
QUICK = ["--search", "none", "--candidates", "16", "--seed", "0"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def error_of(*arguments: object) -> str:
    """The one line that a mistake is answered with."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.fixture
def table(tmp_path) -> Path:
    x = np.linspace(1.0, 4.0, 30)
    path = tmp_path / "table.csv"
    pd.DataFrame({"first col": x, "b": x[::-1] ** 2, "y": 3.0 * x}).to_csv(path, index=False)
    return path


# --- fit -----------------------------------------------------------------------------------------


def test_fit_prints_the_front_and_the_chosen_formula(table):
    result = run("fit", table, "--target", "y", *QUICK)
    assert result.exit_code == 0
    (chosen,) = [line for line in result.stdout.splitlines() if line.startswith(">")]
    assert "power-law" in chosen
    assert "\ny = 3 * first_col" in result.stdout or "\ny = " in result.stdout
    assert "R2 = 1 on the table itself" in result.stdout


def test_fit_as_json_marks_one_row_as_selected(table):
    result = run("fit", table, "--target", "y", "--json", *QUICK)
    rows = json.loads(result.stdout)
    assert [row["selected"] for row in rows].count(True) == 1
    assert [row["complexity"] for row in rows] == sorted({row["complexity"] for row in rows})
    assert set(rows[0]) == {
        "complexity",
        "loss",
        "score",
        "description_length",
        "standard_errors",
        "undefined",
        "equation",
        "source",
        "selected",
    }


def test_comment_lines_on_top_of_a_table_are_skipped():
    result = run("fit", PLANETS, "--target", "period_years", "--json", *QUICK)
    assert result.exit_code == 0
    assert "semi_major_axis_au" in result.stdout


def test_columns_can_be_left_out(table):
    result = run("fit", table, "--target", "y", "--drop", "b", "--json", *QUICK)
    assert all("b" not in row["equation"].replace("abs", "") for row in json.loads(result.stdout))


def test_fit_saves_a_picture(table, tmp_path):
    run("fit", table, "--target", "y", "--plot", tmp_path / "fit.png", *QUICK)
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_a_warning_is_one_line_on_standard_error(table, monkeypatch):
    from sr_transformer.engines.operon.engine import OperonEngine
    from sr_transformer.engines.pysr.engine import PySREngine

    monkeypatch.setattr(PySREngine, "unusable_reason", lambda self: "Julia is away.")
    monkeypatch.setattr(OperonEngine, "unusable_reason", lambda self: "Operon is away.")
    arguments = [argument.replace("none", "auto") for argument in QUICK]
    result = run("fit", table, "--target", "y", *arguments)
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "Julia is away." in line]
    assert line.startswith("warning: ")


def test_a_fit_that_cannot_be_saved_where_it_was_to_be_is_saved_elsewhere(
    table, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run("fit", table, "--target", "y", "--save", tmp_path / "m.pkl", *QUICK)
    assert result.exit_code == 2
    assert "y = 3 * first_col" in result.stdout or "y = " in result.stdout
    (kept,) = tmp_path.glob("m-*.pkl")
    assert f"No space left on device; the model was saved to {kept} instead." in result.stderr
    assert pickle.loads(kept.read_bytes()).predict(pd.read_csv(table)[["first col", "b"]]).size


def test_a_picture_that_cannot_be_drawn_costs_nothing_else(table, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no fonts\nat all")

    monkeypatch.setattr("sr_transformer.plotting.plot_summary", broken)
    paths = ["--plot", tmp_path / "p.png", "--save", tmp_path / "m.pkl"]
    result = run("fit", table, "--target", "y", *paths, *QUICK)
    assert result.exit_code == 2
    assert "R2 = 1 on the table itself" in result.stdout
    assert (tmp_path / "m.pkl").exists()
    assert result.stderr.splitlines()[-1].endswith("p.png could not be drawn: no fonts")


def test_a_missing_file_is_one_clear_line(tmp_path):
    missing = tmp_path / "nowhere.csv"
    assert error_of("fit", missing, "--target", "y") == f"{missing} does not exist."
    assert error_of("fit", tmp_path, "--target", "y") == f"{tmp_path} is not a file."


# --- predict -------------------------------------------------------------------------------------


@pytest.fixture
def saved(table, tmp_path) -> Path:
    path = tmp_path / "model.pkl"
    assert run("fit", table, "--target", "y", "--save", path, *QUICK).exit_code == 0
    return path


def test_predict_adds_the_values_of_the_chosen_formula(saved, table, tmp_path):
    shown = run("predict", saved, table)
    run("predict", saved, table, "--out", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == shown.stdout
    predicted = pd.read_csv(tmp_path / "out.csv")
    assert list(predicted.columns) == ["first col", "b", "y", "prediction"]
    model = pickle.loads(saved.read_bytes())
    np.testing.assert_allclose(
        predicted["prediction"], model.predict(predicted[["first col", "b"]]), rtol=1e-12
    )


def test_predict_finds_the_columns_whatever_their_order(saved, table, tmp_path):
    other = tmp_path / "other.csv"
    pd.read_csv(table)[["b", "first col"]].to_csv(other, index=False)
    result = run("predict", saved, other)
    assert result.stdout.splitlines()[0] == "b,first col,prediction"


def test_a_missing_model_or_table_of_a_prediction_is_one_clear_line(saved, table, tmp_path):
    assert "does not exist" in error_of("predict", tmp_path / "no.pkl", table)
    assert "does not exist" in error_of("predict", saved, tmp_path / "no.csv")
    assert "is no model of" in error_of("predict", table, table)


# --- the rest ------------------------------------------------------------------------------------


def test_info_names_versions_checkpoint_and_engines():
    result = run("info")
    assert result.exit_code == 0
    for text in ("sr-transformer", "torch", "checkpoint", "vocabulary_hash", "pysr: ", "operon: "):
        assert text in result.stdout


def test_benchmark_suite_prints_what_was_recovered(tmp_path):
    pytest.importorskip("yaml")
    catalogue = tmp_path / "tiny.yaml"
    catalogue.write_text(
        "expressions:\n  line:\n    prepared: 2*v1\n    vars:\n"
        "      v1: {sample_range: [1, 3], sample_type: [uni, pos]}\n"
    )
    out = tmp_path / "results.jsonl"
    result = run(
        "benchmark", "suite", catalogue, "--methods", "none,prior", "--seconds", 1, "--rows", 20,
        "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.stdout.count("1 (100%)") == 2
    assert len(out.read_text().splitlines()) == 2


def test_benchmark_fit_shows_the_stages_of_a_fit_and_the_speed_of_fitting():
    lines = run("benchmark", "fit", "--candidates", 8).stdout.splitlines()
    seconds = {line.split()[0]: float(line.split()[1]) for line in lines[:-1]}
    assert {"encode", "sample", "fit", "repair", "polish", "select", "total"} <= set(seconds)
    total = seconds.pop("total")
    assert sum(seconds.values()) == pytest.approx(total, rel=0.05)
    assert lines[-1].endswith("a second")


def test_mistakes_in_a_benchmark_are_one_clear_line(tmp_path):
    assert "candidates is 0" in error_of("benchmark", "fit", "--candidates", 0)
    assert "seed is -1; it must be from 0" in error_of("benchmark", "fit", "--seed", -1)
    out = ["--out", tmp_path / "r.jsonl"]
    assert "cannot be read" in error_of("benchmark", "suite", tmp_path / "no.yaml", *out)
    assert "--limits is '1,x'" in error_of("benchmark", "limits", "--limits", "1,x")
    (tmp_path / "c.yaml").write_text("expressions: {}\n")
    assert "holds no problems" in error_of("benchmark", "suite", tmp_path / "c.yaml", *out)


def test_training_from_the_command_line_writes_a_model_and_its_curves(tmp_path):
    pytest.importorskip("lightning")
    folder = tmp_path / "run"
    arguments = ["train", folder, "--preset", "tiny", "--device", "cpu", "--threads", 1]
    result = run(*arguments, "--minutes", 0.02)
    assert result.exit_code == 0
    assert result.stdout.strip() == str(folder / "model.safetensors")
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "already holds a run" in error_of(*arguments, "--no-resume")


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['sr-transformer', '--help']\n"
        "from sr_transformer.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'pandas', 'sympy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("[]")
    assert "benchmark" in done.stdout
