"""Small changes that turn nearly right formulas into right ones."""

import time

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.front.pool import Pool
from sr_transformer.proposal.edits import Editor
from sr_transformer.proposal.fit import Fitter, rescaled
from sr_transformer.proposal.repair import Repair, simpler_variants
from sr_transformer.table.table import Table

OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))


def test_simpler_variants_leave_out_one_operator_and_keep_the_other_constants():
    formula = Expression(["+", "*", "c", "sin", "x0", "/", "c", "x1"], [2.0, 3.0])
    variants = set(simpler_variants(formula))
    assert variants == {
        Expression(["*", "c", "sin", "x0"], [2.0]),
        Expression(["/", "c", "x1"], [3.0]),
        Expression(["+", "c", "/", "c", "x1"], [2.0, 3.0]),
        Expression(["+", "sin", "x0", "/", "c", "x1"], [3.0]),
        Expression(["+", "*", "c", "x0", "/", "c", "x1"], [2.0, 3.0]),
        Expression(["+", "*", "c", "sin", "x0", "c"], [2.0, 3.0]),
        Expression(["+", "*", "c", "sin", "x0", "x1"], [2.0]),
    }


def test_factor_and_offset_are_solved_by_least_squares():
    X = np.random.default_rng(9).uniform(1, 4, size=(40, 1))
    table = Table(X, 3.0 * np.sin(X[:, 0]) - 2.0)
    formula = rescaled(Expression(["sin", "x0"]), table, 1e-20)
    assert formula.symbols == ("+", "*", "c", "sin", "x0", "c")
    np.testing.assert_allclose(formula.constants, [3.0, -2.0])
    assert rescaled(Expression(["log", "neg", "x0"]), Table(X, X[:, 0]), np.inf) is None


def a_table(n_rows=120):
    return np.random.default_rng(11).uniform(0.5, 3.0, size=(n_rows, 2))


def repaired(X, y, formula, *, operators=OPERATORS, maxsize=30, seconds=None, n_jobs=None):
    """The pool after a formula was fitted and repaired."""
    deadline = np.inf if seconds is None else time.perf_counter() + seconds
    fitter = Fitter(
        table=Table(np.asfortranarray(X), y), operators=operators,
        maxsize=maxsize, deadline=deadline, n_jobs=n_jobs,
    )  # fmt: skip
    random_state = np.random.RandomState(0)
    pool = Pool(loss_floor=fitter.table.exact)
    pool.extend(fitter.fit([formula], random_state))
    Repair(pool, fitter, {formula.symbols}, random_state).go_on()
    return pool


@pytest.mark.parametrize(
    ("law", "start"),
    [
        ("2.0 * x0 * exp(-0.5 * x1)", "2.0 * x1 * exp(-0.5 * x1)"),  # another variable
        ("sin(x0) * x1 + 0.7", "cos(x0) * x1 + 0.7"),  # another function
        ("x0 - 1.3 * sqrt(x1)", "x0 * sqrt(x1)"),  # another operator, and a factor
        ("log(x0 / x1)", "log(x1 / x0) + x0"),  # order, and a term too many
        ("square(x0) / (x1 + 0.4)", "square(x0) / x1"),  # an offset inside
        ("tanh(x0 * x1)", "x0 * x1"),  # a function around it
        ("sin(x0) + 0.3 * x1 / x0", "sin(x0)"),  # a term that is missing
        ("x0 ^ 1.7 * x1", "x0 * x1"),  # an exponent
    ],
)
def test_a_small_change_leads_to_the_law(law, start):
    X = a_table()
    y = Expression.parse(law).evaluate(X)
    pool = repaired(X, y, Expression.parse(start))
    assert pool.front[-1].loss < 1e-12 * np.var(y)


def test_a_promise_for_an_inserted_term_is_kept_by_the_fit():
    X = a_table(60)
    y = Expression.parse("2.0 * sin(x0) + 0.3 * x1").evaluate(X)
    editor = Editor(Table(X, y), OPERATORS, [0, 1])
    edits = editor.edits(Expression.parse("2.0 * sin(x0)"), np.full(31, np.inf))
    best = min(edits, key=lambda edit: edit.loss)
    assert best.loss < 1e-20
    assert best.expression.evaluate(X) == pytest.approx(y)


def test_changed_formulas_keep_to_operators_columns_and_size():
    X = np.random.default_rng(12).uniform(0.5, 3.0, size=(50, 4))
    formula = Expression.parse("2.0 * x0 * (x1 + 0.5)")
    operators = frozenset({"+", "*", "sqrt"})
    editor = Editor(Table(X, X[:, 3]), operators, [0, 1, 3])
    edits = editor.edits(formula, np.full(10, np.inf))
    assert len(edits) > 100
    for edit in edits:
        changed = edit.expression
        assert changed.operators <= operators
        assert set(changed.variables) <= {0, 1, 3}
        assert len(changed.symbols) <= edit.complexity <= 9
        assert Expression(changed.symbols, changed.constants) == changed
        assert changed.symbols.count("c") == len(changed.constants)
        assert all(s in ARITHMETIC.arity or s == "c" or s[0] == "x" for s in changed.symbols)


def test_repair_uses_only_what_is_allowed():
    X = a_table()
    y = np.exp(X[:, 0]) / X[:, 1]
    operators = frozenset({"+", "*", "/"})
    pool = repaired(X, y, Expression.parse("x0 / x1"), operators=operators, maxsize=12)
    assert all(c.expression.operators <= operators for c in pool.candidates)
    assert max(c.complexity for c in pool.candidates) <= 12


def test_repair_is_repeatable_and_the_same_in_parallel():
    X = a_table()
    y = np.sin(X[:, 0] * X[:, 1]) + 0.1 * np.random.default_rng(0).normal(size=len(X))
    start = Expression.parse("cos(x0) * x1")
    pools = [repaired(X, y, start, n_jobs=n).candidates for n in (None, None, 2)]
    assert pools[0] == pools[1] == pools[2]


def test_with_more_time_repair_goes_on_and_it_keeps_to_the_time():
    X = a_table()
    y = np.sin(X[:, 0] * X[:, 1]) + 0.1 * np.random.default_rng(0).normal(size=len(X))
    start = Expression.parse("cos(x0) * x1")
    repaired(X, y, start)
    began = time.perf_counter()
    pool = repaired(X, y, start, seconds=0.05)
    assert time.perf_counter() - began < 2.0
    assert pool.front
