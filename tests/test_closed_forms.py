"""Candidates in closed form: what they find at once, within which limits, what they survive."""

import subprocess
import sys

import numpy as np
import pytest

from sr_transformer import SymbolicTransformerRegressor, propose
from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.proposal.closed import FAMILIES, closed_form_candidates
from sr_transformer.proposal.closed.subsets import best_subsets, normal_equations
from sr_transformer.proposal.proposers import CLOSED_FORMS, PROPOSERS
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))


def a_table(X, y, weight=None):
    return Table(np.asfortranarray(X), y, None if weight is None else weight / weight.mean())


def a_scaled_table(X, y):
    return Table(X, y).scaled(Scaling.of(X, y))


def candidates_for(X, y, *, weight=None, proposers=PROPOSERS, operators=OPERATORS, maxsize=30):
    found = closed_form_candidates(
        a_table(X, y, weight), range(X.shape[1]), proposers=proposers, operators=operators,
        maxsize=maxsize,
    )  # fmt: skip
    return list(found)


def inputs(n_rows=100, n_columns=3, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 3.0, (n_rows, n_columns))


@pytest.mark.parametrize(
    ("proposer", "law", "complexity"),
    [
        ("power-law", "x0 ^ 1.5", 3),
        ("power-law", "6.67 * x0 * x1 / square(x2)", 8),
        ("power-law", "-0.3 * sqrt(x1) / cube(x0)", 7),
        ("linear", "2 * x0 - x1 + 3", 7),
        ("polynomial", "square(x0) * x1 - 3 * x2 + 1", 10),
        ("polynomial", "x0 ^ 4 + cube(x0) + square(x0) + x0", 11),
        ("polynomial", "2 * x0 / x1 - 0.5 / square(x2)", 10),
        ("rational", "x0 * x1 / (x0 + x1)", 7),
        ("rational", "2 * x0 / (x0 + 0.7)", 7),
        ("additive", "x1 * sin(x0) + exp(x2)", 7),
        ("curve", "2 * sin(3.3 * x0 + 0.4) + 1", 10),
        ("curve", "3 * exp(-0.7 * x1) + 2", 8),
        ("curve", "2 * log(x0 + 1.3)", 6),
        ("link", "sqrt(square(x0) + square(x1))", 6),
        ("link", "3 * sqrt(x0) * exp(-1.7 / x1)", 9),
        ("link", "4 / sqrt(16 - square(x0))", 7),
        ("link", "cube(x0 + 2 * x1 + 1)", 8),
        ("link", "log(x0 * x1 + 2)", 6),
    ],
)
def test_each_proposer_finds_the_laws_of_its_family_exactly(proposer, law, complexity):
    X = inputs()
    y = Expression.parse(law).evaluate(X)
    candidates = candidates_for(X, y, proposers=[proposer])
    assert {c.source for c in candidates} == {proposer}
    exact = [c for c in candidates if c.loss <= 1e-20 * np.mean(y * y)]
    assert min((c.complexity for c in exact), default=None) <= complexity


CURVES = {
    "Vogel's viscosity": ("0.0056 * exp(6181 / (x0 + 345))", 50, 125),
    "Antoine's vapour pressure": ("exp(18.585 - 3984.9 / (233.43 + x0))", 5, 100),
    "Antoine's logarithm": ("8.0713 - 1730.63 / (233.426 + x0)", 5, 100),
    "Magnus's vapour pressure": ("6.112 * exp(17.62 * x0 / (243.12 + x0))", -30, 50),
    "a law of cooling": ("22 + 70 * exp(-0.03 * x0)", 0, 120),
    "a power and an offset": ("3 * x0 ^ 1.7 + 5", 0.1, 4),
    "Omori's aftershocks": ("300 / (x0 + 2.2) ^ 1.1", 0, 40),
    "a logarithm": ("3 * log(x0 + 2.2) + 1", 0, 14),
    "logistic growth": ("100 / (1 + exp(5 - 0.7 * x0))", 0, 14),
    "logistic growth of years": ("100 / (1 + exp(136.5 - 0.07 * x0))", 1900, 2000),
    "logistic growth from an offset": ("5 + 100 / (1 + exp(5 - 0.7 * x0))", 0, 14),
    "Gompertz's growth": ("100 * exp(-4 * exp(-0.3 * x0))", 0, 20),
    "Hill's binding": ("7 / (1 + 20 * x0 ^ -2.5)", 0.1, 20),
    "Michaelis and Menten's rate": ("7 * x0 / (3.3 + x0)", 0.1, 20),
    "Langmuir's adsorption": ("1.2 * x0 / (1 + 0.3 * x0)", 0, 20),
    "Gauss's peak": ("0.38 * exp(-0.03 * square(x0 - 451.5))", 438, 471),
    "Gauss's peak on an offset": ("0.38 * exp(-0.03 * square(x0 - 451.5)) + 0.1", 438, 471),
    "Lorentz's peak": ("3 / (square(x0 - 2) + 0.3)", 0, 5),
    "Arrhenius's rate": ("1e9 * exp(-6014 / x0)", 300, 400),
    "a damped wave": ("3 * exp(-0.3 * x0) * sin(2.2 * x0 + 0.4)", 0, 6),
    "Weibull's distribution": ("5 * (1 - exp(-0.138 * x0 ^ 1.8))", 0.01, 8),
    "a stretched exponential": ("5 * exp(-0.517 * x0 ^ 0.6)", 0.01, 8),
    "Morse's valley": ("4.7 * square(1 - exp(-1.9 * (x0 - 0.74))) - 4.7", 0.4, 3),
    "two decays": ("3 * exp(-0.4 * x0) + 2 * exp(-2 * x0)", 0, 6),
    "Planck's radiation": ("3 * x0 ^ 3 / (exp(1.4 * x0) - 1)", 0.1, 8),
    "a thermistor's temperature": ("1 / (0.001022 + 0.0002532 * log(x0)) - 273.15", 3000, 32000),
}
"""Laws that measurements are fitted with, and ranges where they are measured."""


