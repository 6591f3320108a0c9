"""Ratios of polynomials, by linear least squares."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import MOST_INNER_TERMS, Bench, Fitted, least_squares
from sr_transformer.proposal.closed.libraries import monomials, weighted_sum
from sr_transformer.proposal.closed.subsets import best_subsets, normal_equations


def ratios(bench: Bench) -> Iterator[Fitted]:
    """Polynomials over polynomials, linearised.

    ``y = P / Q`` is ``y * q = P - y * (Q - q)`` for a term q of Q: a sum of few terms on the
    right, where each possible q gives a fit of its own.
    """
    degree = 3 if len(bench.columns) == 1 else 2
    exponents, library = monomials(bench.X, bench.columns, bench.operators, degree=degree, most=70)
    terms, n = library.terms, len(library.terms)
    if n < 2:
        return
    unsolved = library.values * bench.root[:, None]
    values = np.column_stack([unsolved, unsolved * bench.y[:, None]])
    if not np.isfinite(values).all():
        return
    gram = normal_equations(values)
    found: dict[int, list[tuple[float, Expression]]] = {}
    max_terms = min(MOST_INNER_TERMS + 1, bench.most_terms)
    for pivot in range(n):
        if sum(exponents[pivot]) > (1 if len(bench.columns) > 3 else degree):
            continue
        others = [i for i in range(2 * n) if i != n + pivot]
        subsets = best_subsets(
            gram[np.ix_(others, others)], gram[others, n + pivot], max_terms, width=4, kept=2
        )
        for subset in subsets:
            chosen = [others[i] for i in subset]
            above = [i for i in chosen if i < n]
            below = [i - n for i in chosen if i >= n]
            if not above or (not below and pivot == 0):
                continue
            factors = least_squares(values[:, chosen], values[:, n + pivot])
            if factors is None:
                continue
            p, q = factors[: len(above)], factors[len(above) :]
            numerator = library.values[:, above] @ p
            denominator = library.values[:, pivot] - library.values[:, below] @ q
            residuals = (numerator / denominator - bench.y) * bench.root
            loss = float(residuals @ residuals)
            if np.isfinite(loss):
                top = weighted_sum([terms[i] for i in above], p)
                bottom = weighted_sum([terms[i] for i in (pivot, *below)], [1.0, *-q])
                formula = Expression.joined("/", top, bottom)
                found.setdefault(len(chosen), []).append((loss, formula))
    for group in found.values():
        best = sorted(group, key=lambda entry: entry[0])[:3]
        # The leading factor of the denominator is one of the numerator's: simplify removes it.
        yield from bench.refitted((formula for _, formula in best), most=1)
