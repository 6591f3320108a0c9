"""Which token may come next: only formulas that are valid, allowed and small enough get through.

The state of all samples is kept in arrays and advanced together. Every argument that is still to
be written is a *slot*; a slot says what may stand in it.
"""

from __future__ import annotations

import numpy as np

from sr_transformer.model.vocabulary import Vocabulary

Array = np.ndarray

_ANY, _FIRST, _NOT_CONSTANT, _EXPONENT = range(4)
"""What a slot takes: anything; anything, as the first of two arguments; anything but a bare
constant; a bare constant other than 1."""


class Grammar:
    """Masks for a batch of samples that grow token by token.

    A formula keeps to these rules:

    - operators and columns are among those allowed, and the vocabulary knows them;
    - it has at most ``maxsize`` symbols;
    - no operator gets only constants (they would fold);
    - the second argument of ``^`` is a constant, and the first is not.

    Parameters
    ----------
    vocabulary : Vocabulary
    operators : frozenset of str
        Operators that may be written; one without a token is not.
    n_columns : int
        Columns of the table; the variables ``x0`` to ``x{n_columns - 1}`` may be written.
    maxsize : int
        Largest number of symbols.
    n_samples : int
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        operators: frozenset[str],
        n_columns: int,
        maxsize: int,
        n_samples: int,
    ) -> None:
        tokens = np.array(vocabulary.tokens)
        self._arity = vocabulary.arity
        self._is_constant = vocabulary.kind == Vocabulary.NUMBER
        self._eos = Vocabulary.EOS

        # What the arguments of an operator may be; a leaf has none.
        power = tokens == "^"
        self._first = np.where(power, _NOT_CONSTANT, _FIRST)
        self._last = np.where(power, _EXPONENT, np.where(self._arity == 2, _ANY, _NOT_CONSTANT))

        is_operator = vocabulary.kind == Vocabulary.OPERATOR
        is_variable = vocabulary.kind == Vocabulary.VARIABLE
        columns = np.array([f"x{i}" for i in range(n_columns)])
        allowed = (
            self._is_constant
            | (is_operator & np.isin(tokens, sorted(operators)))
            | (is_variable & np.isin(tokens, columns))
        )
        self._takes = np.zeros((4, len(tokens)), dtype=bool)
        self._takes[_ANY] = self._takes[_FIRST] = allowed
        self._takes[_NOT_CONSTANT] = allowed & ~self._is_constant
        self._takes[_EXPONENT] = self._is_constant & (vocabulary.values != 1.0)

        self._maxsize = maxsize
        self._slots = np.full((n_samples, maxsize + 2), _NOT_CONSTANT, dtype=np.int8)
        self._open = np.ones(n_samples, dtype=int)
        self._size = np.zeros(n_samples, dtype=int)

    def allowed(self) -> Array:
        """Tokens that may come next.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_tokens)
            A complete formula allows the end token alone.
        """
        complete = self._open == 0
        top = self._slots[np.arange(len(self._open)), np.maximum(self._open - 1, 0)]
        mask = self._takes[top].copy()
        # Every open slot needs at least one symbol; an operator opens `arity` in place of one.
        room = self._maxsize - self._size - self._open
        mask &= self._arity[None, :] <= room[:, None]
        mask[complete] = False
        mask[complete, self._eos] = True
        return mask

    def advance(self, chosen: Array) -> None:
        """Add one token to each sample.

        Parameters
        ----------
        chosen : ndarray of int, shape (n_samples,)
            Tokens out of :meth:`allowed`.
        """
        rows = np.flatnonzero(self._open > 0)
        token = chosen[rows]
        top = self._open[rows] - 1
        self._size[rows] += 1

        # A constant as the first of two arguments: the second, just below, must not be one too.
        first = rows[self._is_constant[token] & (self._slots[rows, top] == _FIRST)]
        self._slots[first, self._open[first] - 2] = _NOT_CONSTANT

        self._slots[rows, top] = self._last[token]
        self._slots[rows, top + 1] = self._first[token]
        self._open[rows] += self._arity[token] - 1

    def keep(self, index: Array) -> None:
        """Go on with these samples only."""
        self._slots, self._open, self._size = (
            self._slots[index], self._open[index], self._size[index],
        )  # fmt: skip

    @property
    def complete(self) -> Array:
        """Which samples are whole formulas, shape (n_samples,)."""
        return self._open == 0
