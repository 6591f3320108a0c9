"""Formulas to Operon's trees, and trees to formulas.

An Operon tree is a list of nodes, arguments before their operator. Two things in it are not as one
would guess; both were found by evaluating every node type of pyoperon 0.6.2. The argument that
stands directly before an operator is its first one, so that a tree is a prefix sequence read
backwards. And the types ``Fmin`` and ``Fmax`` are exchanged, whereas the nodes' names are right,
so that types are looked up by the names of their nodes. Every node has a value: that of a variable
or function multiplies it. Operon's maximum and minimum pass over an undefined argument, ours are
undefined then: a formula that relies on it has an infinite loss here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyoperon

from sr_transformer.errors import ExpressionError
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT

# A part of a tree: its nodes with their values, and that variable of them that can carry a factor.
Part = tuple[list[list[Any]], list[Any] | None]

# Names of Operon's nodes by our operators; cube, neg and inv are spelled with others.
NODE_NAMES = {
    "+": "+", "-": "-", "*": "*", "/": "/", "^": "pow", "max": "fmax", "min": "fmin",
    "square": "square", "sqrt": "sqrt", "exp": "exp", "log": "log", "sin": "sin", "cos": "cos",
    "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "abs": "abs",
}  # fmt: skip

# What each node means, with x0 and x1 for its arguments.
_MEANINGS = {
    node: Expression([name, "x0", "x1"][: ARITHMETIC.arity[name] + 1])
    for name, node in NODE_NAMES.items()
} | {
    "aq": Expression.parse("x0 / sqrt(1.0 + square(x1))"),
    "powabs": Expression.parse("abs(x0) ^ x1"),
    "sqrtabs": Expression.parse("sqrt(abs(x0))"),
    "logabs": Expression.parse("log(abs(x0))"),
    "log1p": Expression.parse("log(1.0 + x0)"),
}


# --- formulas to trees ----------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _types() -> dict[str, Any]:
    """Node types by the names of their nodes."""
    names = [name for name in dir(pyoperon.NodeType) if name[0].isupper()]
    types = [getattr(pyoperon.NodeType, name) for name in names]
    return {pyoperon.Node(kind).Name: kind for kind in types}


def allowed_symbols(operators: Iterable[str]) -> str:
    """The regressor's ``allowed_symbols``; operators that Operon does not have are left out."""
    known = [_types()[NODE_NAMES[name]] for name in sorted(operators) if name in NODE_NAMES]
    return ",".join([kind.name.lower() for kind in known] + ["constant", "variable"])


def to_nodes(expression: Expression, hashes: Sequence[int]) -> list[Any] | None:
    """Write a formula as Operon's nodes.

    A factor of a variable or product becomes the weight of a variable, as in Operon's own trees.

    Parameters
    ----------
    expression : Expression
    hashes : sequence of int
        Operon's names of the columns.

    Returns
    -------
    list of pyoperon.Node or None
        ``None`` where an operator is not Operon's, a column is not in the table, or a constant
        leaves the range of 32 bits.
    """
    if not expression.operators <= NODE_NAMES.keys():
        return None
    if any(column >= len(hashes) for column in expression.variables):
        return None
    entries, _ = expression.fold(
        lambda value: ([[pyoperon.Node.Constant(value), value]], None),
        lambda column: _variable(hashes[column]),
        _operation,
    )
    for node, value in entries:
        node.Value = value
    nodes = [node for node, _ in entries]
    return nodes if all(math.isfinite(node.Value) for node in nodes) else None


def _variable(name: int) -> Part:
    entry = [pyoperon.Node(pyoperon.NodeType.Variable, name), 1.0]
    return [entry], entry


def _operation(name: str, first: Part, second: Part = ([], None)) -> Part:
    if name == "*":
        for (factor, _), (entries, carrier) in ((first, second), (second, first)):
            if factor[-1][0].IsConstant and carrier is not None:
                carrier[1] *= factor[-1][1]
                return entries, carrier
    (firsts, carrier), (seconds, another) = first, second
    if name == "^" and seconds[-1][0].IsConstant and seconds[-1][1].is_integer():
        # A negative base has a derivative by its exponent at no other number.
        seconds[-1][0].Optimize = False
    node = pyoperon.Node(_types()[NODE_NAMES[name]])
    if name != "/":
        carrier = (carrier or another) if name == "*" else None
    return [*seconds, *firsts, [node, 1.0]], carrier


# --- trees to formulas ----------------------------------------------------------------------------
def from_nodes(nodes: Iterable[Any], hashes: Sequence[int]) -> Expression:
    """Read a formula from Operon's nodes.

    Raises
    ------
    ExpressionError
        If a node has no spelling here, or a number is not finite.
    """
    nodes = list(nodes)
    used = {node.HashValue for node in nodes if node.IsVariable}  # of a wide table's, few
    columns = {v: Expression.variable(i) for i, v in enumerate(hashes) if v in used}
    stack: list[Expression] = []
    for node in nodes:
        value = _number(_short(node.Value))
        if node.IsConstant:
            stack.append(value)
            continue
        if node.IsVariable:
            if node.HashValue not in columns:
                raise ExpressionError("a variable is no column of the table.")
            part = columns[node.HashValue]
        else:
            meaning = _MEANINGS.get(node.Name)
            arity = node.Arity
            if meaning is None or len(meaning.variables) != arity or len(stack) < arity:
                raise ExpressionError(f"a node {node.Name!r} of {arity} arguments.")
            arguments = [stack.pop() for _ in range(arity)]
            part = meaning.fold(_number, arguments.__getitem__, Expression.joined)
        stack.append(part if node.Value == 1.0 else Expression.joined("*", value, part))
    if len(stack) != 1:
        raise ExpressionError(f"{len(stack)} formulas in one tree.")
    return stack[0]


def _number(value: float) -> Expression:
    return Expression([CONSTANT], [value])


def _short(value: float) -> float:
    """The shortest number that is the same in 32 bits: .1 for .10000000149011612."""
    if not math.isfinite(value):
        raise ExpressionError(f"a number is {value}.")
    return float(str(np.float32(value)))


def read_front(
    trees: Iterable[Any], hashes: Sequence[int], operators: frozenset[str]
) -> tuple[list[Expression], int]:
    """Formulas of Operon's front, each with and without the offset that Operon adds.

    Returns
    -------
    expressions : list of Expression
        Only those that can be written with the operators.
    n_unreadable : int
    """
    found: dict[Expression, None] = {}
    n_unreadable = 0
    for tree in trees:
        nodes = list(tree.Nodes)
        try:
            read = [from_nodes(nodes, hashes)]
        except ExpressionError:
            n_unreadable += 1
            continue
        if len(nodes) > 2 and nodes[-1].Name == "+" and nodes[-2].IsConstant:
            read.append(from_nodes(nodes[:-2], hashes))
        for expression in read:
            lowered = expression.simplify().lower(operators)
            if lowered is not None:
                found[lowered] = None
    return list(found), n_unreadable
