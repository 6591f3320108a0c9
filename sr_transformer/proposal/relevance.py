"""Which columns of a wide table matter for y."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

_ROWS = 2000
_BINS = 10  # of a column, between which the mean of y may change
_SCREENED = 60  # columns that the trees see
_SUBSAMPLES = 4
_SHUFFLES = 2
_TREES = 50


@dataclass(frozen=True)
class Relevance:
    """The columns of a table that matter.

    Parameters
    ----------
    columns : tuple of int
        The most relevant first; all columns, in their order, where there are few.
    certain : tuple of int
        Those of them that stand out from chance; all where there are few.
    """

    columns: tuple[int, ...]
    certain: tuple[int, ...]


def relevant_columns(
    X: Array, y: Array, n_columns: int, random_state: np.random.RandomState
) -> Relevance:
    """Columns that matter for y; all of them where ``n_columns`` suffice.

    Three statistics that see different non-linear effects screen the columns: how much the mean
    of y, and that of its size, change between ten bins of a column, and how far y goes with the
    product of two columns (which no look at one column at a time would find). Each is judged by
    what it is for shuffled copies of y. The columns that pass are ranked by the importances of
    extremely randomised trees on several subsamples of the rows: what is important by chance in
    one is not so in the next. Certain are those more important than any is for shuffled copies
    of y.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    n_columns : int
        Largest number of columns.
    random_state : numpy.random.RandomState
    """
    if X.shape[1] <= n_columns:
        every = tuple(range(X.shape[1]))
        return Relevance(every, every)
    if X.shape[0] > _ROWS:
        rows = np.sort(random_state.choice(X.shape[0], _ROWS, replace=False))
        X, y = X[rows], y[rows]
    screened = _screened(_ranks(X), _ranks(y[:, None])[:, 0], random_state)
    ranked, n_certain = _important(X[:, screened], y, n_columns, random_state)
    columns = tuple(int(screened[i]) for i in ranked)
    return Relevance(columns, columns[:n_certain])


def _ranks(X: Array) -> Array:
    """Ranks of each column, equal values alike, from -1 to 1 with a mean of zero."""
    from scipy.stats import rankdata

    ranks = rankdata(X, axis=0) - 0.5 * (X.shape[0] + 1)
    return ranks * (2.0 / X.shape[0])


def _screened(X: Array, y: Array, random_state: np.random.RandomState) -> Array:
    """The columns of the largest effects, compared with the effects on shuffled copies of y."""
    bins = np.clip(((X + 1.0) * (0.5 * _BINS)).astype(int), 0, _BINS - 1)
    effects = np.array(_effects(X, y, bins))
    chance = np.array(
        [_effects(X, random_state.permutation(y), bins) for _ in range(_SHUFFLES)]
    )  # (n_shuffles, n_statistics, n_columns)
    level = chance.mean(axis=(0, 2))[:, None]
    spread = chance.std(axis=(0, 2))[:, None] + 1e-300
    score = ((effects - level) / spread).max(axis=0)
    return np.sort(np.argsort(-score, kind="stable")[:_SCREENED])


def _effects(X: Array, y: Array, bins: Array) -> tuple[Array, Array, Array]:
    """For each column: what y, |y| and its products with another column have to do with it."""
    n_bins = X.shape[1] * _BINS
    places = (bins + _BINS * np.arange(X.shape[1])).ravel()
    counts = np.maximum(np.bincount(places, minlength=n_bins), 1)

    def between(values: Array) -> Array:
        values = values - values.mean()
        sums = np.bincount(places, weights=np.repeat(values, X.shape[1]), minlength=n_bins)
        return (sums * sums / counts).reshape(-1, _BINS).sum(axis=1)

    # A product of centred ranks is free of most of the effects that its columns have alone.
    products = (X * y[:, None]).T @ X
    squares = (X * X).T @ (X * X)
    share = products * products / np.maximum(squares, 1e-300)
    return between(y), between(np.abs(y)), share.max(axis=1)


def _important(
    X: Array, y: Array, n_columns: int, random_state: np.random.RandomState
) -> tuple[Array, int]:
    """The columns that trees find most important, and how many of them more so than by chance."""
    from sklearn.ensemble import ExtraTreesRegressor

    # Trees work in 32 bits; scaled columns fit, except for outliers that carry no order anyway.
    limit = float(np.finfo(np.float32).max)
    X = np.clip(X, -limit, limit).astype(np.float32)

    def importances(rows: Array, target: Array) -> Array:
        trees = ExtraTreesRegressor(
            n_estimators=_TREES, min_samples_leaf=2, max_features=0.5, random_state=random_state
        )
        return trees.fit(X[rows], target[rows]).feature_importances_

    n_rows = len(y)
    found, chance = [], []
    for i in range(_SUBSAMPLES):
        rows = np.sort(
            random_state.choice(n_rows, min(n_rows, max(2, (3 * n_rows) // 4)), replace=False)
        )
        found.append(importances(rows, y))
        if i < _SHUFFLES:
            chance.append(importances(rows, random_state.permutation(y)).max())
    typical = np.median(found, axis=0)
    order = np.argsort(-typical, kind="stable")[:n_columns]
    # Importances add up to one: what the better columns leave is what chance has to be fair to.
    left = np.cumsum(np.sort(typical))[::-1][: len(order)]
    beaten = np.flatnonzero(typical[order] <= min(chance) * left)
    n_certain = int(beaten[0]) if beaten.size else len(order)
    return order, max(n_certain, 1)
