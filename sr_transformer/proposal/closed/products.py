"""Products of functions of one or two columns each: the logarithm of their size is a sum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import Bench, Fitted, least_squares
from sr_transformer.proposal.closed.libraries import power_product, weighted_sum
from sr_transformer.proposal.closed.mixtures import collected, filled
from sr_transformer.proposal.closed.subsets import sparse_sums

Array = np.ndarray

_MOST_TERMS = 7  # factors and exponents together
_NEAR = 0.15  # of an exponent and the multiple of a half that it is rounded to
_REFITTED = 6

# Factors, whose powers are sought, and summands of the exponent of one exponential.
_FACTORS = (
    "a", "sin a", "cos a", "tanh a", "log a", "log + a c", "+ a c", "- a c", "+ square a c",
    "- square a c", "- exp a c", "+ exp a c", "+ a b", "- a b", "+ square a square b",
    "+ * a b c", "- * a b c", "sin * a b", "cos * a b", "sin - a b", "cos - a b",
    "sin + a b", "cos + a b", "- square a square b", "- exp * a b c", "- exp / a b c",
    "- exp / b a c",
)  # fmt: skip
_EXPONENTS = (
    "a", "square a", "inv a", "sqrt a", "* a b", "/ a b", "/ b a", "/ square a b", "/ square b a",
)  # fmt: skip


def products(bench: Bench) -> Iterator[Fitted]:
    """``c * f(x_i) ^ k * g(x_j, x_k) ^ l * exp(sum)``: sums of few terms that come near log|y|.

    The logarithm makes noise that is added to y largest where y is small; so the fit is tried with
    and without weights ``y ^ 2``. The sign of y has to be that of the product.
    """
    used = bench.y != 0
    if used.sum() < max(3, len(bench.y) // 2) or len(bench.columns) < 2:
        return
    table, target = bench.table.rows(used), np.log(np.abs(bench.y[used]))
    factors = filled(_FACTORS, table, bench.columns, bench.operators)
    sizes = collected(
        len(target), lambda: [(name, np.log(np.abs(values))) for name, values in factors]
    )
    rates = collected(
        len(target), lambda: filled(_EXPONENTS, table, bench.columns, bench.operators)
    )
    terms, n_factors = [*sizes.terms, *rates.terms], len(sizes.terms)
    values = np.column_stack([sizes.values, rates.values])
    single = [i for i, term in enumerate(terms) if len(term.variables) == 1]
    max_terms = min(_MOST_TERMS, bench.most_terms)
    # Functions of one column first: among fewer terms fewer look like the right ones.
    for places in (np.array(single), np.arange(len(terms))):
        formulas: list[Expression] = []
        for root in (bench.root[used], bench.root[used] * np.abs(bench.y[used])):
            for chosen in sparse_sums(
                values[:, places], target, root, max_terms, bench.is_out_of_time
            ):
                which = places[list(chosen)]
                which.sort()
                powered = [terms[i] for i in which if i < n_factors]
                raised = [terms[i] for i in which if i >= n_factors]
                design = np.column_stack([values[:, which], np.ones(len(target))]) * root[:, None]
                for powers, factors_of in _exponents(design, target * root, len(powered)):
                    product = power_product(powered, powers)
                    if raised:
                        exponential = Expression.joined("exp", weighted_sum(raised, factors_of))
                        product = Expression.joined("*", product, exponential)
                    formulas += bench.with_factor(product)
        for formula, loss in bench.refitted(formulas, most=_REFITTED):
            yield formula, loss
            if bench.table.is_explained_by(formula, loss):
                return


def _exponents(design: Array, wanted: Array, n: int) -> Iterator[tuple[Array, Array]]:
    """Powers of the first ``n`` terms and rates of the others, as they are and with round powers.

    The last column of the design is that of the constant.
    """
    solution = least_squares(design, wanted)
    if solution is None:
        return
    powers = solution[:n]
    yield powers, solution[n:-1]
    rounded = np.round(2.0 * powers) / 2.0
    round_ones = np.where((np.abs(rounded - powers) <= _NEAR) & (rounded != 0), rounded, powers)
    others = least_squares(design[:, n:], wanted - design[:, :n] @ round_ones)
    if others is not None:
        yield round_ones, others[:-1]
