"""Warm-up, flat, cool-down: a learning rate that can end at any time.

The flat part has no planned length, so a run can always be continued from before its cool-down, and
cooled down whenever a model is wanted (Haegele et al. 2024, also for the 1 - sqrt shape).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Schedule:
    """Learning rate over a run.

    Progress is counted in whatever unit ends the run: seconds or examples.

    Parameters
    ----------
    peak : float
        Learning rate of the flat part.
    warm_up : int
        Examples over which the rate rises linearly to the peak.
    end : float
        Progress at which the run ends.
    cool_down_share : float
        Share of the whole run that is cool-down.
    cool_down_from, cool_down_until : float or None
        Where the cool-down really began and will end; ``None`` before it.
    """

    peak: float
    warm_up: int
    end: float
    cool_down_share: float = 0.15
    cool_down_from: float | None = None
    cool_down_until: float | None = None

    def is_due(self, progress: float) -> bool:
        """Whether the cool-down has to begin now, to be through at the planned end."""
        return self.cool_down_from is None and progress >= self.end * (1 - self.cool_down_share)

    def begin_cool_down(self, progress: float) -> None:
        """Begin now: ahead of the plan on request, else so that it ends with the run."""
        self.cool_down_from = progress
        if self.end * (1 - self.cool_down_share) <= progress < self.end:
            self.cool_down_until = self.end
        else:
            share = self.cool_down_share / (1 - self.cool_down_share)
            self.cool_down_until = progress * (1 + share)

    def is_finished(self, progress: float) -> bool:
        """Whether the cool-down is through."""
        return self.cool_down_until is not None and progress >= self.cool_down_until

    def rate(self, examples: int, progress: float) -> float:
        """Learning rate for the next step."""
        rate = self.peak * min(1.0, (examples + 1) / max(self.warm_up, 1))
        if self.cool_down_from is not None and self.cool_down_until is not None:
            length = max(self.cool_down_until - self.cool_down_from, 1e-9)
            passed = min(max((progress - self.cool_down_from) / length, 0.0), 1.0)
            rate *= 1.0 - math.sqrt(passed)
        return rate

    def state(self) -> dict[str, float | None]:
        """What a checkpoint has to remember."""
        return {"cool_down_from": self.cool_down_from, "cool_down_until": self.cool_down_until}
