"""What a run leaves on disk, and what it may begin with: checkpoints and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sr_transformer.errors import CheckpointError
from sr_transformer.model.checkpoint import LoadedModel, load_model, save_model
from sr_transformer.model.transformer import Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.config import TrainingConfig
from sr_transformer.training.data import DataConfig


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
