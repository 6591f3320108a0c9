"""How fast examples are made and learnt on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sr_transformer.training.config import Progress, accelerator_of, default_data
from sr_transformer.training.data import DataConfig, make_chunk
from sr_transformer.training.loop import train

_GENERATOR_SHARE = 0.2  # of the time


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes
    ----------
    generated : float
        Examples a second that one process makes, from the drawing to the batch.
    trained : float
        Examples a second that all training processes learn together.
    data_wait : float
        Share of the training time in which the first process waited for a batch.
    """

    generated: float
    trained: float
    data_wait: float


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

    The processes that make examples for the training run beside it, as in a real run; what the
    start and the first rows of the log take is left out.

    Parameters
    ----------
    preset, processes, threads, workers, device, data
        As in :func:`~sr_transformer.training.loop.train`.
    seconds : float, default=20
        About the time of the whole measurement, without the start of the processes.

    Raises
    ------
    ValueError
        If ``seconds`` is too short for this machine.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}; it must be above 0.")
    seen: list[Progress] = []
    # Further processes of a distributed run come here, too, and end in ``train``.
    with TemporaryDirectory(prefix="sr-transformer-") as folder:
        train(
            Path(folder), preset, seconds * (1.0 - _GENERATOR_SHARE) / 60.0, processes=processes,
            threads=threads, workers=workers, device=device, data=data, log_every=5,
            validate_every=10**9, validation_examples=8, checkpoint_seconds=float("inf"),
            report=seen.append,
        )  # fmt: skip
    trained, data_wait = _pace([p.row for p in seen if not p.cooling_down])
    data = data or default_data(accelerator_of(device), processes or 1)
    return Speed(_generator(seconds * _GENERATOR_SHARE, data), trained, data_wait)


def _pace(rows: list[dict[str, float]]) -> tuple[float, float]:
    """Examples a second and share of waiting, without the row that holds the start."""
    if len(rows) < 3:
        raise ValueError(
            "the time was too short to train more than a few steps on this machine; give more "
            "seconds."
        )
    n_examples = passed = waited = 0.0
    for before, row in zip(rows[:-1], rows[1:], strict=True):
        n = row["examples"] - before["examples"]
        seconds = n / row["examples_per_second"]
        n_examples += n
        passed += seconds
        waited += row["data_wait"] * seconds
    return n_examples / passed, waited / passed


def _generator(seconds: float, config: DataConfig) -> float:
    """Examples a second that this process makes, as a worker of a training run does."""
    small = replace(config, groups=1, group_size=config.batch_size)
    make_chunk(0, 0, small)  # the first one fills caches
    n_examples, index, started = 0, 1, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or n_examples == 0:
        n_examples += sum(len(batch.tables) for batch in make_chunk(0, index, config))
        index += 1
    return n_examples / passed
