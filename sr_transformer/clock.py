"""The stages of a fit: how long each takes, how much time is left, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Starting the engine and loading the network are no part of a fit's time limit.
_UNCOUNTED = "start"


class Stages:
    """Clock, time limit and display of one fit.

    Parameters
    ----------
    limit : float or None
        Seconds for the whole fit, ``"start"`` aside.
    verbose : int
        0: nothing is shown. 1: a line for each stage on standard error and, on a terminal, a bar
        below them. 2: the lines only, as an engine then prints itself.
    announce : callable
        Is told each stage too.

    Attributes
    ----------
    timings : dict of str to float
        Seconds of each stage so far.
    """

    def __init__(self, limit: float | None, verbose: int, announce: Callable[[str], None]) -> None:
        self.timings: dict[str, float] = {_UNCOUNTED: 0.0}
        self._limit = limit
        self._verbose = verbose
        self._announce = announce
        self._begun = perf_counter()
        self._bar: Any = None
        self._console: Console | None = None

    def __enter__(self) -> Stages:
        if self._verbose > 0:
            from rich.console import Console

            self._console = Console(stderr=True)
            if self._verbose == 1 and self._console.is_terminal:
                self._bar = _bar(self._console, self)
                self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.timings["total"] = self.elapsed()
        if self._bar is not None:
            self._bar.stop()

    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return perf_counter() - self._begun

    def used(self) -> float:
        """Seconds that count for the limit."""
        return self.elapsed() - self.timings[_UNCOUNTED]

    def share(self, fraction: float) -> Callable[[], float | None]:
        """A limit of this fraction of what is left now; call it for the seconds left of that."""
        if self._limit is None:
            return lambda: None
        end = self.used() + fraction * (self._limit - self.used())
        return lambda: max(end - self.used(), 0.0)

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

    def say(self, text: str) -> None:
        """Announce a stage."""
        self._announce(text)
        if self._console is not None:
            line = f"sr-transformer {self.elapsed():6.1f} s  {text}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=text.split("\n")[0])

    def fraction_used(self) -> float | None:
        """Used part of the limit, at most 1; ``None`` where there is no limit."""
        return None if self._limit is None else min(self.used() / self._limit, 1.0)


def _bar(console: Console, stages: Stages) -> Any:
    from rich.progress import Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress_bar import ProgressBar

    class TimeBar(ProgressColumn):
        """Fills as the time limit is used up, or pulses where there is none."""

        def render(self, task: Task) -> ProgressBar:
            used = stages.fraction_used()
            return ProgressBar(
                total=1.0, completed=used or 0.0, width=40, pulse=used is None,
                animation_time=task.get_time(),
            )  # fmt: skip

    columns = (TextColumn("{task.description}"), TimeBar(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task("starting", total=None)
    return bar
