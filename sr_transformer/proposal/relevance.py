"""Which columns of a wide table matter for y."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

_ROWS = 2000  # that are looked at
_FEWEST_ROWS = 100  # as many in little time
_MOST_RANKED = 2000  # columns; of more, simple correlations choose as many
_MOST_PAIRED = 1000  # columns whose products are looked at
_ROWS_FOR_PAIRS = 30  # fewer rows show a product for any y
_BINS = 10  # of a column, between which the mean of y may change
_ROWS_A_BIN = 5
_SCREENED = 60  # columns that the trees see
_SUBSAMPLES = 4
_SHUFFLES = 2
_TREES = (5, 50)  # at least and at most, of each forest
_ROWS_FOR_TREES = 30  # of fewer, trees tell less than the correlations
_MOST_LINEAR = 300  # columns that a sum is sought among
_TAKEN_AWAY = 8  # columns whose share of y is taken away, one after the other
_WHOLE = 1.0 - 1e-12  # share of y that counts as all of it

# What a slow core does in a second, from which the sizes follow that fit into the time: numbers
# ranked and summed in bins, products summed up, and numbers that one tree splits.
_NUMBERS = 4e6
_PRODUCTS = 3e9
_SPLIT = 8e6
_SECONDS = 5.0  # that are used where the time is not limited
_RANKING, _PAIRING, _GROWING = 0.25, 0.25, 0.5  # shares of the time


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
    X: Array,
    y: Array,
    n_columns: int,
    random_state: np.random.RandomState,
    seconds: float = np.inf,
) -> Relevance:
    """Columns that matter for y; all of them where ``n_columns`` suffice.

    Of very many columns, those stay whose value or square is correlated with y, or with its
    distance from the middle. Then four statistics that see different effects screen the columns:
    the correlation, how much the mean of y, and that of its size, change between bins of a column,
    and how far y goes with the product of two columns (which no look at one column at a time would
    find). Each is judged by what it is for shuffled copies of y. The columns that pass are ranked
    by the importances of extremely randomised trees on several subsamples of the rows: what is
    important by chance in one is not so in the next. Certain are those more important than any is
    for shuffled copies of y.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    n_columns : int
        Largest number of columns.
    random_state : numpy.random.RandomState
    seconds : float
        About how long it may take: numbers of rows, of pairs of columns and of trees follow from
        it, and no forest is begun after it. The least is one pass over 100 rows, and one forest.
        Without a limit the sizes are those of 5 s.
    """
    if X.shape[1] <= n_columns:
        every = tuple(range(X.shape[1]))
        return Relevance(every, every)
    # Without a limit nothing may depend on how busy the machine is: one seed, one result.
    deadline = time.perf_counter() + seconds
    seconds = min(seconds, _SECONDS)
    most_rows = _RANKING * seconds * _NUMBERS / min(X.shape[1], _MOST_RANKED)
    n_rows = int(np.clip(most_rows, _FEWEST_ROWS, _ROWS))
    if X.shape[0] > n_rows:
        rows = np.sort(random_state.choice(X.shape[0], n_rows, replace=False))
        X, y = X[rows], y[rows]
    passed = np.arange(X.shape[1])
    if len(passed) > _MOST_RANKED:
        passed = np.sort(np.argsort(-_correlated(X, y), kind="stable")[:_MOST_RANKED])
    products = _PAIRING * seconds * _PRODUCTS
    passed = passed[_screened(X[:, passed], y, products, random_state)]
    if len(y) < _ROWS_FOR_TREES:
        columns = tuple(map(int, passed[:n_columns]))
        return Relevance(columns, columns)
    passed = np.sort(passed)
    ranked, n_certain = _important(
        X[:, passed], y, n_columns, random_state, _GROWING * seconds, deadline
    )
    columns = tuple(int(passed[i]) for i in ranked)
    return Relevance(columns, columns[:n_certain])


def linear_columns(X: Array, y: Array) -> list[int]:
    """Columns that a sum of few of them may be made of, ascending: at most 300, none constant.

    Of more, those stay that are most correlated with y, and with what is left of y where the share
    of the best is taken away, and then that of the next: a weak term is hidden below the strong
    ones.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    """
    varying = np.ptp(X, axis=0) > 0
    if varying.sum() <= _MOST_LINEAR:
        return np.flatnonzero(varying).tolist()
    n_rows = len(y)
    with np.errstate(all="ignore"):
        mean = X.mean(axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->j", X, X) - n_rows * mean * mean)
        rest, chosen = y - y.mean(), np.zeros(X.shape[1], dtype=bool)
        n_rounds = int(np.clip(n_rows // 4, 1, _TAKEN_AWAY))
        directions: list[Array] = []
        for found in range(1, n_rounds + 1):
            share = np.nan_to_num(np.abs(rest @ X) / lengths, nan=-1.0, posinf=-1.0)
            share[~varying] = -1.0
            best = np.argsort(-share, kind="stable")
            new = best[~chosen[best]]
            chosen[new[: _MOST_LINEAR * found // n_rounds - chosen.sum()]] = True
            direction = X[:, best[0]] - mean[best[0]]
            for earlier in directions:
                direction = direction - earlier * (direction @ earlier)
            direction = direction / np.sqrt(direction @ direction)
            if not np.isfinite(direction).all():
                break
            directions.append(direction)
            rest = rest - direction * (rest @ direction)
    return np.flatnonzero(chosen & varying).tolist()


def _correlated(X: Array, y: Array) -> Array:
    """For each column how much its value or square tells of y, its rank or its distance."""
    rank = _ranks(y[:, None])[:, 0]
    targets = np.column_stack([y, rank, np.abs(rank)])
    return np.maximum(*(_gain(_squared_correlations(each, targets)) for each in (X, X * X)))


def _squared_correlations(X: Array, targets: Array) -> Array:
    """Of each column (n_rows, n_columns), the largest squared correlation with a target."""
    with np.errstate(all="ignore"):
        X = X - X.mean(axis=0)
        X /= np.sqrt(np.einsum("ij,ij->j", X, X))
        targets = targets - targets.mean(axis=0)
        targets /= np.sqrt(np.einsum("ij,ij->j", targets, targets))
        return np.nan_to_num(np.square(X.T @ targets)).max(axis=1)


def _gain(share: Array) -> Array:
    """What a share of y's squares is worth: .999 is far more than .99, as in a likelihood."""
    return -np.log1p(-np.minimum(share, _WHOLE))


