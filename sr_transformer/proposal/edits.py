"""Small changes of a formula, ranked by what each promises before any of them is fitted.

Every change puts something else in the place of one subformula. What the whole is worth then is
estimated in one of two ways, for hundreds of changes in a few operations on whole arrays:

- exactly, but with the constants left as they are and only an outer factor and offset fitted: the
  values are carried up to the root;
- to first order, for terms that are added with a constant factor of their own: how much of the
  residuals, which the derivatives by the present constants cannot explain, the term explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT
from sr_transformer.expression.program import BoundProgram, compile_program
from sr_transformer.table.table import Table

Array = np.ndarray

_WRAPPER = 4  # symbols of an outer factor and offset
_GAIN = 0.01  # share of the loss that an added term must promise to take away
_ORDERED = frozenset({"-", "/", "^"})
_NEGLIGIBLE = 1e-10  # share of a term's squares that must be new to the formula


_Piece = tuple[tuple[str, ...], tuple[float, ...]]  # symbols and constants


class _Block(NamedTuple):
    """Pieces that may stand in the place of a node: values (n, n_rows), sizes (n,), by number."""

    values: Array
    sizes: Array
    piece: Callable[[int], _Piece]


@dataclass(frozen=True)
class Edit:
    """A changed formula and what it promises.

    Parameters
    ----------
    expression : Expression
    complexity : int
        Of the formula together with what the promise assumes.
    loss : float
        Promised mean squared error.
    """

    expression: Expression
    complexity: int
    loss: float


def small_parts(
    X: Array, columns: Sequence[int], operators: frozenset[str]
) -> list[tuple[tuple[str, ...], Array]]:
    """Variables, functions of one, and products and ratios of two: symbols and values.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    columns : sequence of int
        The variables to use.
    operators : frozenset of str
        The operators to use.
    """
    unary = [
        n
        for n in ARITHMETIC.operators
        if n in operators and ARITHMETIC.arity[n] == 1 and n not in ("neg", "abs")
    ]
    parts: list[tuple[tuple[str, ...], Array]] = [((f"x{i}",), X[:, i]) for i in columns]
    with np.errstate(all="ignore"):
        for i in columns:
            parts += [
                ((name, f"x{i}"), ARITHMETIC.operators[name].function(X[:, i])) for name in unary
            ]
        for i, j in permutations(columns, 2):
            if "*" in operators and i < j:
                parts.append((("*", f"x{i}", f"x{j}"), X[:, i] * X[:, j]))
            if "/" in operators:
                parts.append((("/", f"x{i}", f"x{j}"), X[:, i] / X[:, j]))
        return [part for part in parts if np.isfinite(part[1]).all() and np.ptp(part[1]) > 0]


class Editor:
    """Finds promising changes of formulas of one table.

    Parameters
    ----------
    table : Table
        A few rows.
    operators : frozenset of str
        What changed formulas may use.
    columns : sequence of int
        Variables that may be brought in.
    """

    def __init__(self, table: Table, operators: frozenset[str], columns: Sequence[int]) -> None:
        X, y = table.X, table.y
        self.columns, self.y = X.T, y
        weight = np.ones_like(y) if table.weights is None else table.weights
        self.weight = weight / weight.sum()
        self.centred = y - self.weight @ y
        self.spread = float(self.weight @ (self.centred * self.centred))
        self.operators = operators
        self.unary = [
            n for n in ARITHMETIC.operators if n in operators and ARITHMETIC.arity[n] == 1
        ]
        self.binary = [
            n for n in ARITHMETIC.operators if n in operators and ARITHMETIC.arity[n] == 2
        ]
        self.parts = small_parts(X, columns, operators)
        self.part_values = np.array([values for _, values in self.parts]).reshape(-1, len(y))
        self.part_sizes = np.array([len(symbols) for symbols, _ in self.parts], dtype=int)

    def part(self, i: int) -> _Piece:
        """Symbols and constants of a part."""
        return self.parts[i][0], ()

    def edits(self, expression: Expression, limits: Array) -> list[Edit]:
        """Changes of a formula that promise enough, in no particular order.

        Parameters
        ----------
        expression : Expression
        limits : ndarray of shape (maxsize + 1,)
            For each complexity, the loss that a change must promise to stay below.
        """
        with np.errstate(all="ignore"):
            return list(_Parent(self, expression, limits).edits())


class _Parent:
    """One formula that is changed; the editor's attributes are its own here."""

    def __init__(self, editor: Editor, expression: Expression, limits: Array) -> None:
        self.editor, self.expression, self.limits = editor, expression, limits
        self.symbols = expression.symbols
        program = compile_program(self.symbols)
        self.nodes = program.nodes
        self.has_affine = bool(program.linear)
        bound = BoundProgram(program, editor.columns)
        values = np.broadcast_to(bound.values(np.array([expression.constants])), (1, len(editor.y)))
        self.residuals = editor.y - values[0]
        self.loss = float(editor.weight @ (self.residuals**2))
        self.values = [
            np.broadcast_to(np.asarray(v, dtype=float).reshape(-1, v.shape[-1])[0], editor.y.shape)
            for v in bound.node_values
        ]
        slopes = bound.derivatives(range(program.n_constants), program.active, 1)[0]
        root = np.sqrt(editor.weight)
        slopes = np.where(np.isfinite(slopes), slopes, 0.0) * root
        self.basis = np.linalg.qr(slopes.T)[0] if len(slopes) else np.empty((len(root), 0))
        # What a fit of the formula's own constants would leave, to first order.
        weighted = self.residuals * root
        self.weighted = weighted - self.basis @ (self.basis.T @ weighted)
        self.ground = float(self.weighted @ self.weighted)
        self.root = root
        self._find_structure()

    def _find_structure(self) -> None:
        """For each node: where it stands in the prefix sequence, its parent and its slope."""
        n = len(self.nodes)
        self.above = [-1] * n
        self.ends = [0] * n  # prefix positions where the subformulas end
        self.slopes: list = [None] * n
        self.slopes[-1] = np.ones_like(self.residuals)
        for position, (symbol, a, b) in enumerate(self.nodes):
            start = n - 1 - position
            if symbol in ("x", "c"):
                self.ends[position] = start + 1
                continue
            self.ends[position] = self.ends[b if b >= 0 else a]
            self.above[a] = position
            if b >= 0:
                self.above[b] = position
        for position in range(n - 1, -1, -1):
            symbol, a, b = self.nodes[position]
            if symbol in ("x", "c"):
                continue
            arguments = (self.values[a],) if b < 0 else (self.values[a], self.values[b])
            shares = ARITHMETIC.operators[symbol].derivative(self.values[position], *arguments)
            for child, share in zip((a, b), shares, strict=False):
                self.slopes[child] = self.slopes[position] * share

    # --- what is tried ------------------------------------------------------------------------
    def edits(self) -> Iterator[Edit]:
        if not np.isfinite(self.loss):
            return
        for position, (symbol, *_) in enumerate(self.nodes):
            blocks = [*self._own_changes(position), *self._with_parts(position)]
            if not blocks:
                continue
            losses, plain = self._carry_up(position, np.concatenate([b.values for b in blocks]))
            wrapped = np.zeros(len(losses), dtype=int)
            if not self.has_affine:
                wrapped[plain > 2.0 * losses] = _WRAPPER
            losses = np.minimum(losses, plain)
            sizes = np.concatenate([b.sizes for b in blocks]) + wrapped
            first = 0
            for block in blocks:
                span = slice(first, first + len(block.sizes))
                first = span.stop
                worth = self._worth(position, sizes[span], losses[span])
                for i in worth.tolist():
                    extra, loss = int(wrapped[span][i]), float(losses[span][i])
                    yield from self._edit(position, block.piece(i), loss, extra)
            if symbol != CONSTANT:
                yield from self._added(position)

    def _worth(self, position: int, sizes: Array, losses: Array) -> Array:
        """Which pieces, of given sizes, promise enough in the place of a node."""
        sizes = sizes + len(self.symbols) - (self.ends[position] - self._start(position))
        short = sizes < len(self.limits)
        return np.flatnonzero(short & (losses < self.limits[np.where(short, sizes, 0)]))

    def _own_changes(self, position: int) -> Iterator[_Block]:
        """Fewer operators, other operators, other order, a function around it, a constant."""
        editor, here = self.editor, self.values[position]
        symbol, a, b = self.nodes[position]
        pieces: list[_Piece] = []
        values: list[Array] = []

        def put(piece: _Piece, value: Array) -> None:
            pieces.append(piece)
            values.append(value)

        if symbol in ARITHMETIC.arity:
            for child in (a, b)[: ARITHMETIC.arity[symbol]]:
                put(self._piece(child), self.values[child])
        if ARITHMETIC.arity.get(symbol) == 2:
            first, second = self._piece(a), self._piece(b)
            for name in editor.binary:
                function = ARITHMETIC.operators[name].function
                if name != symbol:
                    put(_joined(name, first, second), function(self.values[a], self.values[b]))
                if name in _ORDERED:
                    put(_joined(name, second, first), function(self.values[b], self.values[a]))
        elif symbol in ARITHMETIC.arity:
            for name in editor.unary:
                if name != symbol:
                    value = ARITHMETIC.operators[name].function(self.values[a])
                    put(_joined(name, self._piece(a)), value)
        if symbol != CONSTANT:
            own = self._piece(position)
            for name in editor.unary:
                put(_joined(name, own), ARITHMETIC.operators[name].function(here))
            mean = float(editor.weight @ here)
            put(((CONSTANT,), (mean,)), np.full_like(here, mean))
        if pieces:
            sizes = np.array([len(piece[0]) for piece in pieces])
            yield _Block(np.array(values), sizes, pieces.__getitem__)

    def _with_parts(self, position: int) -> Iterator[_Block]:
        """A part in the place of a node, or joined to it by an operator."""
        editor, here, own = self.editor, self.values[position], self._piece(position)
        if not editor.parts:
            return
        yield _Block(editor.part_values, editor.part_sizes, editor.part)
        if self.nodes[position][0] == CONSTANT:
            return
        sizes = editor.part_sizes + 1 + len(own[0])
        for name in editor.binary:
            if name in ("max", "min", "^"):
                continue
            function = ARITHMETIC.operators[name].function
            values = function(here, editor.part_values)
            yield _Block(values, sizes, lambda i, name=name: _joined(name, own, editor.part(i)))
            if name in _ORDERED:
                values = function(editor.part_values, here)
                yield _Block(values, sizes, lambda i, name=name: _joined(name, editor.part(i), own))

    def _added(self, position: int) -> Iterator[Edit]:
        """Terms with a factor of their own, and a factor, offset or exponent for the node."""
        editor, own = self.editor, self._piece(position)
        here, slope = self.values[position], self.slopes[position] * self.root
        terms: list[_Piece] = []
        rows: list[Array] = []
        if "+" in editor.operators:
            terms.append(_joined("+", own, ((CONSTANT,), (0.0,))))
            rows.append(np.ones_like(here))
        if "*" in editor.operators:
            terms.append(_joined("*", ((CONSTANT,), (1.0,)), own))
            rows.append(here)
        if "^" in editor.operators and (here > 0.0).all():
            terms.append(_joined("^", own, ((CONSTANT,), (1.0,))))
            rows.append(here * np.log(here))
        n_own = len(terms)
        columns = np.array(rows).reshape(n_own, -1)
        if {"+", "*"} <= editor.operators:
            columns = np.concatenate([columns, editor.part_values])
        columns = columns * slope
        new = columns - (columns @ self.basis) @ self.basis.T
        size = np.einsum("ij,ij->i", new, new)
        share = new @ self.weighted
        gain = share * share / size
        gain[~(size > _NEGLIGIBLE * np.einsum("ij,ij->i", columns, columns))] = 0.0
        gain = np.where(np.isfinite(gain), gain, 0.0)
        losses = np.maximum(self.ground - gain, 0.0)
        sizes = len(own[0]) + np.concatenate([np.full(n_own, 2), 3 + editor.part_sizes])
        losses[gain <= _GAIN * self.ground] = np.inf
        for i in self._worth(position, sizes[: len(losses)], losses).tolist():
            if i < n_own:
                piece = terms[i]
            else:
                factor = float(share[i] / size[i])
                term = _joined("*", ((CONSTANT,), (factor,)), editor.part(i - n_own))
                piece = _joined("+", own, term)
            yield from self._edit(position, piece, float(losses[i]), 0)

    # --- what it is worth ---------------------------------------------------------------------
    def _carry_up(self, position: int, values: Array) -> tuple[Array, Array]:
        """Losses with the values (n_edits, n_rows) at a node: with factor and offset, and as is."""
        while self.above[position] >= 0:
            upper = self.above[position]
            symbol, a, b = self.nodes[upper]
            function = ARITHMETIC.operators[symbol].function
            if b < 0:
                values = function(values)
            elif a == position:
                values = function(values, self.values[b])
            else:
                values = function(self.values[a], values)
            position = upper
        editor = self.editor
        weight = editor.weight
        plain = ((values - editor.y) ** 2) @ weight
        centred = values - (values @ weight)[:, None]
        spread = (centred * centred) @ weight
        common = centred @ (editor.centred * weight)
        losses = editor.spread - common * common / spread
        losses = np.where(np.isfinite(losses), np.maximum(losses, 0.0), np.inf)
        return losses, np.where(np.isfinite(plain), plain, np.inf)

    def _edit(self, position: int, piece: _Piece, loss: float, extra: int) -> Iterator[Edit]:
        start, end = self._start(position), self.ends[position]
        symbols = self.symbols[:start] + piece[0] + self.symbols[end:]
        if not any(s[0] == "x" for s in symbols):
            return
        before, inside = self._counts(start, end)
        constants = self.expression.constants
        constants = constants[:before] + piece[1] + constants[before + inside :]
        yield Edit(Expression.unchecked(symbols, constants), len(symbols) + extra, loss)

    # --- the formula's own pieces -------------------------------------------------------------
    def _start(self, position: int) -> int:
        return len(self.nodes) - 1 - position

    def _counts(self, start: int, end: int) -> tuple[int, int]:
        before = self.symbols[:start].count(CONSTANT)
        return before, self.symbols[start:end].count(CONSTANT)

    def _piece(self, position: int) -> _Piece:
        start, end = self._start(position), self.ends[position]
        before, inside = self._counts(start, end)
        return self.symbols[start:end], self.expression.constants[before : before + inside]


def _joined(name: str, *pieces: _Piece) -> _Piece:
    symbols: tuple[str, ...] = (name,)
    constants: tuple[float, ...] = ()
    for piece in pieces:
        symbols += piece[0]
        constants += piece[1]
    return symbols, constants
