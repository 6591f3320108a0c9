"""Run methods over catalogues, one line of JSON for each fit, and sum the lines up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.evaluation.json_lines import append_record, read_records
from sr_transformer.evaluation.judging import RECOVERED_BELOW, fraction_unexplained, has_form_of_law
from sr_transformer.evaluation.methods import Method, make_method
from sr_transformer.evaluation.problems import Problem, read_catalogue

if TYPE_CHECKING:
    from rich.console import Console

Array = np.ndarray
Result = dict[str, Any]

STAGES = ("closed-forms", "encode", "sample", "fit", "search", "select")


@dataclass(frozen=True)
class Settings:
    """What is the same for all methods.

    Parameters
    ----------
    seconds : float
        Wall-clock time of each fit.
    rows : int
        Rows of each table.
    noise : float
        Standard deviation of the noise on y, as a fraction of y's own.
    seed : int
        Of the tables and of the methods.
    """

    seconds: float = 10.0
    rows: int = 200
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds}; it must be above 0.")
        if self.rows < 2:
            raise ValueError(f"rows is {self.rows}; it must be at least 2.")
        if not self.noise >= 0:
            raise ValueError(f"noise is {self.noise}; it must not be negative.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")


def run(
    catalogues: Sequence[str | Path],
    methods: Sequence[str],
    *,
    settings: Settings,
    out: str | Path,
    limit: int | None = None,
    console: Console | None = None,
) -> list[Result]:
    """Run every method on every problem that ``out`` does not hold yet.

    What ``out`` holds counts if it was made with the same settings and the same version of the
    method, its weights included. Each result is appended to ``out`` and flushed to disk when it is
    there, so that a run that was stopped goes on where it was.

    Parameters
    ----------
    catalogues : sequence of path
        YAML files; see :func:`~sr_transformer.evaluation.problems.read_catalogue`.
    methods : sequence of str
        Names of methods; one that cannot run here is reported and left out.
    settings : Settings
    out : path
        File of JSON lines.
    limit : int, optional
        Only the first problems of each catalogue.
    console : rich Console, optional
        Where progress is shown.

    Returns
    -------
    list of dict
        The results of these problems, methods and settings, earlier ones included.

    Raises
    ------
    CatalogueError
        If a catalogue cannot be read.
    UnknownMethodError
        If there is no such method.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    console = console or Console(quiet=True)
    problems = [p for path in catalogues for p in read_catalogue(path)[:limit]]
    usable = _usable([make_method(name) for name in dict.fromkeys(methods)], console)
    out = Path(out)
    done = {_key(result): result for result in read_results(out)}
    tasks = [(problem, method) for problem in problems for method in usable]
    keys = [_task_key(problem, method, settings) for problem, method in tasks]
    missing = [task for task, key in zip(tasks, keys, strict=True) if key not in done]
    out.open("a").close()  # where it cannot be written, that is said before anything is started
    for method in {id(m): m for _, m in missing}.values():
        method.prepare()
    columns = (
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("benchmark", total=len(tasks), completed=len(tasks) - len(missing))
        for problem, method in missing:
            progress.update(bar, description=f"{problem.catalogue}/{problem.name} {method.name}")
            result = run_one(problem, method, settings)
            done[_key(result)] = result
            append_record(out, result)
            progress.advance(bar)
    return [done[key] for key in keys]


def run_one(problem: Problem, method: Method, settings: Settings) -> Result:
    """One method on one problem; a method that fails is a result, too."""
    table = problem.table(rows=settings.rows, noise=settings.noise, seed=settings.seed)
    result: Result = {
        "catalogue": problem.catalogue,
        "problem": problem.name,
        "method": method.name,
        **asdict(settings),
        "version": method.version(),
    }
    started = time.perf_counter()
    try:
        answer = method.fit(table.X, table.y, seconds=settings.seconds, seed=settings.seed)
        elapsed = time.perf_counter() - started
        unexplained = fraction_unexplained(answer.predict(table.X_unseen), table)
        recovered = unexplained <= RECOVERED_BELOW
        if settings.noise:
            recovered = has_form_of_law(answer.expression, table)
        return result | {
            "unexplained": unexplained if np.isfinite(unexplained) else None,
            "recovered": recovered,
            "complexity": answer.complexity,
            "formula": answer.formula,
            "elapsed": elapsed,
            "timings": answer.timings,
            "error": None,
        }
    except Exception as error:  # a peer may raise anything, and the run must go on
        return result | {
            "unexplained": None,
            "recovered": False,
            "complexity": None,
            "formula": None,
            "elapsed": time.perf_counter() - started,
            "timings": {},
            "error": f"{type(error).__name__}: {error}",
        }


def read_results(path: str | Path) -> list[Result]:
    """Read the lines of a results file; a last line that was cut off by a crash is removed.

    Raises
    ------
    ValueError
        If a line is not a result.
    """
    return read_records(Path(path), _key, "a benchmark result")


def print_summary(results: Iterable[Result], console: Console) -> None:
    """Print one table of what was recovered, and one of where our own methods spent their time."""
    from rich.table import Table as RichTable

    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["catalogue"], result["method"]), []).append(result)
        groups.setdefault(("all", result["method"]), []).append(result)
    catalogues = [c for c in dict.fromkeys(c for c, _ in groups) if c != "all"]
    if len(catalogues) > 1:
        catalogues.append("all")
    recovered = RichTable(title="Recovered laws", title_justify="left")
    stages = RichTable(title="Mean seconds by stage", title_justify="left")
    for table, columns in (
        (recovered, ("problems", "recovered", "unexplained", "seconds", "complexity", "failed")),
        (stages, STAGES),
    ):
        table.add_column("catalogue")
        table.add_column("method")
        for column in columns:
            table.add_column(column, justify="right")
    for catalogue in catalogues:
        for method in dict.fromkeys(m for _, m in groups):
            group = groups.get((catalogue, method), [])
            if not group:
                continue
            recovered.add_row(catalogue, method, *_summary(group))
            if any(result["timings"] for result in group):
                stages.add_row(catalogue, method, *_mean_timings(group))
    recovered.caption = "unexplained, seconds and complexity are medians"
    console.print(recovered)
    if stages.row_count:
        console.print(stages)


