"""Turning nearly right formulas into right ones: leave out what the data do not ask for."""

from __future__ import annotations

from collections.abc import Iterator

from sr_transformer.expression import Expression
from sr_transformer.expression.operators import ARITY


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
