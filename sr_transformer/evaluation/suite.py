"""Run methods over catalogues, one line of JSON for each fit, and sum the lines up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from sr_transformer.evaluation.judging import RECOVERED_BELOW, fraction_unexplained, is_law
from sr_transformer.evaluation.measuring import (
    append_record,
    progress_bar,
    read_records,
    table_of_numbers,
)
from sr_transformer.evaluation.methods import METHODS, Method, find_method
from sr_transformer.evaluation.problems import Law, read_catalogue
from sr_transformer.limits import check_positive, check_seed, check_whole

Result = dict[str, Any]

STAGES = ("closed-forms", "encode", "sample", "fit", "search", "select")


@dataclass(frozen=True)
class Settings:
    """What is the same for all methods."""

    seconds: float = 10.0  # wall-clock time of each fit
    rows: int = 200  # of each table
    noise: float = 0.0  # its standard deviation on y, as a fraction of y's own
    seed: int = 0  # of the tables and of the methods

    def __post_init__(self) -> None:
        check_positive("seconds", self.seconds)
        check_whole("rows", self.rows, 2)
        check_positive("noise", self.noise, or_zero=True)
        check_seed(self.seed)


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
    ValueError
        If ``out`` is a file of something else, no method is named, or the limit is below 1.
    OSError
        If ``out`` cannot be written, or the disk is full: what it holds is complete.
    KeyboardInterrupt
        From the keyboard, also where it cut a fit short: that fit is not a result.
    """
    if limit is not None:
        check_whole("limit", limit)
    if not methods:
        raise ValueError(f"no method is named; there are {', '.join(METHODS)}.")
    laws = [law for path in catalogues for law in read_catalogue(path)[:limit]]
    usable = _usable([find_method(name) for name in dict.fromkeys(methods)], console)
    out = Path(out)
    done = {_key(result): result for result in read_records(out, _key, "a benchmark result")}
    tasks = [(law, method) for law in laws for method in usable]
    keys = [_key(_described(law, method, settings)) for law, method in tasks]
    missing = [task for task, key in zip(tasks, keys, strict=True) if key not in done]
    for method in dict.fromkeys(method for _, method in missing):
        method.prepare()
    with progress_bar(console) as progress:
        bar = progress.add_task("benchmark", total=len(tasks), completed=len(tasks) - len(missing))
        for law, method in missing:
            progress.update(bar, description=f"{law.catalogue}/{law.name} {method.name}")
            result = run_one(law, method, settings)
            done[_key(result)] = result
            append_record(out, result)
            progress.advance(bar)
    return [done[key] for key in keys]


def run_one(law: Law, method: Method, settings: Settings) -> Result:
    """One method on one problem; a method that fails is a result, too."""
    problem = law.problem(rows=settings.rows, noise=settings.noise, seed=settings.seed)
    result = _described(law, method, settings) | {
        "unexplained": None, "recovered": False, "complexity": None, "formula": None,
        "elapsed": 0.0, "timings": {}, "error": None,
    }  # fmt: skip
    started = time.perf_counter()
    try:
        answer = method.fit(problem.X, problem.y, seconds=settings.seconds, seed=settings.seed)
        elapsed = time.perf_counter() - started
        unexplained = fraction_unexplained(answer.predict(problem.X_unseen), problem)
        recovered = unexplained <= RECOVERED_BELOW
        if problem.noisy:
            recovered = is_law(answer.expression, problem)
        return result | {
            "unexplained": unexplained if np.isfinite(unexplained) else None,
            "recovered": recovered,
            "complexity": answer.complexity,
            "formula": answer.formula,
            "elapsed": elapsed,
            "timings": answer.timings,
        }
    except Exception as error:  # a peer may raise anything, and the run must go on
        elapsed = time.perf_counter() - started
        return result | {"elapsed": elapsed, "error": f"{type(error).__name__}: {error}"}


def print_summary(results: Iterable[Result], console: Console) -> None:
    """Print one table of what was recovered, and one of where our own methods spent their time."""
    results = list(results)
    if len({result["catalogue"] for result in results}) > 1:
        results += [result | {"catalogue": "all"} for result in results]
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["catalogue"], result["method"]), []).append(result)
    names = ["catalogue", "method"]
    columns = ["problems", "recovered", "unexplained", "seconds", "complexity", "failed"]
    recovered = table_of_numbers("Recovered laws", names, columns)
    recovered.caption = "unexplained, seconds and complexity are medians"
    stages = table_of_numbers("Mean seconds by stage", names, STAGES)
    for group_names, group in groups.items():
        recovered.add_row(*group_names, *_summary(group))
        timings = [result["timings"] for result in group if result["timings"]]
        if timings:
            means = (np.mean([each.get(stage, 0.0) for each in timings]) for stage in STAGES)
            stages.add_row(*group_names, *(f"{mean:.3f}" for mean in means))
    console.print(recovered)
    if stages.row_count:
        console.print(stages)


def _summary(group: list[Result]) -> tuple[str, ...]:
    unexplained = [np.inf if r["unexplained"] is None else r["unexplained"] for r in group]
    complexities = [r["complexity"] for r in group if r["complexity"] is not None]
    n_recovered = sum(result["recovered"] for result in group)
    return (
        str(len(group)),
        f"{n_recovered} ({n_recovered / len(group):.0%})",
        f"{median(unexplained):.2g}",
        f"{median(result['elapsed'] for result in group):.2f}",
        f"{median(complexities):g}" if complexities else "",
        str(sum(result["error"] is not None for result in group)),
    )


def _usable(methods: list[Method], console: Console | None) -> list[Method]:
    reasons = [method.unusable_reason() for method in methods]
    for method, reason in zip(methods, reasons, strict=True):
        if reason is not None and console is not None:
            console.print(
                f"{method.name} is not available and is left out: {reason}", style="yellow",
                highlight=False, markup=False,
            )  # fmt: skip
    return [method for method, reason in zip(methods, reasons, strict=True) if reason is None]


def _described(law: Law, method: Method, settings: Settings) -> Result:
    """What was run on what: the first entries of a result."""
    return {
        "catalogue": law.catalogue,
        "problem": law.name,
        "method": method.name,
        **asdict(settings),
        "version": method.version(),
    }


def _key(result: Result) -> tuple[Any, ...]:
    names = ("catalogue", "problem", "method", "version", "seconds", "rows", "noise", "seed")
    return tuple(result[name] for name in names)
