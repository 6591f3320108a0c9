"""``Expression``: an immutable formula, and its values, derivatives and size.

A formula is a prefix sequence of symbols plus the values of its constants. Everything that is
shown, predicted or handed to a search engine is printed from this one object, so the forms cannot
differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.language import ARITY, CONSTANT, OPERATORS
from sr_transformer.expression.program import BoundProgram, compile_program

if TYPE_CHECKING:
    import sympy

Array = np.ndarray


class Expression:
    """A formula in prefix notation with its constants.

    Parameters
    ----------
    symbols : iterable of str
        Prefix sequence. Operators by the names of
        :data:`sr_transformer.expression.language.OPERATORS`, variables ``"x0"``, ``"x1"``, ...
        (the columns of the table, from zero), constants ``"c"``.
    constants : iterable of float
        The value of each ``"c"``, from left to right.

    Raises
    ------
    ExpressionError
        If the sequence is not exactly one formula, holds an unknown symbol, or the number of
        constants differs from the number of ``"c"``.

    Examples
    --------
    >>> Expression(["*", "c", "sin", "x0"], [2.0]).evaluate([[0.0], [1.5707963267948966]])
    array([0., 2.])
    """

    def __init__(self, symbols: Iterable[str], constants: Iterable[float] = ()) -> None:
        self.symbols: tuple[str, ...] = tuple(symbols)
        self.constants: tuple[float, ...] = tuple(map(float, constants))
        _check(self.symbols, len(self.constants))

    @classmethod
    def _trusted(cls, symbols: tuple[str, ...], constants: tuple[float, ...]) -> Expression:
        """Build without checking: for code that has made the sequence itself."""
        self = object.__new__(cls)
        self.symbols = symbols
        self.constants = constants
        return self

    # --- identity -----------------------------------------------------------------------------
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        return self.symbols == other.symbols and self.constants == other.constants

    def __hash__(self) -> int:
        return hash((self.symbols, self.constants))

    def __getstate__(self) -> tuple[tuple[str, ...], tuple[float, ...]]:
        return self.symbols, self.constants

    def __setstate__(self, state: tuple[tuple[str, ...], tuple[float, ...]]) -> None:
        self.symbols, self.constants = state

    def __repr__(self) -> str:
        return f"Expression({self.to_text()!r})"

    def __str__(self) -> str:
        return self.to_text()

    def with_constants(self, constants: Iterable[float]) -> Expression:
        """Return the same formula with other values of its constants."""
        values = tuple(map(float, constants))
        if len(values) != len(self.constants):
            raise ExpressionError(
                f"{len(values)} constants given for a formula that has {len(self.constants)}."
            )
        return Expression._trusted(self.symbols, values)

    # --- what it is made of -------------------------------------------------------------------
    @property
    def variables(self) -> tuple[int, ...]:
        """Column indices that the formula reads, ascending."""
        return tuple(sorted({int(s[1:]) for s in self.symbols if s[0] == "x"}))

    @property
    def operators(self) -> frozenset[str]:
        """Names of the operators in use."""
        return frozenset(s for s in self.symbols if s in ARITY)

    def complexity(
        self,
        *,
        of_operators: Mapping[str, float] | None = None,
        of_constants: float = 1,
        of_variables: float | Sequence[float] = 1,
    ) -> int:
        """Size of the formula as PySR counts it.

        By default every operator, constant and variable counts one. The parameters are PySR's
        ``complexity_of_operators``, ``complexity_of_constants`` and ``complexity_of_variables``.
        """
        if of_operators is None and of_constants == 1 and of_variables == 1:
            return len(self.symbols)
        of_operators = of_operators or {}
        total = 0.0
        for symbol in self.symbols:
            if symbol in ARITY:
                total += of_operators.get(symbol, 1)
            elif symbol == CONSTANT:
                total += of_constants
            elif isinstance(of_variables, Sequence):
                total += of_variables[int(symbol[1:])]
            else:
                total += of_variables
        return round(total)

    @property
    def depth(self) -> int:
        """Number of levels of the tree: 1 for a single leaf."""
        stack: list[int] = []
        for symbol in reversed(self.symbols):
            arity = ARITY.get(symbol, 0)
            below = max((stack.pop() for _ in range(arity)), default=0)
            stack.append(below + 1)
        return stack[0]

    # --- values -------------------------------------------------------------------------------
    def evaluate(self, X: Array) -> Array:
        """Values of the formula, in float64.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            One row an observation.

        Returns
        -------
        ndarray of shape (n_rows,)
            ``nan`` or ``inf`` where the formula is undefined; nothing is clipped or replaced.
        """
        X = np.asarray(X, dtype=float)
        return evaluate_columns(self.symbols, self.constants, X.T)

    def jacobian(self, X: Array) -> tuple[Array, Array]:
        """Values and their derivatives with respect to the constants.

        Returns
        -------
        values : ndarray of shape (n_rows,)
        derivatives : ndarray of shape (n_rows, n_constants)
        """
        X = np.asarray(X, dtype=float)
        program = compile_program(self.symbols)
        with np.errstate(all="ignore"):
            bound = BoundProgram(program, X.T)
            values = bound.values(np.array([self.constants]))
            derivatives = bound.derivatives(range(program.n_constants), program.active, 1)
        return np.array(np.broadcast_to(values, (1, len(X)))[0]), derivatives[0].T

    # --- other forms (see formats.py and simplify.py) -------------------------------------------
    @classmethod
    def parse(cls, text: str, variable_names: Sequence[str] | None = None) -> Expression:
        """Read a formula from text, PySR's equation text included."""
        from sr_transformer.expression.writing import parse

        return parse(text, variable_names)

    @classmethod
    def from_sympy(
        cls, formula: sympy.Basic, variable_names: Sequence[str] | None = None
    ) -> Expression:
        """Convert a SymPy expression."""
        from sr_transformer.expression.writing import from_sympy

        return from_sympy(formula, variable_names)

    def to_text(
        self, variable_names: Sequence[str] | None = None, precision: int | None = None
    ) -> str:
        """Infix text; all digits of the constants unless ``precision`` names a number of them."""
        from sr_transformer.expression.writing import to_text

        return to_text(self, variable_names, precision)

    def to_sympy(self, variable_names: Sequence[str] | None = None) -> sympy.Basic:
        """SymPy expression over real-valued symbols with the given names."""
        from sr_transformer.expression.writing import to_sympy

        return to_sympy(self, variable_names)

    def to_latex(self, variable_names: Sequence[str] | None = None, precision: int = 4) -> str:
        """LaTeX, with constants rounded to ``precision`` significant digits."""
        from sr_transformer.expression.writing import to_latex

        return to_latex(self, variable_names, precision)

    def to_python(self, variable_names: Sequence[str] | None = None) -> str:
        """Python expression over NumPy arrays (``np`` imported)."""
        from sr_transformer.expression.writing import to_python

        return to_python(self, variable_names)

    def to_pysr(self, variable_names: Sequence[str] | None = None) -> str:
        """Text that PySR accepts as one of its ``guesses``."""
        from sr_transformer.expression.writing import to_pysr

        return to_pysr(self, variable_names)

    def simplify(self) -> Expression:
        """Return the canonical spelling: folded, flattened, ordered."""
        from sr_transformer.expression.simplify import simplify

        return simplify(self)

    def lower(self, operators: Iterable[str]) -> Expression | None:
        """Respell with the given operators only; ``None`` where that is impossible."""
        from sr_transformer.expression.lowering import lower

        return lower(self, frozenset(operators))


