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

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyoperon

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

Array = np.ndarray
# A part of a formula: ("c", value), ("x", column, weight) or (operator, part, ...).
Part = tuple

# Names of Operon's nodes by our operators; cube, neg and inv are spelled with others.
NODE_NAMES = {
    "+": "+", "-": "-", "*": "*", "/": "/", "^": "pow", "max": "fmax", "min": "fmin",
    "square": "square", "sqrt": "sqrt", "exp": "exp", "log": "log", "sin": "sin", "cos": "cos",
    "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh", "cosh": "cosh",
    "tanh": "tanh", "abs": "abs",
}  # fmt: skip
_OPERATORS = {node: name for name, node in NODE_NAMES.items()}

# Further nodes in our terms; "a" and "b" stand for the arguments, numbers for constants.
_FURTHER: dict[str, tuple[str | float, ...]] = {
    "aq": ("/", "a", "sqrt", "+", 1.0, "square", "b"),
    "powabs": ("^", "abs", "a", "b"),
    "sqrtabs": ("sqrt", "abs", "a"),
    "logabs": ("log", "abs", "a"),
    "log1p": ("log", "+", 1.0, "a"),
}
_FURTHER_ARITY = {"aq": 2, "powabs": 2, "sqrtabs": 1, "logabs": 1, "log1p": 1}


class UnreadableTreeError(ValueError):
    """A tree holds a node that has no spelling here, or a number that is not finite."""


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
    nodes: list[Any] = []
    _write(_tree(expression), hashes, nodes)
    with np.errstate(over="ignore"):
        values = np.array([node.Value for node in nodes], dtype=np.float32)
    return nodes if np.all(np.isfinite(values)) else None


def _tree(expression: Expression) -> Part:
    stack: list[Part] = []
    constants = list(expression.constants)
    for symbol in reversed(expression.symbols):
        if symbol == "c":
            stack.append(("c", constants.pop()))
        elif symbol not in ARITHMETIC.arity:
            stack.append(("x", int(symbol[1:]), 1.0))
        else:
            arguments = [stack.pop() for _ in range(ARITHMETIC.arity[symbol])]
            stack.append(_weighted(symbol, arguments) or (symbol, *arguments))
    return stack[0]


def _weighted(symbol: str, arguments: list[Part]) -> Part | None:
    """The product of a constant and a part, where the constant can be a variable's weight."""
    if symbol == "*":
        for factor, part in (arguments, reversed(arguments)):
            if factor[0] == "c":
                return _absorbed(factor[1], part)
    return None


def _absorbed(factor: float, part: Part) -> Part | None:
    if part[0] == "x":
        return ("x", part[1], factor * part[2])
    if part[0] == "*":
        for position in (1, 2):
            argument = _absorbed(factor, part[position])
            if argument is not None:
                return (*part[:position], argument, *part[position + 1 :])
    if part[0] == "/":
        argument = _absorbed(factor, part[1])
        return None if argument is None else ("/", argument, part[2])
    return None


def _write(part: Part, hashes: Sequence[int], nodes: list[Any]) -> None:
    if part[0] == "x":
        node = pyoperon.Node(pyoperon.NodeType.Variable, hashes[part[1]])
        node.Value = part[2]
    elif part[0] == "c":
        node = pyoperon.Node.Constant(part[1])
    else:
        for argument in reversed(part[1:]):
            _write(argument, hashes, nodes)
        if part[0] == "^" and part[2][0] == "c" and part[2][1].is_integer():
            # A negative base has a derivative by its exponent at no other number.
            exponent = nodes[-1 - _length(part[1])]
            exponent.Optimize = False
        node = pyoperon.Node(_types()[NODE_NAMES[part[0]]])
    nodes.append(node)


def tree_length(expression: Expression) -> int:
    """Number of nodes of a formula's tree."""
    return _length(_tree(expression))


def _length(part: Part) -> int:
    return 1 if part[0] in ("x", "c") else 1 + sum(_length(argument) for argument in part[1:])


# --- trees to formulas ----------------------------------------------------------------------------
def from_nodes(nodes: Iterable[Any], hashes: Sequence[int]) -> Expression:
    """Read a formula from Operon's nodes.

    Raises
    ------
    UnreadableTreeError
        If there is a node of another kind than those above, or a number is not finite.
    """
    columns = {value: f"x{column}" for column, value in enumerate(hashes)}
    stack: list[tuple[str | float, ...]] = []
    for node in nodes:
        value = _short(node.Value)
        if node.IsConstant:
            stack.append((value,))
            continue
        if node.IsVariable:
            if node.HashValue not in columns:
                raise UnreadableTreeError("a variable is no column of the table.")
            part: tuple[str | float, ...] = (columns[node.HashValue],)
        else:
            part = _operation(node, stack)
        stack.append(part if value == 1.0 else ("*", value, *part))
    if len(stack) != 1:
        raise UnreadableTreeError(f"{len(stack)} formulas in one tree.")
    symbols = ["c" if isinstance(symbol, float) else symbol for symbol in stack[0]]
    return Expression(symbols, [value for value in stack[0] if isinstance(value, float)])


def _operation(node: Any, stack: list[tuple[str | float, ...]]) -> tuple[str | float, ...]:
    name = _OPERATORS.get(node.Name)
    arity = _FURTHER_ARITY.get(node.Name) if name is None else ARITHMETIC.arity[name]
    if arity is None or node.Arity != arity or len(stack) < arity:
        raise UnreadableTreeError(f"a node {node.Name!r} of {node.Arity} arguments.")
    arguments = {place: stack.pop() for place in "ab"[:arity]}
    if name is not None:
        return (name, *(symbol for argument in arguments.values() for symbol in argument))
    spelled: tuple[str | float, ...] = ()
    for symbol in _FURTHER[node.Name]:
        spelled += arguments.get(symbol, (symbol,))
    return spelled


def _short(value: float) -> float:
    """The shortest number that is the same in 32 bits: .1 for .10000000149011612."""
    if not np.isfinite(value):
        raise UnreadableTreeError(f"a number is {value}.")
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
        except UnreadableTreeError:
            n_unreadable += 1
            continue
        if len(nodes) > 2 and nodes[-1].Name == "+" and nodes[-2].IsConstant:
            read.append(from_nodes(nodes[:-2], hashes))
        for expression in read:
            lowered = expression.simplify().lower(operators)
            if lowered is not None:
                found[lowered] = None
    return list(found), n_unreadable
