"""The forms that measurements of one quantity are usually fitted with, and where to start each.

Nonlinear constants have to begin near their values; so every form has a grid of them, in units of
the range of the column. The affine constants need none: they follow by least squares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

_RATES = np.geomspace(0.1, 40.0, 14)  # of exponentials over the range of the column
_MANY_RATES = np.geomspace(0.2, 40.0, 24)
_FEW_RATES = np.geomspace(0.3, 30.0, 8)
_SHIFTS = np.geomspace(0.02, 50.0, 10)  # beyond the ends of the range, in units of it
_CENTRES = np.linspace(-0.25, 1.25, 31)
_WIDTHS = np.geomspace(0.015, 1.5, 10)
_HALF_WAVES = np.linspace(0.5, 60.0, 239)  # of sines over the range of the column
_FEW_HALF_WAVES = np.linspace(0.5, 30.0, 60)
_PHASES = np.array([0.0, np.pi / 2.0])
_POWERS = np.array([0.25, 0.5, 0.75, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0])
_STEEP_POWERS = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0])


@dataclass(frozen=True)
class Range:
    """Where a column lies, and grids of constants for it: arrays (n_starts, n_constants)."""

    low: float
    high: float
    typical: float  # median size

    @property
    def span(self) -> float:
        """Distance of the ends."""
        return self.high - self.low

    @property
    def of_logarithms(self) -> Range:
        """The range of the column's logarithm; of nan where it has none."""
        ends = self.low, self.high, self.typical
        return Range(*(np.log(ends) if self.low > 0 else np.full(3, np.nan)))

    def rates(self) -> Array:
        """Of exponentials."""
        return _both(_RATES)[:, None] / self.span

    def shifts(self) -> Array:
        """Of a column that is to be of one sign once it is shifted."""
        beyond = self.span * np.concatenate([[0.0], _SHIFTS])
        return np.concatenate([beyond - self.low, -beyond - self.high])[:, None]

    def inverse_rates(self) -> Array:
        """Of the inverse of the column."""
        return _both(_RATES)[:, None] * self.low * self.high / self.span

    def shifted_inverse_rates(self) -> Array:
        """Of the inverse of the shifted column, and the shift."""
        rates, shifts = _mesh(_both(_MANY_RATES), self.shifts()[:, 0]).T
        ends = (self.low + shifts) * (self.high + shifts)
        return np.stack([rates * ends / self.span, shifts], axis=1)[ends != 0]

    def powers(self) -> Array:
        """Exponents, of either sign."""
        return _both(_POWERS)[:, None]

    def shifted_powers(self) -> Array:
        """A shift, and a power."""
        return _mesh(self.shifts()[:, 0], _both(_POWERS))

    def saturations(self) -> Array:
        """``q, n`` of ``q + x ^ n``, where both terms are equal inside of the range."""
        middles, powers = self._middles_and(_both(_STEEP_POWERS))
        return np.stack([middles**powers, powers], axis=1)

    def stretches(self) -> Array:
        """``b, n`` of ``exp(b * x ^ n)``."""
        middles, powers = self._middles_and(_both(_STEEP_POWERS))
        return np.stack([-(middles**-powers), powers], axis=1)

    def _middles_and(self, others: Array) -> Array:
        end = max(abs(self.low), abs(self.high))
        return _mesh(np.geomspace(max(self.typical / 10.0, 1e-3 * end), 2.0 * end, 12), others).T

    def steps(self) -> Array:
        """``q, k`` of ``q + exp(k * x)``, where both terms are equal near the range."""
        rates, centres = self._rates_and_centres()
        return np.stack([np.exp(rates * centres), rates], axis=1)

    def negative_steps(self) -> Array:
        """``-q, k``; for ``(-q + exp(k * x)) ^ 2`` and for ``exp(-q * exp(k * x))`` with -k."""
        q, rates = self.steps().T
        return np.stack([-q, rates], axis=1)

    def double_exponents(self) -> Array:
        """``q, k`` of ``exp(q * exp(k * x))``."""
        rates, centres = self._rates_and_centres()
        q = np.exp(-rates * centres)
        return np.concatenate([np.stack([-q, rates], axis=1), np.stack([q, rates], axis=1)])

    def slopes_and_shifts(self) -> Array:
        """``k, d`` of ``tanh(k * x + d)``."""
        rates, centres = self._rates_and_centres()
        rising = rates > 0
        return np.stack([rates, -rates * centres], axis=1)[rising]

    def _rates_and_centres(self) -> Array:
        rates = _both(np.geomspace(1.0, 60.0, 9)) / self.span
        return _mesh(rates, self.low + self.span * np.linspace(-0.3, 1.3, 17)).T

    def peaks(self) -> Array:
        """``b, m`` of ``exp(b * (x + m) ^ 2)``."""
        widths, centres = self._widths_and_centres()
        return np.stack([-0.5 / widths**2, -centres], axis=1)

    def resonances(self) -> Array:
        """``m, q`` of ``(x + m) ^ 2 + q``."""
        widths, centres = self._widths_and_centres()
        return np.stack([-centres, widths**2], axis=1)

    def _widths_and_centres(self) -> Array:
        return _mesh(self.span * _WIDTHS, self.low + self.span * _CENTRES).T

    def squared_rates(self) -> Array:
        """Of exponentials of the square of the column."""
        end = max(abs(self.low), abs(self.high))
        return _both(_RATES)[:, None] / end / end

    def waves(self) -> Array:
        """A rate, and a phase."""
        return _mesh(np.pi / self.span * _HALF_WAVES, _PHASES)

    def wave_rates(self) -> Array:
        """Of sines without a phase."""
        return np.pi / self.span * _HALF_WAVES[:, None]

    def damped_waves(self) -> Array:
        """The rate of the damping, that of the wave, and a phase."""
        damping = np.array([-20.0, -8.0, -4.0, -2.0, -0.8, 1.5]) / self.span
        return _mesh(damping, np.pi / self.span * _FEW_HALF_WAVES, _PHASES)

    def two_rates(self) -> Array:
        """Two rates, the second the larger."""
        rates = _both(np.geomspace(0.3, 30.0, 9)) / self.span
        first, second = _mesh(rates, rates).T
        return np.stack([first, second], axis=1)[first < second]

    def powers_and_rates(self) -> Array:
        """``n, k`` of ``x ^ n * exp(k * x)``."""
        return _mesh(_both(_POWERS), _both(_FEW_RATES) / self.span)

    def thermal(self) -> Array:
        """``n, q, k`` of ``x ^ n / (q + exp(k * x))``."""
        end = max(abs(self.low), abs(self.high))
        return _mesh([1.0, 2.0, 3.0], [-1.0, 1.0], np.geomspace(0.3, 30.0, 10) / end)

    def inverse_thermal(self) -> Array:
        """``n, q, k`` of ``x ^ n / (q + exp(k / x))``."""
        end = max(abs(self.low), abs(self.high))
        return _mesh([-5.0, -4.0, -3.0, -2.0], [-1.0, 1.0], np.geomspace(0.1, 30.0, 14) * end)


