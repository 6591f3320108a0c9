"""Terms that closed forms are summed from: products of powers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial, reduce
from itertools import combinations_with_replacement, product

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.proposal.closed.subsets import Library

Array = np.ndarray
Exponents = tuple[int, ...]

ONE = Expression.number(1.0)
_joined = Expression.joined

_MOST_TERMS = 300  # of a library: 45,000 pairs


def monomials(
    X: Array,
    columns: Sequence[int],
    operators: frozenset[str],
    *,
    degree: int,
    signed: bool = False,
    most: int = _MOST_TERMS,
) -> tuple[list[Exponents], Library]:
    """Products of whole powers of the columns, the constant one first.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    columns : sequence of int
        The columns to use.
    operators : frozenset of str
        Products that cannot be written with them are left out.
    degree : int
        Largest sum of the exponents' sizes; less where there would be more than ``most`` terms.
    signed : bool
        Whether negative exponents are allowed.
    most : int
        Largest number of terms.

    Returns
    -------
    exponents : list of tuple of int
        Of each term, one exponent a column of ``columns``.
    library : Library
    """
    while degree > 1 and len(_exponents(len(columns), degree, signed)) > most:
        degree -= 1
    exponents = [
        powers
        for powers in _exponents(len(columns), degree, signed)
        if _is_writable(tuple(sorted(p for p in powers if p)), operators)
    ]
    values = np.ones((X.shape[0], len(exponents)))
    with np.errstate(all="ignore"):
        for place, column in enumerate(columns):
            x = X[:, column]
            index = np.array([powers[place] for powers in exponents], dtype=int) + degree
            table = np.column_stack([x**p for p in np.arange(-degree, degree + 1.0)])
            used = np.flatnonzero(index != degree)
            values[:, used] *= table[:, index[used]]
    singles = [Expression.variable(column) for column in columns]
    terms = [power_product(singles, powers) for powers in exponents]
    return exponents, Library(terms, values)


def power_product(factors: Sequence[Expression], exponents: Sequence[float]) -> Expression:
    """The product of ``factor ^ exponent``; one where all exponents are zero."""
    powers = [
        factor if exponent == 1 else _joined("^", factor, Expression.number(float(exponent)))
        for factor, exponent in zip(factors, exponents, strict=True)
        if exponent != 0
    ]
    return reduce(partial(_joined, "*"), powers) if powers else ONE


def weighted_sum(terms: Sequence[Expression], factors: Sequence[float]) -> Expression:
    """``factor * term + ...``, not simplified."""
    numbers = [Expression.number(float(factor)) for factor in factors]
    summands = [
        number if term == ONE else _joined("*", number, term)
        for term, number in zip(terms, numbers, strict=True)
    ]
    return reduce(partial(_joined, "+"), summands)


@lru_cache(maxsize=64)
def _exponents(n_columns: int, degree: int, signed: bool) -> list[Exponents]:
    """All exponents whose sizes sum up to at most ``degree``, small sums first."""
    found = []
    for total in range(degree + 1):
        for chosen in combinations_with_replacement(range(n_columns), total):
            used = sorted(set(chosen))
            for signs in product((1, -1) if signed else (1,), repeat=len(used)):
                powers = [0] * n_columns
                for column, sign in zip(used, signs, strict=True):
                    powers[column] = sign * chosen.count(column)
                found.append(tuple(powers))
    return found


@lru_cache(maxsize=4096)
def _is_writable(powers: Exponents, operators: frozenset[str]) -> bool:
    singles = [Expression.variable(column) for column in range(len(powers))]
    term = power_product(singles, powers).simplify()
    return term.lower(operators) is not None
