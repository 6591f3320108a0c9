"""Turning nearly right formulas into right ones by small changes, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.pool import Candidate, Pool
from sr_transformer.proposal.edits import Edit, Editor
from sr_transformer.proposal.fit import Fitter
from sr_transformer.proposal.proposers import REPAIR
from sr_transformer.proposal.recombination import children

Array = np.ndarray

_PARENTS = 8  # formulas that are changed in a round
_FITTED = 30  # changes that are fitted in a round
_ROUNDS = 3
_RECOMBINED = 60  # best formulas that are recombined
_EDITED_COLUMNS = 6  # variables that repair brings in
_WORTH_A_FIT = 2.0  # times the loss of the front that a change may promise at most
_TINY = np.finfo(float).tiny  # losses of zero are compared as this


class Repair:
    """Improves a pool, round by round.

    In each round the best formulas that have not been changed yet are: those of the front, then
    those closest to it. The changes that promise most, against the front at their size, are fitted.

    Parameters
    ----------
    pool : Pool
        Receives what was found.
    fitter : Fitter
    seen : set of tuple of str
        Symbols of the formulas that need no fit any more; grows.
    random_state : numpy.random.RandomState

    Attributes
    ----------
    columns : sequence of int
        Columns that may be brought in, the most relevant first.
    """

    def __init__(
        self,
        pool: Pool,
        fitter: Fitter,
        seen: set[tuple[str, ...]],
        random_state: np.random.RandomState,
    ) -> None:
        self.pool = pool
        self.fitter = fitter
        self.seen = seen
        self.columns: Sequence[int] = range(fitter.table.X.shape[1])
        self._random_state = random_state
        self._changed: set[tuple[str, ...]] = set()  # formulas whose changes were tried
        self._started = time.perf_counter()

    def go_on(self) -> None:
        """Change the pool's front and what it becomes.

        A few rounds, and with a time limit as much longer as all has taken since this object was
        made, so that repair gets half of the time there is.
        """
        fitter = self.fitter
        self._editor = Editor(fitter.few_rows, fitter.operators, self._useful_columns())
        until = -np.inf
        if fitter.deadline < np.inf:
            until = 2.0 * time.perf_counter() - self._started
        for n_rounds in count():
            now = time.perf_counter()
            paid = n_rounds < _ROUNDS or now < until
            if now > fitter.deadline or not paid or not self._round():
                break

    def recombine(self, n: int, columns: Sequence[int]) -> None:
        """Try ``n`` formulas of some columns that are put together of parts of the best."""
        fitter = self.fitter
        parents = [c.expression for c in self.pool.ladder(_RECOMBINED) if c.complexity > 1]
        self._fit(
            children(
                parents, n, columns, fitter.operators, fitter.maxsize, self.seen,
                self._random_state,
            )
        )  # fmt: skip

    def _fit(self, formulas: list[Expression]) -> None:
        fitted = self.fitter.fit(formulas, self._random_state, self.pool.front, REPAIR)
        self.pool.extend(fitted)

    def _useful_columns(self) -> list[int]:
        """The columns that good formulas use, those of the best first, then those that matter."""
        columns: dict[int, None] = {}
        for candidate in self.pool.front[::-1]:
            columns.update(dict.fromkeys(candidate.expression.variables))
        columns.update(dict.fromkeys(self.columns))
        return sorted(list(columns)[:_EDITED_COLUMNS])

    def _round(self) -> bool:
        """Do one round; ``False`` where nothing was left to try."""
        variants = self._simpler()
        if not self.pool.explains(self.fitter.table):
            variants += self._promising()
        if not variants:
            return False
        self._fit(variants)
        return True

    def _is_new(self, formula: Expression) -> bool:
        """Whether a formula has a variable and was not seen; from now on it is.

        Another spelling of one that was fitted earlier is new: it comes with the constants of
        another parent, from which the fit may reach another valley.
        """
        if formula.symbols in self.seen or not formula.variables:
            return False
        self.seen.add(formula.symbols)
        return True

    def _simpler(self) -> list[Expression]:
        variants = (v for c in self.pool.front for v in simpler_variants(c.expression))
        return [variant for variant in variants if self._is_new(variant)]

    def _promising(self) -> list[Expression]:
        """The changes that promise most, one of those that come to the same."""
        front = self._front_losses()
        edits: list[tuple[float, Edit]] = []
        for parent in self._parents(front):
            if time.perf_counter() > self.fitter.deadline:
                break
            self._changed.add(parent.key)
            for edit in self._editor.edits(parent.expression, _WORTH_A_FIT * front):
                loss = max(edit.loss, self.fitter.table.exact)
                edits.append((loss / front[edit.complexity], edit))
        edits.sort(key=lambda pair: pair[0])
        chosen: dict[tuple, Expression] = {}
        for share, edit in edits:
            promise = float(f"{share:.9e}"), edit.complexity
            if promise not in chosen and self._is_new(changed := edit.expression):
                chosen[promise] = changed
                if len(chosen) == _FITTED:
                    break
        return list(chosen.values())

    def _front_losses(self) -> Array:
        """For each complexity, the smallest loss of the formulas of at most that complexity."""
        losses = np.full(self.fitter.maxsize + 1, np.inf)
        for candidate in self.pool.front:
            losses[candidate.complexity : candidate.complexity + 1] = max(
                candidate.loss, self.fitter.table.exact, _TINY
            )
        return np.minimum.accumulate(losses)

    def _parents(self, front: Array) -> list[Candidate]:
        waiting = [c for c in self.pool.candidates if c.key not in self._changed]
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
            yield expression.replaced(place, argument)
