"""Which few of many terms a target is a sum of: best subsets by a beam over the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from sr_transformer.expression import Expression

Array = np.ndarray

_INDEPENDENT = 1e-9  # share of a term's square that others must leave for it to count as new
_BEGINNINGS = 4  # sets of each size that grow on, where there are very many terms
_ALL_PAIRS = 600  # terms up to which all pairs are compared
_SWEEPS = 4  # in which each term of such a set may give way to a better one
_PAYS = 2.0  # times the logarithm of the number of terms, that a further one must gain in chi^2
_THINNED = 3  # largest sets that are thinned out
_EXPLAINED = 1e-13  # share of the target's square that is rounding in a Gram matrix


ROUNDING = 1e-24
"""Share of the square of a column that its rounding is."""


@dataclass(frozen=True)
class Library:
    """Terms that a sum may be made of, and their values on a table.

    Parameters
    ----------
    terms : list of Expression
        The constant term is the constant one.
    values : ndarray of shape (n_rows, n_terms)
    """

    terms: list[Expression]
    values: Array

    def finite(self) -> Library:
        """Without the terms that are undefined, or zero, on all of some row of the table."""
        with np.errstate(all="ignore"):
            sizes = np.einsum("ij,ij->j", self.values, self.values)
        usable = np.flatnonzero((sizes > 0) & np.isfinite(sizes))
        return Library([self.terms[i] for i in usable], self.values[:, usable])


def normal_equations(values: Array) -> Array:
    """Gram matrix of the columns of ``values`` (n_rows, n_terms), each scaled to length one."""
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->j", values, values))
        unit = values / np.where((lengths > 0) & np.isfinite(lengths), lengths, np.inf)
    return unit.T @ unit


def best_subsets(
    gram: Array, moments: Array, max_terms: int, *, width: int = 6, kept: int = 3
) -> list[tuple[int, ...]]:
    """Small sets of terms whose best sum comes closest to a target.

    All pairs are tried; larger sets grow from the best ``width`` of one term less, and the last
    ones are thinned out again, so that terms taken early and in vain vanish.

    Parameters
    ----------
    gram : ndarray of shape (n_terms, n_terms)
        Of terms of length one; see :func:`normal_equations`.
    moments : ndarray of shape (n_terms,)
        Products of the terms with the target, which has length one, too.
    max_terms : int
        Largest number of terms of a set.
    width : int
        Sets of each size that larger ones grow from.
    kept : int
        Sets of each size that are returned.

    Returns
    -------
    list of tuple of int
        Terms, ascending; smaller sets first.
    """
    usable = np.diagonal(gram) > 0.5
    found: dict[tuple[int, ...], float] = {}
    if max_terms < 1 or not usable.any():
        return []
    explained = np.where(usable, moments * moments, -1.0)
    for i in np.argsort(-explained, kind="stable")[:width]:
        if explained[i] >= 0:
            found[(int(i),)] = float(explained[i])
    states = _best_pairs(gram, moments, usable, width) if max_terms > 1 else {}
    found |= states
    for _ in range(2, max_terms):
        if not states or max(states.values()) >= 1 - _EXPLAINED:
            break
        states = _one_more(gram, moments, usable, states, width)
        found |= states
    for subset in list(states)[:_THINNED]:
        while len(subset) > 2:
            fewer = np.array([subset[:i] + subset[i + 1 :] for i in range(len(subset))])
            shares = _explained(gram, moments, fewer)
            best = int(np.argmax(shares))
            subset = tuple(fewer[best].tolist())
            found[subset] = float(shares[best])
    ranked: list[tuple[int, ...]] = []
    for size in range(1, max_terms + 1):
        group = sorted((-share, terms) for terms, share in found.items() if len(terms) == size)
        ranked += [terms for _, terms in group[:kept]]
    return ranked


def _best_pairs(
    gram: Array, moments: Array, usable: Array, width: int
) -> dict[tuple[int, ...], float]:
    """The pairs that explain most of the target, with its share."""
    first, second = np.triu_indices(len(moments), 1)
    overlap = gram[first, second]
    left = 1.0 - overlap * overlap
    a, b = moments[first], moments[second]
    fit = usable[first] & usable[second] & (left > _INDEPENDENT)
    share = np.full(len(first), -1.0)
    np.divide(a * a + b * b - 2.0 * overlap * a * b, left, out=share, where=fit)
    order = np.argsort(-share, kind="stable")[:width]
    return {(int(first[i]), int(second[i])): float(share[i]) for i in order if share[i] >= 0}


def _one_more(
    gram: Array,
    moments: Array,
    usable: Array,
    states: dict[tuple[int, ...], float],
    width: int,
) -> dict[tuple[int, ...], float]:
    """The best sets with one term more than ``states``."""
    grown: dict[tuple[int, ...], float] = {}
    for subset in states:
        gain, base = _gains(gram[list(subset)], moments, subset)
        gain[~usable] = -1.0
        for i in np.argsort(-gain, kind="stable")[:width]:
            if gain[i] >= 0:
                grown[tuple(sorted((*subset, int(i))))] = base + float(gain[i])
    best = sorted(grown.items(), key=lambda entry: (-entry[1], entry[0]))
    return dict(best[:width])


def _gains(rows: Array, moments: Array, subset: Sequence[int]) -> tuple[Array, float]:
    """What each further term explains beside a set of terms, and what these do.

    ``rows`` are the set's inner products with all terms (n_chosen, n_terms).
    """
    chosen = list(subset)
    gain = np.full(len(moments), -1.0)
    try:
        lower = np.linalg.cholesky(rows[:, chosen])
    except np.linalg.LinAlgError:
        return gain, 0.0
    known = np.linalg.solve(lower, np.column_stack([rows, moments[chosen]]))
    projected, share = known[:, :-1], known[:, -1]
    left = 1.0 - np.einsum("ij,ij->j", projected, projected)
    np.divide((moments - share @ projected) ** 2, left, out=gain, where=left > _INDEPENDENT)
    gain[chosen] = -1.0
    return gain, float(share @ share)


def _explained(gram: Array, moments: Array, subsets: Array) -> Array:
    """Share of the target that each row of ``subsets`` (n_subsets, n_terms) explains."""
    wanted = moments[subsets]
    try:
        factors = np.linalg.solve(gram[subsets[:, :, None], subsets[:, None, :]], wanted[..., None])
    except np.linalg.LinAlgError:
        return np.full(len(subsets), -1.0)
    return np.sum(wanted * factors[..., 0], axis=1)


def sparse_sums(
    values: Array,
    target: Array,
    root: Array,
    max_terms: int,
    is_out_of_time: Callable[[], bool],
) -> list[tuple[int, ...]]:
    """Sets of few of very many terms whose best sum with a constant comes closest to a target.

    Forward selection from several beginnings, where each term of a set gives way to a better one
    once others are there (orthogonal matching pursuit with replacement). Among more terms than can
    be compared in pairs, only the inner products with chosen ones are computed.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_terms)
    target : ndarray of shape (n_rows,)
    root : ndarray of shape (n_rows,)
        Roots of the weights.
    max_terms : int
    is_out_of_time : callable
        Whether to end at once.

    Returns
    -------
    list of tuple of int
        The best of each size, as long as a further term pays.
    """
    one = root / np.sqrt(root @ root)
    unit, wanted = values * root[:, None], target * root
    sizes = np.einsum("ij,ij->j", unit, unit)
    # Centred: else the share of the constant hides which terms matter.
    unit -= np.outer(one, one @ unit)
    wanted -= one * (one @ wanted)
    lengths = np.einsum("ij,ij->j", unit, unit)
    unit /= np.sqrt(np.where(lengths > ROUNDING * sizes, lengths, np.inf))
    length = np.sqrt(wanted @ wanted)
    if not (0 < length < np.inf and max_terms and values.shape[1]):
        return []
    moments = (wanted / length) @ unit
    known: dict[int, Array] = {}

    @cache  # the same set is left where one term or another is taken out of several sets
    def gains(subset: tuple[int, ...]) -> tuple[Array, float]:
        for i in subset:
            if i not in known:
                known[i] = unit[:, i] @ unit
        rows = np.array([known[i] for i in subset]).reshape(len(subset), -1)
        return _gains(rows, moments, subset)

    def improved(subset: tuple[int, ...], share: float) -> tuple[tuple[int, ...], float]:
        """With terms replaced by others as long as that explains more."""
        for _ in range(_SWEEPS):
            before = share
            for term in subset:
                rest = tuple(i for i in subset if i != term)
                gain, base = gains(rest)
                best = int(np.argmax(gain))
                if base + gain[best] > share + _EXPLAINED:
                    subset, share = tuple(sorted((*rest, best))), base + float(gain[best])
            if share == before:
                break
        return subset, share

    first = np.argsort(-(moments**2), kind="stable")[:_BEGINNINGS]
    states = {(int(i),): float(moments[i] ** 2) for i in first}
    found = [max(states, key=states.__getitem__)]
    pays = _PAYS * np.log(len(moments)) / len(target)
    while len(found) < max_terms and not is_out_of_time():
        before = states[found[-1]]
        if before >= 1 - _EXPLAINED:
            break
        grown: dict[tuple[int, ...], float] = {}
        for subset in states:
            gain, base = gains(subset)
            for i in np.argsort(-gain, kind="stable")[:_BEGINNINGS]:
                if gain[i] > 0:
                    grown[tuple(sorted((*subset, int(i))))] = base + float(gain[i])
        if len(found) == 1 and unit.shape[1] <= _ALL_PAIRS:
            grown |= _best_pairs(unit.T @ unit, moments, lengths > 0, _BEGINNINGS)
        best = sorted(grown, key=grown.__getitem__, reverse=True)[:_BEGINNINGS]
        states = dict(improved(subset, grown[subset]) for subset in best)
        if not states:
            break
        found.append(max(states, key=states.__getitem__))
        if states[found[-1]] - before < pays * (1 - before):
            found.pop()
            break
    return found
