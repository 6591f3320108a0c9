"""The curves of a run, as a CSV file.

``loss`` to ``mean_log_z`` are means since the row before. ``data_wait`` is the share of the time
since then in which the loop of the first process stood still because no batch was there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sr_transformer.model.checkpoint import write_atomically
from sr_transformer.training.data import Batch

LOG_COLUMNS = (
    "step", "examples", "loss", "token_accuracy", "grad_norm", "mean_log_z", "learning_rate",
    "examples_per_second", "data_wait", "seconds", "validation_loss", "validation_token_accuracy",
    "validation_formula_accuracy",
)  # fmt: skip


class Log:
    """The CSV file; rows that a killed process wrote after its last checkpoint are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        before = path.read_text().splitlines()[1:] if path.is_file() and step > 0 else []
        # The last line of a killed process may be torn.
        numbers = (line.partition(",")[0] for line in before)
        kept = [
            line for line, n in zip(before, numbers, strict=True) if n.isdigit() and int(n) <= step
        ]
        text = "\n".join((",".join(LOG_COLUMNS), *kept, ""))
        write_atomically(path, lambda temporary: temporary.write_text(text))

    def write(self, row: dict[str, float]) -> None:
        """Append one row."""
        cells = (row.get(name, "") for name in LOG_COLUMNS)
        text = (f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
        with open(self.path, "a") as file:
            file.write(",".join(text) + "\n")


class Pace:
    """How fast the loop is since the last row of the log, and how long it stood without data."""

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._since = time.monotonic()
        self._waited = 0.0

    def take(self, feeder: Iterator[Batch]) -> Batch:
        """Wait for the next batch."""
        asked = time.monotonic()
        batch = next(feeder)
        self._waited += time.monotonic() - asked
        return batch

    def figures(self, examples: int) -> dict[str, float]:
        """Examples a second, and the share of the time that was waited."""
        passed = time.monotonic() - self._since
        return {
            "examples_per_second": (examples - self._examples) / passed,
            "data_wait": self._waited / passed,
        }
