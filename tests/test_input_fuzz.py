"""Whatever is given is fitted or refused: in our words, without a warning or a printed line.

The cases are the rows of ``input_tables``; a parameter that is new needs a row in ``PARAMETERS``.
"""

from __future__ import annotations

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from input_tables import (
    ARGUMENTS,
    COLUMNS,
    DEAR,
    FITS,
    LISTS,
    PARAMETERS,
    PROPOSE,
    RANGES,
    SHAPES,
    UNITS,
    VALUES,
    WEIGHTS,
    X,
    Y,
    numbers,
    subsets,
)
from typer.testing import CliRunner

from sr_transformer import SymbolicTransformerRegressor, propose
from sr_transformer.cli import app
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.proposal.proposers import PROPOSERS

# Milliseconds a fit: closed forms are enough to show whether a table was taken.
QUICK = {"search": "none", "proposers": ["linear"], "maxsize": 7, "random_state": 0}
WHOLE_WAY = {"search": "none", "n_candidates": 2, "maxsize": 5, "random_state": 0}


@pytest.fixture
def expect(capfd):
    """Call something that must be done, or be refused in some words; in silence either way."""

    def check(call, words):
        refused = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                call()
            except (ValueError, TypeError) as error:
                refused = error
        assert capfd.readouterr().out == ""
        if words == FITS:
            assert refused is None, f"refused: {refused}"
        else:
            assert refused is not None, f"not refused: {words}"
            assert re.search(words, str(refused), re.DOTALL), f"{words!r} is not in: {refused}"
            assert len(str(refused)) < 600

    return check


def fit(X=X, y=Y, weights=None, *, arguments=None, **parameters):
    """A whole fit, and all that shows it."""
    model = SymbolicTransformerRegressor(**{**QUICK, **parameters})
    model.fit(X, y, weights, **(arguments or {}))
    assert np.shape(model.predict(X))[0] == len(y)
    assert np.isreal(model.score(X, y))
    halls = model.hall_of_fame_ if isinstance(model.hall_of_fame_, list) else [model.hall_of_fame_]
    for hall in halls:
        assert len(hall.to_frame()) == len(hall) > 0
        assert np.isfinite(sum((c.expression.constants for c in hall.candidates), ())).all()
        assert all(isinstance(guess, str) for guess in hall.guesses())
    assert isinstance(repr(model), str)
    model.latex()
    return model


# --- tables -------------------------------------------------------------------------------------
def predict_with(column):
    model = SymbolicTransformerRegressor(**QUICK).fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    model.predict(pd.DataFrame({"a": numbers("float64"), "b": pd.Series(column)}))


def rows_of(column):
    return [list(row) for row in zip(X[:, 0], column, strict=True)]


ROWS_OF_CELLS = ("rows", "an array", "propose")
# How a column is given, what happens to it then, and what a refusal calls it.
PLACES = {
    "a DataFrame": (
        lambda c: fit(pd.DataFrame({"a": X[:, 0], "b": pd.Series(c)})), "column 'b' of X",
    ),
    "rows": (lambda c: fit(rows_of(c)), "column x1 of X"),
    "an array": (lambda c: fit(np.array(rows_of(c), object)), "column x1 of X"),
    "y": (lambda c: fit(y=c), "y "),
    "columns of y": (
        lambda c: fit(y=pd.DataFrame({"u": Y, "v": pd.Series(c)})), "column 'v' of y",
    ),
    "weights": (lambda c: fit(weights=c), "sample_weight "),
    "predict": (predict_with, "column 'b' of X"),
    "propose": (
        lambda c: propose(rows_of(c), Y, variable_names=["a", "b"], proposers=["linear"]),
        "column x1 of X",
    ),
}  # fmt: skip


# A list in a row makes rows of different depths: that is a shape, not a column.
CELLS = [(c, p) for c in COLUMNS for p in PLACES if c != "a list" or p not in ROWS_OF_CELLS]


@pytest.mark.parametrize(("column", "place"), CELLS)
def test_columns_of_any_type_are_numbers_or_refused_by_name(expect, column, place):
    given, words = COLUMNS[column]
    call, name = PLACES[place]
    expect(lambda: call(given), words and f"{name}.*{words}")


