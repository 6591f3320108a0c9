"""Small changes of a formula, ranked by what each promises before any of them is fitted.

Every change puts something else in the place of one subformula. What the whole is worth then is
estimated in one of two ways, for hundreds of changes in a few operations on whole arrays:

- exactly, but with the constants left as they are and only an outer factor and offset fitted: the
  values are carried up to the root;
- to first order, for terms that are added with a constant factor of their own: how much of the
  residuals, which the derivatives by the present constants cannot explain, the term explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.operators import ARITY, CONSTANT, OPERATORS
from sr_transformer.expression.program import BoundProgram, compile_program

Array = np.ndarray

_WRAPPER = 4  # symbols of an outer factor and offset
_NEGLIGIBLE = 1e-10  # share of a term's squares that must be new to the formula


@dataclass(frozen=True)
class Part:
    """A piece of a formula and its values on the rows."""

    symbols: tuple[str, ...]
    constants: tuple[float, ...]
    values: Array


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


def small_parts(X: Array, columns: Sequence[int], operators: frozenset[str]) -> list[Part]:
    """Variables, functions of one, and products and ratios of two.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    columns : sequence of int
        The variables to use.
    operators : frozenset of str
        The operators to use.
    """
    unary = [name for name in OPERATORS if name in operators and ARITY[name] == 1]
    parts = [Part((f"x{i}",), (), X[:, i]) for i in columns]
    with np.errstate(all="ignore"):
        for i in columns:
            parts += [
                Part((name, f"x{i}"), (), OPERATORS[name].function(X[:, i]))
                for name in unary
                if name not in ("neg", "abs")
            ]
        for i, j in permutations(columns, 2):
            if "*" in operators and i < j:
                parts.append(Part(("*", f"x{i}", f"x{j}"), (), X[:, i] * X[:, j]))
            if "/" in operators:
                parts.append(Part(("/", f"x{i}", f"x{j}"), (), X[:, i] / X[:, j]))
    return [part for part in parts if np.isfinite(part.values).all() and np.ptp(part.values) > 0]


class Editor:
    """Finds promising changes of formulas of one table.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        A few rows.
    y : ndarray of shape (n_rows,)
    sample_weight : ndarray of shape (n_rows,) or None
    operators : frozenset of str
        What changed formulas may use.
    columns : sequence of int
        Variables that may be brought in.
    """

    def __init__(
        self,
        X: Array,
        y: Array,
        sample_weight: Array | None,
        operators: frozenset[str],
        columns: Sequence[int],
    ) -> None:
        self._columns, self._y = X.T, y
        weight = np.ones_like(y) if sample_weight is None else sample_weight
        self._weight = weight / weight.sum()
        self._operators = operators
        self._unary = [n for n in OPERATORS if n in operators and ARITY[n] == 1]
        self._binary = [n for n in OPERATORS if n in operators and ARITY[n] == 2]
        self._parts = small_parts(X, columns, operators)
        self._n_simple = sum(len(part.symbols) == 1 for part in self._parts)
        self._values = np.array([part.values for part in self._parts]).reshape(-1, len(y))
        self._centred = y - self._weight @ y
        self._spread = float(self._weight @ (self._centred * self._centred))

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
        bound = BoundProgram(program, editor._columns)
        values = np.broadcast_to(bound.values(np.array([expression.constants])), (1, len(editor._y)))
        self.residuals = editor._y - values[0]
        self.loss = float(editor._weight @ (self.residuals**2))
        self.values = [
            np.broadcast_to(np.asarray(v, dtype=float).reshape(-1, v.shape[-1])[0], editor._y.shape)
            for v in bound.node_values
        ]
        slopes = bound.derivatives(range(program.n_constants), program.active, 1)[0]
        root = np.sqrt(editor._weight)
        slopes = np.where(np.isfinite(slopes), slopes, 0.0) * root
        self.basis = np.linalg.qr(slopes.T)[0] if len(slopes) else np.empty((len(root), 0))
        self.weighted = self.residuals * root
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
            shares = OPERATORS[symbol].derivative(self.values[position], *arguments)
            for child, share in zip((a, b), shares, strict=False):
                self.slopes[child] = self.slopes[position] * share

    # --- what is tried ------------------------------------------------------------------------
    def edits(self) -> Iterator[Edit]:
        if not np.isfinite(self.loss):
            return
        for position, (symbol, a, b) in enumerate(self.nodes):
            pieces, values = [], []
            for piece, value in self._replacements(position, symbol, a, b):
                pieces.append(piece)
                values.append(value)
            if pieces:
                losses, plain = self._carry_up(position, np.array(values))
                for piece, loss, own in zip(pieces, losses.tolist(), plain.tolist(), strict=True):
                    yield from self._edit(position, piece, loss, own)
            if symbol != "c":
                yield from self._added(position)

    def _replacements(self, position: int, symbol: str, a: int, b: int):
        """Pieces that may stand in the place of a node, and their values."""
        editor, here = self.editor, self.values[position]
        own = self._piece(position)
        varies = symbol != "c"
        children = [child for child in (a, b) if symbol not in ("x", "c") and child >= 0]
        for child in children:
            yield self._piece(child), self.values[child]
        if b >= 0 and symbol not in ("x", "c"):
            first, second = self._piece(a), self._piece(b)
            for name in editor._binary:
                function = OPERATORS[name].function
                if name != symbol:
                    yield _joined(name, first, second), function(self.values[a], self.values[b])
                if name in ("-", "/", "^"):
                    yield _joined(name, second, first), function(self.values[b], self.values[a])
        elif children:
            for name in editor._unary:
                if name != symbol:
                    value = OPERATORS[name].function(self.values[a])
                    yield _joined(name, self._piece(a)), value
        if varies:
            for name in editor._unary:
                yield _joined(name, own), OPERATORS[name].function(here)
            if symbol != "x" or len(self.nodes) > 1:
                mean = float(editor._weight @ here)
                yield ((CONSTANT,), (mean,)), np.full_like(here, mean)
        for i, part in enumerate(editor._parts):
            piece = (part.symbols, part.constants)
            if part.symbols != own[0]:
                yield piece, part.values
            if not varies:
                continue
            for name in editor._binary:
                if name in ("max", "min") or (name == "^" and i >= editor._n_simple):
                    continue
                function = OPERATORS[name].function
                yield _joined(name, own, piece), function(here, part.values)
                if name in ("-", "/"):
                    yield _joined(name, piece, own), function(part.values, here)

    def _added(self, position: int) -> Iterator[Edit]:
        """Terms with a factor of their own, and a factor, offset or exponent for the node."""
        editor, own = self.editor, self._piece(position)
        here, slope = self.values[position], self.slopes[position] * self.root
        terms: list[tuple] = []
        rows: list[Array] = []
        if "+" in editor._operators:
            terms.append(_joined("+", own, ((CONSTANT,), (0.0,))))
            rows.append(np.ones_like(here))
        if "*" in editor._operators:
            terms.append(_joined("*", ((CONSTANT,), (1.0,)), own))
            rows.append(here)
        if "^" in editor._operators and (here > 0.0).all():
            terms.append(_joined("^", own, ((CONSTANT,), (1.0,))))
            rows.append(here * np.log(here))
        n_own = len(terms)
        columns = np.array(rows).reshape(n_own, -1)
        if {"+", "*"} <= editor._operators:
            columns = np.concatenate([columns, editor._values])
        columns = columns * slope
        new = columns - (columns @ self.basis) @ self.basis.T
        size = np.einsum("ij,ij->i", new, new)
        share = new @ self.weighted
        gain = share * share / size
        gain[~(size > _NEGLIGIBLE * np.einsum("ij,ij->i", columns, columns))] = 0.0
        gain = np.where(np.isfinite(gain), gain, 0.0)
        for i in np.flatnonzero(gain > 0.01 * self.loss).tolist():
            loss = max(self.loss - float(gain[i]), 0.0)
            if i < n_own:
                yield from self._edit(position, terms[i], loss, loss)
            else:
                part = editor._parts[i - n_own]
                factor = float(share[i] / size[i])
                term = _joined("*", ((CONSTANT,), (factor,)), (part.symbols, part.constants))
                yield from self._edit(position, _joined("+", own, term), loss, loss)

    # --- what it is worth ---------------------------------------------------------------------
    def _carry_up(self, position: int, values: Array) -> tuple[Array, Array]:
        """Losses with the values (n_edits, n_rows) at a node: with factor and offset, and as is."""
        while self.above[position] >= 0:
            upper = self.above[position]
            symbol, a, b = self.nodes[upper]
            function = OPERATORS[symbol].function
            if b < 0:
                values = function(values)
            elif a == position:
                values = function(values, self.values[b])
            else:
                values = function(self.values[a], values)
            position = upper
        editor = self.editor
        weight = editor._weight
        plain = ((values - editor._y) ** 2) @ weight
        centred = values - (values @ weight)[:, None]
        spread = (centred * centred) @ weight
        common = centred @ (editor._centred * weight)
        losses = editor._spread - common * common / spread
        losses = np.where(np.isfinite(losses), np.maximum(losses, 0.0), np.inf)
        return losses, np.where(np.isfinite(plain), plain, np.inf)

    def _edit(self, position: int, piece: tuple, loss: float, plain: float) -> Iterator[Edit]:
        start, end = len(self.nodes) - 1 - position, self.ends[position]
        size = start + len(piece[0]) + len(self.symbols) - end
        if plain > 2.0 * loss and not self.has_affine:
            size += _WRAPPER
        loss = min(loss, plain)
        if size >= len(self.limits) or not loss < self.limits[size]:
            return
        symbols = self.symbols[:start] + piece[0] + self.symbols[end:]
        if not any(s[0] == "x" for s in symbols):
            return
        before, inside = self._counts(start, end)
        constants = self.expression.constants
        constants = constants[:before] + piece[1] + constants[before + inside :]
        yield Edit(Expression._trusted(symbols, constants), size, loss)

    # --- the formula's own pieces -------------------------------------------------------------
    def _counts(self, start: int, end: int) -> tuple[int, int]:
        before = self.symbols[:start].count(CONSTANT)
        return before, self.symbols[start:end].count(CONSTANT)

    def _piece(self, position: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
        start, end = len(self.nodes) - 1 - position, self.ends[position]
        before, inside = self._counts(start, end)
        return self.symbols[start:end], self.expression.constants[before : before + inside]


def _joined(name: str, *pieces: tuple) -> tuple[tuple[str, ...], tuple[float, ...]]:
    symbols: tuple[str, ...] = (name,)
    constants: tuple[float, ...] = ()
    for piece in pieces:
        symbols += piece[0]
        constants += piece[1]
    return symbols, constants
