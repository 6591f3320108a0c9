"""What it costs to write a constant down: simple numbers, and what a fitted one is worth.

A decimal costs its digits, a fraction the size of its two numbers, a multiple or a fraction of pi
that and that it is one. A simple number takes the place of a fitted one where this is cheaper than
the digits that the data leave certain, and the simplest of several does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

_SIGN = math.log(2.0)
_PI = math.log(200.0)  # that a number is one of pi: rare
_DECIMAL = math.log(2.0)  # that it is a decimal, and no fraction

_LARGEST_DENOMINATOR = 6
_LARGEST_NUMERATOR = 100
_MOST_DIGITS = 5  # of a decimal
_EQUAL = 1e-13  # relative difference of what is one number but for rounding


@lru_cache(maxsize=4096)
def simple_cost(constant: float) -> float:
    """Nats that a constant with a simple value costs, ``inf`` for any other.

    Simple are fractions with a numerator of at most 100 and a denominator of at most 6, these times
    or over pi, and decimals of at most five digits.
    """
    if not math.isfinite(constant):
        return math.inf
    costs = [_fraction_cost(constant), _decimal_cost(constant)]
    for value in (constant / math.pi, constant * math.pi):
        costs.append(_fraction_cost(value) + _PI)
    return min(costs)


def free_cost(n_rows: float, ratio: float) -> float:
    """Nats of a fitted constant: the digits that residuals leave certain.

    Parameters
    ----------
    n_rows : float
    ratio : float
        The loss over that of the best constant.
    """
    return max(0.5 * math.log(n_rows / ratio), 0.0)


def is_exact(constant: float) -> bool:
    """Whether a number is taken to be exact: a simple fraction, or one of pi.

    A decimal is a fitted constant with no more digits than the table leaves certain.
    """
    values = (constant, constant / math.pi, constant * math.pi)
    return any(math.isfinite(_fraction_cost(value)) for value in values)


def simple_values(constant: float, reach: float, *, of_pi: bool = True) -> list[float]:
    """Simple values but nought at most ``reach`` away from a constant, the cheapest first.

    Parameters
    ----------
    constant : float
    reach : float
    of_pi : bool
        Whether multiples and fractions of pi count.
    """
    found = {value for value in _near(constant, of_pi) if abs(value - constant) <= reach}
    return sorted(found, key=lambda value: (simple_cost(value), abs(value - constant)))


def _near(constant: float, of_pi: bool) -> Iterator[float]:
    if constant == 0.0 or not math.isfinite(constant):
        return
    for digits in range(1, _MOST_DIGITS + 1):
        yield float(f"{constant:.{digits - 1}e}")
    for unit in (1.0, math.pi, 1.0 / math.pi) if of_pi else (1.0,):
        for denominator in range(1, _LARGEST_DENOMINATOR + 1):
            times = constant / unit * denominator
            if 0.5 < abs(times) < _LARGEST_NUMERATOR + 0.5:
                yield round(times) / denominator * unit


def without_rounding(constant: float) -> float:
    """The number that a constant is but for rounding: a simple one, or one of at most 12 digits.

    Merging powers of ten leaves 0.30000000000000004 or 0.9999999999999998 behind, and a fit
    0.33333333333333337.
    """
    if not math.isfinite(constant) or constant == 0.0:
        return constant
    near = float(f"{constant:.11e}")
    if abs(near - constant) <= 5e-15 * abs(constant):
        return near
    return next(iter(simple_values(constant, _EQUAL * abs(constant))), constant)


def _fraction_cost(value: float) -> float:
    if not abs(value) <= _LARGEST_NUMERATOR:
        return math.inf
    for denominator in range(1, _LARGEST_DENOMINATOR + 1):
        numerator = round(value * denominator)
        if 0 < abs(numerator) <= _LARGEST_NUMERATOR and math.isclose(
            numerator / denominator, value, rel_tol=_EQUAL
        ):
            # Numbers about as dear as their size: half of all are below 2.
            return _SIGN + 2.0 * math.log(abs(numerator)) + 2.0 * math.log(denominator)
    return 0.0 if value == 0.0 else math.inf


def _decimal_cost(value: float) -> float:
    for digits in range(1, _MOST_DIGITS + 1):
        text = f"{value:.{digits - 1}e}"
        if math.isclose(float(text), value, rel_tol=_EQUAL):
            size = abs(int(text.partition("e")[2]))
            # Most are of one to ten, and few of many zeros.
            return _SIGN + _DECIMAL + digits * math.log(10.0) + 2.0 * math.log(1.0 + size)
    return math.inf
