"""Sums of few terms: of columns, of products of powers, and of functions of the columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import Bench, Fitted
from sr_transformer.proposal.closed.libraries import ONE, functions, monomials
from sr_transformer.proposal.closed.subsets import Library

_MOST_FUNCTIONS = 5  # terms of a sum


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
    """Sums of functions of the columns."""
    library = functions(bench.X, bench.columns, bench.operators)
    yield from _sums(bench, library, min(_MOST_FUNCTIONS, bench.most_terms))


def _sums(bench: Bench, library: Library, max_terms: int) -> Iterator[Fitted]:
    for formula in bench.sums(library, bench.y, bench.root, max_terms):
        yield from bench.finished(formula)
