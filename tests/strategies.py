"""What tests are made of: random formulas and tables, and the path through the pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from sr_transformer.clock import Clock
from sr_transformer.expression import ARITHMETIC, Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.front.evidence import Evidence
from sr_transformer.front.finish import bring_to_users_units, simplify_constants
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate
from sr_transformer.pipeline import Outcome, Settings, Task, run
from sr_transformer.proposal.draw import PriorSampler, Sampler
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

DEFAULT_OPERATORS = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))
BINARY = tuple(name for name, row in ARITHMETIC.operators.items() if row.arity == 2)
UNARY = tuple(name for name, row in ARITHMETIC.operators.items() if row.arity == 1)


def random_constant(rng: np.random.Generator) -> float:
    """A small integer, a half, or a number of any size and sign."""
    kind = rng.integers(4)
    if kind == 0:
        return float(rng.integers(-4, 8))
    if kind == 1:
        return float(rng.integers(-7, 8)) / 2
    if kind == 2:
        return float(rng.normal())
    return float(rng.choice([-1, 1]) * 10 ** rng.uniform(-8, 8))


def random_formula(
    rng: np.random.Generator,
    n_variables: int = 3,
    max_operators: int = 8,
    operators: Sequence[str] = BINARY + UNARY,
) -> Expression:
    """A formula of up to ``max_operators`` operators, all of them equally likely."""
    constants: list[float] = []

    def grow(budget: int) -> list[str]:
        if budget == 0:
            if rng.random() < 0.35:
                constants.append(random_constant(rng))
                return ["c"]
            return [f"x{rng.integers(n_variables)}"]
        name = operators[rng.integers(len(operators))]
        if ARITHMETIC.operators[name].arity == 1:
            return [name, *grow(budget - 1)]
        left = int(rng.integers(budget))
        first = grow(left)
        return [name, *first, *grow(budget - 1 - left)]

    symbols = grow(int(rng.integers(max_operators + 1)))
    return Expression(symbols, constants)


def random_table(rng: np.random.Generator, n_rows: int = 12, n_columns: int = 3) -> np.ndarray:
    """A table of both signs, some rows positive, magnitudes around one."""
    X = rng.normal(size=(n_rows, n_columns))
    X[: n_rows // 2] = np.abs(X[: n_rows // 2])
    return X


def formulas(
    n_variables: int = 3,
    max_leaves: int = 12,
    operators: Sequence[str] = BINARY + UNARY,
    constants: st.SearchStrategy[float] | None = None,
) -> st.SearchStrategy[Expression]:
    """Hypothesis strategy of formulas; ``constants`` is the strategy of their constants."""
    if constants is None:
        constants = st.floats(-1e6, 1e6)
    leaf = st.integers(0, n_variables - 1).map(lambda i: ((f"x{i}",), ()))
    leaf = leaf | constants.map(lambda value: (("c",), (value,)))
    unary = [name for name in operators if ARITHMETIC.operators[name].arity == 1]
    binary = [name for name in operators if ARITHMETIC.operators[name].arity == 2]

    def extend(inner: st.SearchStrategy) -> st.SearchStrategy:
        grown = []
        if unary:
            grown.append(
                st.tuples(st.sampled_from(unary), inner).map(lambda t: ((t[0], *t[1][0]), t[1][1]))
            )
        if binary:
            grown.append(
                st.tuples(st.sampled_from(binary), inner, inner).map(
                    lambda t: ((t[0], *t[1][0], *t[2][0]), (*t[1][1], *t[2][1]))
                )
            )
        return st.one_of(grown)

    return st.recursive(leaf, extend, max_leaves=max_leaves).map(lambda t: Expression(*t))


def same_values(
    wanted: np.ndarray, found: np.ndarray, relative: float = 1e-9, absolute: float = 0.0
) -> bool:
    """Whether two results agree wherever the first is finite."""
    finite = np.isfinite(wanted)
    wanted, found = wanted[finite], found[finite]
    return bool(np.all(np.abs(found - wanted) <= relative * np.abs(wanted) + absolute))


def steady_rows(formula: Expression, X: np.ndarray) -> np.ndarray:
    """Rows on which rounding inside the formula cannot change its value by 1e-9.

    ``cube`` is x*x*x for one library and pow(x, 3) for another; sin(1e20 * (1 + 1e-16)) is then
    anything. A row counts where shifting inputs and constants by 1e-14 moves the value below 1e-10.
    """
    value = formula.evaluate(X)
    steady = np.isfinite(value)
    for shift in (1 + 1e-14, 1 - 1e-14):
        moved = formula.with_constants(c * shift for c in formula.constants).evaluate(X * shift)
        with np.errstate(all="ignore"):
            steady &= np.abs(moved - value) <= 1e-10 * np.abs(value)
    return steady


def proposed(
    X: np.ndarray,
    y: np.ndarray,
    *,
    sampler: Sampler | None = None,
    operators: frozenset[str] = DEFAULT_OPERATORS,
    maxsize: int = 20,
    seconds: float | None = None,
    **settings: object,
) -> Outcome:
    """What the pipeline makes of a table, with formulas of the prior and without an engine."""
    names = tuple(f"x{i}" for i in range(X.shape[1]))
    task = Task(table=Table.of(X, y), operators=operators, maxsize=maxsize, variable_names=names)
    return run(
        task, Settings(**{"n_candidates": 64, "random_state": 0, **settings}),
        sampler or PriorSampler(), None, Clock(seconds),
    )  # fmt: skip


def finished(
    candidates: Sequence[Candidate],
    table: Table,
    *,
    scaling: Scaling | None = None,
    operators: frozenset[str] = DEFAULT_OPERATORS,
    maxsize: int | None = 30,
    has_units: bool = False,
    deadline: float = np.inf,
) -> HallOfFame:
    """Formulas of a scaled table in the user's units, as the pipeline finishes them."""
    scaling = scaling or Scaling.of(table.X, table.y)
    table = table.in_units_of(scaling.y_exponent)
    hall = HallOfFame(
        operators=operators, maxsize=maxsize, model_selection="description_length",
        evidence=Evidence(table, operators, scaling), loss_floor=table.exact,
        loss_exponent=scaling.y_exponent,
    )  # fmt: skip
    bring_to_users_units(hall, candidates, table, scaling, deadline)
    simplify_constants(hall, table, has_units=has_units, deadline=deadline)
    return hall
