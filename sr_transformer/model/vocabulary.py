"""Tokens and formulas: what the network reads and writes.

A formula is its prefix sequence, one token a symbol. A constant is one token too: a sign and one of
97 logarithmic bins, or an exact small integer. The token only has to start the fit of the constant.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT

N_VARIABLES = 10
"""Columns that the network can tell apart."""

BINS_PER_DECADE = 16
DECADES = 3
"""Constants from 1e-3 to 1e3 have their own bins; others take the nearest end."""

_INTEGERS = range(2, 10)
_TOLERANCE = 1e-9


class Vocabulary:
    """The fixed list of tokens, and the way from a formula to token ids and back.

    Attributes
    ----------
    tokens : list of str
        ``<pad>``, ``<bos>``, ``<eos>``, the operators, ``x0`` to ``x9``, then the constants:
        positive bins ascending, negative bins ascending in magnitude, integers 2..9 and -2..-9.
    kind : ndarray of int, shape (n_tokens,)
        ``SPECIAL``, ``OPERATOR``, ``VARIABLE`` or ``NUMBER``.
    arity : ndarray of int, shape (n_tokens,)
        Arguments an operator takes; 0 for leaves, -1 for special tokens.
    values : ndarray of float, shape (n_tokens,)
        The value a constant token stands for; ``nan`` elsewhere.
    """

    SPECIAL, OPERATOR, VARIABLE, NUMBER = range(4)
    PAD, BOS, EOS = range(3)

    def __init__(self) -> None:
        steps = BINS_PER_DECADE * DECADES
        bins = [10.0 ** (k / BINS_PER_DECADE) for k in range(-steps, steps + 1)]
        numbers = bins + [-b for b in bins]
        numbers += [float(i) for i in _INTEGERS] + [-float(i) for i in _INTEGERS]
        operators = list(ARITHMETIC.arity)
        variables = [f"x{i}" for i in range(N_VARIABLES)]

        self.tokens = ["<pad>", "<bos>", "<eos>", *operators, *variables]
        self.first_constant = len(self.tokens)
        self.tokens += [f"{value:.6g}" for value in numbers]
        self.n_constant_tokens = len(numbers)
        self.n_bins = len(bins)
        self._zero_bin = self.first_constant + steps
        self._first_integer = self.first_constant + 2 * len(bins)

        n_leaves = len(variables) + len(numbers)
        self.kind = np.array(
            [self.SPECIAL] * 3
            + [self.OPERATOR] * len(operators)
            + [self.VARIABLE] * len(variables)
            + [self.NUMBER] * len(numbers)
        )
        self.arity = np.array(
            [-1] * 3 + [ARITHMETIC.arity[name] for name in operators] + [0] * n_leaves
        )
        self.values = np.full(len(self.tokens), np.nan)
        self.values[self.first_constant :] = numbers
        self._ids = {token: i for i, token in enumerate(self.tokens[: self.first_constant])}

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def hash(self) -> str:
        """Short fingerprint of the token list, in order."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()[:12]

    def encode_constant(self, value: float) -> int:
        """Token of a constant: its integer where it is one, else the nearest bin."""
        size = abs(value)
        nearest = round(size) if size < 10.0 else 0
        if nearest in _INTEGERS and abs(size - nearest) <= _TOLERANCE * nearest:
            negative = len(_INTEGERS) if value < 0 else 0
            return self._first_integer + negative + nearest - _INTEGERS.start
        steps = BINS_PER_DECADE * DECADES
        if not 10.0**-DECADES < size < 10.0**DECADES:
            step = steps if size > 1.0 else -steps
        else:
            step = round(BINS_PER_DECADE * math.log10(size))
        return self._zero_bin + step + (self.n_bins if value < 0 else 0)

    def encode(self, formula: Expression) -> list[int]:
        """Token ids of a formula, ``EOS`` at the end.

        Raises
        ------
        ExpressionError
            If it reads a variable beyond ``x9``.
        """
        ids = []
        constants = iter(formula.constants)
        for symbol in formula.symbols:
            if symbol == CONSTANT:
                ids.append(self.encode_constant(next(constants)))
                continue
            token = self._ids.get(symbol)
            if token is None:
                raise ExpressionError(
                    f"no token for {symbol!r}: the network knows the variables x0 to "
                    f"x{N_VARIABLES - 1}."
                )
            ids.append(token)
        ids.append(self.EOS)
        return ids

    def decode(self, ids: Iterable[int]) -> Expression:
        """Formula of token ids, up to the first ``EOS``; constants take their token's value.

        Raises
        ------
        ExpressionError
            If the tokens are not exactly one formula.
        """
        symbols = []
        constants = []
        for i in map(int, ids):
            if i == self.EOS:
                break
            if i == self.BOS:
                continue
            if i >= self.first_constant:
                symbols.append(CONSTANT)
                constants.append(float(self.values[i]))
            else:
                symbols.append(self.tokens[i])
        return Expression(symbols, constants)

    def soft_targets(self, width: float) -> np.ndarray:
        """Distribution to learn in place of each token, one row a token.

        A constant's bin is shared with its neighbours by a Gaussian of ``width`` bins, because the
        fit starts equally well from there. Everything else stays certain, the bins of +-1 too: they
        are mostly exact ones.
        """
        table = np.eye(len(self.tokens))
        steps = np.arange(self.n_bins)
        spread = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
        spread[np.abs(steps[:, None] - steps[None, :]) > 3 * width] = 0.0
        one = BINS_PER_DECADE * DECADES
        spread[one] = 0.0
        spread[:, one] = 0.0
        spread[one, one] = 1.0
        spread /= spread.sum(axis=1, keepdims=True)
        for start in (self.first_constant, self.first_constant + self.n_bins):
            table[start : start + self.n_bins, start : start + self.n_bins] = spread
        return table