@pytest.mark.parametrize("call", [fit, lambda X, y: propose(X, y, proposers=["linear"])])
@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_any_shape_are_fitted_or_refused(expect, shape, call):
    X, y, words = SHAPES[shape]
    expect(lambda: call(X, y), words)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_used_or_refused(expect, name):
    weights, words = WEIGHTS[name]
    expect(lambda: fit(weights=weights), words)


@pytest.mark.parametrize("name", RANGES)
def test_numbers_of_any_size_are_fitted_or_refused(expect, name):
    X, y, words = RANGES[name]
    expect(lambda: fit(X, y, **WHOLE_WAY, proposers=PROPOSERS), words)


# --- parameters and arguments -------------------------------------------------------------------
OPERATORS = subsets(150)


@pytest.mark.parametrize("name", OPERATORS)
def test_any_operators_fit_any_table(expect, name):
    binary, unary = OPERATORS[name]

    def call():
        model = fit(
            **WHOLE_WAY, proposers=PROPOSERS, binary_operators=binary, unary_operators=unary * 2
        )
        used = [c.expression.operators for c in model.hall_of_fame_]
        assert frozenset().union(*used) <= {*binary, *unary}

    expect(call, FITS)


@pytest.mark.parametrize("parameter", ["binary_operators", "unary_operators", "proposers"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_names_are_lists_of_known_names(expect, name, parameter):
    given, words = LISTS[name]
    expect(lambda: fit(**{parameter: given}), f"{parameter} .*{words}|{parameter} {words}")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"binary_operators": [], "unary_operators": []}, "both empty; name some"),
        ({"proposers": []}, "proposers is empty; name some of 'transformer'"),
        ({"binary_operators": ["sin"]}, r"holds 'sin'; the binary operators known here are \+, -"),
        ({"unary_operators": ["+"]}, r"holds '\+'; the unary operators known here are neg"),
        ({"binary_operators": {"+", "-"}, "unary_operators": np.array(["sin"])}, FITS),
        ({"binary_operators": ("+", "+", "+"), "proposers": ("linear", "linear")}, FITS),
        ({"binary_operators": list(ARITHMETIC.arity)}, "binary_operators holds 'neg'"),
    ],
)
def test_operators_and_proposers_are_checked_together(expect, parameters, words):
    expect(lambda: fit(**parameters), words)


@pytest.mark.parametrize(
    ("parameter", "value"), [(p, v) for p in PARAMETERS for v in VALUES if v not in DEAR.get(p, ())]
)
def test_values_of_every_parameter_are_used_or_refused(expect, parameter, value):
    allowed, words = PARAMETERS[parameter]
    settings = {"n_candidates": 1, "proposers": ["transformer", "linear"], parameter: VALUES[value]}
    expect(lambda: fit(**settings), FITS if value in allowed else words)


def test_every_parameter_has_its_row():
    every = set(SymbolicTransformerRegressor().get_params(deep=False))
    assert every == {*PARAMETERS, "binary_operators", "unary_operators", "proposers"}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_refused_where_nothing_knows_them(expect, name):
    arguments, words = UNITS[name]
    expect(lambda: fit(arguments=arguments), words)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_other_packages_are_refused_with_what_does_the_same(expect, name):
    arguments, words = ARGUMENTS[name]
    expect(lambda: fit(arguments=arguments), words)


@pytest.mark.parametrize("name", PROPOSE)
def test_arguments_of_propose_are_checked(expect, name):
    arguments, words = PROPOSE[name]
    expect(lambda: propose(X, Y, proposers=["linear"], **arguments), words)


# --- the command line ---------------------------------------------------------------------------
ROWS = "".join(f"{a},{b},{a * b}\n" for a, b in X.round(3))
TABLE = f"a,b,y\n{ROWS}"
TARGET = ["--target", "y"]


def table_with(value: str) -> str:
    return f"{TABLE}{value},1.0,2.0\n"


