"""What a run leaves on disk, and what it may begin with: checkpoints, models, its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sr_transformer.errors import CheckpointError
from sr_transformer.model.checkpoint import (
    LoadedModel,
    load_model,
    save_model,
    write_atomically,
)
from sr_transformer.model.transformer import Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.config import TrainingConfig
from sr_transformer.training.data import DataConfig

LOG_COLUMNS = (
    "step", "examples", "loss", "token_accuracy", "grad_norm", "mean_log_z", "learning_rate",
    "examples_per_second", "data_wait", "seconds", "validation_loss", "validation_token_accuracy",
    "validation_formula_accuracy",
)  # fmt: skip


def export(directory: str | Path, path: str | Path) -> Path:
    """Write the averaged weights of a run as a model file.

    Parameters
    ----------
    directory : str or Path
        Of the run, which may be going on.
    path : str or Path
        The ``*.safetensors`` file to write.
    """
    state = read_state(Path(directory) / "checkpoint.pt")
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


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of the loop.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, or made for another vocabulary.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no run at {path.parent}: {path.name} is missing.")
    try:
        # The first runs wrote the configuration under the name of the loop's module.
        old = (TrainingConfig, "sr_transformer.training.loop.TrainingConfig")
        with torch.serialization.safe_globals([TrainingConfig, DataConfig, old]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); remove it to begin again."
        ) from error
    known = Vocabulary(state["config"].tokens).hash
    if state["vocabulary_hash"] != known:
        raise CheckpointError(
            f"the run at {path.parent} was made for vocabulary {state['vocabulary_hash']}, this "
            f"version has {known}; train in another directory."
        )
    return state


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
