"""Turning nearly right formulas into right ones by small changes, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.proposal.edits import Edit, Editor

Array = np.ndarray

_PARENTS = 8  # formulas that are changed in a round
_FITTED = 30  # changes that are fitted in a round
_WORTH_A_FIT = 2.0  # times the loss of the front that a change may promise at most


@dataclass
class Repair:
    """Improves a pool, round by round.

    In each round the best formulas that have not been changed yet are: those of the front, then
    those closest to it. The changes that promise most, against the front at their size, are fitted.

    Parameters
    ----------
    pool : HallOfFame
        Receives what was found.
    seen : set of tuple of str
        Symbols of the formulas that need no fit any more; grows.
    editor : Editor
    maxsize : int
    exact : float
        Loss at which a formula explains everything.
    fit : callable
        Makes fitted candidates of formulas.
    changed : set of tuple of str
        Symbols of the formulas whose changes were tried; grows.
    """

    pool: HallOfFame
    seen: set[tuple[str, ...]]
    editor: Editor
    maxsize: int
    exact: float
    fit: Callable[[list[Expression]], list[Candidate]]
    changed: set[tuple[str, ...]] = field(default_factory=set)

    def round(self) -> bool:
        """Do one round; ``False`` where nothing was left to try."""
        variants = self._simpler()
        if not self.solved:
            variants += self._promising()
        if not variants:
            return False
        self.seen.update(variant.symbols for variant in variants)
        self.pool.extend(self.fit(variants))
        return True

    @property
    def solved(self) -> bool:
        """Whether a formula explains everything."""
        return self.pool.front[-1].loss <= self.exact

    def _simpler(self) -> list[Expression]:
        variants: dict[tuple[str, ...], Expression] = {}
        for candidate in self.pool.front:
            for variant in simpler_variants(candidate.expression):
                if variant.symbols not in self.seen:
                    variants.setdefault(variant.symbols, variant)
        return list(variants.values())

    def _promising(self) -> list[Expression]:
        """The changes that promise most, one of those that come to the same."""
        front = self._front_losses()
        edits: list[tuple[float, Edit]] = []
        for parent in self._parents(front):
            self.changed.add(parent.expression.symbols)
            for edit in self.editor.edits(parent.expression, _WORTH_A_FIT * front):
                if edit.expression.symbols not in self.seen:
                    loss = max(edit.loss, self.exact)
                    edits.append((loss / front[edit.complexity], edit))
        edits.sort(key=lambda pair: pair[0])
        chosen: dict[tuple, Expression] = {}
        for share, edit in edits:
            chosen.setdefault((float(f"{share:.9e}"), edit.complexity), edit.expression)
            if len(chosen) == _FITTED:
                break
        return list({variant.symbols: variant for variant in chosen.values()}.values())

    def _front_losses(self) -> Array:
        """For each complexity, the smallest loss of the formulas of at most that complexity."""
        losses = np.full(self.maxsize + 1, np.inf)
        for candidate in self.pool.front:
            losses[candidate.complexity : candidate.complexity + 1] = max(
                candidate.loss, self.exact
            )
        return np.minimum.accumulate(losses)

    def _parents(self, front: Array) -> list[Candidate]:
        waiting = [c for c in self.pool.candidates if c.expression.symbols not in self.changed]
        with np.errstate(over="ignore"):
            waiting.sort(key=lambda c: (c.loss / front[c.complexity], c.complexity))
        return waiting[:_PARENTS]


def simpler_variants(expression: Expression) -> Iterator[Expression]:
    """Formulas with one operator less: each operator gives way to one of its arguments.

    Terms and factors that a sample wrote in vain vanish this way, and so do functions around the
    right argument. Constants keep their values.
    """
    for place, part in enumerate(expression.parts):
        for argument in part.arguments:
            simpler = expression.replaced(place, argument)
            if simpler.variables:
                yield simpler


def rescaled(
    expression: Expression, X: Array, y: Array, sample_weight: Array | None = None
) -> Expression | None:
    """The formula with the factor and the offset that bring it closest to y.

    Parameters
    ----------
    expression : Expression
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,), optional

    Returns
    -------
    Expression or None
        ``c * f + c``, solved by least squares; None where the formula is constant or undefined on
        some row.
    """
    values = expression.evaluate(X)
    with np.errstate(all="ignore"):
        centred = values - np.average(values, weights=sample_weight)
        spread = np.average(centred * centred, weights=sample_weight)
        factor = np.average(centred * y, weights=sample_weight) / spread
        offset = np.average(y - factor * values, weights=sample_weight)
    if not (np.isfinite(factor) and np.isfinite(offset)):
        return None
    return Expression(
        ["+", "*", "c", *expression.symbols, "c"], [factor, *expression.constants, offset]
    )
