"""An endless, repeatable stream of training examples: a table and the formula that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.prior.formulas import FormulaSampler, FormulaShape
from sr_transformer.prior.holdout import is_held_out
from sr_transformer.prior.tables import add_noise, random_inputs

Array = np.ndarray

PRIOR_VERSION = "1"
"""Changes whenever the distribution of examples changes; stands in every checkpoint."""

MAX_VARIABLES = 10
"""Largest number of columns of an example, and of the network's input."""


_DRAFTS = 256  # in one round; more of them fill the caches with their tables


class Example(NamedTuple):
    """One training example.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Inputs, scaled to magnitudes around one; Fortran order.
    y : ndarray of shape (n_rows,)
        Target, likewise, with noise.
    expression : Expression
        The simplified formula that gave y before the noise.
    """

    X: Array
    y: Array
    expression: Expression


@dataclass(frozen=True)
class PriorConfig:
    """Settings of the stream.

    Parameters
    ----------
    shape : FormulaShape
        Bounds of the formulas.
    max_complexity : int
        Longest simplified formula, in PySR's count.
    min_rows, max_rows : int
        Number of rows, drawn log-uniformly where the caller does not fix it.
    share_clean : float
        Share of the examples without noise.
    share_idle : float
        Share of the examples with columns that the formula does not read.
    """

    shape: FormulaShape = field(default_factory=FormulaShape)
    max_complexity: int = 30
    min_rows: int = 8
    max_rows: int = 1024
    share_clean: float = 0.5
    share_idle: float = 0.2


class ExampleStream(Iterator[Example]):
    """Endless stream of examples; the same seed gives the same stream.

    Parameters
    ----------
    seed : int or sequence of int
        Anything that ``numpy.random.SeedSequence`` takes.
    config : PriorConfig, optional
    """

    def __init__(self, seed, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()
        sequence = np.random.SeedSequence(seed)
        self._generator = np.random.Generator(np.random.PCG64(sequence))
        words = sequence.generate_state(4, np.uint64)
        self._random = Random(int.from_bytes(words.tobytes(), "little"))
        self._sampler = FormulaSampler(self._random, self.config.shape)

    def __next__(self) -> Example:
        low, high = np.log(self.config.min_rows), np.log(self.config.max_rows)
        return self.draw(round(float(np.exp(self._generator.uniform(low, high)))))

    def batch(self, n_examples: int, n_rows: int) -> list[Example]:
        """Examples that all have the same number of rows.

        They are drawn together, so they are not those that as many calls of :meth:`draw` give.

        Raises
        ------
        ValueError
            If ``n_rows`` is below 2.
        """
        examples: list[Example] = []
        while (missing := n_examples - len(examples)) > 0:
            examples += self._round(min(missing * 3 // 2 + 1, _DRAFTS), n_rows)
        return examples[:n_examples]

    def formula(self) -> Expression:
        """Draw a formula alone, simplified and within the size limit, without a table."""
        while True:
            expression = self._sampler.draw().simplify()
            if 1 < len(expression.symbols) <= self.config.max_complexity and expression.variables:
                return expression

    def draw(self, n_rows: int) -> Example:
        """Draw one example with the given number of rows.

        Raises
        ------
        ValueError
            If ``n_rows`` is below 2.
        """
        while True:
            for example in self._round(1, n_rows):
                return example

    def _round(self, n_drafts: int, n_rows: int) -> list[Example]:
        """Examples from so many drafts, of which about two in three are kept.

        Each step is done for all drafts before the next one, which takes three tenths less time
        than example by example: the processor's caches hold one step, and not all of them.
        """
        if n_rows < 2:
            raise ValueError(f"n_rows is {n_rows}; values differ in tables of at least 2 rows.")
        longest = 3 * self.config.max_complexity
        drafts = [self._sampler.draw() for _ in range(n_drafts)]
        formulas = [draft for draft in drafts if len(draft.symbols) <= longest]
        widths = [max(formula.variables, default=-1) + 1 for formula in formulas]
        inputs = [
            (formula, random_inputs(self._generator, n_rows, n_columns))
            for formula, n_columns in zip(formulas, widths, strict=True)
            if n_columns
        ]
        tables = [table for formula, X in inputs if (table := _scaled_table(formula, X))]
        simple = [(formula.simplify(), X, y) for formula, X, y in tables]
        kept = [
            (formula, X, y)
            for formula, X, y in simple
            if self._fits(formula) and not is_held_out(formula)
        ]
        placed = [(*self._place(X, formula), y) for formula, X, y in kept]
        return [
            Example(X, add_noise(self._generator, y, self.config.share_clean), formula)
            for X, formula, y in placed
        ]

    def _fits(self, formula: Expression) -> bool:
        """Whether a simplified formula reads a variable and is neither too long nor extreme."""
        return (
            1 < len(formula.symbols) <= self.config.max_complexity
            and all(1e-4 < abs(c) < 1e4 for c in formula.constants)
            and bool(formula.variables)
        )

    def _place(self, X: Array, expression: Expression) -> tuple[Array, Expression]:
        """Drop the columns that simplification made idle, or keep and add idle ones."""
        n_rows = X.shape[0]
        used = expression.variables
        if self._random.random() < self.config.share_idle:
            n_idle = self._random.choice((1, 1, 2, 3))
            n_idle = min(n_idle, MAX_VARIABLES - len(used))
            idle = random_inputs(self._generator, n_rows, n_idle)
            columns = [*(X[:, i] for i in used), *idle.T]
            places = list(range(len(columns)))
            self._random.shuffle(places)
            placed = np.empty((n_rows, len(columns)), order="F")
            for place, column in zip(places, columns, strict=True):
                placed[:, place] = column
            moved = dict(zip(used, places, strict=False))
            same_order = list(moved.values()) == sorted(moved.values())
        elif used == tuple(range(X.shape[1])):
            return X, expression
        else:
            placed = np.asfortranarray(X[:, used])
            moved = {old: place for place, old in enumerate(used)}
            same_order = True
        renamed = expression.renamed(moved)
        return placed, renamed if same_order else renamed.simplify()


def _scaled_table(formula: Expression, X: Array) -> tuple[Expression, Array, Array] | None:
    """Values of a formula at a magnitude around one, with the factor that this takes in it."""
    y = formula.evaluate(X)
    size = _typical_size(y)
    if size is None and not np.isfinite(y).all():
        # Logarithms, roots and ratios mostly live on positive inputs, and so do their users.
        X = np.abs(X)
        y = formula.evaluate(X)
        size = _typical_size(y)
    if size is None:
        return None
    exponent = round(math.log10(size))
    if exponent:
        y = y / 10.0**exponent
        formula = Expression.joined("*", Expression.number(10.0**-exponent), formula)
    return formula, X, y


def _typical_size(y: Array) -> float | None:
    """Median of |y|; None where y is not finite, constant, or ruled by a few huge values."""
    low, high = float(y.min()), float(y.max())
    top = max(high, -low)
    if not 1e-8 < top < 1e8 or not high - low > 1e-3 * top:  # nan fails both
        return None
    middle = y.size // 2
    size = float(np.partition(np.abs(y), middle)[middle])
    return size if top < 1e4 * size else None
