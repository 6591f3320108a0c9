"""How fast examples are made and learnt on this machine."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from sr_transformer.limits import check_positive
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.config import Progress, accelerator_of, default_data
from sr_transformer.training.data import DataConfig, make_chunk
from sr_transformer.training.loop import train

_GENERATOR_SHARE = 0.2  # of the time


class Speed(NamedTuple):
    """What was measured: examples a second, and the share of time without a batch."""

    generated: float  # by one process, from the drawing to the batch
    trained: float  # by all training processes together
    data_wait: float  # of the first of them


def measure_speed(
    preset: str = "small",
    seconds: float = 20.0,
    *,
    processes: int | None = None,
    threads: int | None = None,
    workers: int = 1,
    device: str = "auto",
    data: DataConfig | None = None,
) -> Speed:
    """Train for a while in a temporary folder, then make examples.

    The processes that make examples for the training run beside it, as in a real run; the start is
    left out, and so are validation and checkpoints.

    Parameters
    ----------
    preset, processes, threads, workers, device, data
        As in :func:`~sr_transformer.training.loop.train`.
    seconds : float, default=20
        Time that is measured, a fifth of it for making examples. The whole takes longer: starting,
        and ending with a cool-down.

    Raises
    ------
    ValueError, TypeError
        If a number is not allowed.
    """
    check_positive("seconds", seconds)
    rows: list[dict[str, float]] = []
    # Further processes of a distributed run come here, too, and end in ``train``.
    with TemporaryDirectory(prefix="sr-transformer-") as name:
        folder = Path(name)

        def watch(progress: Progress) -> None:
            if progress.cooling_down:
                return  # it began with writing a checkpoint
            rows.append(progress.row)
            passed = rows[-1]["seconds"] - rows[0]["seconds"]
            if len(rows) > 2 and passed >= seconds * (1.0 - _GENERATOR_SHARE):
                (folder / "cool-down").touch()

        written = train(
            folder, preset, minutes=24 * 60, processes=processes, threads=threads,
            workers=workers, device=device, data=data, log_every=5, validate_every=10**9,
            validation_examples=8, checkpoint_seconds=float("inf"), report=watch,
        )  # fmt: skip
        if written.name != "model.safetensors":
            raise SystemExit(128 + signal.SIGTERM)  # it was asked to end before it had measured
    passed = np.diff([row["seconds"] for row in rows])  # without the first row: it holds the start
    trained = (rows[-1]["examples"] - rows[0]["examples"]) / passed.sum()
    data_wait = np.average([row["data_wait"] for row in rows[1:]], weights=passed)
    data = data or default_data(accelerator_of(device), processes or 1)
    return Speed(_generator(seconds * _GENERATOR_SHARE, data), trained, float(data_wait))


def _generator(seconds: float, config: DataConfig) -> float:
    """Examples a second that this process makes, as a worker of a training run does."""
    small = replace(config, groups=1, group_size=config.batch_size)
    vocabulary = Vocabulary.of()
    make_chunk(0, 0, small, vocabulary)  # the first one fills caches
    n_examples, index, started = 0, 1, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or n_examples == 0:
        n_examples += sum(len(batch.tokens) for batch in make_chunk(0, index, config, vocabulary))
        index += 1
    return n_examples / passed