@pytest.mark.parametrize(("n_rows", "noise"), [(8, 0.0), (14, 0.0), (14, 0.02), (40, 0.02)])
@pytest.mark.parametrize(("law", "low", "high"), CURVES.values(), ids=CURVES)
def test_the_usual_curves_of_one_column_are_found(law, low, high, n_rows, noise):
    truth = Expression.parse(law)
    X = np.linspace(low, high, n_rows)[:, None]
    clean = truth.evaluate(X)
    noise = noise * np.std(clean) * np.random.default_rng(0).normal(size=n_rows)
    table = Table(X, clean + noise)
    scaled = table.scaled(scaling := Scaling.of(table.X, table.y))
    candidates = closed_form_candidates(
        scaled, [0], proposers=["curve"], operators=OPERATORS, maxsize=30
    )
    # The law's own error is that of its best constants at most.
    enough = max(scaled.loss(scaling.to_scaled_units(truth)), scaled.exact)
    exact = [c for c in candidates if c.loss <= enough]
    n_constants = min((len(c.expression.constants) for c in exact), default=None)
    assert n_constants is not None
    assert n_constants <= len(truth.constants)


@pytest.mark.parametrize(
    ("law", "low", "high", "n_rows", "n_columns"),
    [
        ("x1 + x2 * x3 + square(x4) + sin(x0)", 1, 5, 1000, 5),
        ("x1 + x2 * x3 + square(x4) + sin(x0)", -3, 3, 200, 10),
        ("x0 * (3.5 * x0 + 1.15 * x1 + x2 + 4.87 * sin(x1))", 1, 5, 200, 3),
        ("x0 * (3.5 * x0 + 1.15 * x1 + x2 + 4.87 * sin(x1))", -3, 3, 1000, 10),
        ("-8.8 * x0 + 3.38 * log(x0 + x1 ^ 4)", 1, 5, 200, 2),
        ("-8.8 * x0 + 3.38 * log(x0 + x1 ^ 4)", 0.1, 3, 200, 2),
        ("2 * x0 * cos(x1) + cube(x2) - 0.3 * exp(x3)", 1, 5, 1000, 10),
        ("1.3 * x0 * x1 + 2.1 * x2 * x3 - 0.7 * x4 + 4 * cos(x1)", -3, 3, 200, 5),
        ("x0 * exp(-x1) + x2 / x3", 1, 5, 1000, 10),
        ("3 * sqrt(x0 + square(x1)) - 2 * x2", 0.1, 3, 200, 5),
        ("2 * log(x0 + x1) + x2 * x3", 1, 5, 200, 5),
        ("(x0 + 2 * x2 + sin(x3)) / x1", 1, 5, 200, 5),
    ],
)
def test_sums_with_interactions_are_found(law, low, high, n_rows, n_columns):
    X = np.random.default_rng(0).uniform(low, high, (n_rows, n_columns))
    y = Expression.parse(law).evaluate(X)
    table = a_scaled_table(X, y)
    found = closed_form_candidates(
        table, range(n_columns), proposers=["additive"], operators=OPERATORS, maxsize=30
    )
    assert min(c.loss for c in found) <= table.exact


