"""What numbers are allowed where: said before anything starts."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

LARGEST_SEED = 2**32 - 1
"""Largest seed of NumPy's and scikit-learn's generators."""


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raise unless a value is a whole number from ``least`` to ``most``.

    Raises
    ------
    TypeError
        If it is no whole number.
    ValueError
        If it is too small or too large.
    """
    allowed = f"at least {least}" if most is None else f"from {least} to {most}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; it must be a whole number, {allowed}.")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {value}; it must be {allowed}.")


def check_seed(value: Any) -> None:
    """Raise unless a value is a seed of every generator; as :func:`check_whole`."""
    check_whole("seed", value, 0, LARGEST_SEED)


def check_positive(
    name: str, value: Any, *, or_zero: bool = False, or_infinite: bool = False
) -> None:
    """Raise unless a value is a finite number above 0.

    Parameters
    ----------
    name : str
    value : object
    or_zero, or_infinite : bool
        What is allowed beside that.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not above 0, or nan, or infinite.
    """
    allowed = "at least 0" if or_zero else "above 0"
    if not or_infinite:
        allowed += " and finite"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; it must be a number, {allowed}.")
    valid = value >= 0 if or_zero else value > 0
    if not valid or (math.isinf(value) and not or_infinite):
        raise ValueError(f"{name} is {value}; it must be {allowed}.")
