"""From several starts to one fitted formula: screened and refined on few rows, then on all.

A descent ends in the valley where it began. So many starts are tried where that is cheap: on a few
rows, with the affine constants solved, and for the first steps only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.program import Program
from sr_transformer.proposal.constants import Descent
from sr_transformer.table.table import Table

Array = np.ndarray

# The numbers below were chosen on 200 formulas of the prior from starts that were 50 % off or drawn
# from the prior themselves: shares that reached the true loss, against CPU time.
_GIVEN = 4  # starts that are taken over, of those that were drawn
_SCREENED = 16
_SCREENED_PERIODS = 64  # where a constant stands inside a sine: valleys are narrow
_SCOUTED = 6
_SCOUT_ROWS = 64
_SCOUT_EVALUATIONS = 12
_SCOUT_TOLERANCE = 1e-3
_HALVED_AFTER = 4
_REFINE_EVALUATIONS = 30
_REFINE_TOLERANCE = 1e-4

_SPREADS = (0.5, 1.5)  # standard deviations of log|constant| around a given start, in turns
_LARGEST = np.finfo(float).max
_FLIPPED = 0.15  # share of the constants whose sign is changed
_EXPONENTS = np.array([-2.0, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0])
_OTHER_EXPONENT = 0.6  # share of the starts that have these

_PERIODIC = frozenset({"sin", "cos", "tan"})


def scouting_table(table: Table) -> Table:
    """Rows that stand for a table where losses are only compared: even steps through sorted y."""
    n_rows = len(table.y)
    if n_rows <= 1.5 * _SCOUT_ROWS:
        return table
    steps = np.linspace(0, n_rows - 1, _SCOUT_ROWS).round().astype(int)
    return table.rows(np.sort(np.argsort(table.y, kind="stable")[steps]))


def scout(
    starts: Sequence[Expression],
    table: Table,
    *,
    seed: int,
    enough: float = 0.0,
    hopeless: float = np.inf,
) -> tuple[Expression, float]:
    """Find the valley of the best constants.

    Parameters
    ----------
    starts : sequence of Expression
        The same formula with different constants, the likeliest first.
    table : Table
        A few rows; see :func:`scouting_table`.
    seed : int
        Scatters further starts, those of all formulas alike. One whose formula is undefined on some
        row is passed over, so that they also serve where all of the given ones are undefined.
    enough : float
        Loss at which nothing better is looked for.
    hopeless : float
        Loss above which a formula is given up after a few steps.

    Returns
    -------
    expression : Expression
    loss : float
        On these rows; ``inf`` where every start is undefined.
    """
    first = starts[0]
    if not first.constants:
        return first, table.loss(first)
    given = np.array([start.constants for start in starts[:_GIVEN]])
    fit = Descent(first, table)
    if not fit.program.nonlinear:
        constants, losses = fit.solve_affine(given[:1])
        return first.with_constants(constants[0]), float(losses[0])
    constants = _scattered(fit.program, given, seed)
    constants, losses = fit.descend(
        constants, _SCOUT_EVALUATIONS, _SCOUT_TOLERANCE, most=_SCOUTED,
        halve_after=_HALVED_AFTER, enough=enough, hopeless=hopeless,
    )  # fmt: skip
    best = int(np.argmin(losses))
    return first.with_constants(constants[best]), float(losses[best])


def refine(
    expression: Expression, table: Table, *, enough: float = 0.0
) -> tuple[Expression, float]:
    """Follow the valley to its ground, on all rows; see :func:`scout`."""
    if expression.constants:
        constants, _ = Descent(expression, table).descend(
            np.array([expression.constants]), _REFINE_EVALUATIONS, _REFINE_TOLERANCE, enough=enough
        )
        expression = expression.with_constants(constants[0])
    return expression, table.loss(expression)


def _scattered(program: Program, given: Array, seed: int) -> Array:
    """The given starts and further ones around them (n_starts, n_constants)."""
    exponents = list(program.exponents)
    # A nonlinear constant inside a sine.
    periodic = any(
        name in _PERIODIC and program.above_nonlinear[position]
        for position, (name, *_) in enumerate(program.nodes)
    )
    n = (_SCREENED_PERIODS if periodic else _SCREENED) - len(given)
    number = np.arange(n)[:, None]
    around = given[np.arange(n) % len(given)]
    spread = np.where(number % 2 == 0, *_SPREADS)
    normal, flipped, first = _noise(seed, *around.shape)
    with np.errstate(over="ignore"):
        further = around * np.exp(spread * normal)
    further = np.clip(further, -_LARGEST, _LARGEST)
    further[flipped] *= -1.0
    if exponents:
        # Only whole exponents are defined over a negative base, and no descent goes from 2 to 4.
        near = around[:, exponents]
        near = np.where(number % 2 == 0, np.round(near), near)
        # In turns, all of them.
        drawn = _EXPONENTS[(first[: len(exponents)] + 3 * number) % len(_EXPONENTS)]
        other = number >= n - max(len(_EXPONENTS), round(_OTHER_EXPONENT * n))
        further[:, exponents] = np.where(other, drawn, near)
    return np.concatenate([given, further])


@lru_cache(maxsize=64)
def _noise(seed: int, n: int, n_constants: int) -> tuple[Array, Array, Array]:
    """Normal numbers, which signs change (n, n_constants), and where exponents begin."""
    random_state = np.random.RandomState(seed)
    normal = random_state.standard_normal((n, n_constants))
    flipped = random_state.random_sample((n, n_constants)) < _FLIPPED
    return normal, flipped, random_state.randint(len(_EXPONENTS), size=n_constants)
