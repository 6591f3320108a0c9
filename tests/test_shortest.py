"""What is shown is the shortest spelling; one function has one key."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import DEFAULT_OPERATORS, formulas

from sr_transformer.expression import Expression
from sr_transformer.front.pool import Candidate
from sr_transformer.prior.formulas import FormulaSampler, FormulaShape

read = Expression.parse


# --- one key ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "spellings",
    [
        ("tan(-atan(x0))", "-x0"),
        ("sin(x0 + 3.141592653589793)", "-sin(x0)"),
        ("cos(3.141592653589793 * x0 - 1.5707963267948966)", "sin(3.141592653589793 * x0)"),
        ("cos(x0 + 0.3)", "sin(x0 + 1.8707963267948966)", "-sin(x0 - 1.2707963267948966)"),
        ("sin(x0 + 7.0)", "sin(x0 + 0.7168146928204138)"),
        ("tan(x0 + 3.141592653589793)", "tan(x0)"),
        ("square(x0) - 6.0 * x0 + 9.0", "square(x0 - 3.0)", "square(3.0 - x0)"),
        ("2.0 * square(x0) + 8.0 * x0 + 3.0", "2.0 * square(x0 + 2.0) - 5.0"),
        ("square(x0) - 6.0 * x0", "x0 * (x0 - 6.0)", "square(x0 - 3.0) - 9.0"),
        ("square(x0) + 2.0 * x0 * x1 + square(x1)", "square(x0 + x1)"),
        ("4.0 * square(x0) - 4.0 * x0 * x1 + square(x1)", "square(2.0 * x0 - x1)"),
        ("x0 * x1 + x0 * x2", "x0 * (x1 + x2)"),
        ("x0 * x1 + x0 * x2 + x1 * x2", "x1 * (x0 + x2) + x0 * x2"),
        ("x0 + x0 * x1", "x0 * (x1 + 1.0)"),
        ("x0 * (x1 + x2 / x0)", "x0 * x1 + x2"),
        ("3.0 * x0 + 3.0 * x1", "3.0 * (x0 + x1)"),
        ("2.0 * sin(x0) + 3.0 * cos(x0)", "3.605551275463989 * sin(x0 + 0.982793723247329)"),
        ("abs(0.01 * x0 - 0.08)", "0.01 * abs(x0 - 8.0)"),
        ("min(0.01 * x0, 0.01 * x1)", "0.01 * min(x0, x1)", "-0.01 * max(-x0, -x1)"),
        ("max(3.0 * x0, 6.0)", "3.0 * max(x0, 2.0)"),
        ("log(3.0 * x0 + 6.0)", "log(x0 + 2.0) + 1.0986122886681098"),
        ("log(cube(x0))", "3.0 * log(x0)"),
        ("log(square(x0))", "2.0 * log(abs(x0))"),
        ("log(x0) - log(x1)", "log(x0 / x1)"),
        ("2.0 * log(x0) + 2.0 * log(x1)", "2.0 * log(x0 * x1)"),
        ("exp(2.0 + 3.0 * x0)", "7.38905609893065 * cube(exp(x0))"),
        ("square(exp(x0 + x1))", "exp(2.0 * x0 + 2.0 * x1)"),
    ],
)
def test_one_function_has_one_key(spellings):
    assert len({Candidate(read(text), 1.0, "transformer").key for text in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("square(x0 - 3.0)", "2.0 * square(x0 - 3.0) + 4.0"),  # no family takes up one with fewer
        ("sin(x0) + cos(x0)", "1.3 * sin(x0 + 0.4)"),
        ("x0 * (x1 + 2.0)", "(x0 + 3.0) * (x1 + 2.0)"),
        ("square(x0 + 1.5)", "square(x0) + 1.5 * x0"),
        ("2.0 * log(x0)", "log(square(x0))"),  # for negative x0
        ("sqrt(x0) * sqrt(x1)", "sqrt(x0) * x1"),
    ],
)
def test_different_functions_have_different_keys(one, other):
    assert read(one).key != read(other).key


# --- the shortest -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x0 ^ -1.5", "x0 ^ -1.5"),
        ("1.0 / x0 ^ 1.5", "x0 ^ -1.5"),
        ("1.0 / (x0 * sqrt(x0))", "x0 ^ -1.5"),
        ("-sin(2.0 * x0)", "sin(-2.0 * x0)"),
        ("-50.0 * abs(-0.02 * x0 + 0.16)", "-(abs(x0 - 8.0))"),
        ("100.0 * abs(0.01 * x0 - 0.08)", "abs(x0 - 8.0)"),
        ("100.0 * x2 * min(0.01 * x0, 0.01 * x1)", "x2 * min(x0, x1)"),
        ("10.0 * sqrt(0.01 * x0 + 0.03)", "sqrt(x0 + 3.0)"),
        ("1000.0 * cube(0.1 * x0 - 0.2 * x1)", "cube(x0 - 2.0 * x1)"),
        ("log(0.01 * x0 + 0.08) + 4.605170185988092", "log(x0 + 8.0)"),
        ("0.01 / (0.01 * x0 + 0.02)", "inv(x0 + 2.0)"),
        ("5.0 * (0.2 * x0 + x1)", "x0 + 5.0 * x1"),
        ("6.0 * (x0 + 0.5 * x1) * (x2 + 0.5 * x3)", "1.5 * (2.0 * x0 + x1) * (2.0 * x2 + x3)"),
        ("6.0 * (x0 + 0.5 * x1) * (x2 + 0.3333333333333333 * x3)",
         "(2.0 * x0 + x1) * (3.0 * x2 + x3)"),
        ("1.5 * x0 + 1.5 * x1", "1.5 * (x0 + x1)"),
        ("square(x0) - 6.0 * x0 + 9.0", "square(x0 - 3.0)"),
        ("3.0 * square(x0) + 2.0 * x0", "x0 * (3.0 * x0 + 2.0)"),
        ("cos(3.141592653589793 * x0 - 1.5707963267948966)", "sin(3.141592653589793 * x0)"),
        ("sin(x0 + 3.141592653589793)", "-(sin(x0))"),
        ("square(x0) * square(x1) / square(x2)", "square(x0 * x1 / x2)"),
        ("2.0 * exp(-x0)", "2.0 / exp(x0)"),
        ("exp(3.0 * x0)", "cube(exp(x0))"),
        ("3.0 * log(x0)", "log(cube(x0))"),
        ("0.3333333333333333 * x0", "x0 / 3.0"),
        ("x2 * (log(x0) - log(x1))", "x2 * log(x0 / x1)"),
        ("tan(-atan(x0))", "-(x0)"),
    ],
)  # fmt: skip
def test_the_shortest_spelling_is_found(text, expected):
    shortest = read(text).shortest()
    wanted = read(expected)
    assert len(shortest.symbols) <= len(wanted.symbols)
    assert shortest.key == wanted.key
    X = np.random.default_rng(0).uniform(0.5, 3.0, (30, 4))
    np.testing.assert_allclose(shortest.evaluate(X), wanted.evaluate(X), rtol=1e-12)


def test_roots_of_exponentials_are_not_made_as_they_overflow_earlier():
    formula = read("exp(0.5 * x0)")
    assert formula.shortest().evaluate([[1400.0]]) == formula.evaluate([[1400.0]])


def test_numbers_of_few_digits_stay_where_nothing_is_gained():
    for text in ("log(4.0 * x0 + 8.0)", "2.0 * exp(x0)", "sqrt(4.0 * x0 + 8.0)", "x0 - 8.0"):
        assert read(text).shortest() == read(text)


@pytest.mark.parametrize(
    ("operators", "text", "n_symbols"),
    [("+ - * /", "x0 ^ 2.0", 3), ("+ - * / ^", "inv(x0 ^ 1.5)", 3), ("- * sin", "sin(-x0)", 4)],
)
def test_spellings_keep_to_the_operators(operators, text, n_symbols):
    allowed = frozenset(operators.split())
    shortest = read(text).shortest(allowed)
    assert shortest.operators <= allowed
    assert len(shortest.symbols) == n_symbols


def test_what_cannot_be_written_with_the_operators_has_no_spelling():
    assert read("sin(x0)").shortest({"+", "*"}) is None


def spread_under_rounding(formula: Expression, X: np.ndarray) -> np.ndarray:
    """How much the values move when each input and constant moves by a rounding error."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(4):
        moved = formula.with_constants(
            c * (1 + 1e-15 * rng.choice([-1, 1])) for c in formula.constants
        )
        values.append(moved.evaluate(X * (1 + 1e-15 * rng.choice([-1, 1], X.shape))))
    return np.ptp([formula.evaluate(X), *values], axis=0)


