"""Power laws: products of powers of the columns, by least squares of logarithms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import Bench, Fitted, least_squares
from sr_transformer.proposal.closed.libraries import power_product

_DENOMINATORS = (1, 2, 3, 4)  # of rounded exponents


def power_laws(bench: Bench) -> Iterator[Fitted]:
    """Products ``c * x_i ^ k_i * ...``: least squares of log|y|, then rounded exponents.

    Columns leave one by one, the least significant first. The logarithm makes noise that is added
    to y largest where y is small; so the fit is tried with and without weights ``y ^ 2``.
    """
    used = (bench.y != 0) & np.all(bench.X[:, bench.columns] != 0, axis=1)
    if used.sum() < max(3, len(bench.y) // 2):
        return
    logs = np.log(np.abs(bench.X[np.ix_(used, bench.columns)]))
    target = np.log(np.abs(bench.y[used]))
    free: list[Expression] = []
    for root in (bench.root[used], bench.root[used] * np.abs(bench.y[used])):
        places = [i for i in range(logs.shape[1]) if np.ptp(logs[:, i]) > 0]
        while places:
            design = np.column_stack([logs[:, places], np.ones(len(target))]) * root[:, None]
            solution = least_squares(design, target * root)
            if solution is None:
                break
            exponents = solution[:-1]
            columns = [Expression.variable(bench.columns[i]) for i in places]
            free += bench.with_factor(power_product(columns, exponents))
            rounded = [tuple(np.round(exponents * d) / d) for d in _DENOMINATORS]
            for powers in filter(any, dict.fromkeys(rounded)):
                for formula in bench.with_factor(power_product(columns, powers)):
                    yield from bench.finished(formula)
            products = design.T @ design
            if not np.isfinite(products).all():
                break  # LAPACK would print that to standard output
            variances = np.diagonal(np.linalg.pinv(products))[:-1]
            errors = np.sqrt(np.maximum(variances, 1e-300))  # up to a common factor
            places.pop(int(np.argmin(np.abs(exponents) / errors)))
    yield from bench.refitted(free, most=3)
