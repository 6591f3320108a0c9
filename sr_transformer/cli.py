"""The command ``sr-transformer``: fit, predict, info, train and benchmark.

Everything heavy is imported inside the commands, so that ``--help`` answers at once. Results go to
standard output; progress, warnings and errors to standard error. A mistake of the user's ends with
one line and exit code 2.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import warnings
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from sr_transformer import __version__
from sr_transformer.cli_benchmark import PROCESSES, THREADS, benchmark_app, require_lightning
from sr_transformer.console import (
    clear_errors,
    error_console,
    fail,
    output_console,
    print_front,
    say,
    shown_training,
    shown_warnings,
)
from sr_transformer.errors import SRTransformerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from sr_transformer.estimators.regressor import SymbolicTransformerRegressor

app = typer.Typer(
    name="sr-transformer",
    help="Find formulas in tables of numbers, with a pretrained Transformer and PySR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Entry point of the command ``sr-transformer``."""
    app()


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help="CSV file; '#' lines on top are skipped")],
    target: Annotated[str, typer.Option(help="Column to find a formula for")],
    search: Annotated[str, typer.Option(help="Search engine: auto, pysr, operon or none")] = "auto",
    seconds: Annotated[float | None, typer.Option(help="Time limit of the fit")] = None,
    maxsize: Annotated[int, typer.Option(help="Largest complexity of a formula")] = 30,
    loss: Annotated[
        str, typer.Option(help="What is minimised: squared, absolute, huber or relative")
    ] = "squared",
    candidates: Annotated[
        int | None,
        typer.Option(
            help="Formulas that the Transformer draws; else 256, or as many as --seconds allows",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, for a repeatable result")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out; repeatable")] = None,
    save: Annotated[Path | None, typer.Option(help="File for the fitted model")] = None,
    plot: Annotated[Path | None, typer.Option(help="File for a picture of fit and front")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the front as JSON")] = False,
) -> None:
    """Find formulas for one column of a table in terms of the others."""
    with clear_errors():
        table, drop = read_table(data), drop or []
        for name in [target, *drop]:
            if name not in table.columns:
                fail(f"no column {name!r} in the file; it has {', '.join(table.columns)}.")
        if target in drop:
            fail(f"--drop {target}: it is the --target, the column to find a formula for; keep it.")
        X, y = table.drop(columns=[target, *drop]), table[target]
        _check_numeric(X.join(y), advice=" Leave it out with --drop NAME.")
        if X.shape[1] == 0:
            fail(f"the file has no column beside {target!r} that a formula could use.")
        _check_results({"--save": save, "--plot": plot}, inputs=[data])
        if plot is not None:
            _check_picture(plot)
        from sr_transformer.estimators.regressor import SymbolicTransformerRegressor

        model = SymbolicTransformerRegressor(
            search,
            timeout_in_seconds=seconds,
            maxsize=maxsize,
            n_candidates=candidates,
            loss=loss,
            random_state=seed,
            verbose=1,
        )
        with shown_warnings():
            model.fit(X, y)
        # Saved before anything else can fail: a fit is dear.
        lost = save is not None and not _kept(save, pickle.dumps(model))
        if as_json:
            rows = model.equations_.drop(columns="sympy_format")
            rows["selected"] = rows.index == model.hall_of_fame_.select()
            # JSON has no infinity: an error that the readings do not determine is null, too.
            rows["standard_errors"] = [
                [e if e is not None and math.isfinite(e) else None for e in errors]
                for errors in rows["standard_errors"]
            ]
            print(json.dumps(rows.to_dict("records"), indent=2))
        else:
            print_front(model, target, model.score(X, y))
        if plot is not None:
            _draw(plot, model, X, y)
        if lost:
            raise typer.Exit(2)


@app.command()
def predict(
    model: Annotated[
        Path,
        typer.Argument(help="What 'fit --save' wrote; a pickle: open none that you do not trust"),
    ],
    data: Annotated[Path, typer.Argument(help="CSV file with the columns of the fit")],
    out: Annotated[Path | None, typer.Option(help="CSV file; default: standard output")] = None,
    index: Annotated[int | None, typer.Option(help="Row of the front; default: selected")] = None,
) -> None:
    """Add a column 'prediction' to a table."""
    with clear_errors():
        estimator = _load_estimator(model)
        _check_results({"--out": out}, inputs=[model])
        table = read_table(data)
        names = list(estimator.feature_names_in_)
        absent = [name for name in names if name not in table.columns]
        if absent:
            fail(
                f"{data} lacks the column {absent[0]!r}; the model needs {', '.join(names)}, the "
                f"file has {', '.join(table.columns)}."
            )
        _check_numeric(table[names])
        table["prediction"] = estimator.predict(table[names], index)
        table.to_csv(out or sys.stdout, index=False)


