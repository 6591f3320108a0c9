"""Fitting the constants of formulas: one descent, several starts, many formulas."""

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.expression.program import compile_program
from sr_transformer.prior import ExampleStream
from sr_transformer.prior.stream import PriorConfig
from sr_transformer.proposal.constants import Descent, refit
from sr_transformer.proposal.fit import Fitter
from sr_transformer.proposal.starts import refine, scout, scouting_table
from sr_transformer.table.table import Table

OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))


def fitted(starts, X, y, seed=0, exact=1e-20):
    """One formula from several starts: scouted on few rows, refined on all."""
    table = Table(np.asfortranarray(X), y)
    found, _ = scout(starts, scouting_table(table), seed=seed, enough=exact)
    return refine(found, table, enough=exact)


def test_constants_are_fitted_to_the_law_from_a_nearby_start():
    generator = np.random.default_rng(0)
    X = generator.uniform(0.5, 3.0, size=(100, 2))
    law = Expression(["+", "*", "c", "exp", "*", "c", "x0", "^", "x1", "c"], [2.5, -0.7, 1.5])
    start = law.with_constants([2.0, -1.0, 1.2])
    fitted, loss = refit(start, Table(X, law.evaluate(X)))
    np.testing.assert_allclose(fitted.constants, law.constants, rtol=1e-8)
    assert loss < 1e-20


def test_a_fit_is_never_worse_than_its_start_and_weights_count():
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(30, 1)), generator.normal(size=30)
    line = Expression(["+", "*", "c", "x0", "c"], [0.3, -0.2])
    weight = generator.uniform(0.1, 3.0, size=30)
    table = Table(X, y, weight / weight.mean())
    fitted, loss = refit(line, table)
    assert loss <= table.loss(line)
    design = np.column_stack([X[:, 0], np.ones(30)])
    root = np.sqrt(weight)
    expected = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(fitted.constants, expected, rtol=1e-6)


def test_undefined_regions_are_refused_and_short_tables_are_fitted():
    X = np.linspace(1.0, 4.0, 20)[:, None]
    law = Expression(["sqrt", "-", "x0", "c"], [0.9])
    fitted, loss = refit(law.with_constants([0.2]), Table(X, law.evaluate(X)))
    assert fitted.constants[0] == pytest.approx(0.9)
    assert loss < 1e-20
    cubic = Expression(["+", "*", "c", "x0", "+", "c", "*", "c", "square", "x0"], [1.0, 1.0, 1.0])
    fitted, loss = refit(cubic, Table(X[:2], np.array([3.0, 5.0])))
    assert loss < 1e-12


@pytest.mark.filterwarnings("error")
def test_a_start_at_the_end_of_the_number_range_is_no_trouble():
    X = np.linspace(1.0, 2.0, 20)[:, None]
    found, loss = fitted(
        [Expression(["tanh", "*", "c", "x0"], [1.7e308])], X, np.tanh(0.4 * X[:, 0])
    )
    assert np.isfinite([*found.constants, loss]).all()


@pytest.mark.parametrize(
    ("text", "affine"),
    [
        ("2.0 * x0 + 3.0", [2.0, 3.0]),
        ("2.0 * sin(3.0 * x0) - (4.0 - x1) / (5.0 + x0)", [2.0, 4.0]),
        ("2.0 * (3.0 * x0 + 4.0)", [3.0, 4.0]),
        ("exp(2.0 * x0) / 3.0", []),
        ("x0 ^ 2.5", []),
    ],
)
def test_constants_in_which_a_formula_is_affine_are_told_apart(text, affine):
    formula = Expression.parse(text)
    program = compile_program(formula.symbols)
    assert [formula.constants[i] for i in program.linear] == affine
    assert sorted(program.linear + program.nonlinear) == list(range(len(formula.constants)))


def test_affine_constants_are_solved_at_once_wherever_they_start():
    X = np.random.default_rng(3).uniform(0.5, 3.0, size=(80, 2))
    law = Expression.parse("2.5 * sin(x0) / x1 - 0.3 * sqrt(x1) + 40.0")
    start = np.array([[-1e3, 1e4, 7.0]])
    constants, losses = Descent(law, Table(X, law.evaluate(X))).descend(start, 3, 0.0)
    np.testing.assert_allclose(constants[0], law.constants, rtol=1e-6)
    assert losses[0] < 1e-12


