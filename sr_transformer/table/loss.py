"""How far a formula is from the rows: the loss that the user asks for, by which all is judged.

All losses are given as the square of a size of the residuals, in the units of y squared, so that
``n / 2 * log(loss)`` is the length of the residuals whatever the loss is: the negative logarithm of
their likelihood at the best scale, but for what all formulas have in common. Shares and ratios of
losses mean the same for all. :meth:`Loss.shown` is the number for the eye.

Each of them is the smallest weighted mean of squares over some family of weights, reached at
:meth:`Loss.touching`: squares with those weights touch the loss where they were taken and lie above
it elsewhere, so that what lowers them lowers the loss. For ``mean(|r|) ** 2`` this is the
inequality of Cauchy and Schwarz with the weights ``mean(|r|) / |r|``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sr_transformer.errors import shown

Array = np.ndarray

# Residuals of normal noise beyond so many standard deviations count as in a mean of absolute
# values: 95 % efficiency (Huber 1981, "Robust statistics").
_K = 1.345
# Mean of min(z^2, k^2) of normal noise, which makes the scale of normal noise its deviation.
_DENSITY = math.exp(-0.5 * _K * _K) / math.sqrt(2.0 * math.pi)
_BETA = math.erf(_K / math.sqrt(2.0)) - 2.0 * _K * _DENSITY + _K * _K * math.erfc(_K / math.sqrt(2))

# Residuals that are treated as this at least where a weight is one over the residual. Of the median
# one: a row that a formula happens to meet must not hold it there. Where most rows are met, of the
# mean one, so that those others lose all weight.
_SMALLEST_OF_MEDIAN = 0.03
_SMALLEST_OF_SIZE = 1e-15

_CENTRE_ROUNDS = 50

# Outliers that are written down one by one: at most this share of the rows, and the nats of each
# but for the logarithm of its size: its density is 1 / (2 log(10^6) |r|), and that of Laplace's
# noise of mean size m is 1 / (2 e m) on average.
_MOST_ALONE = 0.25
_ALONE = math.log(math.log(1e6)) - 1.0


@dataclass(frozen=True)
class Loss:
    """A mean loss of residuals.

    Parameters
    ----------
    name : {"squared", "absolute", "huber", "relative"}
        ``"squared"`` is the mean square; ``"absolute"`` the mean absolute value; ``"relative"`` the
        mean square of the residuals over y, which :class:`~sr_transformer.table.table.Table`
        divides.

        ``"huber"`` is Huber's (1981, section 7.7, "proposal 2"; Owen 2007, "A robust hybrid of
        lasso and ridge regression"): squares up to 1.345 scales, absolute values beyond. The scale
        s of a formula's residuals is part of what is minimised: the loss is the square of
        ``min over s of mean(b * s + s * H(r / s)) / (2 * sqrt(b))`` with ``H(z) = z^2`` up to k and
        ``2 * k * |z| - k^2`` beyond, k = 1.345, b = 0.71. It is convex, in proportion to the square
        of the residuals, and equal to their mean square where none is beyond k scales; and there is
        no scale of the table that losses would depend on.
    threshold : float or None
        Of ``"huber"``: a fixed residual, in units of y, beyond which absolute values count, in the
        place of 1.345 scales.
    """

    name: str
    threshold: float | None = None

    @property
    def is_robust(self) -> bool:
        """Whether it is another thing than a mean of squares with fixed weights."""
        return self.name in ("absolute", "huber")

    def scaled(self, exponent: int) -> Loss:
        """The same loss of residuals that are divided by ``10 ** exponent``."""
        if self.threshold is None:
            return self
        return replace(self, threshold=self.threshold * 10.0**-exponent)

    def with_threshold(self, residuals: Array, weights: Array | None) -> Loss:
        """Huber's loss with the threshold that it has at some residuals, for who needs one.

        Where that is 0, all but outliers being met, absolute values.
        """
        if self.name != "huber" or self.threshold is not None:
            return self
        threshold = float(_K * _scales(np.abs(residuals), weights)[0])
        return replace(self, threshold=threshold) if threshold > 0.0 else LOSSES["absolute"]

    # --- residuals ----------------------------------------------------------------------------
    def mean(self, residuals: Array, weights: Array | None) -> Array:
        """Loss of residuals, as the square of a size.

        Parameters
        ----------
        residuals : ndarray of shape (..., n_rows)
        weights : ndarray of shape (n_rows,) or None
            With a mean of one.

        Returns
        -------
        ndarray of shape (...,)
            Not finite where a residual is not.
        """
        if not self.is_robust:
            return _mean(residuals * residuals, weights)
        sizes = np.abs(residuals)
        return self._mean(sizes, weights, self._bend(sizes, weights))

    def _bend(self, sizes: Array, weights: Array | None) -> Array:
        """From which size (..., 1) on absolute values count, for each set of residuals."""
        if self.threshold is not None:
            return np.full((*sizes.shape[:-1], 1), self.threshold)
        if self.name == "huber":
            return _K * _scales(sizes, weights)
        return np.zeros((*sizes.shape[:-1], 1))

    def _mean(self, sizes: Array, weights: Array | None, bend: Array) -> Array:
        if self.name == "absolute":
            return np.square(_mean(sizes, weights))
        inside = np.minimum(sizes, bend)
        # Squares inside, and beyond what a straight line adds to them.
        squares = _mean(inside * (2.0 * sizes - inside), weights)
        if self.threshold is not None:
            return squares
        # The mean of H is that over s^2, and s solves mean(min((r / s)^2, k^2)) = b.
        scale = bend[..., 0] / _K
        with np.errstate(all="ignore"):
            size = _BETA * scale + squares / scale
        size = np.where(scale > 0.0, size, 2.0 * _K * _mean(sizes, weights))
        return np.square(size) / (4.0 * _BETA)

    def touching(
        self, residuals: Array, weights: Array | None, *, soft: bool = False
    ) -> tuple[Array, Array, Array]:
        """The loss, and factors of the weights with which the mean square is it and has its slope.

        Parameters
        ----------
        residuals : ndarray of shape (..., n_rows)
        weights : ndarray of shape (n_rows,) or None
        soft : bool
            For judging other formulas than the one of these residuals: no row counts more because
            this one happens to meet it.

        Returns
        -------
        loss : ndarray of shape (...,)
        factors : ndarray of shape (..., n_rows)
        middle : ndarray of shape (..., 1)
            The median size of the residuals.
        """
        sizes = np.abs(residuals)
        bend = self._bend(sizes, weights)
        loss = self._mean(sizes, weights, bend)
        least = _SMALLEST_OF_SIZE * np.sqrt(loss)[..., None]
        half = sizes.shape[-1] // 2
        middle = np.partition(sizes, half, axis=-1)[..., half : half + 1]
        if soft or self.name == "absolute":
            least = np.maximum(least, middle if soft else _SMALLEST_OF_MEDIAN * middle)
        bend = np.maximum(bend, least)
        factors = bend / np.maximum(sizes, bend)
        factors *= (loss / _mean(factors * sizes * sizes, weights))[..., None]
        return loss, np.where(np.isfinite(factors), factors, 1.0), middle

    def evidence(self, residuals: Array, weights: Array | None, floor: float) -> float:
        """What stands for the loss where formulas are chosen.

        Of a robust loss gross outliers make up nearly all, and it says little of how well a formula
        describes the other rows. So the residuals are written down in the shortest of several ways:
        those of all rows by the loss; or the largest, up to a quarter of the rows, each on its own,
        with equal chances for each magnitude over six decades, and the place that it has among the
        rows, and the others by the loss, which is that of Laplace's noise for ``"absolute"`` and of
        normal noise for ``"huber"``.

        Parameters
        ----------
        residuals : ndarray of shape (n_rows,)
        weights : ndarray of shape (n_rows,) or None
        floor : float
            Squares of residuals below count as equal to it.
        """
        loss = float(self.mean(residuals, weights))
        if not self.is_robust or not np.isfinite(loss):
            return loss
        sizes = np.maximum(np.abs(residuals), math.sqrt(floor))
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
        counts = np.ones(len(sizes)) if weights is None else weights[order]
        power = 1 if self.name == "absolute" else 2
        with np.errstate(all="ignore"):
            out = np.cumsum(counts) / len(sizes)
            alone = np.cumsum(counts * np.log(sizes)) / len(sizes) + _ALONE * out
            within = 1.0 - out
            # Added up from the smallest on: the outliers' digits would swallow those of the others.
            others = np.cumsum((counts * sizes**power)[::-1])[::-1] / len(sizes)
            size = (np.append(others[1:], 0.0) / within) ** (1.0 / power)
            places = -out * np.log(out) - within * np.log(within)
            nats = within * np.log(size) + alone + places
        nats = nats[(out <= _MOST_ALONE) & np.isfinite(nats)]
        return min(loss, float(np.exp(2.0 * nats.min()))) if nats.size else loss

    def centre(self, y: Array, weights: Array | None) -> float:
        """The constant nearest to y (n_rows,)."""
        if not self.is_robust:
            return float(np.average(y, weights=weights))
        order = np.argsort(y, kind="stable")
        shares = np.cumsum(np.ones(len(y)) if weights is None else weights[order])
        centre = float(y[order[np.searchsorted(shares, 0.5 * shares[-1])]])
        size = float(np.abs(y).max())
        if self.name == "absolute" or size == 0.0:
            return centre
        kind = self if self.threshold is None else replace(self, threshold=self.threshold / size)
        y, centre = y / size, centre / size  # so that no square overflows
        for _ in range(_CENTRE_ROUNDS):
            with np.errstate(all="ignore"):
                _, factors, _ = kind.touching(y - centre, weights)
            if weights is not None:
                factors = factors * weights
            centre = float(np.average(y, weights=factors))
        return centre * size

    # --- numbers made of a loss ---------------------------------------------------------------
    def shown(self, loss: float) -> float:
        """The number that a user knows: the mean absolute value, else the mean of squares.

        Of Huber's loss with a fixed threshold half of the squares, as in Julia's LossFunctions.
        """
        if self.name == "absolute":
            return math.sqrt(loss)
        return 0.5 * loss if self.threshold is not None else loss


SQUARED = Loss("squared")
LOSSES = {loss.name: loss for loss in (SQUARED, Loss("absolute"), Loss("huber"), Loss("relative"))}
"""Every loss by its name."""


def check_loss(name: str) -> Loss:
    """The loss of a name, else ValueError."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss is {shown(name)}; allowed are {', '.join(map(repr, LOSSES))}.")
    return LOSSES[name]


