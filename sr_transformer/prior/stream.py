"""An endless, repeatable stream of training examples: a table and the formula that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.prior.formulas import Draft, FormulaSampler, FormulaShape
from sr_transformer.prior.holdout import is_held_out
from sr_transformer.prior.tables import add_noise, random_inputs

Array = np.ndarray

PRIOR_VERSION = "1"
"""Changes whenever the distribution of examples changes; stands in every checkpoint."""

MAX_VARIABLES = 10
"""Largest number of columns of an example, and of the network's input."""


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
        """Examples that all have the same number of rows."""
        return [self.draw(n_rows) for _ in range(n_examples)]

    def formula(self) -> Expression:
        """Draw a formula alone, simplified and within the size limit, without a table."""
        while True:
            expression = Expression._trusted(*map(tuple, self._sampler.draw())).simplify()
            if 1 < len(expression.symbols) <= self.config.max_complexity and expression.variables:
                return expression

    def draw(self, n_rows: int) -> Example:
        """Draw one example with the given number of rows."""
        while True:
            example = self._try(self._sampler.draw(), n_rows)
            if example is not None:
                return example

    def _try(self, draft: Draft, n_rows: int) -> Example | None:
        symbols, constants = draft
        if len(symbols) > 3 * self.config.max_complexity:
            return None
        raw = Expression._trusted(tuple(symbols), tuple(constants))
        n_columns = max(raw.variables, default=-1) + 1
        if n_columns == 0:
            return None
        X = random_inputs(self._generator, n_rows, n_columns)
        y = raw.evaluate(X)
        if not np.isfinite(y).all():
            # Logarithms, roots and ratios mostly live on positive inputs, and so do their users.
            X = np.abs(X)
            y = raw.evaluate(X)
        size = _typical_size(y)
        if size is None:
            return None
        exponent = round(math.log10(size))
        if exponent:
            y = y / 10.0**exponent
            raw = Expression._trusted(("*", "c", *raw.symbols), (10.0**-exponent, *raw.constants))
        expression = raw.simplify()
        if not 1 < len(expression.symbols) <= self.config.max_complexity or not all(
            1e-4 < abs(c) < 1e4 for c in expression.constants
        ):
            return None
        used = expression.variables
        if not used or is_held_out(expression):
            return None
        X, expression = self._place(X, expression, used)
        y = add_noise(self._generator, y, self.config.share_clean)
        return Example(X, y, expression)

    def _place(
        self, X: Array, expression: Expression, used: tuple[int, ...]
    ) -> tuple[Array, Expression]:
        """Drop the columns that simplification made idle, or keep and add idle ones."""
        n_rows = X.shape[0]
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
            names = {f"x{old}": f"x{place}" for old, place in zip(used, places, strict=False)}
            same_order = places[: len(used)] == sorted(places[: len(used)])
        elif used == tuple(range(X.shape[1])):
            return X, expression
        else:
            placed = np.asfortranarray(X[:, used])
            names = {f"x{old}": f"x{place}" for place, old in enumerate(used)}
            same_order = True
        renamed = Expression._trusted(
            tuple(names.get(s, s) for s in expression.symbols), expression.constants
        )
        return placed, renamed if same_order else renamed.simplify()


def _typical_size(y: Array) -> float | None:
    """Median of |y|; None where y is not finite, constant, or ruled by a few huge values."""
    low, high = float(y.min()), float(y.max())
    top = max(high, -low)
    if not 1e-8 < top < 1e8 or not high - low > 1e-3 * top:  # nan fails both
        return None
    middle = y.size // 2
    size = float(np.partition(np.abs(y), middle)[middle])
    return size if top < 1e4 * size else None
