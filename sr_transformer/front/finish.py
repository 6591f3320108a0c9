"""From formulas of the scaled table to the hall of fame that the user sees, in the user's units."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.constant_cost import without_rounding
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
# Of at most so many symbols, formulas are brought to their shortest spelling at once, and longer
# ones where they are too long or come to the front: it takes a millisecond or ten.
_SHORT = 12
_SAVED = 6  # symbols that a shorter spelling may save
_ROW_EVALUATIONS = 20_000_000


def most_finished(table: Table) -> int:
    """How many formulas of a pool are brought to the user's units: fewer of a long table."""
    return min(_MOST_FORMULAS, max(_FEWEST_FORMULAS, _ROW_EVALUATIONS // len(table.y)))


def bring_to_users_units(
    hall: HallOfFame,
    candidates: Iterable[Candidate],
    table: Table,
    scaling: Scaling,
    deadline: float = np.inf,
) -> None:
    """Add formulas of a scaled table to a hall of fame in the units of the given one.

    Each is written with the hall's operators, short ones in their shortest spelling, and its loss
    computed anew from exactly the formula that is shown.

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
    deadline : float
        Value of ``time.perf_counter()`` after which the other candidates are left out, once the
        hall of fame has one.
    """
    longest = np.inf if hall.maxsize is None else hall.maxsize
    for candidate in candidates:
        if time.perf_counter() > deadline and len(hall):
            break
        written = scaling.to_user_units(candidate.expression)
        shown = written.lower(hall.operators)
        loss = np.inf if shown is None else table.loss(shown)
        most = max(loss * (1 + ALMOST_EQUAL), hall.loss_floor)
        for spelled in (_without_rounding(written), written):
            shorter = spelled.simplify().lower(hall.operators)
            n_symbols = 0 if shorter is None else len(shorter.symbols)
            too_long = 0 < n_symbols - longest <= _SAVED and n_symbols <= _SHORT + _SAVED
            if n_symbols <= _SHORT or too_long:
                shorter = spelled.shortest(hall.operators)
            if shorter == shown:
                break
            if shorter is not None and (shorter_loss := table.loss(shorter)) <= most:
                shown, loss = shorter, shorter_loss
                break
        if shown is None:
            continue
        if shown.complexity() <= longest:
            hall.add(Candidate(shown, loss, candidate.source))


def simplify_constants(
    hall: HallOfFame, table: Table, *, has_units: bool = False, deadline: float = np.inf
) -> None:
    """Let simple numbers take the place of constants on the front where the table agrees.

    Formulas are also tried without the constants that they may not need.

    Parameters
    ----------
    hall : HallOfFame
    table : Table
        As it was given, with losses in the units of the scaled table.
    has_units : bool
        Constants may carry units; no formula is tried without one.
    deadline : float
        Value of ``time.perf_counter()`` after which the other formulas stay as they are; the one
        that is selected comes first.
    """
    some = table
    if len(table.y) > _ROUNDING_ROWS:
        some = table.rows(slice(None, None, -(-len(table.y) // _ROUNDING_ROWS)))
    sample = replace(hall.evidence.sample, n_rows=some.n_readings)
    tried: set[Expression] = set()
    settled: set[tuple[str, ...]] = set()  # keys of formulas whose constants have become simple
    # A rival may take the place of a formula whose loss has risen a little; it is next, and so are
    # the shorter ones.
    while untried := [c for c in hall.front if c.expression not in tried]:
        selected = hall[hall.select()]
        for candidate in sorted(untried, key=lambda c: c is not selected):
            if time.perf_counter() > deadline:
                return
            tried.add(candidate.expression)
            candidate = _shortened(candidate, hall, table)
            tried.add(candidate.expression)
            if not has_units:
                for shorter in _shorter(candidate, hall, table, some):
                    if shorter.key not in settled:  # else its constants would come back as fitted
                        hall.add(shorter)
            simple = with_simple_constants(candidate.expression, some, sample, hall.loss_floor)
            if simple == candidate.expression:
                continue
            simple = simple.shortest(hall.operators) or simple
            evidence = table.evidence(candidate.expression)
            most = evidence * np.exp(2.0 * MOST_TOLERATED / hall.evidence.sample.n_rows)
            if not table.evidence(simple) <= max(most, hall.loss_floor):
                continue  # the other rows can tell the two apart
            hall.remove(candidate)
            simple = Candidate(simple, table.loss(simple), candidate.source)
            settled |= {candidate.key, simple.key}
            hall.add(simple)


def _shortened(candidate: Candidate, hall: HallOfFame, table: Table) -> Candidate:
    """A formula of the hall in its shortest spelling, which takes its place there."""
    spelled = candidate.expression.shortest(hall.operators)
    if spelled is None or spelled == candidate.expression:
        return candidate
    loss = table.loss(spelled)
    if loss > max(candidate.loss * (1 + ALMOST_EQUAL), hall.loss_floor):
        return candidate
    hall.remove(candidate)
    shorter = Candidate(spelled, loss, candidate.source)
    hall.add(shorter)
    return shorter


def _shorter(
    candidate: Candidate, hall: HallOfFame, table: Table, some: Table
) -> Iterator[Candidate]:
    """What a formula is without an offset or a factor that noise may have put in."""
    # Of all rows: some may hold none of the outliers that the constants have been drawn to.
    loss = max(candidate.loss, hall.loss_floor, np.finfo(float).tiny)
    for shorter in without_a_constant(candidate.expression, some, loss):
        spelled = shorter.lower(hall.operators)
        if spelled is not None and spelled.complexity() < candidate.complexity:
            yield Candidate(spelled, table.loss(spelled), candidate.source)


def _without_rounding(expression: Expression) -> Expression:
    return expression.with_constants(map(without_rounding, expression.constants))