# Content of the table, arguments, and what the error line says; FITS where there is none.
FIT_COMMANDS: dict[str, tuple[str | bytes, list[str], str]] = {
    "a table": (TABLE, TARGET, FITS),
    "as JSON": (TABLE, [*TARGET, "--json"], FITS),
    "comments on top": (f"# source\n# date\n{TABLE}", TARGET, FITS),
    "names with spaces": (TABLE.replace("a,b,y", " a , b ,y"), TARGET, FITS),
    "truth values": (TABLE.replace("a,b,y", "a,b,z") .replace("\n", ",True\n").replace(
        "z,True", "z,y"), TARGET, FITS),
    "a column left out": (TABLE, [*TARGET, "--drop", "a"], FITS),
    "a column left out twice": (TABLE, [*TARGET, "--drop", "a", "--drop", "a"], FITS),
    "the target left out": (TABLE, [*TARGET, "--drop", "y"], "--drop y: it is the --target"),
    "all left out": (TABLE, [*TARGET, "--drop", "a", "--drop", "b"], "no column beside 'y'"),
    "no such target": (TABLE, ["--target", "z"], "no column 'z' in the file; it has a, b, y"),
    "an empty target": (TABLE, ["--target", ""], "no column '' in the file; it has a, b, y"),
    "no such column": (TABLE, [*TARGET, "--drop", "z"], "no column 'z' in the file"),
    "nothing": ("", TARGET, "is not a readable CSV file"),
    "blank lines": ("\n\n\n", TARGET, "is not a readable CSV file"),
    "a header alone": ("a,b,y\n", TARGET, "X has 0 sample|holds"),
    "one row": ("a,b,y\n1,2,3\n", TARGET, "X has 1 sample .*at least 2 rows"),
    "one column": ("y\n1\n2\n", TARGET, "no column beside 'y'"),
    "longer rows": ("a,y\n1,2,3\n2,3,4\n", TARGET, "is not a readable CSV file"),
    "a longer row": ("a,y\n1,2\n2,3,4,5\n", TARGET, "is not a readable CSV file"),
    "a shorter row": ("a,b,y\n1,2,3\n2\n3,4,5\n", TARGET, "column 'b' of X holds NaN"),
    "a name twice": ("a, a,y\n1,2,3\n2,3,4\n", TARGET, "several columns with the name 'a'; rename"),
    "bytes": (bytes(range(256)) * 9, TARGET, "is not a readable CSV file|no column 'y'"),
    "text": (table_with("red"), TARGET, r"column 'a' holds text \('red'\).*--drop"),
    "dates": (table_with("2024-01-01"), TARGET, r"column 'a' holds text \('2024-01-01'\)"),
    "complex numbers": (table_with("1+2j"), TARGET, "column 'a' holds text"),
    "a gap": (table_with(""), TARGET, "column 'a' of X holds NaN, a missing value, in 1 of 7"),
    "nan": (table_with("nan"), TARGET, "column 'a' of X holds NaN"),
    "NA": (table_with("NA"), TARGET, "column 'a' of X holds NaN"),
    "infinity": (table_with("inf"), TARGET, "column 'a' of X holds infinity"),
    "beyond float64": (table_with("1e400"), TARGET, "column 'a' of X holds infinity"),
    "a long number": (table_with("1" + 400 * "0"), TARGET, "column 'a'.*holds"),
    "an outlier": (f"{TABLE}1,2,1e200\n", TARGET, "y reaches 1e.200 with a typical size"),
    "huge numbers": ("a,y\n" + "".join(f"{i}e306,{i}e305\n" for i in range(1, 9)), TARGET, FITS),
    "tiny numbers": ("a,y\n" + "".join(f"{i}e-308,{i}e-320\n" for i in range(1, 9)), TARGET, FITS),
    **{
        f"--{option} {value}": (TABLE, [*TARGET, f"--{option}", value], words)
        for option, values, words in (
            ("maxsize", ("0", "-1", "512", "9" * 400), "maxsize is .*; it must be a whole number"),
            ("candidates", ("0", "-3"), "n_candidates is .*; it must be a whole number"),
            ("seconds", ("0", "-1", "nan", "inf"), "timeout_in_seconds is .*; it must be a finite"),
            ("seed", ("-1", "4294967296"), "random_state is .*; allowed are None, a whole number"),
            ("search", ("luck", "", "None"), "search is '.*'; allowed are 'auto', 'pysr'"),
            ("save", ("/nowhere/m.pkl",), "--save: the folder /nowhere does not exist"),
            ("save", (".",), "--save: . is a folder; name a file in it"),
            ("save", ("table.csv", "./table.csv"), "--save: .*table.csv is read by this command"),
            ("plot", ("/nowhere/p.png",), "--plot: the folder /nowhere does not exist"),
            ("plot", (".",), "--plot: . is a folder; name a file in it"),
            ("plot", ("p.xyz", "p", "p.", ".png"), "--plot: .* ends in .*; allowed are .*png"),
            ("plot", ("table.csv",), "--plot: .*table.csv is read by this command"),
            ("maxsize", ("1", "511"), FITS),
            ("seconds", ("0.3",), FITS),
            ("plot", ("p.png", "p.PNG", "p.pdf"), FITS),
            ("save", ("model", "m.pkl"), FITS),
        )
        for value in values
    },
    "one file for both": (
        TABLE, [*TARGET, "--save", "p.png", "--plot", "p.png"], "p.png is the file of --save",
    ),
}  # fmt: skip


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Run a command in a folder of its own; the line of its error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert capfd.readouterr().out == ""  # nothing from below Python either
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert result.exit_code == (2 if lines else 0)
        assert len(lines) < 2
        assert not lines or result.stdout == ""
        return "".join(lines)

    return run


