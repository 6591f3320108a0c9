"""Random inputs and noise: tables as scientists bring them, at magnitudes around one.

The kinds follow what real tables show: uniform and log-uniform ranges, normal clouds, clusters,
grids and repeated levels, series ordered in time.
"""

from __future__ import annotations

import math
from bisect import bisect

import numpy as np

Array = np.ndarray

_KINDS = ("uniform", "log", "normal", "clusters", "grid", "series")
_KIND_LIMITS = (0.55, 0.69, 0.79, 0.85, 0.93)  # cumulated shares of all kinds but the last


def random_inputs(generator: np.random.Generator, n_rows: int, n_columns: int) -> Array:
    """Draw the inputs of one table.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        Fortran order; the typical size of each column lies between 0.3 and 3.
    """
    X = np.empty((n_rows, n_columns), order="F")
    *draws, common = generator.random((n_columns + 1, 6)).tolist()
    shared = _kind(common[0])
    positive, alike, same_range = common[1] < 0.5, common[2] < 0.75, common[3] < 0.4
    for column, own in enumerate(draws):
        kind = shared if alike else _kind(own[0])
        d = draws[0] if same_range else own
        _fill(X[:, column], generator, kind, positive or own[1] < 0.25, d)
    return X


def _kind(u: float) -> str:
    return _KINDS[bisect(_KIND_LIMITS, u)]


def _fill(
    values: Array, generator: np.random.Generator, kind: str, positive: bool, d: list[float]
) -> None:
    """Fill one column, in place where that saves a copy."""
    n_rows = values.size
    size = 10.0 ** (d[2] - 0.5)  # typical magnitude
    if kind == "log":
        half_decades = 0.25 + 1.25 * d[3]
        generator.random(out=values)
        values *= 2.0 * half_decades
        values -= half_decades
        np.power(10.0, values, out=values)
        values *= size
        if not positive and d[5] >= 0.8:
            values *= _signs(generator, n_rows)
    elif kind == "normal":
        spread = 0.1 + 0.9 * d[3]
        generator.standard_normal(out=values)
        values *= size * spread
        if d[4] >= 0.5 or positive:
            values += size
        if positive:
            np.abs(values, out=values)
    elif kind == "clusters":
        n_clusters = 2 + int(4 * d[3])
        centres = generator.random(n_clusters) * 2.0
        if not positive:
            centres = 2.0 * centres - 2.0
        values[:] = centres[generator.integers(n_clusters, size=n_rows)]
        values += 0.1 * d[4] * generator.standard_normal(n_rows)
        values *= size
        if positive:
            np.abs(values, out=values)
    else:
        low, high = _range(positive, d)
        if kind == "uniform":
            generator.random(out=values)
            step = high - low
        elif kind == "series":
            values[:] = np.arange(n_rows)
            step = (high - low) / (n_rows - 1)
        else:
            n_levels = 3 + int(22 * d[5] * d[5])
            values[:] = generator.integers(n_levels, size=n_rows)
            step = (high - low) / (n_levels - 1)
        values *= size * step
        values += size * low


def _range(positive: bool, d: list[float]) -> tuple[float, float]:
    """Interval whose typical magnitude is one."""
    if positive:
        low = 0.0 if d[3] < 0.3 else 1.6 * (d[3] - 0.3)
        return low, max(2.0 - low, low + 0.2)
    if d[3] < 0.7:
        return -2.0, 2.0
    return -1.0 - 2.0 * d[4], 1.0 + 2.0 * d[5]


def _signs(generator: np.random.Generator, n_rows: int) -> Array:
    return np.where(generator.random(n_rows) < 0.5, -1.0, 1.0)


def add_noise(generator: np.random.Generator, y: Array, share_clean: float) -> Array:
    """Add normal noise of 0.1 % to 20 % of the spread of y, and rarely a few outliers.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
    share_clean : float
        Probability that y is returned as it is.
    """
    u, level, v = generator.random(3).tolist()
    if u < share_clean:
        return y
    n_rows = y.size
    centred = y - y.sum() / n_rows
    spread = math.sqrt(float(centred @ centred) / n_rows)
    noisy = generator.standard_normal(n_rows)
    noisy *= spread * 10.0 ** (-3.0 + 2.3 * level)
    noisy += y
    if v < 0.1:
        hit = generator.random(n_rows) < 0.03
        noisy[hit] += 3.0 * spread * generator.standard_normal(int(hit.sum()))
    return noisy
