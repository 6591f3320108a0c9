"""Turning nearly right formulas into right ones by the smallest changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.operators import ARITY

Array = np.ndarray


def simpler_variants(expression: Expression) -> Iterator[Expression]:
    """Formulas with one operator less: each operator gives way to one of its arguments.

    Terms and factors that a sample wrote in vain vanish this way, and so do functions around the
    right argument. Constants keep their values.
    """
    symbols = expression.symbols
    ends = _ends(symbols)
    before = [0]  # number of constants to the left of each position
    for symbol in symbols:
        before.append(before[-1] + (symbol == "c"))
    for start, symbol in enumerate(symbols):
        arity = ARITY.get(symbol, 0)
        child = start + 1
        for _ in range(arity):
            end = ends[child]
            kept = symbols[:start] + symbols[child:end] + symbols[ends[start] :]
            constants = (
                expression.constants[: before[start]]
                + expression.constants[before[child] : before[end]]
                + expression.constants[before[ends[start]] :]
            )
            if any(s[0] == "x" for s in kept):
                yield Expression(kept, constants)
            child = end


def rescaled(
    expression: Expression, X: Array, y: Array, sample_weight: Array | None = None
) -> Expression | None:
    """The formula with the factor and the offset that bring it closest to y.

    Parameters
    ----------
    expression : Expression
    X : ndarray of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,), optional

    Returns
    -------
    Expression or None
        ``c * f + c``, solved by least squares; None where the formula is constant or undefined on
        some row.
    """
    values = expression.evaluate(X)
    with np.errstate(all="ignore"):
        centred = values - np.average(values, weights=sample_weight)
        spread = np.average(centred * centred, weights=sample_weight)
        factor = np.average(centred * y, weights=sample_weight) / spread
        offset = np.average(y - factor * values, weights=sample_weight)
    if not (np.isfinite(factor) and np.isfinite(offset)):
        return None
    return Expression(
        ["+", "*", "c", *expression.symbols, "c"], [factor, *expression.constants, offset]
    )


def _ends(symbols: tuple[str, ...]) -> list[int]:
    """For each position, where the subformula that begins there has ended."""
    ends = [0] * len(symbols)
    stack: list[int] = []
    for position in range(len(symbols) - 1, -1, -1):
        end = position + 1
        for _ in range(ARITY.get(symbols[position], 0)):
            end = stack.pop()
        ends[position] = end
        stack.append(end)
    return ends
