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
from functools import partial
from itertools import permutations
from typing import NamedTuple

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, CONSTANT, Operator
from sr_transformer.expression.program import BoundProgram, compile_program
from sr_transformer.table.table import Table

Array = np.ndarray

_WRAPPER = 4  # symbols of an outer factor and offset
_GAIN = 0.01  # share of the loss that an added term must promise to take away
_ORDERED = frozenset({"-", "/", "^"})
_NEGLIGIBLE = 1e-10  # share of a term's squares that must be new to the formula
_joined = Expression.joined


class _Block(NamedTuple):
    """Formulas that may stand in the place of a node: values (n, n_rows), sizes (n,), by number."""

    values: Array
    sizes: Array
    piece: Callable[[int], Expression]


class Edit(NamedTuple):
    """A changed formula and what it promises; it is built when it is asked for: few of them are.

    Parameters
    ----------
    complexity : int
        Of the formula together with what the promise assumes.
    loss : float
        Promised loss; of a robust one, what squares that touch it at the parent give.
    parent : Expression
        The formula that is changed.
    place : int
        The symbol at which another part is put.
    piece : callable
        Makes parts by number.
    number : int
    """

    complexity: int
    loss: float
    parent: Expression
    place: int
    piece: Callable[[int], Expression]
    number: int

    @property
    def expression(self) -> Expression:
        """The changed formula."""
        return self.parent.replaced(self.place, self.piece(self.number))


def small_parts(
    X: Array, columns: Sequence[int], operators: frozenset[str]
) -> list[tuple[Expression, Array]]:
    """Variables, functions of one, and products and ratios of two, with their values.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    columns : sequence of int
        The variables to use.
    operators : frozenset of str
        The operators to use.
    """
    variables = {i: Expression.variable(i) for i in columns}
    parts = [(variable, X[:, i]) for i, variable in variables.items()]
    with np.errstate(all="ignore"):
        for variable, x in parts.copy():
            low, high = x.min(), x.max()
            for name, row in _allowed(1, operators - {"neg", "abs"}).items():
                if row.domain[0] <= low and high <= row.domain[1]:
                    parts.append((_joined(name, variable), row.function(x)))
        for i, j in permutations(columns, 2):
            if "*" in operators and i < j:
                parts.append((_joined("*", variables[i], variables[j]), X[:, i] * X[:, j]))
            if "/" in operators:
                parts.append((_joined("/", variables[i], variables[j]), X[:, i] / X[:, j]))
        return [part for part in parts if np.isfinite(part[1]).all() and np.ptp(part[1]) > 0]