@app.command()
def info() -> None:
    """Show versions, the device, the checkpoint, and which search engines can run."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import platform, python_version

    from sr_transformer.engines.choose import unusable_reasons

    out = output_console()

    def line(name: str, value: object) -> None:
        out.print(f"{name:<20}{value}", soft_wrap=True)

    line("sr-transformer", __version__)
    line("python", f"{python_version()} on {platform()}")
    for package in ("numpy", "scipy", "scikit-learn", "sympy", "torch", "pysr", "pyoperon"):
        try:
            line(package, version(package))
        except PackageNotFoundError:
            line(package, "not installed")
    with error_console().status("starting PySR, which starts Julia ..."):
        # Before torch is imported: Julia can crash when it is loaded second.
        reasons = unusable_reasons()
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    line("device", f"{device}, {torch.get_num_threads()} threads")
    try:
        from sr_transformer.model.checkpoint import load_model

        loaded = load_model()
        size = sum(parameter.numel() for parameter in loaded.network.parameters())
        line("checkpoint", f"default, {size / 1e6:.1f} million parameters")
        for key, value in sorted(loaded.metadata.items()):
            if key != "tokens":
                line(f"  {key}", value)
    except SRTransformerError as error:
        line("checkpoint", f"unusable: {error}")
    line("search engines", "none: always usable, the Transformer alone")
    for name, reason in reasons.items():
        line("", f"{name}: usable" if reason is None else f"{name}: not usable: {reason}")


@app.command()
def train(
    directory: Annotated[
        Path | None, typer.Argument(help="Folder of the run; none with --evaluate")
    ] = None,
    preset: Annotated[str, typer.Option(help="Size: tiny, small or base")] = "small",
    minutes: Annotated[float, typer.Option(help="Training time of the whole run")] = 60.0,
    resume: Annotated[bool, typer.Option(help="Go on where the folder holds a run")] = True,
    start_from: Annotated[
        str | None, typer.Option(help="Begin a new run with a model: default or its path")
    ] = None,
    cool_down: Annotated[bool, typer.Option("--cool-down", help="Finish the run now")] = False,
    processes: Annotated[int | None, typer.Option(help=PROCESSES)] = None,
    threads: Annotated[int | None, typer.Option(help=THREADS)] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that make examples, or solve problems for --evaluate")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the weights and the examples")] = 0,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Train nothing; measure a model on held-out problems")
    ] = False,
    checkpoint: Annotated[str, typer.Option(help="Model to evaluate: default or path")] = "default",
    problems: Annotated[int, typer.Option(help="Problems to evaluate it on")] = 1000,
    draws: Annotated[
        str, typer.Option(help="Numbers of drawn formulas within which it counts as found")
    ] = "32,256,1024",
    seconds: Annotated[float | None, typer.Option(help="Time limit of the evaluation")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Its outcomes; a stopped evaluation goes on from here")
    ] = None,
    card: Annotated[Path | None, typer.Option(help="Model card to write after it")] = None,
) -> None:
    """Train a model; it may be stopped at any time and goes on when it is started again."""
    with clear_errors():
        if evaluate:
            if directory is not None:
                fail(f"--evaluate trains nothing in {directory}; name a model with --checkpoint.")
            _evaluate(checkpoint, problems, draws, seconds, device, workers, out, card)
            return
        if directory is None:
            fail("name a folder for the run, or --evaluate to measure a model.")
        for name, path in {"--out": out, "--card": card}.items():
            if path is not None:
                fail(f"{name} is written by an evaluation only; add --evaluate.")
        require_lightning()
        from sr_transformer.training.loop import train as run_training

        with shown_warnings(), shown_training() as report:
            written = run_training(
                directory,
                preset,
                minutes,
                resume=resume,
                start_from=start_from,
                processes=processes,
                threads=threads,
                workers=workers,
                device=device,
                cool_down=cool_down,
                seed=seed,
                report=report,
            )
        print(written)
        _draw_curves(directory)


# --- the pieces ---------------------------------------------------------------------------------


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file whose first lines may be comments."""
    import pandas as pd

    if not path.is_file():
        fail(f"{path} does not exist." if not path.exists() else f"{path} is not a file.")
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        n_comments = 0
        while next(lines, "").startswith("#"):
            n_comments += 1
    try:
        with warnings.catch_warnings():
            # Rows longer than the header: no column is where its name says.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, skiprows=n_comments, encoding="utf-8-sig", index_col=False)
    except Exception as error:  # a damaged or compressed file can raise anything
        fail(f"{path} is not a readable CSV file: {_first_line(error)}")
    table.columns = table.columns.str.strip()
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        fail(f"{path} has several columns with the name {twice[0]!r}; rename them.")
    return table


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def _check_numeric(table: pd.DataFrame, advice: str = "") -> None:
    import pandas as pd

    for name, column in table.items():
        text = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        if len(text):
            fail(
                f"the column {name!r} holds text ({text.iloc[0]!r}); formulas need numbers.{advice}"
            )