def _ranks(X: Array) -> Array:
    """Ranks of each column, equal values alike, from -1 to 1 with a mean of zero."""
    from scipy.stats import rankdata

    ranks = rankdata(X, axis=0) - 0.5 * (X.shape[0] + 1)
    return ranks * (2.0 / X.shape[0])


def _screened(X: Array, y: Array, products: float, random_state: np.random.RandomState) -> Array:
    """The columns of the largest effects, compared with the effects on shuffled copies of y.

    The largest come first. As many of them have their products looked at as a number of
    multiplications allows.
    """
    if X.shape[1] <= _SCREENED and len(y) >= _ROWS_FOR_TREES:
        return np.arange(X.shape[1])
    ranks, ranked = _ranks(X), _ranks(y[:, None])[:, 0]
    n_rows = len(y)
    n_bins = int(np.clip(n_rows // _ROWS_A_BIN, 2, _BINS))
    bins = np.clip(((ranks + 1.0) * (0.5 * n_bins)).astype(int), 0, n_bins - 1)
    orders = [np.arange(n_rows), *(random_state.permutation(n_rows) for _ in range(_SHUFFLES))]
    score = _above_chance(
        np.array([[
            _squared_correlations(X, np.column_stack([y, ranked])[order]),
            _between(ranked[order], bins, n_bins),
            _between(np.abs(ranked[order]), bins, n_bins),
        ] for order in orders])
    )  # fmt: skip
    n_paired = int(min(np.sqrt(products / ((2 + _SHUFFLES) * n_rows)), _MOST_PAIRED))
    if n_rows >= _ROWS_FOR_PAIRS and n_paired > 1:
        paired = np.argsort(-score, kind="stable")[:n_paired]
        shares = np.array([_with_another(ranks[:, paired], ranked, orders)]).swapaxes(0, 1)
        score[paired] = np.maximum(score[paired], _above_chance(shares))
    return np.argsort(-score, kind="stable")[:_SCREENED]


def _above_chance(shares: Array) -> Array:
    """Largest of some statistics of each column, in spreads above what chance makes of it.

    Parameters
    ----------
    shares : ndarray of shape (1 + n_shuffles, n_statistics, n_columns)
        Shares of y's squares, and of those of shuffled copies.
    """
    gains = _gain(shares)
    level = gains[1:].mean(axis=(0, 2))[:, None]
    spread = gains[1:].std(axis=(0, 2))[:, None] + 1e-300
    return ((gains[0] - level) / spread).max(axis=0)


def _between(values: Array, bins: Array, n_bins: int) -> Array:
    """For each column, the share of the squares of some values that lies between its bins."""
    n_columns = bins.shape[1]
    values = values - values.mean()
    places = (bins + n_bins * np.arange(n_columns)).ravel()
    counts = np.maximum(np.bincount(places, minlength=n_columns * n_bins), 1)
    sums = np.bincount(places, weights=np.repeat(values, n_columns), minlength=n_columns * n_bins)
    between = (sums * sums / counts).reshape(-1, n_bins).sum(axis=1)
    return between / max(values @ values, 1e-300)


def _with_another(X: Array, y: Array, orders: list[Array]) -> Array:
    """For each order of y and each column, the largest share that its product with one explains."""
    # A product of centred ranks is free of most of the effects that its columns have alone.
    squares = np.maximum((X * X).T @ (X * X), 1e-300) * max(y @ y, 1e-300)
    shares = []
    for order in orders:
        moments = (X * y[order, None]).T @ X
        shares.append((moments * moments / squares).max(axis=1))
    return np.array(shares)


def _important(
    X: Array,
    y: Array,
    n_columns: int,
    random_state: np.random.RandomState,
    seconds: float,
    deadline: float,
) -> tuple[Array, int]:
    """The columns that trees find most important, and how many of them more so than by chance."""
    from sklearn.ensemble import ExtraTreesRegressor

    # Trees work in 32 bits; scaled columns fit, except for outliers that carry no order anyway.
    limit = float(np.finfo(np.float32).max)
    X = np.clip(X, -limit, limit).astype(np.float32)
    n_forests = _SUBSAMPLES + _SHUFFLES
    n_rows = min((3 * len(y)) // 4, int(seconds * _SPLIT / (n_forests * _TREES[0] * X.shape[1])))
    n_rows = min(len(y), max(2, _FEWEST_ROWS // 2, n_rows))
    n_trees = int(np.clip(seconds * _SPLIT / (n_forests * n_rows * X.shape[1]), *_TREES))

    def importances(rows: Array, target: Array) -> Array:
        trees = ExtraTreesRegressor(
            n_estimators=n_trees, min_samples_leaf=2, max_features=0.5, random_state=random_state
        )
        return trees.fit(X[rows], target[rows]).feature_importances_

    found: list[Array] = []
    chance: list[float] = []
    for i in range(_SUBSAMPLES):
        if found and time.perf_counter() > deadline:
            break
        rows = np.sort(random_state.choice(len(y), n_rows, replace=False))
        found.append(importances(rows, y))
        if i < _SHUFFLES and time.perf_counter() <= deadline:
            chance.append(importances(rows, random_state.permutation(y)).max())
    typical = np.median(found, axis=0)
    order = np.argsort(-typical, kind="stable")[:n_columns]
    # Importances add up to one: what the better columns leave is what chance has to be fair to.
    left = np.cumsum(np.sort(typical))[::-1][: len(order)]
    beaten = np.flatnonzero(typical[order] <= min(chance, default=0.0) * left)
    n_certain = int(beaten[0]) if beaten.size else len(order)
    return order, max(n_certain, 1)
