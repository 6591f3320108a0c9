"""``Expression``: an immutable formula, its parts, and its values and derivatives.

A formula is a prefix sequence of symbols plus the values of its constants. Everything that is
shown, predicted or handed to a search engine is printed from this one object, so the forms cannot
differ. Its written and simplified forms are bound to the class in the package's ``__init__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from operator import add
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from sr_transformer.errors import ExpressionError
from sr_transformer.expression.language import ARITHMETIC, COLUMNS, CONSTANT, Language
from sr_transformer.expression.program import BoundProgram, compile_program

if TYPE_CHECKING:
    from typing import ClassVar

Array = np.ndarray
T = TypeVar("T")


class Expression:
    """A formula in prefix notation with its constants; it cannot be changed.

    Parameters
    ----------
    symbols : iterable of str
        Prefix sequence. Operators by their names in the language, variables ``"x0"``, ``"x1"``, ...
        (the columns of the table, from zero), constants ``"c"``.
    constants : iterable of float
        The value of each ``"c"``, from left to right.
    language : Language
        The operators that it may be written with.

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

    __slots__ = ("_key", "constants", "language", "simplified", "symbols")

    symbols: tuple[str, ...]
    constants: tuple[float, ...]
    language: Language
    simplified: Expression  # what simplify() made of it, once it was asked
    _key: tuple[str, ...]  # and its key

    def __init__(
        self,
        symbols: Iterable[str],
        constants: Iterable[float] = (),
        language: Language = ARITHMETIC,
    ) -> None:
        _set_symbols(self, tuple(symbols))
        _set_constants(self, tuple(map(float, constants)))
        _set_language(self, language)
        _check(self)

    @classmethod
    def unchecked(
        cls,
        symbols: tuple[str, ...],
        constants: tuple[float, ...],
        language: Language = ARITHMETIC,
    ) -> Expression:
        """Build without checking: for code that has made the sequence itself."""
        self = _new(cls)
        _set_symbols(self, symbols)
        _set_constants(self, constants)
        _set_language(self, language)
        return self

    @classmethod
    def number(cls, value: float, language: Language = ARITHMETIC) -> Expression:
        """A constant alone."""
        return cls.unchecked((CONSTANT,), (value,), language)

    @classmethod
    def variable(cls, column: int, language: Language = ARITHMETIC) -> Expression:
        """A column alone."""
        return cls.unchecked((f"x{column}",), (), language)

    @classmethod
    def joined(
        cls,
        operator: str,
        first: Expression,
        second: Expression | None = None,
        *others: Expression,
    ) -> Expression:
        """An operator over its arguments, which are of one language."""
        self = _new(cls)
        if others:
            parts = (first, second, *others)
            _set_symbols(self, (operator, *chain.from_iterable(part.symbols for part in parts)))
            _set_constants(self, tuple(chain.from_iterable(part.constants for part in parts)))
        elif second is None:
            _set_symbols(self, (operator, *first.symbols))
            _set_constants(self, first.constants)
        else:
            _set_symbols(self, (operator, *first.symbols, *second.symbols))
            _set_constants(self, first.constants + second.constants)
        _set_language(self, first.language)
        return self

    # --- identity -----------------------------------------------------------------------------
    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"an Expression cannot be changed: {name!r} cannot be set; make another one, by "
            "with_constants() or replaced()."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Expression cannot be changed: {name!r} cannot be deleted.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        return (
            self.symbols == other.symbols
            and self.constants == other.constants
            and self.language is other.language
        )

    def __hash__(self) -> int:
        return hash((self.symbols, self.constants))

    def __reduce__(self) -> tuple[Any, ...]:
        return Expression.unchecked, (self.symbols, self.constants, self.language)

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
        return Expression.unchecked(self.symbols, values, self.language)

    # --- what it is made of -------------------------------------------------------------------
    def fold(
        self,
        constant: Callable[[float], T],
        variable: Callable[[int], T],
        operation: Callable[..., T],
    ) -> T:
        """Make one value of the formula, from its leaves to its root.

        Everything that walks a formula is written as such a fold.

        Parameters
        ----------
        constant : callable
            Makes a value of a constant's number.
        variable : callable
            Makes a value of a column's index.
        operation : callable
            ``operation(name, *values)`` makes the value of an operator of those of its arguments.
        """
        return self.language.fold(self.symbols, self.constants, constant, variable, operation)

    @property
    def ends(self) -> tuple[int, ...]:
        """For each symbol, where the part that begins there has ended."""
        return _ends(self.symbols, self.language)

    def part(self, place: int) -> Expression:
        """The part that begins at a symbol, as a formula of its own."""
        end = self.ends[place]
        before = self.symbols[:place].count(CONSTANT)
        symbols = self.symbols[place:end]
        constants = self.constants[before : before + symbols.count(CONSTANT)]
        return Expression.unchecked(symbols, constants, self.language)

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The part that begins at each symbol; the first is the formula itself."""
        return tuple(self.part(place) for place in range(len(self.symbols)))

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The parts that the first symbol is applied to; none for a leaf."""
        place = 1
        found = []
        for _ in range(self.language.arity.get(self.symbols[0], 0)):
            found.append(self.part(place))
            place += len(found[-1].symbols)
        return tuple(found)

    def replaced(self, place: int, part: Expression) -> Expression:
        """The formula with another part at a symbol."""
        symbols, end = self.symbols, self.ends[place]
        before, after = symbols[:place].count(CONSTANT), symbols[:end].count(CONSTANT)
        return Expression.unchecked(
            symbols[:place] + part.symbols + symbols[end:],
            self.constants[:before] + part.constants + self.constants[after:],
            self.language,
        )

    def renamed(self, columns: Mapping[int, int] | Sequence[int]) -> Expression:
        """The formula of a table whose column ``i`` stands at ``columns[i]``."""
        names = {f"x{i}": f"x{columns[i]}" for i in self.variables}
        symbols = tuple(names.get(symbol, symbol) for symbol in self.symbols)
        return Expression.unchecked(symbols, self.constants, self.language)

    @property
    def variables(self) -> tuple[int, ...]:
        """Column indices that the formula reads, ascending."""
        arity = self.language.arity
        used = {COLUMNS[s] for s in self.symbols if s[0] == "x" and s not in arity}
        return tuple(sorted(used))

    @property
    def operators(self) -> frozenset[str]:
        """Names of the operators in use."""
        arity = self.language.arity
        return frozenset(s for s in self.symbols if s in arity)

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
        costs = of_operators or {}
        several = isinstance(of_variables, Sequence)
        total = self.fold(
            lambda _: of_constants,
            lambda column: of_variables[column] if several else of_variables,
            lambda name, *below: costs.get(name, 1) + sum(below),
        )
        return round(total)

    @property
    def is_fitted(self) -> bool:
        """Whether its constants can be fitted: no operator has more than two arguments."""
        return all(self.language.arity[name] <= 2 for name in self.operators)

    @property
    def depth(self) -> int:
        """Number of levels of the tree: 1 for a single leaf."""
        return self.fold(lambda _: 1, lambda _: 1, lambda _, *below: 1 + max(below))

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
        columns = np.asarray(X, dtype=float).T
        operators = self.language.operators
        with np.errstate(all="ignore"):
            value = self.fold(
                float,
                columns.__getitem__,
                lambda name, *values: operators[name].function(*values),
            )
        if isinstance(value, np.ndarray) and value.ndim and value.base is None:
            return value
        return np.array(np.broadcast_to(value, columns.shape[1:]), dtype=float)

    def jacobian(self, X: Array) -> tuple[Array, Array]:
        """Values and their derivatives with respect to the constants.

        Returns
        -------
        values : ndarray of shape (n_rows,)
        derivatives : ndarray of shape (n_rows, n_constants)
        """
        X = np.asarray(X, dtype=float)
        program = compile_program(self.symbols, self.language)
        with np.errstate(all="ignore"):
            bound = BoundProgram(program, X.T)
            values = bound.values(np.array([self.constants]))
            derivatives = bound.derivatives(range(program.n_constants), program.active, 1)
        return np.array(np.broadcast_to(values, (1, len(X)))[0]), derivatives[0].T

    if TYPE_CHECKING:  # bound in the package's __init__, where each has its home
        parse: ClassVar[Callable[..., Expression]]
        from_sympy: ClassVar[Callable[..., Expression]]
        to_text: Callable[..., str]
        to_sympy: Callable[..., Any]
        to_latex: Callable[..., str]
        to_python: Callable[..., str]
        to_pysr: Callable[..., str]
        simplify: Callable[[], Expression]
        shortest: Callable[..., Expression | None]
        key: tuple[str, ...]
        lower: Callable[[Iterable[str]], Expression | None]


