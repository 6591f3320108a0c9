"""Drawing formulas: from the network, under the grammar, or from the prior as a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.operators import ARITY
from sr_transformer.prior import ExampleStream
from sr_transformer.proposal.grammar import Grammar

if TYPE_CHECKING:
    from torch import Tensor

    from sr_transformer.model.checkpoint import LoadedModel

Array = np.ndarray


class Sampler(Protocol):
    """A source of formulas for one table."""

    n_columns: int
    """Most columns of a table that it can read."""

    def read(self, X: Array, y: Array) -> None:
        """Take in the scaled table X (n_rows, n_columns), y (n_rows,)."""

    def draw(
        self,
        n: int,
        operators: frozenset[str],
        maxsize: int,
        temperature: float,
        random_state: np.random.RandomState,
    ) -> Counter[Expression]:
        """Draw ``n`` formulas of at most ``maxsize`` symbols; count those drawn repeatedly."""


class NetworkSampler:
    """Formulas that the network writes for a table.

    Parameters
    ----------
    model : LoadedModel
        What :func:`sr_transformer.load_model` returns.
    """

    n_columns = 10

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._memory: Tensor | None = None
        self._table_columns = 0

    def read(self, X: Array, y: Array) -> None:
        """Encode the table; the result serves every later draw."""
        import torch

        n_rows, n_columns = X.shape
        table = np.zeros((1, n_rows, self.n_columns + 1), dtype=np.float32)
        with np.errstate(over="ignore"):  # beyond 32 bits the network reads an infinity
            table[0, :, :n_columns] = X
            table[0, :, -1] = y
        present = np.arange(self.n_columns)[None, :] < n_columns
        device = self._model.device
        with torch.inference_mode(), _one_thread():
            self._memory = self._model.network.encode(
                torch.from_numpy(table).to(device), torch.from_numpy(present).to(device)
            )
        self._table_columns = n_columns

    def draw(
        self,
        n: int,
        operators: frozenset[str],
        maxsize: int,
        temperature: float,
        random_state: np.random.RandomState,
    ) -> Counter[Expression]:
        """Sample token by token; samples that are complete leave the batch."""
        import torch

        network, vocabulary = self._model.network, self._model.vocabulary
        grammar = Grammar(vocabulary, operators, self._table_columns, maxsize, n)
        written = np.zeros((n, maxsize), dtype=np.int64)
        alive = np.arange(n)
        finished: list[Array] = []
        with torch.inference_mode(), _one_thread():
            cache = network.start(self._memory, n, maxsize + 1)
            last = torch.full((n,), vocabulary.BOS, device=self._model.device)
            for position in range(maxsize):
                logits = network.step(last, cache).float().cpu().numpy()
                mask = grammar.allowed()
                # Gumbel's trick: the largest of logits + noise is a sample of their softmax.
                uniform = random_state.random_sample(logits.shape)
                noise = -np.log(-np.log(np.clip(uniform, 1e-300, 1.0 - 1e-16)))
                chosen = np.where(mask, logits / temperature + noise, -np.inf).argmax(axis=1)
                written[alive, position] = chosen
                grammar.advance(chosen)
                complete = grammar.complete
                if complete.any():
                    finished += [written[i, : position + 1] for i in alive[complete]]
                    index = np.flatnonzero(~complete)
                    if index.size == 0:
                        break
                    alive, chosen = alive[index], chosen[index]
                    grammar.keep(index)
                    cache.keep(torch.from_numpy(index).to(self._model.device))
                last = torch.from_numpy(chosen).to(self._model.device)
        return Counter(vocabulary.decode(tokens) for tokens in finished)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread of the CPU meanwhile.

    A step is too small to share out: where other programs use the cores too, the threads wait for
    each other at every layer, and 256 draws took 25 s instead of one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PriorSampler:
    """Formulas from the prior, whatever the table holds: the baseline without a model."""

    n_columns = 10

    def __init__(self) -> None:
        self._table_columns = 0

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
    ) -> Counter[Expression]:
        """Draw from the prior those that fit; ``temperature`` has no meaning here."""
        stream = ExampleStream(int(random_state.randint(2**31)))
        drawn: Counter[Expression] = Counter()
        while drawn.total() < n:
            formula = stream.formula()
            used = formula.variables
            if len(used) > self._table_columns or len(formula.symbols) > maxsize:
                continue
            if not formula.operators <= operators:
                continue
            columns = random_state.choice(self._table_columns, len(used), replace=False)
            names = {f"x{old}": f"x{new}" for old, new in zip(used, columns, strict=True)}
            symbols = [s if s in ARITY else names.get(s, s) for s in formula.symbols]
            drawn[Expression(symbols, formula.constants)] += 1
        return drawn
