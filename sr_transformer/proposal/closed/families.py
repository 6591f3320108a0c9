"""Candidates that need no network: power laws, sums, polynomials, ratios and links, in closed form.

Each proposer writes formulas of one family whose constants a linear least-squares fit gives at
once, or nearly so. Together they take a fraction of the time of the Transformer's draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.pool import ALMOST_EQUAL, Candidate
from sr_transformer.proposal.closed.curves import curves
from sr_transformer.proposal.closed.libraries import (
    ONE,
    functions,
    monomials,
    power_product,
    weighted_sum,
)
from sr_transformer.proposal.closed.subsets import Library, best_subsets, normal_equations
from sr_transformer.proposal.constants import refit
from sr_transformer.table.table import Table

Array = np.ndarray

_MOST_COLUMNS = 10  # beyond, only the linear proposer uses all columns
_MOST_TERMS = 8
_MOST_INNER_TERMS = 4  # of a numerator and denominator together, and below a link
_ROUNDING = 1e-24  # share of a column's square
_WORTH_REFITTING = 0.5  # share of the mean's loss
_SHORT = 9  # complexity up to which an exact formula ends the search for others
_WHOLE = 1e-9  # relative distance at which a constant is tried as a multiple of a half
_DENOMINATORS = (1, 2, 3, 4)  # of rounded exponents


def closed_form_candidates(
    table: Table,
    columns: Sequence[int],
    *,
    proposers: Sequence[str],
    operators: frozenset[str],
    maxsize: int,
    exact: float,
    deadline: float = np.inf,
) -> list[Candidate]:
    """Let the closed-form proposers among ``proposers`` write formulas for a table.

    Parameters
    ----------
    table : Table
    columns : sequence of int
        Columns that matter, for all proposers but the linear one, which uses all.
    proposers : sequence of str
        Names of proposers; each is the source of its candidates.
    operators, maxsize
        What the candidates may use, and how long they may be.
    exact : float
        Loss at which a formula explains everything.
    deadline : float
        Value of ``time.perf_counter()`` after which no further proposer starts.

    Returns
    -------
    list of Candidate
        With finite losses; none twice from the same proposer.
    """
    bench = _Bench(table, list(columns)[:_MOST_COLUMNS], operators, maxsize, exact)
    candidates: list[Candidate] = []
    for name, propose in _CLOSED_FORMS.items():
        if name not in proposers or time.perf_counter() > deadline:
            continue
        formulas: dict[tuple[str, ...], tuple[Expression, float]] = {}
        with np.errstate(all="ignore"):
            for formula, loss in propose(bench):
                known = formulas.get(formula.symbols)
                if known is None or loss < known[1]:
                    formulas[formula.symbols] = formula, loss
        candidates += [Candidate(formula, loss, name) for formula, loss in formulas.values()]
        if any(is_settled(candidate, exact) for candidate in candidates):
            break
    return candidates


def is_settled(candidate: Candidate, exact: float) -> bool:
    """Whether a candidate explains everything and is short, so that no better one need be sought.

    A long one may be the expansion of a shorter law, such as ``(a + b) ^ 3``.
    """
    return candidate.loss <= exact and candidate.complexity <= _SHORT


Fitted = tuple[Expression, float]


class _Bench:
    """A table and what a proposer needs for it: sums by least squares, and finished formulas."""

    def __init__(
        self,
        table: Table,
        columns: list[int],
        operators: frozenset[str],
        maxsize: int,
        exact: float,
    ) -> None:
        self.table = table
        self.X, self.y, self.weight = table.X, table.y, table.weights
        varying = [i for i in range(self.X.shape[1]) if np.ptp(self.X[:, i]) > 0]
        self.varying = varying
        self.columns = [i for i in columns if i in set(varying)]
        self.operators = operators
        self.maxsize = maxsize
        self.exact = exact
        self.root = np.ones(len(self.y))
        if self.weight is not None:
            self.root = np.sqrt(self.weight)
        self.promising = _WORTH_REFITTING * table.variance
        # As many terms as rows would fit anything exactly.
        self.most_terms = max(1, min(_MOST_TERMS, (maxsize + 1) // 2, (len(self.y) - 1) // 2))

    def finished(self, formula: Expression) -> Iterator[Fitted]:
        """The formula in its shortest allowed spelling with its loss, if it can be used."""
        shown = self._spelled(formula)
        if shown is None:
            return
        loss = self.table.loss(shown)
        halves = tuple(round(2 * c) / 2 for c in formula.constants)
        near = tuple(
            h if abs(c - h) <= _WHOLE * max(1.0, abs(c)) else c
            for c, h in zip(formula.constants, halves, strict=True)
        )
        if np.isfinite(loss) and near != formula.constants:
            rounded = self._spelled(formula.with_constants(near))
            if rounded is not None:
                rounded_loss = self.table.loss(rounded)
                if rounded_loss <= max(loss * (1 + ALMOST_EQUAL), self.exact):
                    shown, loss = rounded, rounded_loss
        if np.isfinite(loss):
            yield shown, loss

    def _spelled(self, formula: Expression) -> Expression | None:
        shown = formula.simplify().lower(self.operators)
        if shown is None or len(shown.symbols) > self.maxsize or not shown.variables:
            return None
        return shown

    def refitted(self, formulas: Iterable[Expression], most: int) -> Iterator[Fitted]:
        """The formulas, and the ``most`` of the lowest loss with constants fitted anew."""
        ranked = []
        for formula in formulas:
            shown = formula.simplify()
            loss = self.table.loss(shown)
            if np.isfinite(loss):
                ranked.append((loss, len(ranked), shown))
        for rank, (loss, _, formula) in enumerate(sorted(ranked)):
            if rank < most and self.exact < loss < self.promising:
                formula, _ = refit(formula, self.table, max_evaluations=25)
            yield from self.finished(formula)

    def sums(
        self, library: Library, target: Array, root: Array, max_terms: int, kept: int = 2
    ) -> Iterator[Expression]:
        """Sums of few terms that come closest to a target, small ones first.

        Those with the constant term are sought among centred terms: else the share of an offset
        hides which of the other terms matter.
        """
        library = library.finite()
        values = library.values * root[:, None]
        wanted = target * root
        length = np.sqrt(wanted @ wanted)
        if not (0 < length < np.inf):
            return
        one = root / np.sqrt(root @ root)
        terms = np.column_stack([values, wanted])
        with_constant = library.terms[0] == ONE
        subsets: set[tuple[int, ...]] = set()
        for offset in (False, True) if with_constant else (False,):
            if offset:
                before = np.einsum("ij,ij->j", terms, terms)
                terms = terms - np.outer(one, one @ terms)
                # What centring leaves of a constant column is rounding.
                terms[:, np.einsum("ij,ij->j", terms, terms) <= _ROUNDING * before] = 0.0
            gram = normal_equations(terms)
            for chosen in best_subsets(
                gram[:-1, :-1], gram[:-1, -1], max_terms - offset, kept=kept
            ):
                subsets.add((0, *chosen) if offset else chosen)
        for chosen in sorted(subsets, key=lambda terms: (len(terms), terms)):
            factors = _solve(values[:, chosen], wanted)
            if factors is not None:
                yield weighted_sum([library.terms[i] for i in chosen], factors)


def _solve(values: Array, wanted: Array) -> Array | None:
    """Least squares over columns of any size; ``None`` where it fails."""
    lengths = np.sqrt(np.einsum("ij,ij->j", values, values))
    try:
        factors = np.linalg.lstsq(values / lengths, wanted, rcond=None)[0] / lengths
    except np.linalg.LinAlgError:
        return None
    return factors if np.isfinite(factors).all() else None


# --- the proposers --------------------------------------------------------------------------------
def _power_laws(bench: _Bench) -> Iterator[Fitted]:
    """Products ``c * x_i ^ k_i * ...``: least squares of log|y|, then rounded exponents.

    Columns leave one by one, the least significant first. The logarithm makes noise that is added
    to y largest where y is small; so the fit is tried with and without weights ``y ^ 2``.
    """
    used = (bench.y != 0) & np.all(bench.X[:, bench.columns] != 0, axis=1)
    if used.sum() < max(3, len(bench.y) // 2):
        return
    logs = np.log(np.abs(bench.X[np.ix_(used, bench.columns)]))
    target = np.log(np.abs(bench.y[used]))
    free: list[Expression] = []
    for root in (bench.root[used], bench.root[used] * np.abs(bench.y[used])):
        places = [i for i in range(logs.shape[1]) if np.ptp(logs[:, i]) > 0]
        while places:
            design = np.column_stack([logs[:, places], np.ones(len(target))]) * root[:, None]
            solution = _solve(design, target * root)
            if solution is None:
                break
            exponents = solution[:-1]
            columns = [bench.columns[i] for i in places]
            free += _with_factor(bench, columns, exponents)
            tried = set()
            for d in _DENOMINATORS:
                rounded = tuple(np.round(exponents * d) / d)
                if rounded not in tried and any(rounded):
                    tried.add(rounded)
                    for formula in _with_factor(bench, columns, rounded):
                        yield from bench.finished(formula)
            places.pop(int(np.argmin(_significance(design, exponents))))
    yield from bench.refitted(free, most=3)


def _with_factor(
    bench: _Bench, columns: Sequence[int], exponents: Iterable[float]
) -> Iterator[Expression]:
    """``c * product`` with the best factor, if the product is defined."""
    formula = power_product(columns, list(exponents))
    values = formula.evaluate(bench.X) * bench.root
    factor = (values @ (bench.y * bench.root)) / (values @ values)
    if np.isfinite(factor) and factor != 0:
        yield weighted_sum([formula], [factor])


def _significance(design: Array, exponents: Array) -> Array:
    """The exponents over their standard errors, up to a common factor."""
    inverse = np.linalg.pinv(design.T @ design)
    return np.abs(exponents) / np.sqrt(np.maximum(np.diagonal(inverse)[:-1], 1e-300))


def _linear(bench: _Bench) -> Iterator[Fitted]:
    """Sums of few columns, with and without a constant."""
    library = Library(
        [ONE, *(Expression([f"x{i}"]) for i in bench.varying)],
        np.column_stack([np.ones(len(bench.y)), bench.X[:, bench.varying]]),
    )
    for formula in bench.sums(library, bench.y, bench.root, bench.most_terms):
        yield from bench.finished(formula)


def _polynomials(bench: _Bench) -> Iterator[Fitted]:
    """Sums of few products of powers, with whole exponents of both signs or of one."""
    for degree, signed in ((6, False), (4, True)):
        _, library = monomials(
            bench.X, bench.columns, bench.operators, degree=degree, signed=signed
        )
        for formula in bench.sums(library, bench.y, bench.root, bench.most_terms):
            yield from bench.finished(formula)


def _ratios(bench: _Bench) -> Iterator[Fitted]:
    """Polynomials over polynomials, linearised.

    ``y = P / Q`` is ``y * q = P - y * (Q - q)`` for a term q of Q: a sum of few terms on the
    right, where each possible q gives a fit of its own.
    """
    degree = 3 if len(bench.columns) == 1 else 2
    exponents, library = monomials(bench.X, bench.columns, bench.operators, degree=degree, most=70)
    n = len(library.terms)
    if n < 2:
        return
    unsolved = library.values * bench.root[:, None]
    solved = unsolved * bench.y[:, None]
    values = np.column_stack([unsolved, solved])
    if not np.isfinite(values).all():
        return
    gram = normal_equations(values)
    found: dict[int, list[tuple[float, Expression]]] = {}
    max_terms = min(_MOST_INNER_TERMS + 1, bench.most_terms)
    for pivot in range(n):
        if sum(exponents[pivot]) > (1 if len(bench.columns) > 3 else degree):
            continue
        others = [i for i in range(2 * n) if i != n + pivot]
        subsets = best_subsets(
            gram[np.ix_(others, others)], gram[others, n + pivot], max_terms, width=4, kept=2
        )
        for subset in subsets:
            chosen = [others[i] for i in subset]
            above = [i for i in chosen if i < n]
            below = [i - n for i in chosen if i >= n]
            if not above or (not below and pivot == 0):
                continue
            factors = _solve(values[:, chosen], values[:, n + pivot])
            if factors is None:
                continue
            p, q = factors[: len(above)], factors[len(above) :]
            numerator = library.values[:, above] @ p
            denominator = library.values[:, pivot] - library.values[:, below] @ q
            residuals = (numerator / denominator - bench.y) * bench.root
            loss = float(residuals @ residuals)
            if np.isfinite(loss):
                top = weighted_sum([library.terms[i] for i in above], p)
                bottom = weighted_sum([library.terms[i] for i in (pivot, *below)], [1.0, *-q])
                formula = Expression.unchecked(
                    ("/", *top.symbols, *bottom.symbols), top.constants + bottom.constants
                )
                found.setdefault(len(chosen), []).append((loss, formula))
    for group in found.values():
        best = sorted(group, key=lambda entry: entry[0])[:3]
        # The leading factor of the denominator is one of the numerator's: simplify removes it.
        yield from bench.refitted((formula for _, formula in best), most=1)


def _additive(bench: _Bench) -> Iterator[Fitted]:
    """Sums of functions of the columns, and single columns through functions with an own rate."""
    library = functions(bench.X, bench.columns, bench.operators)
    for formula in bench.sums(library, bench.y, bench.root, min(5, bench.most_terms)):
        yield from bench.finished(formula)
    starts = [formula for i in bench.columns for formula in curves(bench.X, bench.y, bench.root, i)]
    if len(bench.y) > 6:
        yield from bench.refitted(starts, most=6)


def _links(bench: _Bench) -> Iterator[Fitted]:
    """A function of a sum: its inverse makes a linear fit of it."""
    y, columns = bench.y, bench.columns
    _, sums = monomials(bench.X, columns, bench.operators, degree=2, signed=True, most=120)
    _, lines = monomials(bench.X, columns, bench.operators, degree=1)
    logs = Library(
        [*sums.terms, *(Expression(["log", f"x{i}"]) for i in columns)],
        np.column_stack([sums.values, *(np.log(bench.X[:, i]) for i in columns)]),
    )
    sign = 1.0 if np.median(y) >= 0 else -1.0
    size = sign * y
    max_terms = min(_MOST_INNER_TERMS, bench.most_terms)
    # function, its inverse at |y|, its slope there, the terms below it
    rows: tuple[tuple[tuple[str, ...], Array, Array, Library], ...] = (
        (("exp",), np.log(size), size, logs),
        (("sqrt",), size**2, 1 / size, sums),
        (("inv",), 1 / size, size**2, sums),
        (("inv", "sqrt"), 1 / size**2, size**3, sums),
        (("log",), np.exp(size), np.exp(-size), sums),
        (("square",), np.sqrt(size), np.sqrt(size), lines),
        (("cube",), np.cbrt(size), np.cbrt(size) ** 2, lines),
    )
    for function, target, slope, library in rows:
        writable = Expression([*function, "x0"]).lower(bench.operators) is not None
        if not writable or not (np.isfinite(target).all() and np.isfinite(slope).all()):
            continue
        # An error of y is one of the target times the slope; a few rows must not rule the fit.
        root = bench.root * np.clip(np.abs(slope), None, 10.0 * np.median(np.abs(slope)))
        formulas = (
            Expression.unchecked(
                ("*", "c", *function, *inner.symbols), (sign, *inner.constants)
            ).simplify()
            for inner in bench.sums(library, target, root, max_terms, kept=1)
        )
        yield from bench.refitted(formulas, most=1)


_CLOSED_FORMS: dict[str, Callable[[_Bench], Iterator[Fitted]]] = {
    "power-law": _power_laws,
    "linear": _linear,
    "polynomial": _polynomials,
    "rational": _ratios,
    "additive": _additive,
    "link": _links,
}
