"""The canonical spelling keeps values, is stable, and is one for equal formulas."""

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

UNARY = [name for name, arity in ARITHMETIC.arity.items() if arity == 1]
BINARY = [name for name, arity in ARITHMETIC.arity.items() if arity == 2] + ["+", "*", "-", "/"] * 2


def random_formula(generator, depth):
    """Random prefix symbols and constants, simple values among them."""
    if depth == 0 or generator.random() < 0.2:
        if generator.random() < 0.4:
            simple = [1, 2, 3, 0.5, -1, -2, 0, generator.normal() * 3]
            return ["c"], [float(generator.choice(simple))]
        return [f"x{generator.integers(3)}"], []
    if generator.random() < 0.45:
        symbols, constants = random_formula(generator, depth - 1)
        return [str(generator.choice(UNARY)), *symbols], constants
    a, b = random_formula(generator, depth - 1), random_formula(generator, depth - 1)
    return [str(generator.choice(BINARY)), *a[0], *b[0]], a[1] + b[1]


def spread_under_rounding(formula, X):
    """How much the values move when every input moves by a rounding error."""
    values = [formula.evaluate(X * (1 + s * 1e-15)) for s in (-1, 0, 1)]
    return np.ptp(values, axis=0)


def test_simplified_formulas_have_equal_values_where_the_original_is_defined():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(48, 3)) * 2
    for _ in range(3000):
        formula = Expression(*random_formula(generator, 4))
        before, after = formula.evaluate(X), formula.simplify().evaluate(X)
        with np.errstate(all="ignore"):
            tolerance = 1e-9 * (1 + np.abs(before)) + 1e3 * spread_under_rounding(formula, X)
            compared = np.isfinite(before) & np.isfinite(tolerance) & (np.abs(before) < 1e12)
            equal = np.abs(after - before) <= tolerance
        assert equal[compared].all(), f"{formula} became {formula.simplify()}"


def test_simplifying_twice_changes_nothing():
    generator = np.random.default_rng(1)
    for _ in range(2000):
        once = Expression(*random_formula(generator, 4)).simplify()
        assert once.simplify().symbols == once.symbols


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["+", "x0", "x1"], ["+", "x1", "x0"]),
        (["*", "x0", "x0"], ["square", "x0"]),
        (["*", "x0", "square", "x0"], ["cube", "x0"]),
        (["/", "x0", "x1"], ["*", "x0", "inv", "x1"]),
        (["-", "x0", "x1"], ["+", "x0", "neg", "x1"]),
        (["sqrt", "*", "x0", "x1"], ["*", "sqrt", "x0", "sqrt", "x1"]),
        (["exp", "+", "x0", "x1"], ["*", "exp", "x0", "exp", "x1"]),
        (["sin", "neg", "x0"], ["neg", "sin", "x0"]),
        (["cos", "-", "x0", "x1"], ["cos", "-", "x1", "x0"]),
        (["square", "-", "x0", "x1"], ["square", "-", "x1", "x0"]),
        (["/", "x0", "/", "x1", "x2"], ["/", "*", "x0", "x2", "x1"]),
        (["max", "x0", "max", "x1", "x2"], ["max", "max", "x2", "x0", "x1"]),
        (["log", "exp", "x0"], ["x0"]),
        (["abs", "neg", "x0"], ["abs", "x0"]),
        (["tan", "neg", "atan", "x0"], ["neg", "x0"]),
        (["cos", "neg", "acos", "x0"], ["x0"]),
    ],
)
def test_equal_formulas_get_one_spelling(one, other):
    assert Expression(one).simplify() == Expression(other).simplify()


def test_constants_fold_and_neutral_elements_vanish():
    formula = Expression(["+", "*", "c", "x0", "*", "c", "c"], [1.0, 2.0, 0.0]).simplify()
    assert formula == Expression(["x0"])
    assert Expression(["*", "c", "*", "c", "x0"], [2.0, 3.0]).simplify() == Expression(
        ["*", "c", "x0"], [6.0]
    )


def test_order_of_terms_does_not_hang_on_the_values_of_constants():
    spellings = {
        Expression(["+", "exp", "*", "c", "x0", "sin", "*", "c", "x1"], pair).simplify().symbols
        for pair in ([0.1, 9.0], [9.0, 0.1], [-3.0, 2.0], [5e-3, -7e4])
    }
    assert len(spellings) <= 2  # the sign of a sine's argument moves in front of it


def test_a_constant_that_underflows_takes_no_term_with_it():
    formula = Expression.parse("square(exp(x0 - 443.0) - 0.54 * x0)")
    X = np.array([[1.0], [2.0]])
    np.testing.assert_allclose(formula.simplify().evaluate(X), formula.evaluate(X))


def test_a_constant_that_folds_to_infinity_leaves_the_formula_as_it_is():
    formula = Expression(["/", "x0", "-", "c", "c"], [1.0, 1.0])
    assert formula.simplify() is formula


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("log(3.0 * (x1 - x0))", "log(x1 - x0) + 1.0986122886681098"),
        ("x0 * sqrt(4.0 * (x2 - x1))", "2.0 * x0 * sqrt(x2 - x1)"),
        ("4.0 * sin(x1) / (-4.0 * (x0 - x1) - 4.0 * x0)", "-0.5 * sin(x1) / (x0 + -0.5 * x1)"),
    ],
)
def test_a_sum_is_normalised_by_the_term_that_leads_in_the_end(text, spelling):
    simplified = Expression.parse(text).simplify()
    assert simplified == Expression.parse(spelling)
    assert simplified.simplify() == simplified
