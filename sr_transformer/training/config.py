"""What a run is told: its configuration, and what follows from the machine that it runs on."""

from __future__ import annotations

import timeit
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from sr_transformer.errors import CheckpointError
from sr_transformer.model.transformer import PRESETS, ModelConfig
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.data import DataConfig

LEARNING_RATE = {"tiny": 4e-3, "small": 2e-3, "base": 6e-4}
"""Peak by preset."""


@dataclass(frozen=True)
class TrainingConfig:
    """What a run keeps for its whole life.

    Parameters
    ----------
    preset : str
        Size of the network.
    seed : int
        Of the initial weights and of the data.
    learning_rate : float
        Of the flat part.
    warm_up : int
        Examples.
    weight_decay : float
    data : DataConfig
    examples_before : int
        What the weights that the run began with had seen already.
    tokens : tuple of str
        What the network writes.
    """

    preset: str = "small"
    seed: int = 0
    learning_rate: float = LEARNING_RATE["small"]
    warm_up: int = 32_000
    weight_decay: float = 0.01
    data: DataConfig = field(default_factory=DataConfig)
    examples_before: int = 0
    tokens: tuple[str, ...] = field(default=Vocabulary.of().tokens, repr=False)

    @property
    def sizes(self) -> ModelConfig:
        """Sizes of the network."""
        return replace(PRESETS[self.preset], n_tokens=len(self.tokens))

    @property
    def data_seed(self) -> int:
        """Seed of the examples: a run that goes on from a model does not see its examples again."""
        if self.examples_before == 0:
            return self.seed
        sequence = np.random.SeedSequence([self.seed, self.examples_before])
        return int(sequence.generate_state(1, np.uint64)[0])


class Progress(NamedTuple):
    """Where a run stands, with the latest row of the log; handed to ``report``."""

    row: dict[str, float]
    fraction: float  # of the run that is done
    seconds_left: float
    cooling_down: bool
    finished: bool


def accelerator_of(device: str, processes: int | None = None) -> str:
    """Fabric's name of the accelerator for ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    CheckpointError
        If the device is none of these, or there are not as many GPUs as processes.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise CheckpointError(f"device is {device!r}; training knows 'auto', 'cpu' and 'cuda'.")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if n_gpus else "cpu"
    if device == "cuda" and n_gpus < (processes or 1):
        raise CheckpointError(
            f"{processes or 1} processes need as many GPUs, and there are {n_gpus}; take fewer, or "
            "device 'cpu'."
        )
    return device


def default_data(accelerator: str, processes: int) -> DataConfig:
    """Batches of each process: 64 examples for all processes on a CPU, 512 for each GPU."""
    if accelerator == "cpu":
        return DataConfig(batch_size=max(64 // processes, 1))
    return DataConfig(
        batch_size=512, group_size=4096, row_weights=(0.03, 0.07, 0.15, 0.25, 0.15, 0.2, 0.15)
    )


def fastest_precision(accelerator: str) -> str:
    """``bf16-mixed`` where products in bfloat16 are faster, else ``32-true``.

    Measured, because it is a property of the machine: with AVX-512 BF16 or AMX they are about twice
    as fast as in float32, with AVX2 alone ten times slower.
    """
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(512, 512, dtype=dtype)
        return min(timeit.repeat(lambda: a @ a, number=1, repeat=3))

    return "bf16-mixed" if seconds(torch.bfloat16) < 0.7 * seconds(torch.float32) else "32-true"