def assert_shortest_of_equal_ones(formula: Expression, X: np.ndarray) -> None:
    shortest = formula.shortest()
    assert len(shortest.symbols) <= len(formula.symbols), formula
    assert len(shortest.symbols) <= len(formula.simplify().symbols), formula
    assert shortest.key == formula.key == formula.simplify().key, formula
    assert Expression(shortest.symbols, shortest.constants).shortest() == shortest, formula
    before, after = formula.evaluate(X), shortest.evaluate(X)
    with np.errstate(all="ignore"):
        tolerance = 1e-9 * (1 + np.abs(before)) + 1e4 * spread_under_rounding(formula, X)
        compared = np.isfinite(before) & np.isfinite(tolerance) & (np.abs(before) < 1e12)
        equal = np.abs(after - before) <= tolerance
    assert equal[compared].all(), f"{formula} became {shortest}"


@pytest.mark.parametrize("seed", range(3))
def test_of_formulas_of_the_prior(seed):
    sampler = FormulaSampler(random.Random(seed), FormulaShape(max_variables=4))
    X = np.random.default_rng(seed).normal(size=(40, 10)) * 2
    for _ in range(300):
        formula = sampler.draw()
        if len(formula.symbols) <= 30:
            assert_shortest_of_equal_ones(formula, X)


@settings(max_examples=150, deadline=None)
@given(formulas(max_leaves=6))
def test_of_any_formula_it_is_never_longer_and_keeps_to_the_default_operators(formula):
    lowered, shortest = formula.lower(DEFAULT_OPERATORS), formula.shortest(DEFAULT_OPERATORS)
    if lowered is not None:
        assert len(shortest.symbols) <= len(lowered.symbols)
        assert shortest.operators <= DEFAULT_OPERATORS


@pytest.mark.parametrize(
    "text",
    ["{} * square(x0 + {}) + {}", "{} * x0 * (x1 + {})", "{} * sin(x0 + {})", "{} * abs(x0 + {})",
     "{} * log(x0 + {}) + {}", "{} * min(x0, {})", "{} / (x0 + {}) + {}"],
)  # fmt: skip
def test_the_key_does_not_hang_on_the_values_of_free_constants(text):
    rng = np.random.default_rng(0)
    n = text.count("{}")
    keys = set()
    for _ in range(30):
        constants = rng.uniform(0.1, 3.0, n) * rng.choice([-1, 1], n)
        keys.add(read(text.format(*constants)).key)
    assert len(keys) == 1
