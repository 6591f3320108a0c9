"""Sums of few terms: of columns, of products of powers, and of functions of the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import Bench, Fitted, least_squares
from sr_transformer.proposal.closed.libraries import ONE, monomials, weighted_sum
from sr_transformer.proposal.closed.mixtures import LEVELS, mixed_terms
from sr_transformer.proposal.closed.subsets import Library, sparse_sums

_MOST_INSIDE = 5  # terms of a sum that is multiplied
_MOST_MIXED = 4  # columns of the largest library; of more, those that a smaller one found to matter


def linear(bench: Bench) -> Iterator[Fitted]:
    """Sums of few columns, with and without a constant."""
    library = Library(
        [ONE, *(Expression([f"x{i}"]) for i in bench.varying)],
        np.column_stack([np.ones(len(bench.y)), bench.X[:, bench.varying]]),
    )
    yield from _sums(bench, library, bench.most_terms)


def polynomials(bench: Bench) -> Iterator[Fitted]:
    """Sums of few products of powers, with whole exponents of both signs or of one."""
    for degree, signed in ((6, False), (4, True)):
        _, library = monomials(
            bench.X, bench.columns, bench.operators, degree=degree, signed=signed
        )
        yield from _sums(bench, library, bench.most_terms)


def additive(bench: Bench) -> Iterator[Fitted]:
    """Sums of functions of the columns, of products and sums of two, and of products of these.

    Then the simpler of these sums times a column, and over one. The first that explains the table
    ends it.
    """
    for found in _additive(bench):
        for formula, loss in found:
            yield formula, loss
            if bench.table.is_explained_by(formula, loss):
                return


def _additive(bench: Bench) -> Iterator[Iterator[Fitted]]:
    columns: Sequence[int] = bench.columns
    for level in range(LEVELS):
        library = mixed_terms(bench.table, columns, bench.operators, level)
        chosen = sparse_sums(
            library.values, bench.y, bench.root, bench.most_terms, bench.is_out_of_time
        )
        yield _written(bench, library, chosen)
        if level == 0:
            simple = library
        elif chosen and len(columns) > _MOST_MIXED:
            columns = sorted({c for i in chosen[-1] for c in library.terms[i].variables})
    max_terms = min(_MOST_INSIDE, bench.most_terms)
    for column in columns:
        x = bench.X[:, column]
        for name, factor in (("*", x), ("/", 1.0 / x)) if x.all() else ():
            root = bench.root * np.abs(factor)
            target = bench.y / factor
            chosen = sparse_sums(simple.values, target, root, max_terms, bench.is_out_of_time)
            yield _written(bench, simple, chosen, name, column)


def _written(
    bench: Bench,
    library: Library,
    chosen: Sequence[tuple[int, ...]],
    name: str = "",
    column: int = 0,
) -> Iterator[Fitted]:
    """Sums of terms; where a name is given, times or over a column."""
    x = bench.X[:, column]
    factor = {"": np.ones(len(x)), "*": x, "/": 1.0 / x}[name] * bench.root
    for places in chosen:
        terms = [ONE, *(library.terms[i] for i in places)]
        values = np.column_stack([factor, factor[:, None] * library.values[:, places]])
        for first in (1, 0):  # without and with the constant
            factors = least_squares(values[:, first:], bench.y * bench.root)
            if factors is not None:
                formula = weighted_sum(terms[first:], factors)
                if name:
                    formula = Expression.joined(name, formula, Expression.variable(column))
                yield from bench.finished(formula)


def _sums(bench: Bench, library: Library, max_terms: int) -> Iterator[Fitted]:
    for formula in bench.sums(library, bench.y, bench.root, max_terms):
        yield from bench.finished(formula)
