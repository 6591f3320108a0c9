"""What a table says for and against a formula, beside its loss.

To the description length comes what two formulas of equal loss differ in: whether they are near all
rows but for a few, what they do between and beside the rows, and how large their constants are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.program import compile_program
from sr_transformer.front.description_length import Sample, description_length
from sr_transformer.front.pool import Candidate
from sr_transformer.front.standard_errors import left_out, standard_errors
from sr_transformer.table.scaling import Scaling, divided
from sr_transformer.table.table import Table

Array = np.ndarray

_ROWS = 100_000  # on which residuals are looked at, and constants' errors computed
_FEW = 1_000  # of them, that are looked at one by one

# From so many rows on, residuals can be told to be heavy-tailed: of fewer, a formula with some
# constants passes through most, and the others are its outliers.
_FEWEST_ROWS = 15
_FREEDOM = 3.0  # of Student's t: tails as heavy as those of most noise
# Nats a row for the constants of the two densities, -log of their values at 0 for a scale of one,
# with what a normal distribution of the best scale takes for the residuals themselves.
_NORMAL = 0.5 * math.log(2.0 * math.pi) + 0.5
_STUDENT = (
    math.lgamma(0.5 * _FREEDOM)
    + 0.5 * math.log(_FREEDOM * math.pi)
    - math.lgamma(0.5 * (_FREEDOM + 1.0))
)
_SCALES = np.exp(np.linspace(-1.5, 1.5, 13))  # times the median residual, for the best one

# Logarithms of the sizes of constants: from one, and beyond that.
_COMMON_SIZE, _COMMON_EXPONENT = math.log(100.0), math.log(5.0)
_RAREST = math.log(100.0)

# Share of the variance from which on no law is in sight, and nats that are nearly the same then.
_UNEXPLAINED = 0.02
_NEARLY = 5.0

_BOX_POINTS = 512
_WORST_BOX = 6.0  # nats that anything beside the rows may cost at most


@dataclass(frozen=True)
class Behaviour:
    """What a formula does on the box of the columns: their ranges, every combination of them.

    Parameters
    ----------
    undefined : float
        Share of the box on which it has no finite value.
    example : dict of int to float or None
        Such a point, the value of each column that the formula reads.
    wild : float
        Share on which it leaves the range of y by more than the length of that range.
    """

    undefined: float
    example: dict[int, float] | None
    wild: float


class Evidence:
    """Judges formulas on one table.

    What it found is kept, so that it goes on answering for the same formulas without the table: a
    pickle does not hold the rows (see :meth:`settle`).

    Parameters
    ----------
    table : Table
        In the units of the formulas.
    operators : frozenset of str
        That formulas may be written with.
    scaling : Scaling
        What brings the table to magnitudes around one.
    """

    def __init__(self, table: Table, operators: frozenset[str], scaling: Scaling) -> None:
        self._scaling = scaling
        self.sample = Sample.of(table, operators)
        self.n_rows = len(table.y)
        step = -(-len(table.y) // _ROWS)
        self._table: Table | None = table.rows(slice(None, None, step)) if step > 1 else table
        self._low, self._high = table.X.min(axis=0), table.X.max(axis=0)
        self._y_low, self._y_high = float(table.y.min()), float(table.y.max())
        self._is_robust = table.loss_kind.is_robust
        self._robust: dict[Expression, float] = {}
        self._centre = table.centre
        self._heavy: dict[Expression, float] = {}
        self._unseen: dict[Expression, float] = {}
        self._lengths: dict[Expression, float] = {}
        self._behaviours: dict[Expression, Behaviour] = {}
        self._errors: dict[Expression, tuple[float | None, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None}

    def settle(self, front: Sequence[Candidate]) -> None:
        """Find out all that may be asked of the rows of a front once the table is gone."""
        if self._table is None or not front:
            return
        self.chosen(front)
        for candidate in front:
            self.errors(candidate.expression)
            self.behaviour(candidate.expression)
            self._of_rows_left_out(candidate.expression)

    # --- the choice ---------------------------------------------------------------------------
    def length(self, candidate: Candidate) -> float:
        """Nats that it takes to write down y by a formula, what speaks against it included.

        Infinite for a formula of as many constants as there are rows.
        """
        expression = candidate.expression
        if expression not in self._lengths:
            self._lengths[expression] = self._length(candidate)
        return self._lengths[expression]

    def loss(self, candidate: Candidate) -> float:
        """What stands for the loss of a formula where formulas are compared.

        Gross outliers make up nearly all of a robust loss; see
        :meth:`Table.evidence <sr_transformer.table.table.Table.evidence>`.
        """
        if not self._is_robust:
            return candidate.loss
        expression = candidate.expression
        if expression not in self._robust:
            self._robust[expression] = self._table.evidence(expression)
        return self._robust[expression]

    def believed(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """The formula of the shortest description; ``None`` where none has a finite one."""
        best = min(candidates, key=self.length, default=None)
        return best if best is not None and math.isfinite(self.length(best)) else None

    def chosen(self, front: Sequence[Candidate]) -> int:
        """The row of a front that describes y in the fewest nats.

        Where the table has several columns and even this row leaves much of y unexplained, no law
        is in sight: rows of nearly the same length are then told apart by what they leave of each
        row of the table when they are fitted to the others.
        """
        lengths = [self.length(candidate) for candidate in front]
        best = int(np.argmin(lengths))
        first = front[best]
        ratio = self.sample.ratio(self.loss(first))
        if self.sample.n_columns < 2 or ratio < _UNEXPLAINED or not first.expression.variables:
            return best
        rivals = [i for i, length in enumerate(lengths) if length <= lengths[best] + _NEARLY]
        rivals = [i for i in rivals if front[i].expression.variables]
        return min(rivals, key=lambda i: (self._of_rows_left_out(front[i].expression), i != best))

    def _of_rows_left_out(self, expression: Expression) -> float:
        """Mean square of what is left of rows that the constants were not fitted to.

        To first order, by the rows' leverage (Allen 1974, the PRESS statistic).
        """
        if expression not in self._unseen:
            self._unseen[expression] = left_out(expression, self._table)
        return self._unseen[expression]

    def _text_length(self, candidate: Candidate) -> float:
        if len(candidate.expression.constants) >= self.n_rows:
            return math.inf
        return description_length(candidate.expression, self.loss(candidate), self.sample)

    def _length(self, candidate: Candidate) -> float:
        expression = candidate.expression
        length = self._text_length(candidate)
        if not math.isfinite(length):
            return length
        # Where y has outliers, a formula does not win by its values on a few of them: by a code for
        # heavy-tailed residuals, it has to save as much.
        constant = Expression.number(self._centre, expression.language)
        outliers = self._saved_by_heavy_tails(constant)
        if outliers:
            length += max(0.0, outliers - self._saved_by_heavy_tails(expression))
        behaviour = self.behaviour(expression)
        for share in (behaviour.undefined, behaviour.wild):
            # How likely all rows are elsewhere by chance, if they were drawn from the box.
            unlikely = -self.sample.n_rows * math.log1p(-min(share, 0.999))
            length += min(unlikely, _WORST_BOX)
        return length + self._far_from_one(expression)

    def _far_from_one(self, expression: Expression) -> float:
        """Nats of the sizes of the constants, in the scaled table's units.

        There most are within two decades of one, and exponents within a factor of five. Beyond, the
        density of a constant c is taken to fall as ``1 / c^2``, or to be even below one, down to
        where it is as rare as they get.
        """
        rarity = _rarity(self._scaling.to_scaled_units(expression).constants, _COMMON_SIZE)
        if not expression.is_fitted:
            return rarity
        program = compile_program(expression.symbols, expression.language)
        exponents = [expression.constants[i] for i in program.exponents]
        return rarity + _rarity(exponents, _COMMON_EXPONENT)

    def _saved_by_heavy_tails(self, expression: Expression) -> float:
        if expression not in self._heavy:
            self._heavy[expression] = self._heavy_tails(expression)
        return self._heavy[expression]

    def _heavy_tails(self, expression: Expression) -> float:
        """By how many nats Student's t describes residuals better than a normal distribution."""
        table = self._table
        if len(table.y) < _FEWEST_ROWS or table.loss_kind.is_robust:
            return 0.0  # outliers are nothing to a robust loss
        with np.errstate(all="ignore"):
            size = np.abs(expression.evaluate(table.X) - table.y)
            size = divided(size if table.root is None else size * table.root, table.exponent)
            floor = math.sqrt(max(self.sample.floor, np.finfo(float).tiny))
            normal = math.log(max(math.sqrt(float(np.mean(size * size))), floor))
            size, shares = _representative(size)
            scales = np.maximum(max(float(np.median(size)), floor) * _SCALES, floor)
            squares = np.square(size / scales[:, None]) / _FREEDOM
            nats = 0.5 * (_FREEDOM + 1.0) * (np.log1p(squares) @ shares) + np.log(scales)
            shorter = normal + _NORMAL - float(np.min(nats)) - _STUDENT
        return max(0.0, self.sample.n_rows * shorter) if math.isfinite(shorter) else 0.0

    # --- beside the rows ----------------------------------------------------------------------
    def behaviour(self, expression: Expression) -> Behaviour:
        """What the formula does on the box of the columns, at 512 points of it."""
        if expression not in self._behaviours:
            self._behaviours[expression] = self._on_the_box(expression)
        return self._behaviours[expression]

    def _on_the_box(self, expression: Expression) -> Behaviour:
        columns = expression.variables
        if not columns:
            return Behaviour(0.0, None, 0.0)
        points = self._points(columns)
        values = expression.renamed({c: i for i, c in enumerate(columns)}).evaluate(points)
        defined = np.isfinite(values)
        length = self._y_high - self._y_low
        with np.errstate(invalid="ignore"):
            wild = (values > self._y_high + length) | (values < self._y_low - length)
        example = None
        if not defined.all():
            point = points[int(np.argmin(defined))]
            example = {column: float(x) for column, x in zip(columns, point, strict=True)}
        return Behaviour(
            float(np.mean(~defined)), example, float(np.mean(wild & defined)) if length else 0.0
        )

    def _points(self, columns: tuple[int, ...]) -> Array:
        """Points (512, n) of the box of some columns, evenly spread."""
        low, high = self._low[list(columns)], self._high[list(columns)]
        # A lattice of steps by the generalised golden ratio (Roberts 2018) is evenly spread in
        # any number of dimensions, and leaves out no part of a single column.
        n, ratio = len(columns), 2.0
        for _ in range(30):
            ratio = (1.0 + ratio) ** (1.0 / (n + 1.0))
        steps = ratio ** -np.arange(1.0, n + 1.0)
        share = (0.5 + np.arange(_BOX_POINTS)[:, None] * steps) % 1.0
        return low * (1.0 - share) + high * share  # never overflows

    # --- constants ----------------------------------------------------------------------------
    def errors(self, expression: Expression) -> tuple[float | None, ...]:
        """Standard error of each constant; see :mod:`sr_transformer.front.standard_errors`."""
        if expression not in self._errors:
            self._errors[expression] = standard_errors(
                expression, self._table, self.sample.n_rows
            )
        return self._errors[expression]


def _rarity(constants: Iterable[float], common: float) -> float:
    sizes = (abs(math.log(abs(c))) for c in constants if c and math.isfinite(c))
    return sum(min(max(0.0, size - common), _RAREST) for size in sizes)


def _representative(sizes: Array) -> tuple[Array, Array]:
    """Some of many residuals, the largest among them, and the share that each stands for."""
    n = len(sizes)
    if n <= _FEW:
        return sizes, np.full(n, 1.0 / n)
    first = n - _FEW // 2
    order = np.argpartition(sizes, first)
    others = order[:first][:: -(-first // (_FEW // 2))]
    shares = np.concatenate([np.full(len(others), first / len(others)), np.ones(n - first)])
    return sizes[np.concatenate([others, order[first:]])], shares / n