def _allowed(arity: int, operators: frozenset[str]) -> dict[str, Operator]:
    return {
        n: row for n, row in ARITHMETIC.operators.items() if n in operators and row.arity == arity
    }


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
        self.table, self.columns, self.y = table, X.T, y
        self.weight, self.unit = _weights(table)
        self.operators = operators
        self.unary, self.binary = _allowed(1, operators), _allowed(2, operators)
        self.parts = small_parts(X, columns, operators)
        self.part_values = np.array([values for _, values in self.parts]).reshape(-1, len(y))
        self.part_sizes = np.array([len(part.symbols) for part, _ in self.parts], dtype=int)

    def part(self, i: int) -> Expression:
        """One of the small parts."""
        return self.parts[i][0]

    def edits(self, expression: Expression, limits: Array) -> list[Edit]:
        """Changes of a formula that promise enough; some may have lost all of their variables.

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
        self.operators = expression.language.operators
        program = compile_program(self.symbols, expression.language)
        self.nodes = program.nodes
        self.pieces = expression.parts[::-1]  # of each node
        self.has_affine = bool(program.linear)
        bound = BoundProgram(program, editor.columns)
        values = np.broadcast_to(bound.values(np.array([expression.constants])), (1, len(editor.y)))
        self.residuals = editor.y - values[0]
        self.weight, self.unit = editor.weight, editor.unit
        if editor.table.loss_kind.is_robust:
            self.weight, self.unit = _weights(editor.table.seen_with(self.residuals))
        self.centred = editor.y - self.weight @ editor.y
        self.spread = float(self.weight @ (self.centred * self.centred))
        self.loss = float(self.weight @ (self.residuals**2))
        self.values = [
            np.broadcast_to(np.asarray(v, dtype=float).reshape(-1, v.shape[-1])[0], editor.y.shape)
            for v in bound.node_values
        ]
        slopes = bound.derivatives(range(program.n_constants), program.active, 1)[0]
        root = np.sqrt(self.weight)
        slopes = np.where(np.isfinite(slopes), slopes, 0.0) * root
        self.basis = np.linalg.qr(slopes.T)[0] if len(slopes) else np.empty((len(root), 0))
        # What a fit of the formula's own constants would leave, to first order.
        weighted = self.residuals * root
        self.weighted = weighted - self.basis @ (self.basis.T @ weighted)
        self.ground = float(self.weighted @ self.weighted)
        self.root = root
        self._find_structure()

    def _find_structure(self) -> None:
        """For each node: its parent and its slope."""
        n = len(self.nodes)
        self.above = [-1] * n
        self.slopes: list = [None] * n
        self.slopes[-1] = np.ones_like(self.residuals)
        for position in range(n - 1, -1, -1):
            symbol, *below = self.nodes[position]
            if symbol not in self.operators:
                continue
            below = below[: self.operators[symbol].arity]
            values = [self.values[child] for child in below]
            shares = self.operators[symbol].derivative(self.values[position], *values)
            for child, share in zip(below, shares, strict=True):
                self.above[child] = position
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
            sizes = np.concatenate([b.sizes for b in blocks]) + wrapped
            pieces = [(len(block.sizes), block.piece) for block in blocks]
            losses = np.minimum(losses, plain)
            yield from self._worth(position, sizes, losses, partial(_piece, pieces))
            if symbol != CONSTANT:
                yield from self._added(position)

    def _worth(
        self, position: int, sizes: Array, losses: Array, piece: Callable[[int], Expression]
    ) -> Iterator[Edit]:
        """The pieces that promise enough in the place of a node."""
        losses = losses * self.unit
        sizes = sizes + (len(self.symbols) - len(self.pieces[position].symbols))
        short = sizes < len(self.limits)
        chosen = np.flatnonzero(short & (losses < self.limits[np.where(short, sizes, 0)]))
        place = len(self.nodes) - 1 - position
        for i, size, loss in zip(
            chosen.tolist(), sizes[chosen].tolist(), losses[chosen].tolist(), strict=True
        ):
            yield Edit(size, loss, self.expression, place, piece, i)

    def _own_changes(self, position: int) -> Iterator[_Block]:
        """Fewer operators, other operators, other order, a function around it, a constant."""
        editor, here = self.editor, self.values[position]
        symbol, a, b = self.nodes[position]
        pieces: list[Expression] = []
        values: list[Array] = []

        def put(piece: Expression, value: Array) -> None:
            pieces.append(piece)
            values.append(value)

        own = self.operators.get(symbol)
        if own is not None:
            arguments = (a, b)[: own.arity]
            parts, below = [self.pieces[i] for i in arguments], [self.values[i] for i in arguments]
            for part, value in zip(parts, below, strict=True):
                put(part, value)
            for name, row in (editor.unary if own.arity == 1 else editor.binary).items():
                if name != symbol:
                    put(_joined(name, *parts), row.function(*below))
                if name in _ORDERED:
                    put(_joined(name, *parts[::-1]), row.function(*below[::-1]))
        if symbol != CONSTANT:
            for name, row in editor.unary.items():
                put(_joined(name, self.pieces[position]), row.function(here))
            mean = float(self.weight @ here)
            put(Expression.number(mean), np.full_like(here, mean))
        if pieces:
            sizes = np.array([len(piece.symbols) for piece in pieces])
            yield _Block(np.array(values), sizes, pieces.__getitem__)

    def _with_parts(self, position: int) -> Iterator[_Block]:
        """A part in the place of a node, or joined to it by an operator."""
        editor, here, own = self.editor, self.values[position], self.pieces[position]
        if not editor.parts:
            return
        yield _Block(editor.part_values, editor.part_sizes, editor.part)
        if self.nodes[position][0] == CONSTANT:
            return
        sizes = editor.part_sizes + 1 + len(own.symbols)
        for name, row in editor.binary.items():
            if name in ("max", "min", "^"):
                continue
            values = row.function(here, editor.part_values)
            yield _Block(values, sizes, lambda i, name=name: _joined(name, own, editor.part(i)))
            if name in _ORDERED:
                values = row.function(editor.part_values, here)
                yield _Block(values, sizes, lambda i, name=name: _joined(name, editor.part(i), own))

    def _added(self, position: int) -> Iterator[Edit]:
        """Terms with a factor of their own, and a factor, offset or exponent for the node."""
        editor, own = self.editor, self.pieces[position]
        here, slope = self.values[position], self.slopes[position] * self.root
        terms: list[Expression] = []
        rows: list[Array] = []
        if "+" in editor.operators:
            terms.append(_joined("+", own, Expression.number(0.0)))
            rows.append(np.ones_like(here))
        if "*" in editor.operators:
            terms.append(_joined("*", Expression.number(1.0), own))
            rows.append(here)
        if "^" in editor.operators and (here > 0.0).all():
            terms.append(_joined("^", own, Expression.number(1.0)))
            rows.append(here * np.log(here))
        n_own = len(terms)
        columns = np.array(rows).reshape(-1, len(here))
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
        sizes = len(own.symbols) + np.concatenate([np.full(n_own, 2), 3 + editor.part_sizes])
        losses[gain <= _GAIN * self.ground] = np.inf

        def piece(i: int) -> Expression:
            if i < n_own:
                return terms[i]
            factor = Expression.number(float(share[i] / size[i]))
            return _joined("+", own, _joined("*", factor, editor.part(i - n_own)))

        yield from self._worth(position, sizes[: len(losses)], losses, piece)

    # --- what it is worth ---------------------------------------------------------------------
    def _carry_up(self, position: int, values: Array) -> tuple[Array, Array]:
        """Losses with the values (n_edits, n_rows) at a node: with factor and offset, and as is."""
        while self.above[position] >= 0:
            upper = self.above[position]
            symbol, a, b = self.nodes[upper]
            function = self.operators[symbol].function
            if b < 0:
                values = function(values)
            elif a == position:
                values = function(values, self.values[b])
            else:
                values = function(self.values[a], values)
            position = upper
        weight = self.weight
        plain = ((values - self.editor.y) ** 2) @ weight
        centred = values - (values @ weight)[:, None]
        spread = (centred * centred) @ weight
        common = centred @ (self.centred * weight)
        losses = self.spread - common * common / spread
        losses = np.where(np.isfinite(losses), np.maximum(losses, 0.0), np.inf)
        return losses, np.where(np.isfinite(plain), plain, np.inf)


def _weights(table: Table) -> tuple[Array, float]:
    """Weights of squares with a sum of one, and what their mean is the loss in units of."""
    weight = np.ones_like(table.y) if table.square_weights is None else table.square_weights
    has_unit = weight is not table.weights and table.square_weights is not None
    return weight / weight.sum(), float(weight.mean()) if has_unit else 1.0


def _piece(pieces: list[tuple[int, Callable[[int], Expression]]], number: int) -> Expression:
    """The piece of a number over several blocks of so many each."""
    for size, piece in pieces:
        if number < size:
            return piece(number)
        number -= size
    raise IndexError(number)
