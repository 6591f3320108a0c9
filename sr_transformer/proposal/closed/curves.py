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
    with np.errstate(all="ignore"):
        rates = np.concatenate([-_RATES, _RATES]) / span
        rate, factor, offset = _best(np.exp(np.outer(x, rates)), rates, y, weight)
        yield _curve(["exp", "*", "c", name], factor, [rate], offset)
        rates = _RATES / np.max(x * x)
        rate, factor, offset = _best(np.exp(np.outer(x * x, -rates)), -rates, y, weight)
        yield _curve(["exp", "*", "c", "square", name], factor, [rate], offset)
        if low > 0:
            power, factor, offset = _best(x[:, None] ** _POWERS, _POWERS, y, weight)
            yield _curve(["^", name, "c"], factor, [power], offset)
        shifts = span / _RATES - low
        shift, factor, offset = _best(np.log(x[:, None] + shifts), shifts, y, weight)
        yield _curve(["log", "+", name, "c"], factor, [shift], offset)
        steepness = np.repeat(_STEEPNESS / span, len(_CENTRES))
        centres = np.tile(low + _CENTRES * span, len(_STEEPNESS))
        grid = np.stack([steepness, -steepness * centres], axis=1)
        (rate, shift), factor, offset = _best(
            np.tanh(np.outer(x, grid[:, 0]) + grid[:, 1]), grid, y, weight
        )
        yield _curve(["tanh", "+", "*", "c", name, "c"], factor, [rate, shift], offset)
        yield from _sine(x, name, y, weight, np.pi * _HALF_WAVES / span)


def _best(values: Array, rates: Array, y: Array, weight: Array) -> tuple:
    """The rate whose curve correlates most with y, and its factor and offset."""
    mean = weight @ values
    centred = values - mean
    covariance = (weight * (y - weight @ y)) @ centred
    variance = weight @ (centred * centred)
    share = covariance**2 / variance
    best = int(np.argmax(np.where(np.isfinite(share), share, -1.0)))
    factor = covariance[best] / variance[best]
    return rates[best], factor, float(weight @ y) - factor * mean[best]


def _curve(symbols: list[str], factor: float, inner: list[float], offset: float) -> Expression:
    return Expression(["+", "*", "c", *symbols, "c"], [factor, *inner, offset])


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
    best = int(np.argmax(np.where(np.isfinite(share), share, -1.0)))
    amplitude = float(np.hypot(a[best], b[best]))
    if np.isfinite(amplitude) and amplitude > 0:
        shift = float(np.arctan2(b[best], a[best]))
        yield _curve(
            ["sin", "+", "*", "c", name, "c"], amplitude, [rates[best], shift], float(weight @ y)
        )
