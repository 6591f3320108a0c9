"""The stream of training examples: repeatable, within its bounds, without benchmark problems."""

from itertools import islice

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.prior import ExampleStream, PriorConfig
from sr_transformer.prior.formulas import FormulaShape
from sr_transformer.prior.holdout import (
    held_out_formulas,
    is_held_out,
    skeleton,
)


def test_the_same_seed_gives_the_same_examples_and_another_seed_others():
    one, same, other = (ExampleStream(seed).batch(20, 30) for seed in ([3, 1], [3, 1], [3, 2]))
    for a, b in zip(one, same, strict=True):
        assert a.expression == b.expression
        assert np.array_equal(a.X, b.X)
        assert np.array_equal(a.y, b.y)
    assert [e.expression for e in one] != [e.expression for e in other]


def test_examples_keep_to_the_bounds_of_the_configuration():
    config = PriorConfig(
        shape=FormulaShape(max_variables=3), max_complexity=12, max_rows=40, share_idle=0.0
    )
    for example in islice(ExampleStream(0, config), 300):
        assert 1 < example.expression.complexity() <= 12
        assert 8 <= example.X.shape[0] == example.y.shape[0] <= 40
        assert example.X.shape[1] <= 3
        assert example.expression.variables == tuple(range(example.X.shape[1]))


def test_tables_have_two_rows_at_least():
    stream = ExampleStream(4)
    assert stream.draw(2).X.shape[0] == 2
    assert [len(example.y) for example in stream.batch(3, 2)] == [2, 2, 2]
    for make in (stream.draw, lambda n_rows: stream.batch(3, n_rows)):
        with pytest.raises(ValueError, match=r"n_rows is 1; .* at least 2 rows"):
            make(1)


def test_clean_examples_are_exactly_their_formula_and_tables_have_magnitude_one():
    sizes = []
    for example in ExampleStream(1, PriorConfig(share_clean=1.0)).batch(300, 50):
        values = example.expression.evaluate(example.X)
        # Steep formulas, a sine of a million say, lose digits when constants are folded.
        np.testing.assert_allclose(values, example.y, rtol=1e-4, atol=1e-4)
        assert np.isfinite(example.X).all()
        sizes.append(np.median(np.abs(example.y)))
    low, high = np.quantile(sizes, [0.05, 0.95])
    assert 0.25 < low < high < 3.5


def test_noise_has_the_size_it_is_said_to_have():
    ratios = []
    for example in ExampleStream(2, PriorConfig(share_clean=0.0)).batch(300, 100):
        clean = example.expression.evaluate(example.X)
        ratios.append(np.median(np.abs(example.y - clean)) / (0.6745 * np.std(clean)))
    assert 5e-4 < np.min(ratios) < 4e-3
    assert 0.1 < np.max(ratios) < 0.3


def test_taught_formulas_are_in_their_canonical_spelling():
    examples = ExampleStream(4).batch(500, 16)
    other = sum(e.expression.simplify().symbols != e.expression.symbols for e in examples)
    assert other == 0


def test_some_tables_have_columns_that_the_formula_does_not_read():
    examples = ExampleStream(5).batch(300, 16)
    idle = [e.X.shape[1] > len(e.expression.variables) for e in examples]
    assert 0.1 < np.mean(idle) < 0.35


@pytest.mark.parametrize(
    "text",
    [
        "x0 ^ 3 + x0 ^ 2 + x0",  # Nguyen-1
        "x2 + x2 ^ 2 + x2 ^ 3",  # the same, of another column
        "sin(x0 ^ 2) * cos(x0) - 1",  # Nguyen-5
        "0.3 * x1 * sin(6.28 * x1)",  # Keijzer-1
        "x0 * exp(-x1 * x4 * x2 / (x5 * x3))",  # Feynman I.40.1
        "x3 / sqrt(1 - x1 ^ 2 / x0 ^ 2)",  # Feynman I.10.7 with other names
        "(x1 * x0 + x2 * x3) / (x0 + x2)",  # Feynman I.18.4
    ],
)
def test_benchmark_problems_are_held_out_whatever_their_variables_are_called(text):
    assert is_held_out(Expression.parse(text).simplify())


def test_no_example_is_a_benchmark_problem():
    assert len(held_out_formulas()) >= 900
    keys = {skeleton(formula.simplify()) for formula in held_out_formulas()}
    for example in ExampleStream(6).batch(1000, 8):
        assert skeleton(example.expression) not in keys
