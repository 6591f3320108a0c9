"""The commands ``sr-transformer benchmark ...``, which measure this package.

What a command needs is imported when it runs, so that the others start at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sr_transformer.console import (
    clear_errors,
    error_console,
    fail,
    output_console,
    say,
    shown_warnings,
)

benchmark_app = typer.Typer(help="Measure this package.", no_args_is_help=True)

PROCESSES = "Copies of the network that share each step; default: all GPUs, or 1 on a CPU"
THREADS = "CPU threads of each process that trains"


def require_lightning() -> None:
    """End the command where Lightning is not installed."""
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        fail('training needs Lightning; install it with pip install "sr-transformer[train]"')


@benchmark_app.command("suite")
def benchmark_suite(
    catalogues: Annotated[list[Path], typer.Argument(help="Problem catalogues in YAML")],
    methods: Annotated[
        str, typer.Option(help="Comma-separated; an unknown name shows all")
    ] = "none,prior",
    seconds: Annotated[float, typer.Option(help="Seconds for each fit")] = 10.0,
    rows: Annotated[int, typer.Option(help="Rows of each table")] = 200,
    noise: Annotated[float, typer.Option(help="Noise on y, in standard deviations of y")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of tables and methods")] = 0,
    limit: Annotated[int | None, typer.Option(help="First problems of each catalogue only")] = None,
    out: Annotated[Path, typer.Option(help="Results; a stopped run goes on from here")] = Path(
        "results.jsonl"
    ),
) -> None:
    """Count how many known laws each method recovers from the same tables in the same time."""
    with clear_errors():
        from sr_transformer.evaluation.suite import Settings, print_summary, run

        settings = Settings(seconds=seconds, rows=rows, noise=noise, seed=seed)
        with shown_warnings():
            results = run(
                catalogues, [name.strip() for name in methods.split(",") if name.strip()],
                settings=settings, out=out, limit=limit, console=error_console(),
            )  # fmt: skip
        print_summary(results, output_console())


@benchmark_app.command("train")
def benchmark_train(
    preset: Annotated[str, typer.Option(help="Size: tiny, small or base")] = "small",
    seconds: Annotated[float, typer.Option(help="About how long to measure")] = 20.0,
    processes: Annotated[int | None, typer.Option(help=PROCESSES)] = None,
    threads: Annotated[int | None, typer.Option(help=THREADS)] = None,
    workers: Annotated[int, typer.Option(help="Processes that make examples")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Measure how many examples a second this machine makes and learns."""
    with clear_errors():
        require_lightning()
        from sr_transformer.training.speed import measure_speed

        with shown_warnings():
            speed = measure_speed(
                preset, seconds, processes=processes, threads=threads, workers=workers,
                device=device,
            )  # fmt: skip
        print(f"examples made by one core   {speed.generated:,.0f} a second")
        print(f"examples learnt             {speed.trained:,.0f} a second")
        print(f"time spent waiting for data {speed.data_wait:.1%}")


@benchmark_app.command("fit")
def benchmark_fit(
    candidates: Annotated[int, typer.Option(help="Formulas that the Transformer draws")] = 256,
    seed: Annotated[int, typer.Option(help="Of the table and the fit")] = 0,
) -> None:
    """Show where the time of a fit of 200 rows and 3 columns goes, once everything is loaded."""
    with clear_errors():
        from sr_transformer.evaluation.fit_speed import measure_fit

        with shown_warnings():
            speed = measure_fit(candidates, seed)
        for stage, seconds in speed.seconds.items():
            print(f"{stage:<13}{seconds:7.3f} s")
        print(f"formulas of 3 constants fitted by one core  {speed.fitted:,.0f} a second")


@benchmark_app.command("limits")
def benchmark_limits(
    limits: Annotated[str, typer.Option(help="Time limits in seconds")] = "0.5,2,10",
    search: Annotated[str, typer.Option(help="Search engine: auto, pysr, operon or none")] = "none",
    jobs: Annotated[int | None, typer.Option(help="Processes that fit constants")] = None,
    seed: Annotated[int, typer.Option(help="Of the tables and the fits")] = 0,
) -> None:
    """Show how well fits keep to their time limit, and what they find, on tables of all sizes."""
    with clear_errors():
        try:
            seconds = [float(limit) for limit in limits.split(",")]
        except ValueError:
            fail(f"--limits is {limits!r}; give seconds with commas between them.")
        from sr_transformer.estimators.regressor import SymbolicTransformerRegressor
        from sr_transformer.evaluation.limits import measure_limits
        from sr_transformer.evaluation.measuring import table_of_numbers

        def make(limit: float) -> SymbolicTransformerRegressor:
            return SymbolicTransformerRegressor(
                search, timeout_in_seconds=limit, n_jobs=jobs, random_state=seed
            )

        shown = table_of_numbers(
            "Fits within a time limit", ["selected", "rows x columns"],
            ["limit s", "took s", "CPU s", "from the law"],
        )  # fmt: skip
        late = 0
        with shown_warnings():
            for fit in measure_limits(make, seconds, seed=seed, say=say):
                late += fit.is_late
                shown.add_row(
                    fit.formula, fit.table.name, f"{fit.limit:g}",
                    f"{'late ' if fit.is_late else ''}{fit.seconds:.2f}",
                    f"{fit.cpu_seconds:.2f}", f"{fit.distance:.1f}",
                )  # fmt: skip
        output_console().print(shown)
        print(f"fits that took more than 10 % and 0.3 s longer than their limit: {late}")


@benchmark_app.command("choosing")
def benchmark_choosing(
    tables: Annotated[int, typer.Option(help="Tables of each kind, size and noise")] = 2,
    first: Annotated[int, typer.Option(help="Number of the first table: others are others")] = 0,
    seconds: Annotated[
        float | None,
        typer.Option(help="Seconds for each fit; else each draws 96 formulas", show_default=False),
    ] = None,
) -> None:
    """Count how often the right form is chosen, and a constant where there is only noise."""
    with clear_errors():
        from sr_transformer.evaluation.calibration import cases, judge, tables_of
        from sr_transformer.evaluation.measuring import progress_bar
        from sr_transformer.limits import check_whole

        check_whole("tables", tables)
        check_whole("first", first, 0)
        grid = list(cases(tables, first))
        with shown_warnings(), progress_bar(error_console()) as bar:
            verdicts = list(bar.track(judge(grid, seconds), len(grid), description="choosing"))
        for table in tables_of(verdicts):
            output_console().print(table)
