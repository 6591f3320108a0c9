"""From a table to fitted candidates: grammar, sampling, constants, the pool."""

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from strategies import proposed

from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.model.checkpoint import load_model
from sr_transformer.model.transformer import Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.prior import ExampleStream
from sr_transformer.proposal.draw import NetworkSampler, PriorSampler
from sr_transformer.proposal.grammar import Grammar
from sr_transformer.proposal.relevance import relevant_columns

OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))
VOCABULARY = Vocabulary.of()


def write(grammar, tokens):
    """Feed one formula to a grammar of one sample; say whether every token was allowed."""
    for token in tokens:
        if not grammar.allowed()[0, token]:
            return False
        grammar.advance(np.array([token]))
    return True


def random_writing(operators, n_columns, maxsize, n_samples, seed):
    """Formulas that follow nothing but the grammar's masks."""
    generator = np.random.default_rng(seed)
    grammar = Grammar(VOCABULARY, operators, n_columns, maxsize, n_samples)
    written = np.zeros((n_samples, maxsize + 1), dtype=int)
    for position in range(maxsize + 1):
        mask = grammar.allowed()
        assert mask.any(axis=1).all()
        chosen = np.where(mask, generator.random(mask.shape), -1.0).argmax(axis=1)
        written[:, position] = chosen
        grammar.advance(chosen)
    return [VOCABULARY.decode(tokens) for tokens in written]


@pytest.mark.parametrize("maxsize", [1, 3, 7, 30])
def test_everything_the_grammar_lets_through_is_a_formula_within_its_limits(maxsize):
    operators = frozenset({"+", "*", "sin", "^"})
    for formula in random_writing(operators, 2, maxsize, 400, seed=maxsize):
        assert formula.operators <= operators
        assert set(formula.variables) <= {0, 1}
        assert len(formula.symbols) <= maxsize


def test_no_operator_gets_only_constants_and_exponents_are_constants():
    for formula in random_writing(OPERATORS, 3, 25, 500, seed=0):
        symbols = f" {' '.join(formula.symbols)} "
        assert formula.variables
        for name in formula.operators:
            assert f" {name} c c " not in symbols
            if name in DEFAULT_UNARY:
                assert f" {name} c " not in symbols


def test_every_formula_of_the_prior_can_be_written():
    every = frozenset(VOCABULARY.tokens)
    for example in ExampleStream(7).batch(500, 8):
        grammar = Grammar(VOCABULARY, every, 10, 30, 1)
        assert write(grammar, VOCABULARY.encode(example.expression)), example.expression


def test_kept_samples_go_on_where_they_were():
    grammar = Grammar(VOCABULARY, OPERATORS, 2, 9, 3)
    plus, x0, x1 = (VOCABULARY.tokens.index(t) for t in ("+", "x0", "x1"))
    grammar.advance(np.array([plus, x0, plus]))
    assert grammar.complete.tolist() == [False, True, False]
    grammar.keep(np.array([0, 2]))
    grammar.advance(np.array([x0, x1]))
    grammar.advance(np.array([x1, x1]))
    assert grammar.complete.all()


@pytest.fixture
def three_threads():
    """What torch is told here holds for the process, whatever another test left behind."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_fits_that_overlap_in_threads_leave_torch_its_threads(three_threads, monkeypatch):
    started, ended = ({n: threading.Event() for n in (5, 6)} for _ in "ab")

    def encode(_, prompt):
        n_rows = prompt.rows.shape[1]
        started[n_rows].set()
        assert ended[n_rows].wait(20)
        return torch.get_num_threads()

    monkeypatch.setattr(Transformer, "encode", encode)
    model = load_model("default", "cpu")

    def fit(n_rows):
        sampler = NetworkSampler(model)
        sampler.read(np.ones((n_rows, 1)), np.ones(n_rows))
        return torch.get_num_threads()

    def of_the_process():
        with ThreadPoolExecutor(1) as new:
            return new.submit(torch.get_num_threads).result()

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        fits = first.submit(fit, 5), second.submit(fit, 6)
        assert all(event.wait(20) for event in started.values())
        ended[5].set()
        assert fits[0].result() == 3
        assert of_the_process() == 1  # the other one is still reading
        ended[6].set()
        assert fits[1].result() == 3
    assert torch.get_num_threads() == of_the_process() == 3


def test_a_fit_leaves_torchs_random_state_and_takes_its_default_type():
    code = """