def test_several_descents_side_by_side_are_the_same_as_each_alone():
    X = np.random.default_rng(4).uniform(0.5, 3.0, size=(60, 1))
    law = Expression.parse("2.0 * exp(-0.7 * x0) + sin(1.7 * x0)")
    starts = np.array([[1.0, -0.5, 1.5], [1.0, -2.0, 4.0], [-3.0, 0.3, 0.2]])
    fit = Descent(law, Table(X, law.evaluate(X)))
    together, _ = fit.descend(starts, 30, 1e-10)
    for start, constants in zip(starts, together, strict=True):
        alone, _ = fit.descend(start[None], 30, 1e-10)
        np.testing.assert_allclose(alone[0], constants, rtol=1e-6)


def test_the_best_of_several_starts_is_kept():
    X = np.linspace(0.0, 6.0, 80)[:, None]
    wave = Expression(["sin", "*", "c", "x0"], [2.0])
    starts = [wave.with_constants([0.3]), wave.with_constants([1.9])]
    formula, loss = fitted(starts, X, wave.evaluate(X))
    assert formula.constants[0] == pytest.approx(2.0)
    assert loss < 1e-20


@pytest.mark.parametrize(
    ("law", "start"),
    [
        ("log(x0 + 2.0)", [-2.0]),  # undefined on some rows
        ("sin(8.0 * x0)", [3.0]),  # many valleys away
        ("x0 ^ 4.0", [2.2]),  # undefined over negative x0
        ("2.0 * exp(-(1.5 * x0))", [-1.0, -1.5]),  # a wrong sign
    ],
)
def test_starts_that_lead_nowhere_are_replaced(law, start):
    law = Expression.parse(law)
    X = np.random.default_rng(0).uniform(-1.5, 3.0, size=(100, 1))
    _, loss = fitted([law.with_constants(start)], X, law.evaluate(X))
    assert loss < 1e-18


def test_most_formulas_are_recovered_from_wrong_constants():
    stream = ExampleStream([31, 7], PriorConfig(share_clean=1.0))
    rng = np.random.default_rng(31)
    reached = []
    while len(reached) < 40:
        X, _, law = stream.draw(200)
        y = law.evaluate(X)
        if not 1 <= len(law.constants) <= 4 or not np.isfinite(y).all():
            continue
        start = law.with_constants(np.exp(0.5 * rng.standard_normal()) * np.array(law.constants))
        reached.append(fitted([start], X, y)[1] < 1e-9 * np.var(y))
    assert np.mean(reached) >= 0.85


def a_fitter(X, y, **changes):
    settings = {
        "table": Table(np.asfortranarray(X), y), "operators": OPERATORS,
        "maxsize": 30, "deadline": np.inf, "n_jobs": None,
    }  # fmt: skip
    return Fitter(**settings | changes)


def test_a_formula_that_is_undefined_whatever_its_constants_is_left_out():
    X = np.linspace(-1.0, 1.0, 30)[:, None]
    formulas = [Expression.parse("sqrt(x0) + 2.0"), Expression.parse("3.0 * x0")]
    found = a_fitter(X, X[:, 0]).fit(formulas, np.random.RandomState(0))
    assert {c.expression.symbols for c in found} == {("*", "c", "x0")}


def test_a_fit_does_not_hang_on_how_much_is_known_or_where_arrays_lie():
    rng = np.random.default_rng(5)
    X = rng.uniform(0.5, 3.0, size=(150, 2))
    y = np.sin(2.0 * X[:, 0]) * X[:, 1] + 0.05 * rng.normal(size=150)
    stream = ExampleStream(8)
    formulas = [f for f in (stream.formula() for _ in range(150)) if max(f.variables) < 2]
    results = []
    for shift in range(4):
        kept = np.empty(X.size + shift)  # another place in memory
        X_there = kept[shift:].reshape(X.shape, order="F")
        X_there[...] = X
        fitter = a_fitter(X_there, y.copy())
        results.append(fitter.fit(formulas, np.random.RandomState(0)))
    assert all(result == results[0] for result in results)
