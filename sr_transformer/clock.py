"""The clock of a fit: how long each stage takes, and how much time is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from time import perf_counter

# Starting the engine and loading the network are no part of a fit's time limit.
_UNCOUNTED = "start"


def _say_nothing(_: str) -> None:
    pass


class Clock:
    """Time limit, stopwatch of the stages, and who is told of them.

    Parameters
    ----------
    limit : float or None
        Seconds for the whole, the stage ``"start"`` aside; ``None`` is no limit.
    say : callable
        Is told each stage in a line.

    Attributes
    ----------
    timings : dict of str to float
        Seconds of each stage so far.
    """

    def __init__(
        self, limit: float | None = None, say: Callable[[str], None] = _say_nothing
    ) -> None:
        self.limit = limit
        self.say = say
        self.timings: dict[str, float] = {_UNCOUNTED: 0.0}
        self._begun = perf_counter()

    def part(self, share: float) -> Clock:
        """The same clock with a share of what is left now as its limit; 0 is no time at all."""
        clock = copy(self)
        if self.limit is not None:
            clock.limit = self.used() + share * (self.limit - self.used())
        elif share == 0.0:
            clock.limit = self.used()
        return clock

    def earlier(self, seconds: float) -> Clock:
        """The same clock, whose time is over so many seconds earlier, though never in the past."""
        clock = copy(self)
        if self.limit is not None:
            clock.limit = max(self.limit - seconds, min(self.used(), self.limit))
        return clock

    def lasting(self, seconds: float) -> Clock:
        """The same clock with at least so many seconds left."""
        clock = copy(self)
        if self.limit is not None:
            clock.limit = max(self.limit, self.used() + seconds)
        return clock

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self._begun

    def used(self) -> float:
        """Seconds that count for the limit."""
        return self.elapsed() - self.timings[_UNCOUNTED]

    def left(self) -> float | None:
        """Seconds left, at least 0; ``None`` where there is no limit."""
        return None if self.limit is None else max(self.limit - self.used(), 0.0)

    @property
    def deadline(self) -> float:
        """Value of ``time.perf_counter()``, of any process, at which the time is over."""
        if self.limit is None:
            return float("inf")
        return self._begun + self.timings[_UNCOUNTED] + self.limit

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds for a stage."""
        self.timings[stage] = self.timings.get(stage, 0.0) + seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the seconds of the block for a stage."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - begun)
