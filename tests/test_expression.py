"""Expression: construction, values, derivatives, size."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BINARY, UNARY, formulas, random_formula, random_table

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

INSIDE = {"asin": 0.3, "acos": 0.3}  # arguments inside the domain of every derivative


@pytest.mark.parametrize(
    ("symbols", "constants", "message"),
    [
        ([], [], "missing"),
        (["+", "x0"], [], "missing"),
        (["x0", "x1"], [], "complete after 1"),
        (["gamma", "x0"], [], "unknown symbol 'gamma'"),
        (["x"], [], "unknown symbol"),
        (["y0"], [], "unknown symbol"),
        (["c"], [], "0 constants given for 1"),
        (["x0"], [1.0], "1 constants given for 0"),
    ],
)
def test_a_sequence_that_is_not_one_formula_is_refused(symbols, constants, message):
    with pytest.raises(ExpressionError, match=message):
        Expression(symbols, constants)


def test_with_constants_refuses_another_number_of_them():
    with pytest.raises(ExpressionError, match="2 constants"):
        Expression(["c"], [1.0]).with_constants([1.0, 2.0])


def test_equal_formulas_are_equal_and_hash_alike():
    a, b = Expression(["*", "c", "x0"], [2]), Expression(("*", "c", "x0"), (2.0,))
    assert a == b
    assert hash(a) == hash(b)
    assert a != b.with_constants([3.0])
    assert a != "2.0 * x0"


def test_pickling_keeps_the_formula():
    formula = Expression.parse("2.5 * sin(x1)")
    assert pickle.loads(pickle.dumps(formula)) == formula


def test_complexity_counts_as_pysr_does():
    formula = Expression.parse("2.5 * sin(x1) + x0")
    assert formula.complexity() == 6
    weighted = formula.complexity(of_operators={"sin": 3}, of_constants=2, of_variables=[5, 1])
    assert weighted == 1 + 1 + 2 + 3 + 1 + 5
    assert formula.depth == 4
    assert formula.variables == (0, 1)
    assert formula.operators == {"+", "*", "sin"}


@pytest.mark.parametrize("text", ["x0", "1.5", "2.0 ^ 3.0", "x0 + 1.0"])
def test_evaluate_gives_one_new_float64_value_a_row(text):
    X = np.arange(6, dtype=np.int64).reshape(3, 2)
    before = X.copy()
    values = Expression.parse(text).evaluate(X)
    assert values.shape == (3,)
    assert values.dtype == np.float64
    values[:] = -1.0
    np.testing.assert_array_equal(X, before)


def test_undefined_values_are_left_as_they_are():
    values = Expression.parse("log(x0)").evaluate([[0.0], [-1.0], [1.0]])
    assert values[0] == -np.inf
    assert np.isnan(values[1])
    assert values[2] == 0.0


@pytest.mark.parametrize("name", BINARY + UNARY)
def test_each_derivative_agrees_with_central_differences(name):
    arity = ARITHMETIC.operators[name].arity
    formula = Expression([name, *["*", "c", "x0", "*", "c", "x1"][: 3 * arity]], [0.7, 1.3][:arity])
    scale = INSIDE.get(name, 1.0)
    X = np.random.default_rng(0).uniform(0.5, 1.2, (20, 2)) * scale
    values, jacobian = formula.jacobian(X)
    np.testing.assert_allclose(values, formula.evaluate(X), rtol=1e-14)
    assert jacobian.shape == (20, arity)
    for i in range(arity):
        step = np.zeros(arity)
        step[i] = 1e-6
        up = formula.with_constants(formula.constants + step).evaluate(X)
        down = formula.with_constants(formula.constants - step).evaluate(X)
        np.testing.assert_allclose(jacobian[:, i], (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


def test_jacobian_of_random_formulas_agrees_with_the_complex_step():
    # f'(c) = Im f(c + ih) / h has no cancellation, so h can be tiny: exact to rounding.
    rng = np.random.default_rng(1)
    analytic = ("+", "-", "*", "/", "neg", "inv", "square", "cube", "exp", "sin", "cos", "tanh")
    compared = 0
    for _ in range(300):
        formula = random_formula(rng, operators=analytic)
        if not formula.constants:
            continue
        X = random_table(rng)
        _, jacobian = formula.jacobian(X)
        for i in range(len(formula.constants)):
            constants = list(formula.constants)
            constants[i] += 1e-30j
            wanted = _complex_values(formula.symbols, constants, X).imag / 1e-30
            good = np.isfinite(wanted) & np.isfinite(jacobian[:, i]) & (np.abs(wanted) < 1e100)
            np.testing.assert_allclose(
                jacobian[good, i], wanted[good], rtol=1e-6, atol=1e-9, err_msg=str(formula)
            )
            compared += int(good.sum())
    assert compared > 2000


def _complex_values(symbols, constants, X):
    stack, constants = [], list(constants)
    with np.errstate(all="ignore"):
        for symbol in reversed(symbols):
            if symbol == "c":
                stack.append(np.full(len(X), constants.pop(), dtype=complex))
            elif symbol in ARITHMETIC.operators:
                row = ARITHMETIC.operators[symbol]
                stack.append(row.function(*(stack.pop() for _ in range(row.arity))))
            else:
                stack.append(X[:, int(symbol[1:])].astype(complex))
    return stack[0]


@settings(max_examples=200, deadline=None)
@given(formulas(), st.integers(0, 1000))
def test_jacobian_and_evaluate_give_the_same_values(formula, seed):
    X = random_table(np.random.default_rng(seed))
    values, jacobian = formula.jacobian(X)
    np.testing.assert_array_equal(values, formula.evaluate(X))
    assert jacobian.shape == (len(X), len(formula.constants))
