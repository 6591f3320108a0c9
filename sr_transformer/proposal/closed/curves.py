"""Curves of one column with one rate, found by trying many: where a gradient would go astray."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression

Array = np.ndarray

_RATES = np.geomspace(0.1, 30.0, 24)  # of exponentials over the range of the column
_POWERS = np.array([-3, -2.5, -1.5, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.5, 2.5, 3.5])
_HALF_WAVES = np.linspace(0.5, 60.0, 239)  # of sines over the range of the column
_CENTRES = np.linspace(0.1, 0.9, 9)
_STEEPNESS = np.geomspace(1.0, 20.0, 8)


def curves(X: Array, y: Array, root: Array, column: int) -> Iterator[Expression]:
    """The best start of each family ``c * f(rate, x) + c`` for one column.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    root : ndarray of shape (n_rows,)
        Roots of the weights.
    column : int

    Yields
    ------
    Expression
        With constants that are near the best ones; a refit is needed.
    """
    x, name = X[:, column], f"x{column}"
    low, span = float(x.min()), float(np.ptp(x))
    if not span > 0:
        return
    weight = root**2 / np.sum(root**2)

    def best(symbols: tuple[str, ...], grid: Array, values: Array) -> Expression:
        """The curve of ``values`` (n_rows, n_curves) that correlates most with y."""
        mean = weight @ values
        centred = values - mean
        covariance = (weight * (y - weight @ y)) @ centred
        variance = weight @ (centred * centred)
        place = _largest(covariance**2 / variance)
        factor = covariance[place] / variance[place]
        constants = factor, *np.atleast_1d(grid[..., place]), weight @ y - factor * mean[place]
        return Expression(("+", "*", "c", *symbols, "c"), constants)

    with np.errstate(all="ignore"):
        rates = np.concatenate([-_RATES, _RATES]) / span
        yield best(("exp", "*", "c", name), rates, np.exp(np.outer(x, rates)))
        rates = -_RATES / np.max(x * x)
        yield best(("exp", "*", "c", "square", name), rates, np.exp(np.outer(x * x, rates)))
        if low > 0:
            yield best(("^", name, "c"), _POWERS, x[:, None] ** _POWERS)
        shifts = span / _RATES - low
        yield best(("log", "+", name, "c"), shifts, np.log(x[:, None] + shifts))
        rates = np.repeat(_STEEPNESS / span, len(_CENTRES))
        shifts = -rates * np.tile(low + _CENTRES * span, len(_STEEPNESS))
        values = np.tanh(np.outer(x, rates) + shifts)
        yield best(("tanh", "+", "*", "c", name, "c"), np.stack([rates, shifts]), values)
        yield from _sine(x, name, y, weight, np.pi * _HALF_WAVES / span)


def _largest(shares: Array) -> int:
    return int(np.argmax(np.where(np.isfinite(shares), shares, -1.0)))


def _sine(x: Array, name: str, y: Array, weight: Array, rates: Array) -> Iterator[Expression]:
    """A periodogram with a free mean: for each rate a sine, a cosine and a constant are fitted."""
    centred_y = y - weight @ y
    phase = np.outer(x, rates)
    s, c = np.sin(phase), np.cos(phase)
    s, c = s - weight @ s, c - weight @ c
    ss, cc, sc = weight @ (s * s), weight @ (c * c), weight @ (s * c)
    sy, cy = (weight * centred_y) @ s, (weight * centred_y) @ c
    determinant = ss * cc - sc * sc
    a, b = (cc * sy - sc * cy) / determinant, (ss * cy - sc * sy) / determinant
    share = np.where(determinant > 1e-9 * ss * cc, a * sy + b * cy, -1.0)
    best = _largest(share)
    amplitude = float(np.hypot(a[best], b[best]))
    if np.isfinite(amplitude) and amplitude > 0:
        constants = amplitude, rates[best], np.arctan2(b[best], a[best]), weight @ y
        yield Expression(("+", "*", "c", "sin", "+", "*", "c", name, "c", "c"), constants)
