"""Batches from the prior, made by worker processes in an order that does not depend on them.

Chunk ``k`` of a run is made from the seed ``(seed, k)`` and the number of ranks alone, so the whole
random state of a run's data is one counter, and any number of workers, or a replaced one, gives the
same batches.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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


def feed(
    seed: int,
    config: DataConfig,
    vocabulary: Vocabulary,
    *,
    first_batch: int = 0,
    rank: int = 0,
    n_ranks: int = 1,
    n_workers: int = 1,
) -> Generator[Batch, None, None]:
    """Give batches from worker processes, one chunk ahead; closing the generator ends them.

    A worker that dies is replaced by one that begins with the chunk that is missing. An error in
    the prior itself is raised here.

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
    """
    # "spawn": a forked copy of a process in which torch runs threads can hang.
    context = multiprocessing.get_context("spawn")

    def hire(number: int) -> tuple[BaseProcess, Connection]:
        ours, theirs = context.Pipe(duplex=False)
        chunks = range(number * n_ranks + rank, sys.maxsize, n_workers * n_ranks)
        process = context.Process(
            target=_work, args=(theirs, seed, chunks, config, vocabulary, n_ranks), daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def dismiss(process: BaseProcess, connection: Connection) -> None:
        connection.close()
        process.terminate()
        process.join()

    begun, place = divmod(first_batch, config.batches_per_chunk)
    workers = [hire(begun + k) for k in range(n_workers)]
    try:
        for number in itertools.count(begun):
            k, deaths = (number - begun) % n_workers, 0
            while True:
                try:
                    answer = workers[k][1].recv()
                    break
                except (EOFError, OSError):
                    dismiss(*workers[k])
                    deaths += 1
                    if deaths == _MAX_DEATHS:
                        raise RuntimeError(
                            f"data workers died {deaths} times in a row on chunk {number} of seed "
                            f"{seed}; the machine may be out of memory."
                        ) from None
                    workers[k] = hire(number)
            if isinstance(answer, str):
                raise RuntimeError(f"a data worker failed on chunk {number}:\n{answer}")
            yield from answer[place:]
            place = 0
    finally:
        for worker in workers:
            dismiss(*worker)


def _work(
    connection: Connection, seed: int, chunks: range, config: DataConfig,
    vocabulary: Vocabulary, n_ranks: int,
) -> None:  # fmt: skip
    """Make the chunks of one worker; sending waits until the last one was taken."""
    # A killed trainer ends nothing, and would be missed only when the next chunk is made.
    trainer = multiprocessing.parent_process()
    threading.Thread(target=_end_after, args=(trainer,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer ends its workers itself
    if hasattr(os, "nice"):
        os.nice(5)
    try:
        for chunk in chunks:
            connection.send(make_chunk(seed, chunk, config, vocabulary, n_ranks))
    except (BrokenPipeError, ConnectionResetError):
        return  # the trainer is gone
    except Exception:
        connection.send(traceback.format_exc())


def _end_after(process: BaseProcess) -> None:
    """End this process as soon as another one has ended."""
    process.join()
    os._exit(1)
