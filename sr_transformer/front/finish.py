"""From formulas of the scaled table to the hall of fame that the user sees, in the user's units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.description_length import Sample
from sr_transformer.front.hall_of_fame import ALMOST_EQUAL, Candidate, HallOfFame, ladder
from sr_transformer.front.simple_constants import (
    MOST_TOLERATED,
    with_simple_constants,
    without_a_constant,
)
from sr_transformer.table.scaling import Scaling

Array = np.ndarray

# Mean squared error relative to mean(y^2) that float64 rounding alone leaves behind, about
# (2^-50)^2: below it a longer formula only fits the rounding.
_ROUNDING = 1e-30

# Largest power of ten of y whose square is still safely inside float64's range.
_SAFE_EXPONENT = 100

# Rows on which constants are compared with simple numbers.
_ROUNDING_ROWS = 10_000

# Formulas that are brought to the user's units: enough for a front and for twice the guesses of a
# search; of a million rows only as many as this number of row evaluations allows, or the fewest.
_MOST_FORMULAS = 200
_FEWEST_FORMULAS = 60
_ROW_EVALUATIONS = 20_000_000


def in_user_units(
    candidates: Iterable[Candidate],
    X: Array,
    y: Array,
    *,
    sample_weight: Array | None,
    scaling: Scaling,
    operators: frozenset[str],
    maxsize: int | None,
    variable_names: Sequence[str] | None = None,
    model_selection: str = "description_length",
    has_units: bool = False,
) -> HallOfFame:
    """Bring formulas of the scaled table to the units of the given one.

    Each is written with the allowed operators, shortened where its constants allow that, and its
    loss computed anew from exactly the formula that is shown. On the front, simple numbers take the
    place of constants where the table agrees, and formulas are tried without the constants that
    they may not need.

    Parameters
    ----------
    candidates : iterable of Candidate
        Formulas of the scaled table. At most 200 of them are used, a ladder of the best of each
        complexity.
    X, y : ndarray of shape (n_rows, n_columns) and (n_rows,)
        The table as it was given.
    sample_weight : ndarray of shape (n_rows,) or None
    scaling : Scaling
        What scaled the table.
    operators, maxsize
        Formulas that cannot be written with these operators, or only longer, are left out;
        ``None`` is no limit.
    variable_names, model_selection
        As for :class:`~sr_transformer.front.hall_of_fame.HallOfFame`.
    has_units : bool
        Constants may carry units; no formula is tried without one.
    """
    exponent = scaling.y_exponent if abs(scaling.y_exponent) > _SAFE_EXPONENT else 0
    loss_of = _Loss(X, y, sample_weight, Scaling((), exponent))
    sample = Sample(
        Sample.rows_of(len(y), sample_weight), X.shape[1], loss_of.variance, len(operators)
    )
    hall = HallOfFame(
        variable_names,
        operators=operators,
        maxsize=maxsize,
        model_selection=model_selection,
        sample=sample,
        loss_floor=_ROUNDING * loss_of.mean_square,
        loss_exponent=exponent,
    )
    most = min(_MOST_FORMULAS, max(_FEWEST_FORMULAS, _ROW_EVALUATIONS // len(y)))
    for candidate in ladder(candidates, most):
        shown = _spelled(scaling.to_user_units(candidate.expression), operators)
        if shown is None:
            continue
        loss = loss_of(shown)
        shorter = _spelled(_round_constants(shown).simplify(), operators)
        if shorter is not None and shorter != shown:
            shorter_loss = loss_of(shorter)
            if shorter_loss <= max(loss * (1 + ALMOST_EQUAL), hall.loss_floor):
                shown, loss = shorter, shorter_loss
        if maxsize is None or shown.complexity() <= maxsize:
            hall.add(Candidate(shown, loss, candidate.source))
    _simplify_constants(hall, loss_of, has_units)
    return hall


def _simplify_constants(hall: HallOfFame, loss_of: _Loss, has_units: bool) -> None:
    """Let simple numbers take the place of constants on the front where the table agrees."""
    some = loss_of.on_some_rows(_ROUNDING_ROWS)
    n_rows = min(hall.sample.n_rows, Sample.rows_of(len(some.y), some.weights))
    sample = replace(hall.sample, n_rows=n_rows)
    tried: set[Expression] = set()
    # A rival may take the place of a formula whose loss has risen a little; it is next, and so are
    # the shorter ones.
    while untried := [c for c in hall.front if c.expression not in tried]:
        for candidate in untried:
            tried.add(candidate.expression)
            if not has_units:
                _add_shorter(hall, candidate, loss_of, some)
            simple, _ = with_simple_constants(
                candidate.expression, some.X, some.weights, some, sample, hall.loss_floor
            )
            if simple == candidate.expression:
                continue
            shorter = simple.simplify()
            if shorter.complexity() < simple.complexity():
                simple = shorter if shorter.operators <= hall.operators else simple
            loss = loss_of(simple)
            most = candidate.loss * np.exp(2.0 * MOST_TOLERATED / hall.sample.n_rows)
            if not loss <= max(most, hall.loss_floor):
                continue  # the other rows can tell the two apart
            hall.remove(candidate)
            hall.add(Candidate(simple, loss, candidate.source))


def _add_shorter(hall: HallOfFame, candidate: Candidate, loss_of: _Loss, some: _Loss) -> None:
    """Add what the formula is without an offset or a factor that noise may have put in."""
    loss = max(some(candidate.expression), hall.loss_floor, np.finfo(float).tiny)
    for shorter in without_a_constant(candidate.expression, some.X, some.weights, loss):
        spelled = _spelled(shorter, hall.operators)
        if spelled is not None and spelled.complexity() < candidate.complexity:
            hall.add(Candidate(spelled, loss_of(spelled), candidate.source))


class _Loss:
    """Weighted mean squared error of a formula, in units of ``10 ** (2 * unit.y_exponent)``."""

    def __init__(self, X: Array, y: Array, weights: Array | None, unit: Scaling) -> None:
        self.X = np.asfortranarray(X)  # one column after the other: the formulas read columns
        self.y = y
        self.weights = None if weights is None else weights / weights.sum()
        self._unit = unit
        self.mean_square = self._mean_square(y)

    def __call__(self, expression: Expression) -> float:
        with np.errstate(all="ignore"):
            return self._mean_square(expression.evaluate(self.X) - self.y)

    def _mean_square(self, values: Array) -> float:
        with np.errstate(all="ignore"):
            values = self._unit.scale_y(values)
            if self.weights is None:
                return float(np.mean(values * values))
            return float(self.weights @ (values * values))

    @property
    def variance(self) -> float:
        """Loss of the best constant."""
        return self._mean_square(self.y - np.average(self.y, weights=self.weights))

    def on_some_rows(self, most: int) -> _Loss:
        """The same on at most so many rows, spread over the table."""
        step = -(-len(self.y) // most)
        weights = None if self.weights is None else self.weights[::step]
        return _Loss(self.X[::step], self.y[::step], weights, self._unit)


def _spelled(expression: Expression, operators: frozenset[str]) -> Expression | None:
    """The formula in the allowed operators; ``None`` where they do not suffice."""
    return expression if expression.operators <= operators else expression.lower(operators)


def _round_constants(expression: Expression) -> Expression:
    """Replace constants by a neighbour of at most 12 digits that rounding alone keeps them from.

    Merging powers of ten leaves 0.30000000000000004 or 0.9999999999999998 behind; with 0.3 and 1
    the formula is the one that was meant, and often shorter.
    """
    rounded = []
    for constant in expression.constants:
        near = float(f"{constant:.11e}")
        rounded.append(near if abs(near - constant) <= 5e-15 * abs(constant) else constant)
    return expression.with_constants(rounded)