import sys
import numpy as np, torch
torch.set_default_dtype(getattr(torch, sys.argv[1]))
state = torch.random.get_rng_state()
from sr_transformer.model.checkpoint import load_model
from sr_transformer.proposal.draw import NetworkSampler
sampler = NetworkSampler(load_model("default", "cpu"))
X = np.random.default_rng(0).uniform(1.0, 5.0, (30, 2))
sampler.read(X, X[:, 0] * X[:, 1])
drawn = sampler.draw(32, frozenset("+*"), 9, 1.0, np.random.RandomState(0))
assert torch.equal(torch.random.get_rng_state(), state)
print(sorted(map(str, drawn)))
"""
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, dtype],
            cwd=Path(__file__).parents[1],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for dtype in ("float32", "float64")
    ]
    assert printed[0] == printed[1]
    assert "x0" in printed[0]


def candidates_for(X, y, **changes):
    return proposed(X, y, **changes).hall_of_fame.candidates


def test_a_constant_and_a_line_are_always_among_the_candidates():
    generator = np.random.default_rng(2)
    X = generator.normal(size=(40, 3))
    candidates = candidates_for(X, generator.normal(size=40), n_candidates=1)
    spelled = {c.expression.symbols for c in candidates}
    assert ("c",) in spelled
    assert any(s.count("+") == 3 and s.count("*") == 3 for s in spelled)
    no_sum = candidates_for(X, X[:, 0], operators=frozenset({"*"}), n_candidates=8)
    assert all(c.expression.operators <= {"*"} for c in no_sum)


def test_candidates_keep_to_operators_and_size_and_are_different():
    generator = np.random.default_rng(3)
    X = generator.uniform(1, 2, size=(50, 2))
    operators = frozenset({"+", "*", "/"})
    candidates = candidates_for(X, X[:, 0] * X[:, 1] ** 2, operators=operators, maxsize=9)
    assert all(c.expression.operators <= operators for c in candidates)
    assert max(c.complexity for c in candidates) <= 9
    spelled = [c.expression.symbols for c in candidates]
    assert len(spelled) == len(set(spelled))


def test_parallel_fitting_gives_the_same_candidates():
    generator = np.random.default_rng(4)
    X = generator.uniform(1, 2, size=(50, 2))
    y = np.sin(X[:, 0]) * X[:, 1] + 0.01 * generator.normal(size=50)
    alone = candidates_for(X, y, n_candidates=128)
    together = candidates_for(X, y, n_candidates=128, n_jobs=2)
    assert {c.expression for c in alone} == {c.expression for c in together}


class OneFormula(PriorSampler):
    """Draws one given formula, again and again."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def draw(self, n, *_):
        return Counter({self.formula: n})


def test_a_term_that_was_written_in_vain_is_left_out():
    X = np.random.default_rng(7).uniform(1, 4, size=(60, 2))
    drawn = Expression(["+", "^", "x0", "c", "*", "c", "exp", "*", "c", "x1"], [1.0, 1.0, -3.0])
    candidates = candidates_for(X, X[:, 0] ** 1.5, sampler=OneFormula(drawn), n_candidates=4)
    exact = [c for c in candidates if c.loss < 1e-20]
    shortest = min(exact, key=lambda c: c.complexity).expression
    assert shortest.symbols == ("^", "x0", "c")
    assert shortest.constants[0] == pytest.approx(1.5)


class Interrupted(PriorSampler):
    """The user presses Ctrl-C while the second chunk is drawn."""

    calls = 0

    def draw(self, n, *settings):
        self.calls += 1
        if self.calls == 2:
            raise KeyboardInterrupt
        return super().draw(n, *settings)


def test_an_interrupt_from_the_keyboard_loses_nothing_that_was_found():
    generator = np.random.default_rng(10)
    X = generator.normal(size=(40, 2))
    with pytest.warns(SearchInterruptedWarning, match=r"after 256 of 1000 formulas"):
        candidates = candidates_for(
            X, generator.normal(size=40), sampler=Interrupted(), n_candidates=1000
        )
    assert len(candidates) > 20


def test_a_missing_factor_and_offset_are_added():
    X = np.random.default_rng(8).uniform(1, 4, size=(60, 2))
    drawn = Expression(["/", "sin", "x0", "x1"])
    y = 2.5 * np.sin(X[:, 0]) / X[:, 1] - 3.0
    candidates = candidates_for(X, y, sampler=OneFormula(drawn), n_candidates=4)
    assert min(c.loss for c in candidates) < 1e-20


def test_of_many_columns_the_relevant_ones_are_found():
    generator = np.random.default_rng(5)
    X = generator.normal(size=(300, 60))
    y = X[:, 7] * X[:, 31] + X[:, 50]
    assert {7, 31, 50} <= set(relevant_columns(X, y, 10, np.random.RandomState(0)).columns)


def test_time_limit_ends_the_drawing():
    generator = np.random.default_rng(6)
    X = generator.normal(size=(50, 2))
    y = generator.normal(size=50)
    candidates = candidates_for(X, y, n_candidates=10**9, seconds=0.5)
    assert len(candidates) > 3
