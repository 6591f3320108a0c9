"""Languages: what each row says of its operator holds, and a formula's language decides."""

from __future__ import annotations

import gc
import math
import pickle

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from strategies import same_values

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import ARITHMETIC, Expression, Language, Operator

ROWS = tuple(ARITHMETIC.operators.values())
UNARY = tuple(row for row in ROWS if row.arity == 1)
X = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))


# --- the rows ---------------------------------------------------------------------------------
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@given(x=st.floats(-50.0, 50.0), b=st.floats(-5.0, 5.0))
def test_values_are_real_inside_the_domain_and_undefined_outside(row, x, b):
    low, high = row.domain
    exponent = b if b != round(b) else b + 0.5  # a whole one is real for any base
    with np.errstate(all="ignore"):
        value = row.function(*(x, exponent)[: row.arity])
    assert np.isnan(value) == (not low <= x <= high)


@pytest.mark.parametrize("row", UNARY, ids=lambda row: row.name)
def test_parity_is_that_of_the_values(row):
    x = np.array([0.1, 0.3, 0.7, 0.9])
    with np.errstate(all="ignore"):
        value, opposite = row.function(x), row.function(-x)
    assert row.parity in (-1, 0, 1)
    for sign in (-1, 1):
        assert np.allclose(opposite, sign * value) == (row.parity == sign)


@pytest.mark.parametrize("row", [row for row in ROWS if row.inverse], ids=lambda row: row.name)
def test_a_function_of_its_inverse_is_its_argument(row):
    x = np.linspace(0.05, 0.95, 7)
    found = row.function(ARITHMETIC.operators[row.inverse].function(x))
    np.testing.assert_allclose(found, x)


@pytest.mark.parametrize(
    ("row", "text"),
    [(row, text) for row in ROWS for text in row.spellings],
    ids=lambda value: value.name if isinstance(value, Operator) else value,
)
def test_a_spelling_has_the_values_of_its_operator(row, text):
    spelled = Expression.parse(text, ["a", "b"])
    assert row.name not in spelled.operators
    np.testing.assert_allclose(spelled.evaluate(X), row.function(*X.T[: row.arity]), rtol=1e-12)


# --- a language with more operators -----------------------------------------------------------
def log10_slope(_, a):
    return (1.0 / (a * math.log(10.0)),)


def cbrt_slope(value, _):
    return (1.0 / (3.0 * value * value),)


def hypot_slopes(value, a, b):
    return a / value, b / value


LOG10 = Operator(
    "log10", 1, np.log10, log10_slope, "log({0}, 10)", "np.log10({0})",
    aliases=("lg",), spellings=(f"log(a) / {math.log(10.0)}",), domain=(0.0, math.inf),
)  # fmt: skip
CBRT = Operator("cbrt", 1, np.cbrt, cbrt_slope, "", "np.cbrt({0})", parity=-1)
HYPOT = Operator("hypot", 2, np.hypot, hypot_slopes, "", "np.hypot({0}, {1})")
WIDER = ARITHMETIC.extended("with log10", LOG10, CBRT, HYPOT)
TEXTS = (
    "2.0 * log10(x0 + 1.5) - cbrt(x1)",
    "hypot(x0, 3.0 * x1) / log10(3.0)",
    "exp(log10(x0) ^ 2.0) + max(x1, cbrt(x0))",
)


def read(text: str) -> Expression:
    return Expression.parse(text, language=WIDER)


@pytest.mark.parametrize("text", TEXTS)
def test_formulas_of_further_operators_are_written_and_read(text):
    formula = read(text)
    assert str(formula) == text
    assert formula == Expression(formula.symbols, formula.constants, WIDER)
    assert Expression.parse(formula.to_pysr(), language=WIDER) == formula
    np.testing.assert_allclose(
        eval(formula.to_python(), {"np": np, "x0": X[:, 0], "x1": X[:, 1]}), formula.evaluate(X)
    )
    back = Expression.from_sympy(formula.to_sympy(), language=WIDER)
    assert back.language is WIDER
    assert same_values(formula.evaluate(X), back.evaluate(X))
    assert formula.to_latex()


