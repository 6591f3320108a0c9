"""New formulas out of the best ones known: parts exchanged, swapped, added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

_EXCHANGED = 0.5  # share of children with a part of another parent in place of one of their own
_SWAPPED = 0.25  # with another operator or variable; the others get a part around one of theirs
_FAVOURED = 20.0  # the best parent is chosen this plus r times as often, over this, as the r-th
_TRIES = 4  # for each child that is wanted: many are too long, or known


def children(
    parents: Sequence[Expression],
    n: int,
    columns: Sequence[int],
    operators: frozenset[str],
    maxsize: int,
    seen: set[tuple[str, ...]],
    random_state: np.random.RandomState,
) -> list[Expression]:
    """Formulas that differ from good ones by one part.

    Parameters
    ----------
    parents : sequence of Expression
        Good formulas, the best first.
    n : int
        Largest number of children.
    columns : sequence of int
        Columns that a new part may read.
    operators, maxsize
        What a child may use, and how long it may be.
    seen : set of tuple of str
        Symbols of the formulas that are known; grows.
    random_state : numpy.random.RandomState

    Returns
    -------
    list of Expression
        Simplified, all new; constants are those of the parents, or one.
    """
    weights = 1.0 / (_FAVOURED + np.arange(len(parents)))
    chosen = random_state.choice(len(parents), (_TRIES * n, 2), p=weights / weights.sum())
    unary = [name for name in sorted(operators) if ARITHMETIC.arity[name] == 1]
    binary = [name for name in sorted(operators - {"^"}) if ARITHMETIC.arity[name] == 2]
    found: list[Expression] = []
    for first, second in chosen:
        if len(found) == n:
            break
        mother = parents[first]
        kind = random_state.random_sample()
        place = int(random_state.randint(len(mother.symbols)))
        if kind < _EXCHANGED:
            father = parents[second]
            part = father.part(int(random_state.randint(len(father.symbols))))
        elif kind < _EXCHANGED + _SWAPPED:
            part = _swapped(mother, place, columns, unary, binary, random_state)
        else:
            part = _extended(mother.part(place), columns, unary, binary, random_state)
        child = mother.replaced(place, part).simplify().lower(operators)
        if child is None or len(child.symbols) > maxsize or child.symbols in seen:
            continue
        if child.variables:
            seen.add(child.symbols)
            found.append(child)
    return found


def _swapped(
    formula: Expression,
    place: int,
    columns: Sequence[int],
    unary: list[str],
    binary: list[str],
    random_state: np.random.RandomState,
) -> Expression:
    """The subformula at a place with another operator, or another leaf, at its head."""
    part = formula.part(place)
    arguments = part.arguments
    if not arguments:
        return _leaf(columns, random_state)
    heads = unary if len(arguments) == 1 else binary
    if not heads:
        return part
    return Expression.joined(heads[random_state.randint(len(heads))], *arguments)


def _extended(
    part: Expression,
    columns: Sequence[int],
    unary: list[str],
    binary: list[str],
    random_state: np.random.RandomState,
) -> Expression:
    """A function of a subformula, or an operator of it and a leaf."""
    if unary and (not binary or random_state.random_sample() < 0.4):
        return Expression.joined(unary[random_state.randint(len(unary))], part)
    if not binary:
        return part
    head = binary[random_state.randint(len(binary))]
    leaf = _leaf(columns, random_state)
    first, second = (part, leaf) if random_state.random_sample() < 0.5 else (leaf, part)
    return Expression.joined(head, first, second)


def _leaf(columns: Sequence[int], random_state: np.random.RandomState) -> Expression:
    if random_state.random_sample() < 0.3:
        return Expression.number(1.0)
    return Expression.variable(columns[random_state.randint(len(columns))])
