"""Where the time of a fit goes, and how fast the constants of formulas are fitted."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from sr_transformer.evaluation.methods import Ours
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.limits import check_seed, check_whole
from sr_transformer.prior import ExampleStream
from sr_transformer.proposal.fit import Fitter
from sr_transformer.table.table import Table

N_ROWS = 200
N_COLUMNS = 3
N_CONSTANTS = 3
_NOISE = 0.01  # standard deviations of y: no formula ends the fit early
_TABLES = 3
_FORMULAS = 40  # for each table


class FitSpeed(NamedTuple):
    """What was measured."""

    seconds: dict[str, float]  # of each stage of a warm fit, and of the whole under "total"
    fitted: float  # formulas of three constants that one core fits to 200 rows in a second


def measure_fit(n_candidates: int = 256, seed: int = 0) -> FitSpeed:
    """Fit one table twice and time the second fit, then fit the constants of random formulas.

    Parameters
    ----------
    n_candidates : int, default=256
        Formulas that the Transformer draws.
    seed : int, default=0
        Of the table, the fit and the formulas.

    Raises
    ------
    ValueError
        If a number is not allowed.
    """
    check_whole("candidates", n_candidates)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 3.0, (N_ROWS, N_COLUMNS))
    y = 2.5 * X[:, 0] * np.exp(-0.7 * X[:, 1]) + np.sin(1.3 * X[:, 2])
    y += _NOISE * y.std() * rng.standard_normal(N_ROWS)
    method = Ours("none")
    method.fit(X, y, seed=seed, n_candidates=n_candidates)  # loads the network and fills caches
    warm = method.fit(X, y, seed=seed, n_candidates=n_candidates)
    return FitSpeed(warm.timings, _fitted_per_second(seed))


def _fitted_per_second(seed: int) -> float:
    """Random formulas on tables that other formulas made: most are wrong, as in a real fit."""
    stream = ExampleStream(seed)
    n_fitted, passed = 0, 0.0
    for number in range(_TABLES):
        formulas: dict[tuple[str, ...], Expression] = {}
        while len(formulas) < _FORMULAS:
            formula = stream.formula()
            if len(formula.constants) == N_CONSTANTS and max(formula.variables) < N_COLUMNS:
                formulas[formula.symbols] = formula
        example = stream.draw(N_ROWS)
        while example.X.shape[1] < N_COLUMNS:
            example = stream.draw(N_ROWS)
        fitter = Fitter(
            table=Table(example.X, example.y),
            operators=frozenset(ARITHMETIC.operators), maxsize=30,
            deadline=np.inf, n_jobs=1,
        )  # fmt: skip
        started = time.process_time()
        fitter.fit(formulas.values(), np.random.RandomState([seed, number]))
        passed += time.process_time() - started
        n_fitted += len(formulas)
    return n_fitted / passed
