"""The written forms of a formula read back to the same values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from pysr_guess_oracle import GuessRules, validate_guess
from strategies import (
    BINARY,
    UNARY,
    formulas,
    random_formula,
    random_table,
    same_values,
    steady_rows,
)

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.writing import python_names

NAMES = ("x0", "x1", "x2")
ALL = GuessRules(BINARY + UNARY, NAMES, precision=64)


def evaluated(source: str, X: np.ndarray, names: list[str]) -> np.ndarray:
    columns = dict(zip(names, X.T, strict=True))
    with np.errstate(all="ignore"):
        return np.broadcast_to(eval(source, {"np": np} | columns), len(X))


# 4 x 2,500 so that parallel test runs share the work.
@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_random_formulas_read_back_from_every_form(seed):
    rng = np.random.default_rng(seed)
    X = random_table(rng)
    n_steady = 0
    for i in range(2500):
        formula = random_formula(rng)
        values = formula.evaluate(X)
        assert Expression.parse(formula.to_text()) == formula

        guess = formula.to_pysr()
        validate_guess(guess, ALL)
        read = Expression.parse(guess)
        assert same_values(values, read.evaluate(X)), guess

        steady = steady_rows(formula, X)
        n_steady += int(steady.sum())
        source = formula.to_python()
        found = evaluated(source, X, list(NAMES))
        assert same_values(values[steady], found[steady]), (formula, source)

        if i % 5 == 0:
            read = Expression.from_sympy(formula.to_sympy())
            found = read.evaluate(X)
            # SymPy knows that cos(pi / 2) is exactly 0.
            assert same_values(values[steady], found[steady], absolute=1e-14), (formula, read)
    assert n_steady > 2500 * 4  # the comparison is not empty


@settings(max_examples=300, deadline=None)
@given(formulas())
def test_text_reads_back_to_the_same_tree(formula):
    assert Expression.parse(formula.to_text()) == formula


@settings(max_examples=300, deadline=None)
@given(formulas())
def test_every_pysr_string_passes_the_validator(formula):
    validate_guess(formula.to_pysr(), ALL)


@pytest.mark.parametrize(
    ("text", "symbols", "constants"),
    [
        ("x0 * -2.5", "* x0 c", [-2.5]),
        ("sin(x1) ^ 2.0", "^ sin x1 c", [2]),
        ("square(x0)", "square x0", []),
        ("1.5e-5", "c", [1.5e-5]),
        ("(-0.4)", "c", [-0.4]),
        ("-(0.4)", "neg c", [0.4]),
        ("-x0", "neg x0", []),
        ("--x0", "neg neg x0", []),
        ("x0 - -x1", "- x0 neg x1", []),
        ("-x0^2", "neg ^ x0 c", [2]),
        ("-2.0^x0", "neg ^ c x0", [2]),
        ("2^-x0^2", "^ c neg ^ x0 c", [2, 2]),
        ("x0^x1^x2", "^ x0 ^ x1 x2", []),
        ("x0 ** 2", "^ x0 c", [2]),
        ("2x0", "* c x0", [2]),
        ("2x0^2", "* c ^ x0 c", [2, 2]),
        ("1/2x0", "/ c * c x0", [1, 2]),
        ("2^3x0", "^ c * c x0", [2, 3]),
        ("2(x0 + 1)", "* c + x0 c", [2, 1]),
        ("2exp(x0)", "* c exp x0", [2]),
        ("x0 + x1 + x2", "+ + x0 x1 x2", []),
        ("x0 - x1 - x2", "- - x0 x1 x2", []),
        ("x0 / x1 * x2", "* / x0 x1 x2", []),
        ("max(x0, x1, 2)", "max max x0 x1 c", [2]),
        ("pow(x0, 2)", "^ x0 c", [2]),
        ("1.5f0 * x0", "* c x0", [1.5]),
        ("-pi", "c", [-math.pi]),
        ("-inf", "c", [-math.inf]),
        ("+x0", "x0", []),
    ],
)
def test_text_is_read_with_julias_precedence(text, symbols, constants):
    assert Expression.parse(text) == Expression(symbols.split(), constants)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x0^1.5", "x0 ^ 1.5"),
        ("2.5*sin(x1)", "2.5 * sin(x1)"),
        ("(x0*x1)+(x2/3)", "x0 * x1 + x2 / 3.0"),
        ("x0-(x1-x2)", "x0 - (x1 - x2)"),
        ("(x0^2)^3", "(x0 ^ 2.0) ^ 3.0"),
        ("(-2)^x0", "(-2.0) ^ x0"),
        ("-2*x0", "-2.0 * x0"),
        ("x0*(-x1)", "x0 * (-x1)"),
        ("-(x0*x1)", "-(x0 * x1)"),
        ("inv(x0)", "inv(x0)"),
    ],
)
def test_text_looks_like_pysrs(text, shown):
    assert str(Expression.parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "found", "allowed"),
    [
        ("", "the end", "number"),
        ("x0 +", "the end", "number"),
        ("a + 1", "'a' at character 1", "x0, x1"),
        ("x00", "'x00'", "x0, x1"),
        ("(x0", "the end", r"'\)'"),
        ("x0)", r"'\)' at character 3", "operator"),
        ("x0 x1", "'x1' at character 4", "operator"),
        ("sin x0", "'sin'", "parentheses"),
        ("foo(x0)", "function 'foo'", "square"),
        ("sin(x0, x1)", "2 arguments", "takes 1"),
        ("max(x0)", "1 arguments", "takes 2"),
        ("3//2", "'/' at character 3", "number"),
        ("1e400", "1e400", "below"),
        ("0x1", "0x1", "product"),
        ("x0 = 1", "'='", "allowed"),
        ("(" * 5000 + "x0" + ")" * 5000, "nested too deeply", ""),
    ],
)
def test_unreadable_text_says_what_was_found_and_what_is_allowed(text, found, allowed):
    with pytest.raises(ExpressionError, match=f"(?s){found}.*{allowed}"):
        Expression.parse(text)


def test_unknown_variable_lists_the_names():
    with pytest.raises(ExpressionError, match="mass, `my column`"):
        Expression.parse("x0", ["mass", "my column"])


def test_only_text_is_parsed():
    with pytest.raises(ExpressionError, match="got float"):
        Expression.parse(1.5)


def test_equal_variable_names_are_refused():
    with pytest.raises(ExpressionError, match="differ"):
        Expression.parse("a", ["a", "a"])


ODD_NAMES = ["sin", "my column", "a`b", "pi", "N", "x1", "x0", "2nd", "", "größe", "x²", "lambda"]


def test_any_column_name_reads_back():
    formula = Expression.parse(" + ".join(f"x{i}" for i in range(len(ODD_NAMES))))
    text = formula.to_text(ODD_NAMES)
    assert text.startswith("`sin` + `my column` + `a``b` + `pi` + N + x1 + x0 + `2nd`")
    assert Expression.parse(text, ODD_NAMES) == formula
    assert Expression.from_sympy(formula.to_sympy(ODD_NAMES), ODD_NAMES).variables == tuple(
        range(len(ODD_NAMES))
    )


def test_python_names_are_different_identifiers():
    names = python_names([*ODD_NAMES, "my_column", "np", "my-column"])
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    assert names[-3] == "my_column"  # what is an identifier stays
    X = np.random.default_rng(0).uniform(1, 2, (5, len(names)))
    formula = Expression.parse("x0 * x1 - x11 / x13 + x14")
    source = formula.to_python([*ODD_NAMES, "my_column", "np", "my-column"])
    np.testing.assert_allclose(evaluated(source, X, names), formula.evaluate(X))


def test_too_few_names_are_refused():
    with pytest.raises(ExpressionError, match="column 3"):
        Expression.parse("x3").to_text(["a"])


@pytest.mark.parametrize("text", ["1 / 0", "(-1.0) ^ 0.5", "10 ^ 400", "inv(0)", "cube(1e200)"])
def test_python_text_of_constants_follows_numpy(text):
    formula = Expression.parse(text)
    X = np.zeros((2, 1))
    np.testing.assert_array_equal(evaluated(formula.to_python(), X, ["x0"]), formula.evaluate(X))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_without_a_literal(value):
    formula = Expression(["+", "x0", "c"], [value])
    with pytest.raises(ExpressionError, match="finite"):
        formula.to_pysr()
    read = Expression.parse(formula.to_text())
    np.testing.assert_array_equal(read.constants, [value])


@pytest.mark.parametrize("name", ["my column", "sin", "end", "pi", "größe", "_", "1a", ""])
def test_pysr_text_refuses_names_that_pysr_cannot_read(name):
    with pytest.raises(ExpressionError, match="PySR cannot read"):
        Expression.parse("x0").to_pysr([name])


def test_pysr_text_is_fully_parenthesised():
    text = Expression.parse("-x0 * (-2.5 + x1)^2 - max(x0, 1e-5)").to_pysr()
    assert text == "((neg(x0) * (((-2.5) + x1) ^ 2.0)) - max(x0, 1e-05))"


def test_precision_rounds_the_constants():
    assert Expression.parse("3.14159265 * x0").to_text(precision=3) == "3.14 * x0"


def test_latex_rounds_and_spells_names():
    formula = Expression.parse("3.14159265 * x0 ^ 2 / x1")
    assert formula.to_latex(["speed", "my_col %"]) == (r"\frac{3.142 speed^{2}}{\text{my\_col \%}}")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("x0 - x1", "x0 - x1"),
        ("x0/x1", "x0 / x1"),
        ("1/x0", "inv(x0)"),
        ("1/(x0*x1**2)", "inv(x0 * square(x1))"),
        ("-x0*x1", "-(x0 * x1)"),
        ("x0**2 + x0**3", "square(x0) + cube(x0)"),
        ("sqrt(x0)", "sqrt(x0)"),
        ("1/sqrt(x0)", "inv(sqrt(x0))"),
        ("x0**Rational(3, 2)", "x0 ^ 1.5"),
        ("x0**x1", "x0 ^ x1"),
        ("pi*x0", "3.141592653589793 * x0"),
        ("E", "2.718281828459045"),
        ("exp(x0)", "exp(x0)"),
        ("Abs(x0)", "abs(x0)"),
        ("x0 - 2", "x0 - 2.0"),
        ("-x0 - x1", "-x0 - x1"),
        ("oo", "inf"),
    ],
)
def test_sympy_is_converted(formula, text):
    assert str(Expression.from_sympy(sympy.sympify(formula))) == text


def test_sympy_maximum_of_many():
    read = Expression.from_sympy(sympy.sympify("Max(x0, x1, x2)"))
    assert read.evaluate([[1.0, 3.0, 2.0]]) == 3.0


@pytest.mark.parametrize("formula", ["gamma(x0)", "I*x0", "zoo", "x0 > 1", "y"])
def test_sympy_outside_the_language_is_refused(formula):
    with pytest.raises(ExpressionError):
        Expression.from_sympy(sympy.sympify(formula))


@pytest.mark.parametrize("text", ["__import__('os').mkdir('evaluated')", "x0 + 1"])
def test_sympy_never_evaluates_text(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExpressionError, match=r"got str. Read text with Expression\.parse"):
        Expression.from_sympy(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("thing", [None, ["x0"], b"x0", {"x0": 1}, Expression(["x0"]), 1j])
def test_only_sympy_and_numbers_come_from_sympy(thing):
    with pytest.raises(ExpressionError, match=f"got {type(thing).__name__}"):
        Expression.from_sympy(thing)


@pytest.mark.parametrize("value", [2, -1.5, np.float64(0.25)])
def test_numbers_come_from_sympy_as_constants(value):
    assert Expression.from_sympy(value) == Expression(["c"], [value])


@pytest.mark.parametrize(
    "text",
    [
        "acos(tan(x0 / 0.0))",
        "sqrt(-square(x0))",
        "log(abs(exp(acos(atan(x1)))))",
        "inv(atan(tanh(x1 - x1)))",
        "min(cosh(x0), 3.0) / 0.0",
    ],
)
def test_formulas_that_sympy_would_take_out_of_the_reals_convert(text):
    formula = Expression.parse(text)
    assert Expression.from_sympy(formula.to_sympy()).variables == formula.variables


def test_deep_formulas_convert_to_sympy_quickly():
    # PySR's front can hold such formulas; a SymPy simplification of them takes hours.
    formula = Expression(["tanh", "sinh", "+", "x0"] * 20 + ["c"], [1.5])
    assert formula.to_sympy() is not None
    nested = Expression(["max", "x0", "min", "x1", "exp"] * 15 + ["x2"])
    assert Expression.from_sympy(nested.to_sympy()).variables == (0, 1, 2)


def test_rounded_text_writes_a_negative_term_as_a_subtraction():
    formula = Expression(["+", "*", "c", "x0", "*", "c", "sqrt", "x1"], [1.23456, -2.0])
    assert formula.to_text(precision=3) == "1.23 * x0 - 2 * sqrt(x1)"
    assert formula.to_text() == "1.23456 * x0 + -2.0 * sqrt(x1)"
