"""Tokens and formulas: what a network reads and writes.

A formula is its prefix sequence, one token a symbol. A constant is one token too: a sign and one of
97 logarithmic bins, or an exact small integer. The token only has to start the fit of the constant.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from functools import cache, cached_property

import numpy as np

from sr_transformer.errors import CheckpointError, ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT, Language

N_VARIABLES = 10
"""Columns that a new network can tell apart."""

LONGEST_FORMULA = 511
"""Most symbols of a formula that a network can write: its positions, less the one that begins."""

_BINS_PER_DECADE = 16
_LAST_BIN = 3 * _BINS_PER_DECADE  # constants from 1e-3 to 1e3 have bins; others take the nearest
_TOLERANCE = 1e-9  # of a constant that is an integer
_SPECIAL = ("<pad>", "<bos>", "<eos>")


class Vocabulary:
    """A list of tokens, and the way from a formula to token ids and back.

    Every token says itself what it is: ``<pad>``, ``<bos>`` and ``<eos>`` come first, variables are
    ``x0``, ``x1``, ..., constants are numbers with six digits, all others name operators. So a
    checkpoint with its list is read whatever operators came and went: its network does not write
    those that have no token, and a token that is no operator of the language is never used.

    Parameters
    ----------
    tokens : iterable of str
    language : Language
        Of the formulas that are read and written.

    Attributes
    ----------
    tokens : tuple of str
    kind : ndarray of int, shape (n_tokens,)
        ``SPECIAL``, ``OPERATOR``, ``VARIABLE``, ``NUMBER`` or ``FOREIGN``.
    arity : ndarray of int, shape (n_tokens,)
        Arguments an operator takes; 0 for leaves, -1 for special and foreign tokens.
    values : ndarray of float, shape (n_tokens,)
        The value a constant token stands for; ``nan`` elsewhere.

    Raises
    ------
    CheckpointError
        If a token occurs twice, or the special ones do not come first.
    """

    SPECIAL, OPERATOR, VARIABLE, NUMBER, FOREIGN = range(5)
    PAD, BOS, EOS = range(3)

    def __init__(self, tokens: Iterable[str], language: Language = ARITHMETIC) -> None:
        self.tokens = tuple(tokens)
        self.language = language
        if self.tokens[:3] != _SPECIAL or len(set(self.tokens)) < len(self.tokens):
            raise CheckpointError(
                f"a list of tokens begins with {', '.join(self.tokens[:3])}; it has to begin with "
                f"{', '.join(_SPECIAL)}, and no token may occur twice."
            )
        self.values = np.array([_value(token) for token in self.tokens])
        self.kind = np.where(np.isnan(self.values), self.FOREIGN, self.NUMBER)
        self.kind[:3] = self.SPECIAL
        self.arity = np.where(self.kind == self.NUMBER, 0, -1)
        self._ids: dict[str, int] = {}
        for i, token in enumerate(self.tokens):
            if token in language.arity or re.fullmatch(r"x\d+", token):
                self.kind[i] = self.OPERATOR if token in language.arity else self.VARIABLE
                self.arity[i] = language.arity.get(token, 0)
                self._ids[token] = i
        self._of_value = {x: i for i, x in enumerate(self.values.tolist()) if not math.isnan(x)}

    @classmethod
    @cache
    def of(cls, language: Language = ARITHMETIC) -> Vocabulary:
        """Make the vocabulary of new networks.

        The operators of the language, the variables, then the constants: positive bins ascending,
        negative bins ascending in magnitude, integers 2 to 9 and -2 to -9.
        """
        variables = (f"x{i}" for i in range(N_VARIABLES))
        sizes = [_bin(step) for step in range(-_LAST_BIN, _LAST_BIN + 1)], range(2, 10)
        numbers = (f"{sign * size:.6g}" for each in sizes for sign in (1, -1) for size in each)
        return cls((*_SPECIAL, *language.arity, *variables, *numbers), language)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def hash(self) -> str:
        """Short fingerprint of the token list, in order."""
        return hashlib.sha256("\n".join(self.tokens).encode()).hexdigest()[:12]

    def encode_constant(self, value: float) -> int:
        """Token of a constant: its integer where it is one, else the nearest bin."""
        sign = -1.0 if value < 0 else 1.0
        size = max(_bin(-_LAST_BIN), min(abs(value), _bin(_LAST_BIN)))
        nearest = round(size)
        if abs(size - nearest) <= _TOLERANCE * nearest and sign * nearest in self._of_value:
            return self._of_value[sign * nearest]
        return self._of_value[sign * _bin(round(_BINS_PER_DECADE * math.log10(size)))]

    def encode(self, formula: Expression) -> list[int]:
        """Token ids of a formula, ``EOS`` at the end.

        Raises
        ------
        ExpressionError
            If it has an operator or a variable that has no token.
        """
        constants = iter(formula.constants)
        try:
            ids = [
                self.encode_constant(next(constants)) if symbol == CONSTANT else self._ids[symbol]
                for symbol in formula.symbols
            ]
        except KeyError as error:
            known = ", ".join(self._ids)
            raise ExpressionError(f"no token for {error}: the network knows {known}.") from error
        return [*ids, self.EOS]

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
            if self.kind[i] == self.NUMBER:
                symbols.append(CONSTANT)
                constants.append(float(self.values[i]))
            else:
                symbols.append(self.tokens[i])
        return Expression(symbols, constants, self.language)

    def soft_targets(self, width: float) -> np.ndarray:
        """Distribution to learn in place of each token, one row a token.

        A constant's bin is shared with its neighbours by a Gaussian of ``width`` bins, because the
        fit starts equally well from there. Everything else stays certain, the bins of +-1 too: they
        are mostly exact ones.
        """
        steps = np.arange(-_LAST_BIN, _LAST_BIN + 1)
        distance = np.abs(steps[:, None] - steps[None, :])
        spread = np.exp(-0.5 * (distance / width) ** 2)
        spread[(distance > 3 * width) | ((distance > 0) & (steps * steps[:, None] == 0))] = 0.0
        spread /= spread.sum(axis=1, keepdims=True)
        table = np.eye(len(self.tokens))
        for sign in (1.0, -1.0):
            bins = [self._of_value[sign * _bin(step)] for step in steps.tolist()]
            table[np.ix_(bins, bins)] = spread
        return table


@cache
def _bin(step: int) -> float:
    return 10.0 ** (step / _BINS_PER_DECADE)


def _value(token: str) -> float:
    """Value of a constant's token: its bin's, which the token has in six digits; else ``nan``."""
    if not re.fullmatch(r"-?\d+(\.\d+)?", token):
        return math.nan
    value = float(token)
    size = _bin(round(_BINS_PER_DECADE * math.log10(abs(value) or 1.0)))
    return math.copysign(size, value) if f"{size:.6g}" == token.lstrip("-") else value
