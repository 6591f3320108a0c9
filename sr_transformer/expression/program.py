"""A formula prepared for fitting: values and derivatives for several sets of constants at once.

NumPy spends about as long on starting an operation as on 200 rows, so that four sets of constants
in one sweep cost hardly more than one. What holds no constants is computed once for a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from sr_transformer.expression.language import ARITHMETIC, CONSTANT, Language

Array = np.ndarray

_Node = tuple[str, int, int]


class Program:
    """A formula's operations in the order in which they are computed.

    Attributes
    ----------
    nodes : list of tuple
        Postfix order. ``(operator, first, second)`` with the positions of the arguments
        (``second`` is -1 for a unary one), ``("x", column, -1)`` or ``("c", index, -1)``.
    n_constants : int
    linear : tuple of int
        Constants, ascending, in which the formula is jointly affine: from the root they are reached
        through sums, differences, one side of each product, and numerators only. As many of them
        as can be had at once.
    nonlinear : tuple of int
        All others.
    exponents : tuple of int
        Constants that are the exponent of a power.
    """

    def __init__(self, symbols: tuple[str, ...], language: Language) -> None:
        nodes: list[_Node] = []

        def put(name: str, first: int, second: int = -1) -> int:
            nodes.append((name, first, second))
            return len(nodes) - 1

        self.language = language
        self.n_constants = symbols.count(CONSTANT)
        constants = range(self.n_constants)
        language.fold(symbols, constants, partial(put, "c"), partial(put, "x"), put)
        self.nodes = nodes
        self.linear = tuple(sorted(self._linear(len(nodes) - 1)))
        linear = set(self.linear)
        self.nonlinear = tuple(i for i in range(self.n_constants) if i not in linear)
        self.exponents = tuple(
            sorted(nodes[b][1] for name, _, b in nodes if name == "^" and nodes[b][0] == "c")
        )
        self.active = self._above(range(self.n_constants))
        self.above_linear = self._above(self.linear)
        self.above_nonlinear = self._above(self.nonlinear)

    def _linear(self, position: int) -> list[int]:
        symbol, a, b = self.nodes[position]
        if symbol == "c":
            return [a]
        if symbol in ("+", "-"):
            return self._linear(a) + self._linear(b)
        if symbol in ("neg", "/"):
            return self._linear(a)
        if symbol == "*":
            return max(self._linear(a), self._linear(b), key=len)
        return []

    def _above(self, constants: Sequence[int]) -> list[bool]:
        """For each node, whether one of some constants stands in it."""
        chosen = set(constants)
        above: list[bool] = []
        for symbol, a, b in self.nodes:
            if symbol == "c":
                above.append(a in chosen)
            elif symbol == "x":
                above.append(False)
            else:
                above.append(above[a] or (b >= 0 and above[b]))
        return above


@lru_cache(maxsize=4096)
def compile_program(symbols: tuple[str, ...], language: Language = ARITHMETIC) -> Program:
    """Return the :class:`Program` of a prefix sequence, from a cache where it is known."""
    return Program(symbols, language)


class BoundProgram:
    """A program bound to a table.

    Floating-point warnings are left to the caller's ``np.errstate``.

    Parameters
    ----------
    program : Program
    columns : ndarray of shape (n_columns, n_rows)
        The table, transposed.

    Attributes
    ----------
    node_values : list
        Values of every node of the program where they were last computed.
    """

    def __init__(self, program: Program, columns: Array) -> None:
        self.program = program
        operators = program.language.operators
        self.n_rows = columns.shape[1]
        self.node_values: list = [None] * len(program.nodes)
        self._logarithms: dict[int, Array] = {}  # of bases without constants, by position
        self._leaves: list[tuple[int, int]] = []
        self._steps: list[tuple] = []
        for position, (symbol, a, b) in enumerate(program.nodes):
            if symbol == "x":
                self.node_values[position] = columns[a]
            elif symbol == "c":
                self._leaves.append((position, a))
            elif program.active[position]:
                self._steps.append((position, operators[symbol].function, a, b))
            else:
                self._compute(position, operators[symbol].function, a, b)
        self._linear_steps = [step for step in self._steps if program.above_linear[step[0]]]

    def _compute(self, position: int, function, a: int, b: int) -> None:
        values = self.node_values
        values[position] = function(values[a]) if b < 0 else function(values[a], values[b])

    def values(self, constants: Array, *, only_linear: bool = False) -> Array:
        """Values of the formula.

        Parameters
        ----------
        constants : ndarray of shape (n_sets, n_constants)
        only_linear : bool
            Nothing but the linear constants has changed since the last call.

        Returns
        -------
        ndarray, to be broadcast to (n_sets, n_rows)
        """
        values = self.node_values
        for position, index in self._leaves:
            values[position] = constants[:, index : index + 1]
        for position, function, a, b in self._linear_steps if only_linear else self._steps:
            values[position] = function(values[a]) if b < 0 else function(values[a], values[b])
        return values[-1]

    def derivatives(self, wanted: Sequence[int], above: Sequence[bool], n_sets: int) -> Array:
        """Derivatives by some constants where :meth:`values` was last computed: a reverse sweep.

        Parameters
        ----------
        wanted : sequence of int
            Indices of constants.
        above : sequence of bool
            For each node, whether a wanted constant stands in it.
        n_sets : int
            Number of sets of constants.

        Returns
        -------
        ndarray of shape (n_sets, len(wanted), n_rows)
        """
        derivatives = np.empty((n_sets, len(wanted), self.n_rows))
        if not wanted:
            return derivatives
        place = {index: i for i, index in enumerate(wanted)}
        values, nodes = self.node_values, self.program.nodes
        operators = self.program.language.operators
        adjoint: list = [None] * len(nodes)
        adjoint[-1] = 1.0
        for position in range(len(nodes) - 1, -1, -1):
            if not above[position]:
                continue
            symbol, a, b = nodes[position]
            upper = adjoint[position]
            if symbol == "c":
                derivatives[:, place[a]] = upper
            elif symbol == "+":
                adjoint[a] = adjoint[b] = upper
            elif symbol == "-":
                adjoint[a] = upper
                if above[b]:
                    adjoint[b] = -upper
            elif symbol == "*":
                if above[a]:
                    adjoint[a] = upper * values[b]
                if above[b]:
                    adjoint[b] = upper * values[a]
            elif symbol == "/":
                share = upper / values[b]
                if above[a]:
                    adjoint[a] = share
                if above[b]:
                    adjoint[b] = -share * values[position]
            elif symbol == "^":
                self._power(adjoint, above, position, a, b)
            elif b < 0:
                (slope,) = operators[symbol].derivative(values[position], values[a])
                adjoint[a] = upper * slope
            else:
                slopes = operators[symbol].derivative(values[position], values[a], values[b])
                adjoint[a], adjoint[b] = upper * slopes[0], upper * slopes[1]
        return derivatives

    def _power(self, adjoint: list, above: Sequence[bool], position: int, a: int, b: int) -> None:
        """Both slopes cost a transcendental function, and mostly only one is wanted."""
        values = self.node_values
        upper, value, base, exponent = (
            adjoint[position], values[position], values[a], values[b],
        )  # fmt: skip
        if above[a]:
            adjoint[a] = upper * exponent * np.power(base, exponent - 1.0)
        if above[b]:
            logarithm = self._logarithms.get(a)
            if logarithm is None:
                logarithm = np.log(base)
                if not self.program.active[a]:
                    self._logarithms[a] = logarithm
            # Undefined for a base below zero, where the exponent cannot move, and 0 in the limit
            # where the value is.
            adjoint[b] = upper * np.where(value == 0.0, 0.0, value * logarithm)