@pytest.mark.parametrize("text", TEXTS)
def test_formulas_of_further_operators_have_values_and_derivatives(text):
    formula = read(text)
    values, jacobian = formula.jacobian(X)
    np.testing.assert_allclose(values, formula.evaluate(X), rtol=1e-14)
    for i in range(len(formula.constants)):
        step = np.zeros(len(formula.constants))
        step[i] = 1e-6
        up = formula.with_constants(formula.constants + step).evaluate(X)
        down = formula.with_constants(formula.constants - step).evaluate(X)
        np.testing.assert_allclose(jacobian[:, i], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("text", TEXTS)
def test_further_operators_are_simplified_as_functions(text):
    formula = read(text)
    simple = formula.simplify()
    assert simple.simplify() == simple
    assert simple == Expression(simple.symbols, simple.constants, WIDER)
    assert same_values(formula.evaluate(X), simple.evaluate(X))


def test_what_a_row_says_is_used_in_simplifying():
    assert read("cbrt(-x0)").simplify() == read("-cbrt(x0)")
    assert read("log10(100.0) * x0").simplify() == read("2.0 * x0")
    assert read("hypot(3.0, 4.0) * hypot(x0 + x0, x1)").simplify() == read(
        "5.0 * hypot(2.0 * x0, x1)"
    )


def test_a_row_brings_its_spellings_and_aliases():
    formula = read("lg(x0) + 1.0")
    assert formula == read("log10(x0) + 1.0")
    lowered = formula.lower({"+", "*", "/", "log"})
    assert str(lowered) == f"log(x0) / {math.log(10.0)} + 1.0"
    assert read("cbrt(x0)").lower({"+", "*", "/", "log"}) is None


def test_what_is_made_of_a_formula_is_of_its_language():
    formula = read("log10(x0 + 2.0 * x1)")
    lowered = formula.lower({"log", "/", "+", "*"})
    made = [
        formula.with_constants([3.0]), formula.renamed({0: 1, 1: 0}), *formula.parts,
        formula.replaced(1, formula.part(2)), formula.simplify(), lowered,
    ]  # fmt: skip
    assert all(other.language is WIDER for other in made)
    assert formula != Expression(["log", "x0"])


def test_names_of_further_operators_are_kept_from_columns():
    formula = Expression(["log10", "x0"], language=WIDER)
    assert formula.to_text(["log10"]) == "log10(`log10`)"
    assert Expression.parse("log10(`log10`)", ["log10"], WIDER) == formula
    assert Expression(["x0"]).to_text(["log10"]) == "log10"
    with pytest.raises(ExpressionError, match="PySR cannot read"):
        formula.to_pysr(["log10"])


def test_another_language_does_not_know_them():
    with pytest.raises(ExpressionError, match="unknown symbol 'log10'"):
        Expression(["log10", "x0"])
    with pytest.raises(ExpressionError, match="function 'log10'"):
        Expression.parse("log10(x0)")
    shown = Expression(["cbrt", "x0"], language=WIDER).to_sympy()
    with pytest.raises(ExpressionError, match="cannot convert cbrt"):
        Expression.from_sympy(shown)


def test_an_operator_without_sympys_function_is_shown_by_its_name():
    assert read("cbrt(x0)").to_sympy() == sympy.Function("cbrt")(sympy.Symbol("x0", real=True))


def test_languages_with_one_name_for_two_functions_are_kept_apart():
    def language(factor: float) -> Language:
        return ARITHMETIC.extended("scaled", Operator(
            "f", 1, lambda a: factor * a, lambda _v, _a: (factor,), f"{factor} * {{0}}",
            f"({factor} * {{0}})", spellings=(f"{factor} * a",),
        ))  # fmt: skip

    for factor in (2.0, 3.0):
        formula = Expression(["f", "*", "c", "x0"], [1.0], language(factor))
        assert formula.evaluate([[5.0]]) == 5.0 * factor
        assert formula.jacobian([[5.0]])[1] == 5.0 * factor
        assert formula.lower({"*"}).evaluate([[5.0]]) == 5.0 * factor
        assert Expression(["f", "c"], [1.0], formula.language).simplify().constants == (factor,)
        assert formula.to_sympy().subs(sympy.Symbol("x0", real=True), 5.0) == 5.0 * factor


# --- languages as values ----------------------------------------------------------------------
def test_equal_languages_are_one():
    assert ARITHMETIC.extended("with log10", LOG10, CBRT, HYPOT) is WIDER
    assert ARITHMETIC.extended("another name", LOG10, CBRT, HYPOT) is not WIDER
    assert ARITHMETIC.extended("with log10", LOG10) is not WIDER
    assert pickle.loads(pickle.dumps(WIDER)) is WIDER
    assert pickle.loads(pickle.dumps(ARITHMETIC)) is ARITHMETIC


def test_a_formula_brings_its_language_along():
    formula = Expression(["+", "log10", "x0", "sin", "x1"], (), ARITHMETIC.extended("own", LOG10))
    wanted = formula.evaluate(X)
    sent = pickle.dumps(formula)
    del formula
    gc.collect()
    found = pickle.loads(sent)
    np.testing.assert_array_equal(found.evaluate(X), wanted)
    assert found.language.operators["sin"] is ARITHMETIC.operators["sin"]
    assert found == pickle.loads(sent)


def test_a_language_with_few_operators_keeps_to_them():
    few = Language("few", [ARITHMETIC.operators[name] for name in ("+", "*", "square")])
    formula = Expression(["+", "*", "x0", "x0", "*", "c", "c"], [2.0, 3.0], few)
    simple = formula.simplify()
    assert simple == Expression(["+", "*", "x0", "x0", "c"], [6.0], few)
    assert Expression(["square", "x0"], (), few).lower({"*"}) == Expression(
        ["*", "x0", "x0"], (), few
    )
    assert formula.lower({"+"}) is None
    with pytest.raises(
        ExpressionError, match=r"unknown symbol .neg.; allowed are the operators [+] "
    ):
        Expression.parse("-x0", language=few)
