"""From formulas of the scaled table to the hall of fame that the user sees, in the user's units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.description_length import Sample
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import ALMOST_EQUAL, Candidate
from sr_transformer.front.simple_constants import (
    MOST_TOLERATED,
    with_simple_constants,
    without_a_constant,
)
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

# Rows on which constants are compared with simple numbers.
_ROUNDING_ROWS = 10_000

# Formulas that are brought to the user's units: enough for a front and for twice the guesses of a
# search; of a million rows only as many as this number of row evaluations allows, or the fewest.
_MOST_FORMULAS = 200
_FEWEST_FORMULAS = 60
_ROW_EVALUATIONS = 20_000_000


def most_finished(table: Table) -> int:
    """How many formulas of a pool are brought to the user's units: fewer of a long table."""
    return min(_MOST_FORMULAS, max(_FEWEST_FORMULAS, _ROW_EVALUATIONS // len(table.y)))


def bring_to_users_units(
    hall: HallOfFame, candidates: Iterable[Candidate], table: Table, scaling: Scaling
) -> None:
    """Add formulas of a scaled table to a hall of fame in the units of the given one.

    Each is written with the hall's operators, shortened where its constants allow that, and its
    loss computed anew from exactly the formula that is shown.

    Parameters
    ----------
    hall : HallOfFame
        Formulas that cannot be written with its operators, or only longer than its ``maxsize``,
        are left out.
    candidates : iterable of Candidate
        Formulas of the scaled table.
    table : Table
        As it was given, with losses in the units of the scaled table.
    scaling : Scaling
        What scaled it.
    """
    for candidate in candidates:
        shown = scaling.to_user_units(candidate.expression).lower(hall.operators)
        if shown is None:
            continue
        loss = table.loss(shown)
        shorter = _round_constants(shown).simplify().lower(hall.operators)
        if shorter is not None and shorter != shown:
            shorter_loss = table.loss(shorter)
            if shorter_loss <= max(loss * (1 + ALMOST_EQUAL), hall.loss_floor):
                shown, loss = shorter, shorter_loss
        if hall.maxsize is None or shown.complexity() <= hall.maxsize:
            hall.add(Candidate(shown, loss, candidate.source))


def simplify_constants(hall: HallOfFame, table: Table, *, has_units: bool = False) -> None:
    """Let simple numbers take the place of constants on the front where the table agrees.

    Formulas are also tried without the constants that they may not need.

    Parameters
    ----------
    hall : HallOfFame
    table : Table
        As it was given, with losses in the units of the scaled table.
    has_units : bool
        Constants may carry units; no formula is tried without one.
    """
    some = table
    if len(table.y) > _ROUNDING_ROWS:
        some = table.rows(slice(None, None, -(-len(table.y) // _ROUNDING_ROWS)))
    n_rows = min(hall.sample.n_rows, Sample.of(some, len(hall.operators)).n_rows)
    sample = replace(hall.sample, n_rows=n_rows)
    tried: set[Expression] = set()
    # A rival may take the place of a formula whose loss has risen a little; it is next, and so are
    # the shorter ones.
    while untried := [c for c in hall.front if c.expression not in tried]:
        for candidate in untried:
            tried.add(candidate.expression)
            if not has_units:
                _add_shorter(hall, candidate, table, some)
            simple = with_simple_constants(candidate.expression, some, sample, hall.loss_floor)
            if simple == candidate.expression:
                continue
            shorter = simple.simplify()
            if shorter.complexity() < simple.complexity():
                simple = shorter if shorter.operators <= hall.operators else simple
            evidence = table.evidence(candidate.expression)
            most = evidence * np.exp(2.0 * MOST_TOLERATED / hall.sample.n_rows)
            if not table.evidence(simple) <= max(most, hall.loss_floor):
                continue  # the other rows can tell the two apart
            hall.remove(candidate)
            hall.add(Candidate(simple, table.loss(simple), candidate.source))


def add_evidence(hall: HallOfFame, table: Table) -> None:
    """Note what stands for the losses in the choice, where that is another number."""
    if table.loss_kind.is_robust:
        for candidate in hall.candidates:
            hall.replace(
                candidate, replace(candidate, evidence=table.evidence(candidate.expression))
            )


def _add_shorter(hall: HallOfFame, candidate: Candidate, table: Table, some: Table) -> None:
    """Add what the formula is without an offset or a factor that noise may have put in."""
    loss = max(some.loss(candidate.expression), hall.loss_floor, np.finfo(float).tiny)
    for shorter in without_a_constant(candidate.expression, some, loss):
        spelled = shorter.lower(hall.operators)
        if spelled is not None and spelled.complexity() < candidate.complexity:
            hall.add(Candidate(spelled, table.loss(spelled), candidate.source))


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
