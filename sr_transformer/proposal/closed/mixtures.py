"""Large libraries: functions of one and two columns, and products of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import combinations, combinations_with_replacement, permutations, product

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.proposal.closed.libraries import ONE
from sr_transformer.proposal.closed.subsets import Library
from sr_transformer.table.table import Table

Array = np.ndarray
Valued = tuple[Expression, Array]
"""A term, and its values (n_rows,)."""

LEVELS = 4
"""Of libraries, each with all terms of the one before."""

_SAMPLE = {"a": "x0", "b": "x1"}
_MOST_TERMS = 1500
_FUNCTIONS = ("sqrt", "log", "exp", "inv exp", "sin", "cos", "tanh", "abs", "inv", "cube")
_OF_TWO = ("log", "sqrt", "exp", "sin", "cos", "inv")
_OF_POWERS = ("log", "sqrt", "exp")


def mixed_terms(
    table: Table, columns: Sequence[int], operators: frozenset[str], level: int
) -> Library:
    """Columns, functions of them and of sums and products of two, and products of all these.

    Parameters
    ----------
    table : Table
    columns : sequence of int
    operators : frozenset of str
        Functions that cannot be written with them are left out.
    level : int
        With 0 only columns, products of two, and functions of one; with 1 products of a function
        and a column too; with 2 functions of two columns; with 3 all. Among fewer terms fewer look
        like the right ones.
    """
    single = [(Expression.variable(i), table.X[:, i]) for i in columns]
    inner = _in_users_units(table, columns)
    summands = _in_users_units(table, columns, largest=np.inf)
    pairs = _joined("*", combinations_with_replacement(inner, 2))
    with np.errstate(all="ignore"):
        functions = [
            term
            for name in _FUNCTIONS
            for x in inner
            if name != "abs" or x[1].min() < 0
            for term in _applied([name], [x], operators)
        ]
        groups = (
            lambda: single,
            lambda: pairs,
            lambda: functions,
            lambda: _joined("*", product(single, functions)),
            lambda: _joined("/", permutations(single, 2)),
            lambda: _applied(_OF_TWO, pairs, operators),
            lambda: _joined("*", combinations_with_replacement(single, 3)),
            lambda: _applied(_OF_TWO, _joined("+", combinations(summands, 2)), operators),
            lambda: _applied(_OF_TWO, _joined("-", combinations(summands, 2)), operators),
            lambda: _applied(_OF_POWERS, _shifted_powers(summands), operators),
            lambda: _joined("*", combinations(functions, 2)),
            lambda: _joined("*", product(single + functions, _applied(_OF_TWO, pairs, operators))),
        )
        return collected(len(table.y), *groups[: (3, 4, 10, len(groups))[level]])


def collected(n_rows: int, *groups: Callable[[], Iterable[Valued]]) -> Library:
    """Library of the first terms of some groups that are defined on all rows, and not zero."""
    terms: list[Expression] = []
    columns: list[Array] = []
    for group in groups:
        for term, values in group() if len(terms) < _MOST_TERMS else ():
            size = values @ values
            if 0 < size < np.inf and len(terms) < _MOST_TERMS:
                terms.append(term)
                columns.append(values)
    values = np.column_stack(columns) if columns else np.empty((n_rows, 0))
    return Library(terms, values)


def filled(
    templates: Sequence[str], table: Table, columns: Sequence[int], operators: frozenset[str]
) -> list[Valued]:
    """Templates in prefix notation with columns in the places of a and b, and ones of c.

    Those with both are filled with each pair of columns, in their order.
    """
    found = []
    for template in templates:
        names = template.split()
        sample = Expression([_SAMPLE.get(name, name) for name in names], [1.0] * names.count("c"))
        if sample.lower(operators) is None:
            continue
        # What is added to a number has to be of magnitude one itself.
        inner = _in_users_units(table, columns, largest=1.0 if "c" in names else np.inf)
        for chosen in combinations(inner, 1 + ("b" in names)):
            places = {"c": ONE} | dict(zip("ab", (x for x, _ in chosen), strict=False))
            parts = [places.get(name, name) for name in names]
            symbols = [s for p in parts for s in ([p] if isinstance(p, str) else p.symbols)]
            constants = [c for p in parts if not isinstance(p, str) for c in p.constants]
            term = Expression.unchecked(tuple(symbols), tuple(constants))
            found.append((term, term.evaluate(table.X)))
    return found


def _in_users_units(table: Table, columns: Sequence[int], largest: float = 1.0) -> list[Valued]:
    """The columns as they were before they were divided by powers of ten.

    Laws have functions of columns themselves where these are of magnitude one, more or less: those
    that were divided by a power with a ``largest`` exponent. What is added to another column has
    to be in the same units.
    """
    found = []
    for i in columns:
        exponent = table.units[i] if table.units else 0
        unit = 10.0**exponent if abs(exponent) <= largest else 1.0
        column = Expression.variable(i)
        if unit != 1.0:
            column = Expression.joined("*", Expression.number(unit), column)
        found.append((column, unit * table.X[:, i]))
    return found


def _joined(name: str, groups: Iterable[Sequence[Valued]]) -> list[Valued]:
    """The terms of each group, added, multiplied and so on."""
    function = ARITHMETIC.operators[name].function

    def join(a: Valued, b: Valued) -> Valued:
        return Expression.joined(name, a[0], b[0]), function(a[1], b[1])

    return [reduce(join, group) for group in groups]


def _applied(
    functions: Sequence[str], terms: Sequence[Valued], operators: frozenset[str]
) -> list[Valued]:
    """Functions, of functions, of terms."""
    found = []
    for names in map(str.split, functions):
        if Expression((*names, "x0")).lower(operators) is None:
            continue
        for term, values in terms:
            for name in reversed(names):
                term, values = (
                    Expression.joined(name, term), ARITHMETIC.operators[name].function(values),
                )  # fmt: skip
            found.append((term, values))
    return found


def _shifted_powers(single: Sequence[Valued]) -> list[Valued]:
    """``a + b ^ k`` and ``a - b ^ k`` for k of two to four."""
    powers = [
        (reduce(lambda term, name: Expression.joined(name, term), names, b), z**k)
        for k, names in ((2, ("square",)), (3, ("cube",)), (4, ("square", "square")))
        for b, z in single
    ]
    pairs = [(a, b) for b in powers for a in single if a[0].variables != b[0].variables]
    return _joined("+", pairs) + _joined("-", pairs)
