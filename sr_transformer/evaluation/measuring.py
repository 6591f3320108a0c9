"""What long measurements share: a file that a stopped one goes on from, and a bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from sr_transformer.files import append_line

Record = dict[str, Any]


def read_records(path: Path, key: Callable[[Record], Hashable], kind: str) -> list[Record]:
    """Read a file of JSON lines; a last line that was cut off by a crash is removed from it.

    Parameters
    ----------
    path : Path
        It is made where it does not exist.
    key : callable
        Raises ``KeyError`` or ``TypeError`` for a record of something else.
    kind : str
        What the error calls a record.

    Raises
    ------
    ValueError
        If a line is not such a record.
    OSError
        If the file cannot be written: that is said before anything is measured.
    """
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        records = []
        for number, line in enumerate(complete.splitlines(), start=1):
            try:
                record = json.loads(line)
                key(record)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} of {path} is not {kind}; give --out another file."
                ) from error
            records.append(record)
        file.truncate(len(complete))
    return records


def append_record(path: Path, record: Record) -> None:
    """Write one more line, and see to it that it is on the disk."""
    append_line(path, json.dumps(record))


def table_of_numbers(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table for a terminal with columns of text, and right of them columns of numbers."""
    right = [Column(name, justify="right") for name in numbers]
    return Table(*texts, *right, title=title, title_justify="left")


def progress_bar(console: Console | None, *, transient: bool = False) -> Progress:
    """A bar with what is measured, how many are done, and the time; without a console, none."""
    columns = (
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console or Console(quiet=True), transient=transient)