def _mean(values: Array, weights: Array | None) -> Array:
    if weights is None:
        return np.add.reduce(values, axis=-1) / values.shape[-1]
    return values @ weights / len(weights)


def _scales(sizes: Array, weights: Array | None) -> Array:
    """Scales s (..., 1) at which the mean of ``min((r / s)^2, k^2)`` is b.

    Found exactly: with the residuals in order, a certain number of them is within k scales.
    """
    if weights is None:
        squares = np.square(np.sort(sizes, axis=-1))
        below = np.arange(1.0, sizes.shape[-1] + 1.0)
        inside = np.cumsum(squares, axis=-1)
    else:
        order = np.argsort(sizes, axis=-1)
        squares = np.square(np.take_along_axis(sizes, order, axis=-1))
        counts = weights[order]
        below = np.cumsum(counts, axis=-1)
        inside = np.cumsum(counts * squares, axis=-1)
    total = below[..., -1:]
    with np.errstate(all="ignore"):
        shares = np.where(squares > 0.0, inside / squares, 0.0) + (total - below)
        n_inside = (_K * _K * shares >= _BETA * total).sum(axis=-1, keepdims=True)
        last = np.maximum(n_inside - 1, 0)
        below = np.broadcast_to(below, sizes.shape)
        left = _BETA * total - _K * _K * (total - np.take_along_axis(below, last, axis=-1))
        found = np.take_along_axis(inside, last, axis=-1) / left
    return np.sqrt(np.where((n_inside > 0) & (left > 0.0), found, 0.0))
