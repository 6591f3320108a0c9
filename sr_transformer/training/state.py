"""What a run leaves on disk, and what it may begin with: checkpoints, models, its log."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_transformer.errors import CheckpointError, DamagedStateWarning
from sr_transformer.files import (
    append_line,
    held_by_this_process,
    remove_temporaries,
    write_atomically,
)
from sr_transformer.model.checkpoint import LoadedModel, load_model, save_model
from sr_transformer.model.transformer import Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.config import TrainingConfig
from sr_transformer.training.data import DataConfig

LOG_COLUMNS = (
    "step", "examples", "loss", "token_accuracy", "grad_norm", "mean_log_z", "learning_rate",
    "examples_per_second", "data_wait", "seconds", "validation_loss", "validation_token_accuracy",
    "validation_formula_accuracy",
)  # fmt: skip


@contextmanager
def run_of_this_process(directory: Path) -> Iterator[None]:
    """Hold a run's folder, made where it is missing, so that no other process trains there.

    Raises
    ------
    CheckpointError
        If another process, or another thread, holds it.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        yield  # the first process of a distributed run holds it for the others
        return
    directory.mkdir(parents=True, exist_ok=True)
    with held_by_this_process(directory / "lock") as holder:
        if holder is not None:
            raise CheckpointError(
                f"{holder} is training in {directory}; wait for it, stop it, or choose another "
                "directory."
            )
        for name in ("checkpoint.pt", "before-cool-down.pt", "model.safetensors", "log.csv"):
            remove_temporaries(directory / name)
        yield


class States:
    """The last two states of a run, so that a damaged one leaves the one before it.

    Parameters
    ----------
    directory : Path
        Of the run.
    """

    def __init__(self, directory: Path) -> None:
        self.newest = directory / "checkpoint.pt"
        self.before = directory / "checkpoint-before.pt"
        self._newest_is_sound = True

    def exist(self) -> bool:
        """Whether the directory holds a run."""
        return self.newest.is_file() or self.before.is_file()

    def read(self) -> dict[str, Any]:
        """Read the newest state that is sound.

        Raises
        ------
        CheckpointError
            If there is none.

        Warns
        -----
        DamagedStateWarning
            If it is not the last one that was written.
        """
        if not self.exist():
            raise CheckpointError(
                f"there is no run at {self.newest.parent}: {self.newest.name} is missing."
            )
        try:
            return read_state(self.newest)
        except CheckpointError as error:
            self._newest_is_sound = False
            try:
                state = read_state(self.before)
            except CheckpointError:
                raise CheckpointError(
                    f"{error} There is no sound state before it, so that the run cannot go on; "
                    "choose another directory, or remove this file to begin again."
                ) from None
            # A kill between the two steps of keeping both leaves no newest one: nothing is lost.
            if self.newest.is_file():
                warnings.warn(
                    f"{error} The state before it is used, of step {state['step']:,}.",
                    DamagedStateWarning,
                    stacklevel=2,
                )
            return state

    def write(self, state: dict[str, Any]) -> None:
        """Write a state; the one that was the newest is kept beside it, unless it is damaged."""
        before = self.before if self._newest_is_sound else None
        write_atomically(self.newest, _serialised(state), before)
        self._newest_is_sound = True


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state of the loop, in one step."""
    write_atomically(path, _serialised(state))


def _serialised(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read_state(path: Path) -> dict[str, Any]:
    """Read a state of the loop.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, holds numbers that are not finite, or was made for another
        vocabulary.
    """
    try:
        # torch does not look at the checksums of its own files, which are zip archives.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of its part {damaged} is wrong")
        # The first runs wrote the configuration under the name of the loop's module.
        old = (TrainingConfig, "sr_transformer.training.loop.TrainingConfig")
        with torch.serialization.safe_globals([TrainingConfig, DataConfig, old]):
            state = torch.load(path, map_location="cpu", weights_only=True)
        if not _is_finite([state["model"], state["average"], state["optimizer"]]):
            raise ValueError("it holds weights that are nan or infinite")
    except Exception as error:  # a damaged archive can raise anything
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    known = Vocabulary(state["config"].tokens).hash
    if state["vocabulary_hash"] != known:
        raise CheckpointError(
            f"the run at {path.parent} was made for vocabulary {state['vocabulary_hash']}, this "
            f"version has {known}; train in another directory."
        )
    return state


def _is_finite(value: Any) -> bool:
    """Whether all tensors within dictionaries and lists are finite."""
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list) or all(map(_is_finite, value))


def export(directory: str | Path, path: str | Path) -> Path:
    """Write the averaged weights of a run as a model file.

    Parameters
    ----------
    directory : str or Path
        Of the run, which may be going on.
    path : str or Path
        The ``*.safetensors`` file to write.
    """
    state = States(Path(directory)).read()
    config: TrainingConfig = state["config"]
    save_model(
        Transformer.holding(config.sizes, state["average"]),
        Path(path),
        vocabulary=Vocabulary(config.tokens),
        rows=max(config.data.row_counts),
        preset=config.preset,
        examples_seen=config.examples_before + state["examples"],
        prior_version=state["prior_version"],
        validation=state["validation"],
    )
    return Path(path)


def first_model(checkpoint: str | Path, preset: str) -> LoadedModel:
    """Load the model that a new run begins with.

    Raises
    ------
    CheckpointError
        If it cannot be loaded, or is of another preset, or its preset had other sizes then.
    """
    model = load_model(checkpoint, "cpu")
    found = model.metadata.get("preset")
    if found != preset:
        raise CheckpointError(
            f"{model.path} is of preset {found!r}, the new run of {preset!r}; a run can start only "
            f"from a model of its own preset."
        )
    sizes = model.network.config
    known = TrainingConfig(preset, tokens=model.vocabulary.tokens).sizes
    if sizes != known:
        raise CheckpointError(
            f"{model.path} has other sizes than preset {preset!r} has in this version ({sizes}, "
            f"not {known}); train from the beginning."
        )
    return model


class Log:
    """The curves, a CSV file; rows that a killed process wrote after its checkpoint are dropped.

    ``loss`` to ``mean_log_z`` are means since the row before. ``data_wait`` is the share of the
    time since then in which the loop of the first process stood still because no batch was there.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        before = path.read_text(errors="replace").splitlines() if path.is_file() else []
        rows = (line.split(",") for line in before)
        kept = [
            ",".join(cells)
            for cells in rows  # the last one of a killed process may be torn
            if len(cells) == len(LOG_COLUMNS) and cells[0].isdigit() and int(cells[0]) <= step
        ]
        text = "\n".join((",".join(LOG_COLUMNS), *kept, ""))
        write_atomically(path, text.encode())

    def write(self, row: dict[str, float]) -> None:
        """Append one row."""
        cells = (row.get(name, "") for name in LOG_COLUMNS)
        text = (f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in cells)
        append_line(self.path, ",".join(text))
