"""What the families share: the table, sums by least squares, and finished formulas."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.pool import ALMOST_EQUAL
from sr_transformer.proposal.closed.libraries import ONE, weighted_sum
from sr_transformer.proposal.closed.subsets import (
    ROUNDING,
    Library,
    best_subsets,
    normal_equations,
)
from sr_transformer.proposal.constants import refit
from sr_transformer.proposal.relevance import linear_columns
from sr_transformer.table.table import Table

Array = np.ndarray
Fitted = tuple[Expression, float]

MOST_INNER_TERMS = 4
"""Of a numerator and denominator together, and below a link."""

_MOST_COLUMNS = 10  # beyond, only the linear family uses all columns
_MOST_TERMS = 8
_SHORTENED = 20  # symbols up to which a shorter spelling is looked for
_SHORTENED_BY = 6  # that it may save
_WORTH_REFITTING = 0.5  # share of the mean's loss
_ALL_WHOLE = 2.0**53  # constants from here on have no fraction
_WHOLE = 1e-9  # relative distance at which a constant is tried as a multiple of a half


class Bench:
    """A table and what a family needs for it: sums by least squares, and finished formulas.

    ``varying`` are the columns that are not constant, or the 300 of them that y is most likely a
    sum of, ``columns`` the at most ten that matter, ``root`` the roots of the weights, and a sum
    has at most ``most_terms`` terms.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[int],
        operators: frozenset[str],
        maxsize: int,
        deadline: float = np.inf,
    ) -> None:
        self._deadline = deadline
        self.X, self.y, self.table = table.X, table.y, table
        self.varying = linear_columns(self.X, self.y)
        self.columns = [i for i in columns[:_MOST_COLUMNS] if np.ptp(self.X[:, i]) > 0]
        self.operators, self._maxsize = operators, maxsize
        self.root = np.ones(len(self.y)) if table.root is None else table.root
        self._promising = _WORTH_REFITTING * table.variance
        # As many terms as rows would fit anything exactly.
        self.most_terms = max(1, min(_MOST_TERMS, (maxsize + 1) // 2, (len(self.y) - 1) // 2))

    def is_writable(self, formula: Expression) -> bool:
        """Whether a formula can be written with the allowed operators and symbols."""
        lowered = formula.lower(self.operators)
        return lowered is not None and len(lowered.symbols) <= self._maxsize

    def is_out_of_time(self) -> bool:
        """Whether the time for closed forms is over."""
        return time.perf_counter() > self._deadline

    def finished(self, formula: Expression) -> Iterator[Fitted]:
        """The formula in its shortest allowed spelling with its loss, if it can be used."""
        shown, loss = self._spelled(formula)
        near = tuple(
            h if abs(c - h) <= _WHOLE * max(1.0, abs(c)) else c
            for c in formula.constants
            for h in [round(2 * c) / 2 if abs(c) < _ALL_WHOLE else c]
        )
        if near != formula.constants:
            # It may be short enough where the formula as it was fitted is not.
            fitted_loss = loss if np.isfinite(loss) else self.table.loss(formula)
            rounded, rounded_loss = self._spelled(formula.with_constants(near))
            if rounded_loss <= max(fitted_loss * (1 + ALMOST_EQUAL), self.table.exact):
                shown, loss = rounded, rounded_loss
        if np.isfinite(loss):
            yield shown, loss

    def with_factor(self, formula: Expression) -> Iterator[Expression]:
        """``c * formula`` with the best factor, if the formula is defined."""
        values = formula.evaluate(self.X) * self.root
        factor = (values @ (self.y * self.root)) / (values @ values)
        if np.isfinite(factor) and factor != 0:
            yield weighted_sum([formula], [factor])

    def refitted(
        self, formulas: Iterable[Expression], most: int, max_evaluations: int = 25
    ) -> Iterator[Fitted]:
        """The formulas, and the ``most`` of the lowest loss with constants fitted anew."""
        ranked = []
        for formula in formulas:
            shown = formula.simplify()
            loss = self.table.loss(shown)
            if np.isfinite(loss):
                ranked.append((loss, len(ranked), shown))
        for rank, (loss, _, formula) in enumerate(sorted(ranked)):
            if rank < most and self.table.exact < loss < self._promising:
                formula, _ = refit(formula, self.table, max_evaluations=max_evaluations)
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
        subsets: set[tuple[int, ...]] = set()
        for offset in (False, True) if library.terms[0] == ONE else (False,):
            if offset:
                before = np.einsum("ij,ij->j", terms, terms)
                terms = terms - np.outer(one, one @ terms)
                # What centring leaves of a constant column is rounding.
                terms[:, np.einsum("ij,ij->j", terms, terms) <= ROUNDING * before] = 0.0
            gram = normal_equations(terms)
            found = best_subsets(gram[:-1, :-1], gram[:-1, -1], max_terms - offset, kept=kept)
            subsets.update((0, *chosen) if offset else chosen for chosen in found)
        for chosen in sorted(subsets, key=lambda terms: (len(terms), terms)):
            factors = least_squares(values[:, chosen], wanted)
            if factors is not None:
                yield weighted_sum([library.terms[i] for i in chosen], factors)

    def _spelled(self, formula: Expression) -> Fitted:
        """A short enough allowed spelling; of infinite loss where there is none to be used."""
        shown = formula.simplify().lower(self.operators)
        # The shortest spelling takes milliseconds: long formulas go without.
        n_symbols = 0 if shown is None else len(shown.symbols)
        if n_symbols <= _SHORTENED and 0 < n_symbols - self._maxsize <= _SHORTENED_BY:
            shown = formula.shortest(self.operators)
        if shown is None or len(shown.symbols) > self._maxsize or not shown.variables:
            return formula, np.inf
        return shown, self.table.loss(shown)


def least_squares(values: Array, wanted: Array) -> Array | None:
    """Factors of columns (n_rows, n_terms) of any size; ``None`` where there are none."""
    lengths = np.sqrt(np.einsum("ij,ij->j", values, values))
    unit = values / lengths
    # LAPACK prints to standard output where it meets what is not finite.
    if not (np.isfinite(unit).all() and np.isfinite(wanted).all()):
        return None
    try:
        factors = np.linalg.lstsq(unit, wanted, rcond=None)[0] / lengths
    except np.linalg.LinAlgError:
        return None
    return factors if np.isfinite(factors).all() else None