def evaluate_columns(symbols: Sequence[str], constants: Sequence[float], columns: Array) -> Array:
    """Values (n_rows,) of a prefix sequence on a transposed table (n_columns, n_rows)."""
    stack: list = []
    position = len(constants)
    with np.errstate(all="ignore"):
        for symbol in reversed(symbols):
            operator = OPERATORS.get(symbol)
            if operator is None:
                if symbol == CONSTANT:
                    position -= 1
                    stack.append(constants[position])
                else:
                    stack.append(columns[int(symbol[1:])])
            elif operator.arity == 1:
                stack.append(operator.function(stack.pop()))
            else:
                first = stack.pop()
                stack.append(operator.function(first, stack.pop()))
    value = stack[0]
    if isinstance(value, np.ndarray) and value.ndim and value.base is None:
        return value
    return np.array(np.broadcast_to(value, columns.shape[1:]), dtype=float)


def subformula_ends(symbols: Sequence[str]) -> list[int]:
    """For each position of a prefix sequence, where the subformula that begins there has ended."""
    ends = [0] * len(symbols)
    stack: list[int] = []
    for position in range(len(symbols) - 1, -1, -1):
        end = position + 1
        for _ in range(ARITY.get(symbols[position], 0)):
            end = stack.pop()
        ends[position] = end
        stack.append(end)
    return ends


def _is_variable(symbol: str) -> bool:
    index = symbol[1:]
    return symbol[:1] == "x" and index.isdecimal() and str(int(index)) == index


def _check(symbols: tuple[str, ...], n_constants: int) -> None:
    """Raise :class:`ExpressionError` unless the symbols are exactly one formula."""
    open_slots = 1
    for position, symbol in enumerate(symbols):
        if open_slots == 0:
            raise ExpressionError(
                f"the formula is complete after {position} symbols, but {len(symbols)} were "
                f"given: {' '.join(symbols)}"
            )
        if symbol in ARITY:
            open_slots += ARITY[symbol] - 1
        elif symbol == CONSTANT or _is_variable(symbol):
            open_slots -= 1
        else:
            raise ExpressionError(
                f"unknown symbol {symbol!r}; allowed are the operators {' '.join(OPERATORS)}, "
                f"variables x0, x1, ... and the constant {CONSTANT!r}."
            )
    if open_slots:
        raise ExpressionError(
            f"{open_slots} arguments are missing at the end of: {' '.join(symbols) or '(nothing)'}"
        )
    if n_constants != symbols.count(CONSTANT):
        raise ExpressionError(
            f"{n_constants} constants given for {symbols.count(CONSTANT)} 'c' in: "
            f"{' '.join(symbols)}"
        )
