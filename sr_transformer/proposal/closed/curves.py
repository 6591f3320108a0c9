"""Curves of one column: the usual forms of measurements, started from where a grid is best.

A gradient alone would go astray: the affine constants of every point of a form's grid are solved by
least squares (variable projection), and only the best few points are refined.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.bench import Bench, Fitted
from sr_transformer.proposal.closed.forms import FORMS, Range
from sr_transformer.proposal.constants import Descent
from sr_transformer.table.table import Table

Array = np.ndarray

_ROWS = 128  # on which the grids are evaluated, in even steps along the column
_STARTS = 4  # grid points that are refined
_EVALUATIONS = 30
_TOLERANCE = 1e-4
_LAST_EVALUATIONS = 60  # in curved valleys, such as Vogel's
_HALVED_AFTER = 8
_HOPELESS = 0.7  # share of the mean's loss that a form may leave: a constant leaves all of it
_SMOOTH = 0.6  # the same, of what neighbours along a column leave where there are other columns
_WORTH_REFINING = 4.0  # times the loss of the best form that is no longer
_REFINED = 12  # forms that are refined on all rows


def curves(bench: Bench) -> Iterator[Fitted]:
    """Curves ``f(x_i)`` of the columns, one at a time, shortest forms first."""
    if not bench.table.variance > 0:
        return
    for column in bench.columns:
        order = np.argsort(bench.X[:, column], kind="stable")
        if len(bench.columns) > 1 and _roughness(bench, order) > _SMOOTH:
            continue
        steps = np.linspace(0, len(order) - 1, min(_ROWS, len(order))).round().astype(int)
        few = bench.table.rows(np.sort(order[steps])) if len(order) > _ROWS else bench.table
        found: list[Expression] = []
        best = np.inf
        for formula, loss in _started(bench, few, column):
            if loss <= _WORTH_REFINING * best:
                found.append(formula)
            best = min(best, max(loss, few.exact))
            if loss <= few.exact:
                break
        yield from bench.refitted(found, _REFINED, _LAST_EVALUATIONS)


def _started(bench: Bench, few: Table, column: int) -> Iterator[Fitted]:
    """The forms with constants that fit a few rows."""
    x = few.X[:, column]
    ends = Range(float(x.min()), float(x.max()), float(np.median(np.abs(x))))
    hopeless = _HOPELESS * few.variance
    for skeleton, grid in FORMS:
        symbols = [f"x{column}" if symbol == "x" else symbol for symbol in skeleton.split()]
        n_constants = symbols.count("c")
        form = Expression(symbols, np.ones(n_constants))
        if n_constants >= len(bench.y) or not bench.is_writable(form):
            continue
        with np.errstate(all="ignore"):
            points = grid(ends)
        fit = Descent(form, few)
        starts = np.ones((len(points), n_constants))
        starts[:, fit.program.nonlinear] = points
        constants, losses = fit.descend(
            starts, _EVALUATIONS, _TOLERANCE, most=_STARTS, halve_after=_HALVED_AFTER,
            enough=few.exact, hopeless=hopeless,
        )  # fmt: skip
        best = int(np.argmin(losses))
        if losses[best] <= hopeless:
            yield form.with_constants(constants[best]), float(losses[best])


def _roughness(bench: Bench, order: Array) -> float:
    """Share of the variance that differs between neighbours (von Neumann 1941)."""
    steps = np.diff(bench.y[order])
    return float(steps @ steps / (2.0 * len(steps) * np.var(bench.y)))
