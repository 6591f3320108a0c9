"""Links: a function of a sum, whose inverse makes a linear fit of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import MOST_INNER_TERMS, Bench, Fitted
from sr_transformer.proposal.closed.libraries import monomials
from sr_transformer.proposal.closed.subsets import Library

Array = np.ndarray


def links(bench: Bench) -> Iterator[Fitted]:
    """``c * f(sum)`` for the functions f that have an inverse."""
    y, columns = bench.y, bench.columns
    _, sums = monomials(bench.X, columns, bench.operators, degree=2, signed=True, most=120)
    _, lines = monomials(bench.X, columns, bench.operators, degree=1)
    logs = Library(
        [*sums.terms, *(Expression(["log", f"x{i}"]) for i in columns)],
        np.column_stack([sums.values, *(np.log(bench.X[:, i]) for i in columns)]),
    )
    sign = 1.0 if np.median(y) >= 0 else -1.0
    size = sign * y
    max_terms = min(MOST_INNER_TERMS, bench.most_terms)
    # function, its inverse at |y|, its slope there, the terms below it
    rows: tuple[tuple[tuple[str, ...], Array, Array, Library], ...] = (
        (("exp",), np.log(size), size, logs),
        (("sqrt",), size**2, 1 / size, sums),
        (("inv",), 1 / size, size**2, sums),
        (("inv", "sqrt"), 1 / size**2, size**3, sums),
        (("log",), np.exp(size), np.exp(-size), sums),
        (("square",), np.sqrt(size), np.sqrt(size), lines),
        (("cube",), np.cbrt(size), np.cbrt(size) ** 2, lines),
    )
    for function, target, slope, library in rows:
        writable = Expression([*function, "x0"]).lower(bench.operators) is not None
        if not writable or not (np.isfinite(target).all() and np.isfinite(slope).all()):
            continue
        # An error of y is one of the target times the slope; a few rows must not rule the fit.
        root = bench.root * np.clip(np.abs(slope), None, 10.0 * np.median(np.abs(slope)))
        formulas = (
            Expression.unchecked(
                ("*", "c", *function, *inner.symbols), (sign, *inner.constants)
            ).simplify()
            for inner in bench.sums(library, target, root, max_terms, kept=1)
        )
        yield from bench.refitted(formulas, most=1)