def _check_results(results: dict[str, Path | None], inputs: Sequence[Path] = ()) -> None:
    """Find out before a long run that its results could not be saved, or would replace something.

    Parameters
    ----------
    results : dict of str to Path or None
        The file of each option.
    inputs : sequence of Path
        What the command reads.
    """
    taken = {path.resolve(): f"{path} is read by this command" for path in inputs}
    for option, path in results.items():
        if path is None:
            continue
        folder = path.absolute().parent
        if not folder.is_dir():
            fail(f"{option}: the folder {folder} does not exist.")
        if path.is_dir():
            fail(f"{option}: {path} is a folder; name a file in it.")
        if not os.access(path if path.exists() else folder, os.W_OK):
            fail(f"{option}: {path} cannot be written.")
        if path.resolve() in taken:
            fail(f"{option}: {taken[path.resolve()]}; name another file.")
        taken[path.resolve()] = f"{path} is the file of {option}"


def _check_picture(path: Path) -> None:
    """Find out before a long run that no such picture could be drawn."""
    from sr_transformer.plotting import picture_formats

    formats = picture_formats()
    if path.suffix.lower().removeprefix(".") not in formats:
        endings = ", ".join(f".{name}" for name in formats)
        fail(f"--plot: {path} ends in {path.suffix!r}; allowed are {endings}.")


def _draw(path: Path, model: SymbolicTransformerRegressor, X: pd.DataFrame, y: pd.Series) -> None:
    """Draw a fit, which is known by then; whatever goes wrong is one line."""
    from sr_transformer.plotting import plot_summary

    hall = model.hall_of_fame_
    try:
        figure = plot_summary(hall, X, y, selected=hall.select(), target_name=str(y.name))
        figure.savefig(path)
    except Exception as error:  # of the file system, or of any part of matplotlib
        fail(f"the picture {path} could not be drawn: {_first_line(error)}")
    say(f"picture saved to {path}")


def _kept(path: Path, content: bytes) -> bool:
    """Write a file, elsewhere if need be; False where it could not be written at its place."""
    try:
        path.write_bytes(content)
        say(f"model saved to {path}")
        return True
    except OSError as error:
        reason = error.strerror or error
    with NamedTemporaryFile(prefix=f"{path.stem}-", suffix=path.suffix, delete=False) as file:
        file.write(content)
    say(f"error: {path}: {reason}; the model was saved to {file.name} instead.", style="red")
    return False


def _load_estimator(path: Path) -> SymbolicTransformerRegressor:
    if not path.is_file():
        fail(f"{path} does not exist.")
    from sr_transformer.estimators.regressor import SymbolicTransformerRegressor

    try:
        model = pickle.loads(path.read_bytes())
    except Exception as error:  # a damaged pickle can raise anything
        fail(f"{path} is no model of 'sr-transformer fit --save' ({type(error).__name__}).")
    if not isinstance(model, SymbolicTransformerRegressor):
        fail(f"{path} holds a {type(model).__name__}, not a fitted model of sr-transformer.")
    if not hasattr(model, "feature_names_in_") or model.n_outputs_ > 1:
        fail(f"{path} was not made by 'fit --save': it has no named columns, or several outputs.")
    return model


def _evaluate(
    checkpoint: str, problems: int, draws: str, seconds: float | None, device: str,
    workers: int, out: Path | None, card: Path | None,
) -> None:  # fmt: skip
    """Measure a model, print the table, and write the card."""
    _check_results({"--out": out, "--card": card})
    try:
        numbers = tuple(int(number) for number in draws.split(","))
    except ValueError:
        fail(f"--draws is {draws!r}; give whole numbers with commas between them.")
    from sr_transformer.evaluation.card import markdown_table, rich_table, write_card
    from sr_transformer.evaluation.recovery import evaluate_recovery
    from sr_transformer.model.checkpoint import load_model

    model = load_model(checkpoint, device)
    with shown_warnings():
        evaluation = evaluate_recovery(
            model.path, n_problems=problems, draws=numbers, seconds=seconds, device=device,
            n_jobs=workers, out=out, console=error_console(),
        )  # fmt: skip
    done = len(evaluation.outcomes)
    if done < problems:
        say(f"the time limit ended the evaluation after {done} of {problems} problems")
    output_console().print(rich_table(evaluation))
    print(f"\n{markdown_table(evaluation)}")
    if card is not None:
        write_card(card, model, evaluation)
        say(f"model card: {card}")


def _draw_curves(directory: Path) -> None:
    from sr_transformer.files import write_atomically
    from sr_transformer.plotting import PlottingUnavailableError, plot_training

    picture = BytesIO()
    try:
        plot_training(directory / "log.csv").savefig(picture)
    except PlottingUnavailableError:
        return  # the curves are in log.csv all the same
    write_atomically(directory / "curves.png", picture.getvalue())
    say(f"curves: {directory / 'curves.png'}")


if __name__ == "__main__":
    main()
