"""Whether fits keep to their time limit, and what they find in it: tables of all sizes.

Every table is a known law with normal noise, so that it can be said how far the formula that is
selected lies from the law, however either is spelled: the root of the sum of squares of their
differences on the rows, over the noise. It is about the root of the number of constants where the
formula is the law with constants of all rows, and no constant of it is then further from its true
value, in standard errors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import HallOfFame

Array = np.ndarray

LIMITS = (0.5, 2.0, 10.0)
"""Seconds."""

_RELATIVE, _ABSOLUTE = 0.1, 0.3  # share of the limit, and seconds, that a fit may be late


class Estimator(Protocol):
    """What is measured: the part that is needed of the regressor."""

    hall_of_fame_: HallOfFame
    timings_: dict[str, float]

    def fit(self, X: Array, y: Array) -> Any:
        """Find formulas for a table."""


@dataclass(frozen=True)
class SizedTable:
    """A law on uniform columns, with noise.

    Parameters
    ----------
    n_rows, n_columns : int
    law : str
    noise : float
        Its standard deviation.
    """

    n_rows: int
    n_columns: int
    law: str
    noise: float

    @property
    def name(self) -> str:
        """Its size."""
        return f"{self.n_rows:,} x {self.n_columns:,}"

    def rows(self, seed: int) -> tuple[Array, Array, Array]:
        """X (n_rows, n_columns), y (n_rows,), and y without the noise."""
        rng = np.random.default_rng(seed)
        X = rng.uniform(1.0, 3.0, (self.n_rows, self.n_columns))
        clean = Expression.parse(self.law).evaluate(X)
        return X, clean + self.noise * rng.normal(size=self.n_rows), clean


TABLES = (
    SizedTable(8, 1, "2.5 * x0^2 - 1", 0.01),
    SizedTable(200, 3, "2.5 * x0 * exp(-0.7 * x1) + sin(2 * x2)", 0.05),
    SizedTable(1_000_000, 5, "2.5 * x3^2 / x1 + 1.3", 0.1),
    SizedTable(300_000, 8, "2.37 * x3^2 / x7 + 1.64 * x1", 0.5),
    SizedTable(10, 20_000, "3.7 * x17", 0.01),
    SizedTable(100, 20_000, "3.7 * x17 + 2.2 * x11111", 0.1),
    SizedTable(1_000, 1_000, "2.2 * x17 * x203 + x340^2", 0.1),
    SizedTable(5_000, 100, "2.2 * x17 * x83 + x34^2", 0.1),
)
"""What is fitted, from 8 numbers to 5 millions."""


@dataclass(frozen=True)
class TimedFit:
    """What one fit took and found.

    Parameters
    ----------
    table : SizedTable
    limit : float
        Seconds.
    seconds, cpu_seconds : float
        Wall and processor time of all that counts for the limit. Where other programs use the
        processor too, the second is the smaller by far.
    distance : float
        Of the selected formula from the law; see this module.
    formula : str
    """

    table: SizedTable
    limit: float
    seconds: float
    cpu_seconds: float
    distance: float
    formula: str

    @property
    def is_late(self) -> bool:
        """Whether the fit took more than a tenth and 0.3 s longer than its limit."""
        return self.seconds > (1 + _RELATIVE) * self.limit + _ABSOLUTE


def measure_limits(
    make: Callable[[float], Estimator],
    limits: Sequence[float] = LIMITS,
    *,
    seed: int = 0,
    tables: Sequence[SizedTable] = TABLES,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[TimedFit]:
    """Fit every table within every limit, once the network is loaded.

    Parameters
    ----------
    make : callable
        Makes an estimator with a time limit in seconds.
    limits : sequence of float
        Seconds.
    seed : int
        Of the tables.
    tables : sequence of SizedTable
    say : callable
        Is told what is fitted next.
    """
    X, y, _ = SizedTable(30, 2, "x0", 1.0).rows(seed)
    make(1.0).fit(X, y)
    for limit in limits:
        for table in tables:
            say(f"{table.name} in {limit:g} s")
            X, y, clean = table.rows(seed)
            model = make(limit)
            begun, cpu_begun = time.perf_counter(), time.process_time()
            model.fit(X, y)
            seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
            best = model.hall_of_fame_[model.hall_of_fame_.select()].expression
            distance = np.linalg.norm(best.evaluate(X) - clean) / table.noise
            yield TimedFit(
                table, limit, seconds - model.timings_["start"], cpu_seconds, float(distance),
                best.to_text(precision=5),
            )  # fmt: skip