@pytest.mark.parametrize(
    ("law", "low", "high", "n_rows", "n_columns"),
    [
        ("2 ^ x0 * 3 ^ x1 * 5 ^ x2 * 7 ^ x3", 1, 9, 1000, 4),
        ("2 ^ x0 * 3 ^ x1 * 5 ^ x2 * 7 ^ x3", 1, 5, 200, 5),
        ("square(x0) * exp(-x1) * sqrt(x2)", 1, 5, 200, 5),
        ("3.1 * sqrt(x0) / x1 * sin(x2) * exp(-0.4 * x3)", 0.1, 3, 1000, 10),
        ("square(x0) / (1 + square(x1)) * log(x2 + 1) * exp(-x3)", 1, 5, 200, 5),
        ("-2 * x0 * cos(x1) * exp(-0.3 * x2)", -3, 3, 200, 3),
        ("x0 * sin(x1) * (x2 - x0)", -3, 3, 200, 3),
        ("cube(x0) / (exp(x0 / x1) - 1)", 1, 5, 200, 2),
    ],
)
def test_products_of_functions_of_few_columns_are_found(law, low, high, n_rows, n_columns):
    X = np.random.default_rng(0).uniform(low, high, (n_rows, n_columns))
    table = a_scaled_table(X, Expression.parse(law).evaluate(X))
    found = closed_form_candidates(
        table, range(n_columns), proposers=["product"], operators=OPERATORS, maxsize=30
    )
    assert min(c.loss for c in found) <= table.exact


def test_signs_and_a_column_without_effect_do_not_disturb_a_power_law():
    generator = np.random.default_rng(1)
    X = generator.normal(size=(80, 4))
    y = -2.0 * X[:, 0] ** 2 * X[:, 3] / X[:, 1]
    best = min(
        candidates_for(X, y, proposers=["power-law"]), key=lambda c: (c.loss > 1e-20, c.complexity)
    )
    assert best.expression.variables == (0, 1, 3)
    assert best.expression.constants == (-2.0,)


def test_exponents_are_rounded_where_noise_hides_them():
    generator = np.random.default_rng(2)
    X = inputs(200, 2)
    y = X[:, 0] ** 1.5 / X[:, 1] * (1.0 + 0.05 * generator.normal(size=200))
    spelled = {c.expression.symbols for c in candidates_for(X, y, proposers=["power-law"])}
    assert ("/", "*", "c", "^", "x0", "c", "x1") in spelled


def test_operators_and_size_are_kept():
    X = inputs()
    y = X[:, 0] * X[:, 1] / X[:, 2] ** 2
    operators = frozenset({"+", "-", "*", "/"})
    candidates = candidates_for(X, y, operators=operators, maxsize=9)
    assert candidates
    assert all(c.expression.operators <= operators and c.complexity <= 9 for c in candidates)
    assert min(c.loss for c in candidates) < 1e-20
    assert {c.expression.symbols for c in candidates_for(X, X[:, 0], operators=frozenset({"*"}))}
    assert all(c.complexity == 1 for c in candidates_for(X, y, maxsize=1))


def test_weights_decide_which_law_is_found():
    X = inputs(120, 2)
    first, second = 2.0 * X[:, 0] * X[:, 1], 5.0 - X[:, 0]
    half = np.arange(120) < 60
    y = np.where(half, first, second)
    for chosen, law in ((half, first), (~half, second)):
        best = min(candidates_for(X, y, weight=np.where(chosen, 1.0, 1e-30)), key=lambda c: c.loss)
        np.testing.assert_allclose(best.expression.evaluate(X), law, rtol=1e-6)


def test_losses_are_those_of_the_formulas_and_all_are_finite():
    X, y = inputs(60), np.random.default_rng(3).normal(size=60)
    weight = np.random.default_rng(4).uniform(0.1, 2.0, 60)
    for candidate in candidates_for(X, y, weight=weight):
        assert np.isfinite(candidate.loss)
        assert candidate.loss == a_table(X, y, weight).loss(candidate.expression)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.ones((30, 2)), np.arange(30.0)),
        (np.zeros((30, 2)), np.zeros(30)),
        (np.random.default_rng(0).normal(size=(2, 3)), np.array([1.0, -1.0])),
        (np.random.default_rng(0).normal(size=(5, 3)), np.arange(5.0)),
        (np.random.default_rng(0).normal(size=(10, 40)), np.arange(10.0)),
        (np.random.default_rng(0).integers(-2, 3, (40, 2)).astype(float), np.arange(40.0) % 3),
        (np.repeat([[1.0, 2.0], [3.0, 4.0]], 20, axis=0), np.repeat([0.0, 1.0], 20)),
        (np.random.default_rng(0).normal(size=(40, 2)) * 1e200, np.linspace(-1, 1, 40)),
        (np.random.default_rng(0).normal(size=(40, 2)) * 1e-200, np.linspace(-1, 1, 40)),
        (np.column_stack([np.arange(40.0), np.arange(40.0)]), np.full(40, 7.0)),
        (np.arange(40.0)[:, None], np.zeros(40)),
    ],
)  # fmt: skip
def test_strange_tables_are_survived(X, y):
    candidates = candidates_for(X, y)
    assert all(np.isfinite(c.loss) for c in candidates)


