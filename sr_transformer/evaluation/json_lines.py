"""Files of JSON lines to which a long measurement is written, so that a stopped one goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read_records(path: Path, key: Callable[[Record], Hashable], kind: str) -> list[Record]:
    """Read what was written; a last line that was cut off by a crash is removed from the file.

    Parameters
    ----------
    path : Path
        A file that does not exist holds no record.
    key : callable
        Raises ``KeyError`` or ``TypeError`` for a record of something else.
    kind : str
        What the error calls a record.

    Raises
    ------
    ValueError
        If a line is not such a record.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        path.write_bytes(complete)
    records = []
    for number, line in enumerate(complete.decode("utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            key(record)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"line {number} of {path} is not {kind}; give --out another file."
            ) from error
        records.append(record)
    return records


def append_record(path: Path, record: Record) -> None:
    """Write one more line, and see to it that it is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
