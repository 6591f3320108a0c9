"""Drawing formulas: from the network, under the grammar, or from the prior as a baseline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.model.prompt import Prompt
from sr_transformer.model.vocabulary import LONGEST_FORMULA
from sr_transformer.prior.stream import MAX_VARIABLES, ExampleStream
from sr_transformer.proposal.grammar import Grammar

if TYPE_CHECKING:
    from torch import Tensor

    from sr_transformer.model.checkpoint import LoadedModel

Array = np.ndarray
T = TypeVar("T")


class Sampler(Protocol):
    """A source of formulas for one table."""

    n_columns: int
    """Most columns of a table that it can read."""

    n_rows: int
    """Rows beyond which it was not taught to read more at once."""

    def read(self, X: Array, y: Array) -> None:
        """Take in the scaled table X (n_rows, n_columns), y (n_rows,)."""

    def draw(
        self,
        n: int,
        operators: frozenset[str],
        maxsize: int,
        temperature: float,
        random_state: np.random.RandomState,
        deadline: float = np.inf,
    ) -> Counter[Expression]:
        """Draw ``n`` formulas of at most ``maxsize`` symbols; count those drawn repeatedly.

        At ``deadline``, a value of ``time.perf_counter()``, what is complete is returned.
        """


class NetworkSampler:
    """Formulas that the network writes for a table.

    Parameters
    ----------
    model : LoadedModel
        What :func:`sr_transformer.load_model` returns.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.n_columns: int = model.metadata["columns"]
        self.n_rows: int = model.metadata["rows"]
        self._memory: Tensor | None = None
        self._table_columns = 0

    def read(self, X: Array, y: Array) -> None:
        """Encode the table; the result serves every later draw."""
        import torch

        prompt = Prompt.of([(X, y)], self.n_columns).to(self._model.device)
        with torch.inference_mode(), _ONE_THREAD:
            self._memory = self._model.network.encode(prompt)
        self._table_columns = X.shape[1]

    def draw(
        self,
        n: int,
        operators: frozenset[str],
        maxsize: int,
        temperature: float,
        random_state: np.random.RandomState,
        deadline: float = np.inf,
    ) -> Counter[Expression]:
        """Sample token by token; samples that begin alike are read as one until they part."""
        import torch

        network, vocabulary = self._model.network, self._model.vocabulary
        device, n_tokens = self._model.device, len(vocabulary)
        maxsize = min(maxsize, LONGEST_FORMULA)  # that of an engine's own settings may be above
        grammar = Grammar(vocabulary, operators, self._table_columns, maxsize, 1)
        written = np.zeros((n, maxsize), dtype=np.int64)
        alive = np.arange(n)
        beginning = np.zeros(n, dtype=np.int64)  # of each sample that is not complete
        last = np.array([vocabulary.BOS])
        drawn: Counter[Expression] = Counter()
        with torch.inference_mode(), _ONE_THREAD:
            cache = network.start(self._memory, n, maxsize + 1)
            for position in range(maxsize):
                if time.perf_counter() > deadline:
                    break
                logits = network.step(torch.from_numpy(last).to(device), cache)
                shares = _shares(logits.double().cpu().numpy(), grammar.allowed(), temperature)
                shares = shares.cumsum(axis=1)
                shares /= shares[:, -1:]
                uniform = random_state.random_sample((alive.size, 1))
                chosen = (shares[beginning] <= uniform).sum(axis=1)
                written[alive, position] = chosen
                different, longer = np.unique(beginning * n_tokens + chosen, return_inverse=True)
                origin, last = np.divmod(different, n_tokens)
                grammar.keep(origin)
                grammar.advance(last)
                complete = grammar.complete
                for i in alive[complete[longer]]:
                    drawn[vocabulary.decode(written[i, : position + 1])] += 1
                going_on = ~complete[longer]
                if not going_on.any():
                    break
                index = _where_they_are(origin, np.flatnonzero(~complete))
                place = np.empty(different.size, dtype=np.int64)
                place[index] = np.arange(index.size)
                alive, beginning = alive[going_on], place[longer[going_on]]
                last = last[index]
                grammar.keep(index)
                cache.keep(torch.from_numpy(origin[index]).to(device))
        return drawn


def _shares(logits: Array, allowed: Array, temperature: float) -> Array:
    """How likely each token is, the likeliest as one; any temperature above 0 has a limit here."""
    excess = logits - np.where(allowed, logits, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # of those that are not allowed, or over next to nothing
        return np.where(allowed, np.exp(excess / temperature), 0.0)


def _where_they_are(origin: Array, index: Array) -> Array:
    """Order of ``index`` that leaves as many as possible at the place of their origin."""
    order = np.full(index.size, -1)
    origins, first = np.unique(origin[index], return_index=True)
    stays = origins < index.size
    order[origins[stays]] = index[first[stays]]
    order[order < 0] = np.setdiff1d(index, order, assume_unique=True)
    return order


class _OneThread:
    """While any thread has entered it, torch keeps to one thread of the CPU.

    A step is too small to share out: where other programs use the cores too, the threads wait for
    each other at every layer, and 256 draws took 25 s instead of one.

    torch has one number for the process, which each thread takes over at its first call, and one
    for each thread; who sets it sets both. So a new thread is asked for the number of the process,
    and sets it where that of the caller is to stay.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._before = Lock(), 0, 1

    def __enter__(self) -> None:
        import torch

        with self._lock:
            if self._users == 0:
                self._before = _in_a_new_thread(torch.get_num_threads)
            self._users += 1
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        import torch

        with self._lock:
            self._users -= 1
            torch.set_num_threads(self._before)
            if self._users > 0:
                _in_a_new_thread(torch.set_num_threads, 1)


_ONE_THREAD = _OneThread()


def _in_a_new_thread(function: Callable[..., T], *arguments: object) -> T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()


class PriorSampler:
    """Formulas from the prior, whatever the table holds: the baseline without a model."""

    n_columns, n_rows = MAX_VARIABLES, 256
    _table_columns = 0

    def read(self, X: Array, y: Array) -> None:
        """Note how many columns the table has."""
        self._table_columns = X.shape[1]

    def draw(
        self,
        n: int,
        operators: frozenset[str],
        maxsize: int,
        temperature: float,
        random_state: np.random.RandomState,
        deadline: float = np.inf,
    ) -> Counter[Expression]:
        """Draw from the prior those that fit; ``temperature`` has no meaning here."""
        stream = ExampleStream(int(random_state.randint(2**31)))
        drawn: Counter[Expression] = Counter()
        while drawn.total() < n and time.perf_counter() <= deadline:
            formula = stream.formula()
            used, fits = formula.variables, formula.operators <= operators
            if fits and len(used) <= self._table_columns and len(formula.symbols) <= maxsize:
                columns = random_state.choice(self._table_columns, len(used), replace=False)
                names = {f"x{old}": f"x{new}" for old, new in zip(used, columns, strict=True)}
                symbols = [names.get(symbol, symbol) for symbol in formula.symbols]
                drawn[Expression(symbols, formula.constants)] += 1
        return drawn
