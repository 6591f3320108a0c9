"""All that is printed: results to standard output, progress and the rest to standard error."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from sr_transformer.errors import SRTransformerError

if TYPE_CHECKING:
    from rich.console import Console

    from sr_transformer.clock import Clock
    from sr_transformer.estimators.regressor import SymbolicTransformerRegressor
    from sr_transformer.training.config import Progress as TrainingProgress

# A table that goes to a file or a pipe is as wide as this, whatever the terminal.
WIDTH_WITHOUT_TERMINAL = 140

# Texts hold names of columns and formulas: nothing in them is markup.
_PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}


def say(text: str, style: str | None = None) -> None:
    """Print one line to standard error."""
    error_console().print(text, style=style, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """Print one line and end with exit code 2."""
    import typer

    say(f"error: {message}", style="red")
    raise typer.Exit(2)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a user can mend into one line and exit code 2; Ctrl-C into one and code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        import typer

        say(f"interrupted{f': {interrupt}' if str(interrupt) else ''}", style="red")
        raise typer.Exit(130) from None
    except (SRTransformerError, ValueError) as error:
        # The first line says what is wrong; scikit-learn adds paragraphs of advice.
        fail(str(error).strip().split("\n")[0])
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}")


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Print each warning as one line, without the place in our source that raised it."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            say(f"warning: {message}", style="yellow")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield


def output_console() -> Console:
    """Console for results."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, **_PLAIN)


def error_console() -> Console:
    """Console for progress, warnings and errors."""
    from rich.console import Console

    return Console(stderr=True, **_PLAIN)


@contextmanager
def shown_fit(clock: Clock, verbose: int) -> Iterator[None]:
    """Show the stages of a fit on standard error, and on a terminal a bar below them.

    Parameters
    ----------
    clock : Clock
        Its stages are shown; the bar fills as its time is used up, or pulses where it has no limit.
    verbose : int
        0: nothing is shown. 1: lines and bar. 2: lines only, as an engine then prints itself.
    """
    if verbose == 0:
        yield
        return
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn
    from rich.progress_bar import ProgressBar

    class TimeBar(BarColumn):
        def render(self, task: Task) -> ProgressBar:
            task.completed = clock.used()
            return super().render(task)

    console = error_console()
    columns = (TextColumn("{task.description}"), TimeBar(), TimeElapsedColumn())
    hidden = verbose > 1 or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("starting", total=clock.limit)

        def show(text: str) -> None:
            console.print(f"sr-transformer {clock.elapsed():6.1f} s  {text}", soft_wrap=True)
            progress.update(bar, description=text.split("\n")[0])

        clock.say = show
        yield


def print_front(model: SymbolicTransformerRegressor, target: str, r2: float) -> None:
    """Print the front as a table, then the chosen formula and how well it fits."""
    from rich.table import Table

    hall = model.hall_of_fame_
    selected = hall.select()
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for name in ("complexity", "loss", "score"):
        table.add_column(name, justify="right")
    table.add_column("equation", overflow="fold")
    table.add_column("source")
    for row, (candidate, score) in enumerate(zip(hall.front, hall.scores, strict=True)):
        table.add_row(
            ">" if row == selected else "",
            str(candidate.complexity),
            f"{hall.shown_loss(candidate):.3g}",
            f"{score:.3f}",
            candidate.expression.to_text(hall.variable_names, 6),
            candidate.source,
            style="bold green" if row == selected else None,
        )
    console = output_console()
    console.print(table)
    chosen = hall.front[selected].expression.to_text(hall.variable_names, 6)
    seconds = model.timings_["total"]
    console.print(
        f"\n{target} = {chosen}\n"
        f"R2 = {r2:.6g} on the table itself; found by {model.engine_} in {seconds:.1f} s",
        soft_wrap=True,
    )


@contextmanager
def shown_training() -> Iterator[Callable[[TrainingProgress], None]]:
    """Show a bar with the loss, the speed and the time left."""
    from rich.progress import Progress as Bar

    columns = Bar.get_default_columns()[:3]  # without the time that is left: the text says it
    # The further processes of a distributed run have nothing to show.
    helper = os.environ.get("LOCAL_RANK", "0") != "0"
    with Bar(*columns, console=error_console(), transient=True, disable=helper) as bar:
        task = bar.add_task("starting", total=1.0)

        def report(now: TrainingProgress) -> None:
            minutes, seconds = divmod(round(now.seconds_left), 60)
            text = (
                f"{now.row['examples']:,} examples, loss {now.row['loss']:.3f}, "
                f"{now.row['examples_per_second']:,.0f}/s, {minutes}:{seconds:02d} left"
            )
            bar.update(task, completed=now.fraction, description=text)

        yield report