@pytest.mark.parametrize("name", FIT_COMMANDS)
def test_a_fit_from_the_command_line_is_done_or_refused_before_it_is_paid_for(
    command, tmp_path, monkeypatch, name
):
    content, arguments, words = FIT_COMMANDS[name]
    table = tmp_path / "table.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    if words != FITS:  # whatever is refused is refused by the checks, before any formula is sought
        monkeypatch.setattr("sr_transformer.pipeline.Proposing.run", lambda _: pytest.fail("paid"))
    quick = ["--search", "none"] if "--search" not in arguments else []
    quick += ["--candidates", "1"] if "--candidates" not in arguments else []
    quick += ["--maxsize", "5"] if "--maxsize" not in arguments else []
    error = command("fit", table, *arguments, *quick)
    assert re.search(words, error) if words else error == ""


PREDICT_COMMANDS: dict[str, tuple[str, list[str], str]] = {
    "the table": (TABLE, [], FITS),
    "the first row": (TABLE, ["--index", "0"], FITS),
    "the last row": (TABLE, ["--index", "-1"], FITS),
    "no such row": (TABLE, ["--index", "99"], "index is 99; equations_ has .* 0 to .* are allowed"),
    "no such row from the end": (TABLE, ["--index", "-99"], "index is -99; equations_ has"),
    "a column too few": ("a,y\n1,2\n", [], "lacks the column 'b'; the model needs a, b"),
    "text": ("a,b\n1,red\n", [], r"column 'b' holds text \('red'\); formulas need numbers"),
    "a gap": ("a,b\n1,\n", [], "column 'b' of X holds NaN"),
    "no rows": ("a,b\n", [], "X has 0 sample"),
    "nothing": ("", [], "is not a readable CSV file"),
    "a folder for the answer": (TABLE, ["--out", "."], "--out: . is a folder"),
    "no folder for the answer": (TABLE, ["--out", "/nowhere/o.csv"], "--out: the folder /nowhere"),
    "the model for the answer": (TABLE, ["--out", "model.pkl"], "--out: .* is read by this"),
}


@pytest.fixture(scope="module")
def saved_model():
    table = pd.DataFrame(X, columns=["a", "b"])
    return pickle.dumps(SymbolicTransformerRegressor(**QUICK).fit(table, Y))


@pytest.mark.parametrize("name", PREDICT_COMMANDS)
def test_a_prediction_of_the_command_is_made_or_refused(command, tmp_path, saved_model, name):
    content, arguments, words = PREDICT_COMMANDS[name]
    (tmp_path / "model.pkl").write_bytes(saved_model)
    (tmp_path / "table.csv").write_text(content)
    error = command("predict", "model.pkl", "table.csv", *arguments)
    assert re.search(words, error) if words else error == ""


MODELS = {
    "a list": (lambda: pickle.dumps([1, 2]), "holds a list, not a fitted model"),
    "no fit": (lambda: pickle.dumps(SymbolicTransformerRegressor()), "not made by 'fit --save'"),
    "a fit without names": (lambda: pickle.dumps(fit()), "not made by 'fit --save'"),
    "bytes": (lambda: b"\x80 model", "is no model of 'sr-transformer fit --save'"),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_model_of_the_command_line_is_refused(command, tmp_path, name):
    content, words = MODELS[name]
    (tmp_path / "model.pkl").write_bytes(content())
    (tmp_path / "table.csv").write_text(TABLE)
    assert re.search(words, command("predict", "model.pkl", "table.csv"))