_new = object.__new__
_set_symbols = Expression.__dict__["symbols"].__set__
_set_constants = Expression.__dict__["constants"].__set__
_set_language = Expression.__dict__["language"].__set__
set_simplified = Expression.__dict__["simplified"].__set__
set_key = Expression.__dict__["_key"].__set__


@lru_cache(maxsize=4096)
def _ends(symbols: tuple[str, ...], language: Language) -> tuple[int, ...]:
    def leaf(_: object) -> tuple[int, ...]:
        return (1,)

    def operation(_: str, *below: tuple[int, ...]) -> tuple[int, ...]:
        return (1 + sum(map(len, below)), *chain(*below))

    sizes = language.fold(symbols, range(symbols.count(CONSTANT)), leaf, leaf, operation)
    return tuple(map(add, sizes, count()))


def _is_variable(symbol: str) -> bool:
    index = symbol[1:]
    return symbol[:1] == "x" and index.isdecimal() and str(int(index)) == index


def _check(expression: Expression) -> None:
    """Raise :class:`ExpressionError` unless the symbols are exactly one formula."""
    symbols, n_constants = expression.symbols, len(expression.constants)
    arity = expression.language.arity
    open_slots = 1
    for position, symbol in enumerate(symbols):
        if open_slots == 0:
            raise ExpressionError(
                f"the formula is complete after {position} symbols, but {len(symbols)} were "
                f"given: {' '.join(symbols)}"
            )
        if symbol in arity:
            open_slots += arity[symbol] - 1
        elif symbol == CONSTANT or _is_variable(symbol):
            open_slots -= 1
        else:
            raise ExpressionError(
                f"unknown symbol {symbol!r}; allowed are the operators {' '.join(arity)}, "
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
