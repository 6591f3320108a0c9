"""Skeletons of the public benchmark problems, which the stream of examples never shows.

``holdout.txt`` lists the laws in prefix notation. A formula is held out if its simplified skeleton
is that of one of them, whatever the variables are called and whatever the constants are.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC

_FUNCTIONS = frozenset(ARITHMETIC.arity) - {"+", "-", "*", "neg"}
Part = tuple[str, list[str]]  # what joins the keys of some parts, and these
_UNORDERED = {"+": "+", "-": "+", "*": "*", "max": "max", "min": "min"}


def skeleton(expression: Expression) -> str:
    """Key of a simplified formula without names, constants, signs and the order of its terms.

    Formulas with different keys are different. The opposite holds nearly always, and where it
    does not, too much is held out rather than too little. Exponents belong to the key, and so does
    how often each variable occurs.
    """
    occurrences: dict[int, int] = {}

    def variable(column: int) -> Part:
        occurrences[column] = occurrences.get(column, 0) + 1
        return "v", []

    root = expression.fold(lambda value: (f"c{value:.6g}", []), variable, _joined)
    counts = ",".join(map(str, sorted(occurrences.values())))
    return f"{_close(root)} {counts}"


def _joined(name: str, a: Part, b: Part | None = None) -> Part:
    if b is None:
        return a if name == "neg" else (name, [_close(a)])
    kind = _UNORDERED.get(name)
    if kind is not None:
        parts = a[1] if a[0] == kind else [_close(a)]
        return kind, parts + (b[1] if b[0] == kind else [_close(b)])
    if name == "^" and b[0][0] == "c" and not b[1]:
        return "^" + b[0][1:], [_close(a)]
    return name, [f"{_close(a)};{_close(b)}"]


def _close(node: Part) -> str:
    kind, parts = node
    if not parts:
        return kind[0]
    if len(parts) == 1:
        return f"{kind}({parts[0]})"
    return f"{kind}({','.join(sorted(parts))})"


def held_out_formulas() -> list[Expression]:
    """The formulas of ``holdout.txt``."""
    formulas = []
    for line in _lines():
        words = [] if line.startswith("#") else line.split()
        symbols = [w if w in ARITHMETIC.arity or w[0] == "x" else "c" for w in words]
        numbers = [word for word, symbol in zip(words, symbols, strict=True) if symbol == "c"]
        if words:
            formulas.append(Expression(symbols, map(float, numbers)))
    return formulas


def _lines() -> list[str]:
    path = files("sr_transformer.prior").joinpath("holdout.txt")
    return path.read_text(encoding="utf-8").splitlines()


def held_out_suites() -> list[str]:
    """Names of the suites in ``holdout.txt``: the comments right above their laws."""
    return [
        line.removeprefix("# ")
        for line, following in pairwise(_lines())
        if line.startswith("#") and not following.startswith("#")
    ]


@lru_cache(maxsize=1)
def held_out_skeletons() -> dict[str, frozenset[str]]:
    """Skeletons of all held-out formulas, by the cheap part of their key."""
    found: dict[str, set[str]] = {}
    for formula in held_out_formulas():
        simplified = formula.simplify()
        found.setdefault(_outline(simplified), set()).add(skeleton(simplified))
    return {outline: frozenset(skeletons) for outline, skeletons in found.items()}


def is_held_out(expression: Expression) -> bool:
    """Whether a simplified formula has the skeleton of a benchmark problem."""
    near = held_out_skeletons().get(_outline(expression))
    return near is not None and skeleton(expression) in near


def _outline(expression: Expression) -> str:
    """The sorted functions and the number of variables: equal skeletons have equal outlines."""
    functions, variables = [], set()
    for symbol in expression.symbols:
        if symbol in _FUNCTIONS:
            functions.append(symbol)
        elif symbol[0] == "x":
            variables.add(symbol)
    functions.sort()
    return f"{len(variables)} {' '.join(functions)}"