def _both(sizes: Array) -> Array:
    """Of either sign."""
    return np.concatenate([-sizes, sizes])


def _mesh(*axes: Array | list[float]) -> Array:
    """All combinations (n_combinations, n_axes)."""
    return np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)


FORMS: tuple[tuple[str, Callable[[Range], Array]], ...] = (
    # exponentials, and those of the inverse (Arrhenius) and the shifted inverse (Vogel 1921;
    # Antoine's and Magnus's vapour pressures are others of their spellings)
    ("* c exp * c x", Range.rates),
    ("+ * c exp * c x c", Range.rates),
    ("* c exp / c x", Range.inverse_rates),
    ("+ * c exp / c x c", Range.inverse_rates),
    ("* c exp / c + x c", Range.shifted_inverse_rates),
    ("+ * c exp * c x * c exp * c x", Range.two_rates),
    # hyperbolas: Michaelis-Menten, Langmuir, Antoine's logarithm
    ("/ c + x c", Range.shifts),
    ("/ * c x + x c", Range.shifts),
    ("+ / c + x c c", Range.shifts),
    ("/ c + log x c", lambda x: x.of_logarithms.shifts()),
    ("+ / c + log x c c", lambda x: x.of_logarithms.shifts()),
    # powers, roots and logarithms
    ("* c ^ x c", Range.powers),
    ("+ * c ^ x c c", Range.powers),
    ("* c ^ + x c c", Range.shifted_powers),
    ("+ * c ^ + x c c c", Range.shifted_powers),
    ("* c sqrt + x c", Range.shifts),
    ("+ * c sqrt + x c c", Range.shifts),
    ("* c log + x c", Range.shifts),
    ("+ * c log + x c c", Range.shifts),
    # growth: logistic, with an offset, Gompertz, Hill, Weibull (stretched exponential)
    ("/ c + exp * c x c", lambda x: x.steps()[:, ::-1]),
    ("+ * c tanh + * c x c c", Range.slopes_and_shifts),
    ("* c exp * c exp * c x", Range.double_exponents),
    ("/ c + ^ x c c", lambda x: x.saturations()[:, ::-1]),
    ("+ / c + ^ x c c c", lambda x: x.saturations()[:, ::-1]),
    ("* c exp * c ^ x c", Range.stretches),
    ("+ * c exp * c ^ x c c", Range.stretches),
    # products of a power and an exponential: Ricker, gamma, Planck, Bose and Fermi
    ("* c * x exp * c x", Range.rates),
    ("* c * ^ x c exp * c x", Range.powers_and_rates),
    ("* c / ^ x c + c exp * c x", Range.thermal),
    ("* c / ^ x c + c exp / c x", Range.inverse_thermal),
    # peaks: Gauss around zero and elsewhere, log-normal, Lorentz; Morse's valley
    ("* c exp * c square x", Range.squared_rates),
    ("+ * c exp * c square x c", Range.squared_rates),
    ("* c exp * c square + x c", Range.peaks),
    ("+ * c exp * c square + x c c", Range.peaks),
    ("* c exp * c square + log x c", lambda x: x.of_logarithms.peaks()),
    ("/ c + square + x c c", Range.resonances),
    ("+ / c + square + x c c c", Range.resonances),
    ("+ * c square + c exp * c x c", Range.negative_steps),
    # waves
    ("* c sin * c x", Range.wave_rates),
    ("* c / sin * c x x", Range.wave_rates),
    ("* c sin + * c x c", Range.waves),
    ("+ * c sin + * c x c c", Range.waves),
    ("* c * exp * c x sin + * c x c", Range.damped_waves),
    ("+ * c * exp * c x sin + * c x c c", Range.damped_waves),
)
"""Skeletons, and where their nonlinear constants are sought, in the skeleton's order."""
