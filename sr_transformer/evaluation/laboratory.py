"""Tables on which choosing a formula is calibrated: pure noise, laboratory curves, short laws.

Nobody picks them by hand: forms, constants, ranges, units and noise are drawn, for every number of
rows from five to a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.prior.formulas import FormulaSampler, FormulaShape
from sr_transformer.proposal.constants import refit
from sr_transformer.table.scaling import Scaling
from sr_transformer.table.table import Table

Array = np.ndarray

SIZES = (5, 7, 10, 15, 30, 100, 300, 1000)
"""Numbers of rows."""

LEVELS = (0.0, 0.01, 0.03, 0.1)
"""Standard deviations of the noise, as shares of that of y."""

NOISES = ("normal", "uniform", "heavy-tailed", "rounded")
"""Kinds of pure noise: tables in which there is nothing to find."""

_UNSEEN = 400
_LONGEST = 9  # symbols of a law of the prior
_SAME = 1e-8  # share of the variance that a form leaves of the law that it is


@dataclass(frozen=True, eq=False)
class Case:
    """A table, and what made it.

    Parameters
    ----------
    kind : {"noise", "laboratory", "prior"}
    form : str
        Name of the noise or of the laboratory curve; the text of a law of the prior.
    noise : float
        Standard deviation of the noise over that of y.
    X, y : ndarray of shape (n_rows, n_columns) and (n_rows,)
    deviation : float
        Standard deviation of the noise, that of the rounding of y included.
    law : Expression
        Of pure noise the mean that it has.
    unseen : ndarray of shape (400, n_columns)
        Further rows of the same ranges.
    """

    kind: str
    form: str
    noise: float
    X: Array
    y: Array
    deviation: float
    law: Expression
    unseen: Array

    def is_law(self, chosen: Expression) -> bool:
        """Whether a formula has the law's form and no constant too many.

        Its constants are fitted anew to the values of the law on unseen rows: noise has moved them.
        """
        if self.kind == "noise":
            return not chosen.variables
        clean = Table(self.unseen, self.law.evaluate(self.unseen))
        if len(chosen.constants) > len(self.law.constants):
            return False
        return refit(chosen, clean)[1] <= _SAME * clean.variance


def draw_case(kind: str, n_rows: int, noise: float, seed: int) -> Case:
    """Draw a table; the same arguments always give the same one.

    Parameters
    ----------
    kind : {"noise", "laboratory", "prior"}
    n_rows : int
    noise : float
        Share of y's standard deviation; not used for pure noise.
    seed : int
    """
    rng = np.random.default_rng([("noise", "laboratory", "prior").index(kind), n_rows, seed])
    if kind == "noise":
        return _pure_noise(n_rows, seed, rng)
    while True:
        form, law, ranges = _laboratory(seed, rng) if kind == "laboratory" else _prior(rng)
        X, unseen = (_inputs(ranges, n, rng) for n in (n_rows, _UNSEEN))
        clean, beyond = law.evaluate(X), law.evaluate(unseen)
        spread = np.std(beyond)
        tame = np.isfinite(clean).all() and np.isfinite(beyond).all()
        if tame and spread > 1e-6 * np.abs(beyond).max() and np.std(clean) > 0.1 * spread:
            break
    y = clean + noise * spread * rng.standard_normal(n_rows)
    deviation = noise * spread
    if noise and rng.random() < 0.5:
        # As it is written down: with about one uncertain digit.
        step = 10.0 ** np.floor(np.log10(deviation))
        y = np.round(y / step) * step
        y = np.array([float(f"{value:.12g}") for value in y])
        deviation = float(np.hypot(deviation, step / np.sqrt(12.0)))
    return Case(kind, form, noise, X, y, float(deviation), law, unseen)


def _pure_noise(n_rows: int, seed: int, rng: np.random.Generator) -> Case:
    form = NOISES[seed % len(NOISES)]
    n_columns = 1 + seed // len(NOISES) % 2
    X = _inputs([(0.0, 10.0)] * n_columns, n_rows, rng)
    mean, size = rng.choice([0.0, 1.0, 20.0]), 10.0 ** rng.integers(-3, 4)
    if form == "normal":
        y = rng.standard_normal(n_rows)
    elif form == "uniform":
        y = rng.uniform(-1.0, 1.0, n_rows)
    elif form == "heavy-tailed":
        y = rng.standard_t(3.0, n_rows)
    else:
        y = np.round(2.0 * rng.standard_normal(n_rows))
    law = Expression.number(float(mean * size))
    y = np.array([float(f"{value:.12g}") for value in size * (mean + y)])
    return Case("noise", form, 1.0, X, y, float(np.std(y)), law, X)


def _inputs(ranges: list[tuple[float, float]], n: int, rng: np.random.Generator) -> Array:
    """One column as a series of steps, as laboratories have it, else as drawn."""
    if len(ranges) == 1 and rng.random() < 0.7:
        (low, high), = ranges
        return np.linspace(low, high, n)[:, None]
    return np.column_stack([rng.uniform(low, high, n) for low, high in ranges])


def _prior(rng: np.random.Generator) -> tuple[str, Expression, list[tuple[float, float]]]:
    """A law of at most nine symbols, as the network is taught."""
    sampler = FormulaSampler(Random(int(rng.integers(2**31))), FormulaShape(max_variables=3))
    while True:
        law = sampler.draw().simplify()
        n = len(law.variables)
        if 2 <= len(law.symbols) <= _LONGEST and n and law.variables == tuple(range(n)):
            break
    low = float(rng.choice([0.5, -3.0]))
    return law.to_text(), law, [(low, low + 5.0)] * n


_LABORATORY: dict[str, tuple[str, tuple[tuple[float, float], ...], tuple[float, float]]] = {
    "power": ("{0}*x0^{1}", ((0.5, 3), (-2.5, 2.5)), (0.2, 5)),
    "exponential with offset": ("{0}*exp({1}*x0)+{2}", ((1, 3), (-1.2, -0.3), (0.2, 2)), (0, 5)),
    "logistic": ("{0}/(1.0+exp({1}-{2}*x0))", ((1, 5), (3, 6), (0.7, 1.3)), (0, 10)),
    "Michaelis-Menten": ("{0}*x0/({1}+x0)", ((1, 5), (0.5, 4)), (0.1, 10)),
    "Hill": ("{0}*x0^{2}/({1}+x0^{2})", ((1, 5), (5, 60), (2, 4)), (0.1, 8)),
    "Gaussian": ("{0}*exp(-1.0*square((x0-{1})/{2}))", ((1, 5), (3, 7), (0.8, 2.5)), (0, 10)),
    "Lorentzian": ("{0}/(1.0+square((x0-{1})/{2}))", ((1, 5), (3, 7), (0.8, 2.5)), (0, 10)),
    "Arrhenius": ("{0}*exp(-{1}/x0)", ((1, 5), (1, 4)), (0.4, 3)),
    "Vogel": ("{0}*exp({1}/(x0+{2}))", ((0.05, 0.5), (3, 8), (1, 3)), (0.2, 5)),
    "damped wave": (
        "{0}*exp(-{1}*x0)*sin({2}*x0+{3})", ((1, 3), (0.1, 0.4), (1, 2.5), (0, 3)), (0, 8),
    ),
    "Langmuir": ("{0}*{1}*x0/(1.0+{1}*x0)", ((1, 5), (0.3, 2)), (0.1, 10)),
}  # fmt: skip


def _laboratory(
    seed: int, rng: np.random.Generator
) -> tuple[str, Expression, list[tuple[float, float]]]:
    """A curve of one column, in drawn units."""
    name = list(_LABORATORY)[seed % len(_LABORATORY)]
    text, bounds, (low, high) = _LABORATORY[name]
    values = [float(f"{rng.uniform(*bound):.3g}") for bound in bounds]
    law = Expression.parse(text.format(*values))
    scaling = Scaling((int(rng.integers(-2, 3)),), int(rng.integers(-2, 3)))
    size = 10.0 ** scaling.x_exponents[0]
    return name, scaling.to_user_units(law), [(low * size, high * size)]
