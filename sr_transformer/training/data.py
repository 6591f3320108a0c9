"""Batches from the prior, made by worker processes in an order that does not depend on them.

Chunk ``k`` of a run is made from the seed ``(seed, k)`` and the number of ranks alone, so the whole
random state of a run's data is one counter, and any number of workers, or a replaced one, gives the
same batches.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np

from sr_transformer.model.prompt import Prompt
from sr_transformer.model.vocabulary import N_VARIABLES, Vocabulary
from sr_transformer.prior.stream import Example, ExampleStream

# The second word of every seed: what is drawn from one kind of stream is in none of the others.
_TRAINING, _VALIDATION, PROBLEMS = 0, 1, 2
_MAX_DEATHS = 5


class Batch(NamedTuple):
    """Examples as arrays.

    Attributes
    ----------
    prompt : Prompt
    tokens : ndarray of int16, shape (B, T)
        Each formula with EOS, then PAD.
    """

    prompt: Prompt
    tokens: np.ndarray


@dataclass(frozen=True)
class DataConfig:
    """How examples are grouped.

    Parameters
    ----------
    batch_size : int
    row_counts, row_weights : tuple
        The numbers of rows that occur, and how often. All tables of a batch have one number, so
        that nothing is padded.
    group_size : int
        Examples that are drawn with one number of rows and sorted by length before they are cut
        into batches, so that little of a batch is padding.
    groups : int
        Groups in a chunk; the batches of a chunk are shuffled.
    """

    batch_size: int = 64
    row_counts: tuple[int, ...] = (8, 16, 32, 64, 96, 128, 256)
    row_weights: tuple[float, ...] = (0.04, 0.12, 0.26, 0.32, 0.12, 0.10, 0.04)
    group_size: int = 512
    groups: int = 4

    @property
    def batches_per_chunk(self) -> int:
        """Number of batches in a chunk."""
        return self.groups * (self.group_size // self.batch_size)


def collate(examples: list[Example], vocabulary: Vocabulary) -> Batch:
    """Turn examples with the same number of rows into one batch."""
    ids = [vocabulary.encode(example.expression) for example in examples]
    tokens = np.full((len(examples), max(map(len, ids))), Vocabulary.PAD, np.int16)
    for row, written in zip(tokens, ids, strict=True):
        row[: len(written)] = written
    return Batch(Prompt.of([(X, y) for X, y, _ in examples], N_VARIABLES), tokens)


def _grouped(
    stream: ExampleStream, n_rows: int, config: DataConfig, vocabulary: Vocabulary
) -> list[Batch]:
    """One group, sorted by length and cut into batches."""
    examples = stream.batch(config.group_size, n_rows)
    examples.sort(key=lambda example: len(example.expression.symbols))
    size = config.batch_size
    return [
        collate(examples[start : start + size], vocabulary)
        for start in range(0, config.group_size - size + 1, size)
    ]


def make_chunk(
    seed: int, index: int, config: DataConfig, vocabulary: Vocabulary, n_ranks: int = 1
) -> list[Batch]:
    """Batches of one chunk: always the same for the same arguments.

    Ranks wait for each other after every batch. So the chunks that they use at the same time have
    the same numbers of rows, and batches of like length, in the same order.
    """
    rng = np.random.default_rng([seed, _TRAINING, index // n_ranks])
    stream = ExampleStream([seed, _TRAINING, index])
    weights = np.array(config.row_weights) / sum(config.row_weights)
    batches: list[Batch] = []
    for n_rows in rng.choice(config.row_counts, size=config.groups, p=weights):
        batches += _grouped(stream, int(n_rows), config, vocabulary)
    return [batches[i] for i in rng.permutation(len(batches))]


def validation_batches(
    n_examples: int, batch_size: int, vocabulary: Vocabulary, n_rows: int = 64
) -> list[Batch]:
    """A fixed set of examples that no training seed draws from."""
    config = DataConfig(batch_size=min(batch_size, n_examples), group_size=n_examples)
    return _grouped(ExampleStream([0, _VALIDATION]), n_rows, config, vocabulary)


class Feeder(Iterator[Batch]):
    """Batches from worker processes, one chunk ahead.

    Parameters
    ----------
    seed : int
    config : DataConfig
    vocabulary : Vocabulary
    first_batch : int
        Number of the batch to begin with: how many have been taken before.
    rank, n_ranks : int
        Place in a distributed run; each rank has chunks of its own.
    n_workers : int

    Notes
    -----
    A worker that dies is replaced by one that begins with the chunk that is missing. An error in
    the prior itself is raised here.
    """

    def __init__(
        self,
        seed: int,
        config: DataConfig,
        vocabulary: Vocabulary,
        *,
        first_batch: int = 0,
        rank: int = 0,
        n_ranks: int = 1,
        n_workers: int = 1,
    ) -> None:
        self.seed = seed
        self.config = config
        self.vocabulary = vocabulary
        self.next_batch = first_batch
        self.rank = rank
        self.n_ranks = n_ranks
        self._chunk_number = first_batch // config.batches_per_chunk - 1
        self._chunk: list[Batch] = []
        self._workers: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        # "spawn": a forked copy of a process in which torch runs threads can hang.
        self._context = multiprocessing.get_context("spawn")
        self._n_workers = n_workers
        following = self._chunk_number + 1
        numbers = range(following, following + n_workers)
        self._workers = [self._hire(k) for k in sorted(numbers, key=lambda k: k % n_workers)]

    def _hire(self, number: int) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        ours, theirs = self._context.Pipe(duplex=False)
        first = number * self.n_ranks + self.rank
        process = self._context.Process(
            target=_work,
            args=(
                theirs,
                self.seed,
                self.config,
                self.vocabulary,
                first,
                self._n_workers,
                self.n_ranks,
            ),
            daemon=True,
            name="sr-transformer data",
        )
        process.start()
        theirs.close()
        return process, ours

    def _receive(self, number: int) -> list[Batch]:
        place = number % self._n_workers
        for _ in range(_MAX_DEATHS):
            process, connection = self._workers[place]
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                self._dismiss(process, connection)
                self._workers[place] = self._hire(number)
                continue
            if isinstance(answer, str):
                raise RuntimeError(f"a data worker failed on chunk {number}:\n{answer}")
            return answer
        raise RuntimeError(
            f"data workers died {_MAX_DEATHS} times in a row on chunk {number} of seed "
            f"{self.seed}; the machine may be out of memory."
        )

    def __next__(self) -> Batch:
        number, place = divmod(self.next_batch, self.config.batches_per_chunk)
        if number != self._chunk_number:
            self._chunk = self._receive(number)
            self._chunk_number = number
        self.next_batch += 1
        return self._chunk[place]

    @staticmethod
    def _dismiss(process: multiprocessing.process.BaseProcess, connection: Connection) -> None:
        connection.close()
        process.terminate()
        process.join()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._dismiss(*worker)
        self._workers = []

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _work(
    connection: Connection,
    seed: int,
    config: DataConfig,
    vocabulary: Vocabulary,
    chunk: int,
    n_workers: int,
    n_ranks: int,
) -> None:
    """Make every ``n_workers``-th chunk of a rank; sending waits until the last one was taken."""
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends its workers itself
    if hasattr(os, "nice"):
        os.nice(5)
    try:
        while True:
            connection.send(make_chunk(seed, chunk, config, vocabulary, n_ranks))
            chunk += n_workers * n_ranks
    except (BrokenPipeError, ConnectionResetError):
        return  # the trainer is gone
    except Exception:
        connection.send(traceback.format_exc())