def test_few_rows_are_not_interpolated():
    generator = np.random.default_rng(5)
    X, y = generator.uniform(1, 2, (6, 3)), generator.normal(size=6)
    for candidate in candidates_for(X, y):
        assert candidate.loss > 1e-12


def test_an_exact_short_law_ends_the_work_and_repeats_give_the_same():
    X = inputs(200)
    assert {c.source for c in candidates_for(X, X[:, 0] * X[:, 1])} == {"power-law"}
    y = np.exp(X[:, 0]) + np.sin(X[:, 0] * X[:, 1]) + np.random.default_rng(6).normal(size=200)
    first, second = candidates_for(X, y), candidates_for(X, y)
    assert first == second
    assert {c.source for c in first} == set(CLOSED_FORMS)


def test_a_further_family_needs_a_function_and_a_row(monkeypatch):
    monkeypatch.setitem(
        FAMILIES, "waves", lambda bench: bench.finished(Expression.parse("cos(0.5 * (x0 + x0))"))
    )
    X = inputs(50, 1)
    (found,) = candidates_for(X, np.cos(X[:, 0]), proposers=["waves"])
    assert (found.source, found.expression.symbols) == ("waves", ("cos", "x0"))


def test_small_sets_of_terms_are_found_among_many():
    generator = np.random.default_rng(8)
    values = generator.normal(size=(60, 120))
    target = values[:, 5] - 2.0 * values[:, 40] + 0.5 * values[:, 77]
    gram = normal_equations(np.column_stack([values, target]))
    subsets = best_subsets(gram[:-1, :-1], gram[:-1, -1], 6)
    assert (5, 40, 77) in subsets
    assert max(map(len, subsets)) <= 4  # what explains everything is not added to
    assert best_subsets(np.zeros((3, 3)), np.zeros(3), 2) == []


# --- switching proposers off --------------------------------------------------------------------


def test_without_the_transformer_neither_torch_nor_a_checkpoint_is_needed():
    code = (
        "import sys, numpy as np\n"
        "from sr_transformer import SymbolicTransformerRegressor\n"
        "X = np.random.default_rng(0).uniform(1, 5, (50, 2))\n"
        "model = SymbolicTransformerRegressor('none', proposers=['power-law'], "
        "checkpoint='nowhere.safetensors').fit(X, X[:, 0] ** 2 / X[:, 1])\n"
        "assert str(model.sympy()) == 'x0**2/x1', model.sympy()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_named_proposers_contribute(quick):
    X = inputs(60, 2)
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 0])
    model = quick(proposers=("transformer", "linear")).fit(X, y)
    sources = {c.source for c in model.hall_of_fame_.candidates}
    assert sources <= {"constant", "transformer", "linear"}
    assert "transformer" in sources
    model = quick(proposers=("transformer", "repair")).fit(X, y)
    assert {c.source for c in model.hall_of_fame_.candidates} == {
        "constant", "transformer", "repair",
    }  # fmt: skip
    closed = propose(X, y, proposers=["polynomial"], random_state=0)
    assert {c.source for c in closed.candidates} <= {"constant", "polynomial"}


@pytest.mark.parametrize(
    ("proposers", "message"),
    [
        (["linear", "magic"], "proposers holds 'magic'; allowed are 'transformer', 'power-law'"),
        ("linear", r"the string 'linear'; give a list of names, such as \['linear'\]"),
        ([], "proposers is empty; name some of 'transformer'"),
    ],
)  # fmt: skip
def test_unknown_proposers_are_refused(proposers, message):
    X = inputs(20, 1)
    with pytest.raises(ValueError, match=message):
        SymbolicTransformerRegressor("none", proposers=proposers).fit(X, X[:, 0])
    with pytest.raises(ValueError, match=message):
        propose(X, X[:, 0], proposers=proposers)