def _summary(group: list[Result]) -> tuple[str, ...]:
    unexplained = median(
        np.inf if result["unexplained"] is None else result["unexplained"] for result in group
    )
    complexities = [r["complexity"] for r in group if r["complexity"] is not None]
    n_recovered = sum(result["recovered"] for result in group)
    return (
        str(len(group)),
        f"{n_recovered} ({n_recovered / len(group):.0%})",
        f"{unexplained:.2g}",
        f"{median(result['elapsed'] for result in group):.2f}",
        f"{median(complexities):g}" if complexities else "",
        str(sum(result["error"] is not None for result in group)),
    )


def _mean_timings(group: list[Result]) -> list[str]:
    timed = [result["timings"] for result in group if result["timings"]]
    return [f"{np.mean([timings.get(stage, 0.0) for timings in timed]):.3f}" for stage in STAGES]


def _usable(methods: list[Method], console: Console) -> list[Method]:
    usable = []
    for method in methods:
        reason = method.unusable_reason()
        if reason is None:
            usable.append(method)
        else:
            console.print(
                f"{method.name} is not available and is left out: {reason}", style="yellow",
                highlight=False, markup=False,
            )  # fmt: skip
    return usable


def _key(result: Result) -> tuple[Any, ...]:
    names = ("catalogue", "problem", "method", "version", "seconds", "rows", "noise", "seed")
    return tuple(result[name] for name in names)


def _task_key(problem: Problem, method: Method, settings: Settings) -> tuple[Any, ...]:
    names = problem.catalogue, problem.name, method.name, method.version()
    return *names, *asdict(settings).values()
