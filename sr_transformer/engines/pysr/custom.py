"""A user's own operators, as rows of a language: what PySR knows of them in SymPy is enough.

PySR asks for a function of SymPy expressions for every operator that is defined in Julia
(``extra_sympy_mappings``), with which it predicts itself, and has such functions for its own.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.engines.pysr.settings import operators_by_arity
from sr_transformer.expression.language import ARITHMETIC, Language, Operator

if TYPE_CHECKING:
    import sympy

Array = np.ndarray

_STEP = 6e-6  # of a central difference, relative: the third root of float64's precision
_TRIED = np.array([-1.5, 0.25, 2.0]), np.array([0.5, 3.0, 1.25]), np.array([1.0, 4.0, 1.5])
_BRACES = {"{": "{{", "}": "}}"}


@dataclass(frozen=True)
class MappedFunction:
    """The NumPy function of a SymPy expression; it can be pickled.

    Parameters
    ----------
    formula : sympy.Basic
    arguments : tuple of sympy.Symbol
    """

    formula: sympy.Basic
    arguments: tuple[sympy.Symbol, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {"formula": self.formula, "arguments": self.arguments}

    @cached_property
    def _function(self) -> Any:
        import sympy

        return sympy.lambdify(self.arguments, self.formula, modules=["scipy", "numpy"])

    def __call__(self, *values: Array) -> Array:
        values = tuple(np.asarray(value, dtype=float) for value in values)
        with np.errstate(all="ignore"):
            found = np.asarray(self._function(*values), dtype=float)
        return found + np.zeros(np.broadcast_shapes(*(value.shape for value in values)))


@dataclass(frozen=True)
class Differences:
    """Derivatives of a function by central differences: not everything has another derivative."""

    function: MappedFunction

    def __call__(self, value: Array, *arguments: Array) -> tuple[Array, ...]:
        slopes = []
        for i, argument in enumerate(arguments):
            step = _STEP * np.maximum(np.abs(argument), 1.0)
            above = self.function(*arguments[:i], argument + step, *arguments[i + 1 :])
            below = self.function(*arguments[:i], argument - step, *arguments[i + 1 :])
            slopes.append((above - below) / (2.0 * step))
        return tuple(slopes)


def language_of(regressor: Any) -> Language:
    """The language of a regressor's formulas: arithmetic, and its own operators.

    One whose mapping gives no numbers here, with which PySR could not predict either, or that has
    more than three arguments, is not in it.
    """
    from pysr.export_sympy import sympy_mappings

    mappings = {**sympy_mappings, **(regressor.extra_sympy_mappings or {})}
    rows = []
    for arity, texts in operators_by_arity(regressor).items():
        for text in texts:
            name = text.partition("(")[0].strip()
            if name not in ARITHMETIC.operators and name in mappings and int(arity) <= len(_TRIED):
                with suppress(Exception):  # it is the user's own code
                    rows.append(_row(name, int(arity), mappings[name]))
    return ARITHMETIC.extended("pysr", *rows) if rows else ARITHMETIC


def _row(name: str, arity: int, mapping: Any) -> Operator:
    import sympy
    from sympy.printing.numpy import SciPyPrinter

    arguments = sympy.symbols("_first _second _third", real=True)[:arity]
    formula = sympy.sympify(mapping(*arguments))
    function = MappedFunction(formula, arguments)
    if not np.isfinite(function(*_TRIED[:arity])).any():
        raise ValueError(f"{name} has no values")

    def template(text: str) -> str:
        text = "".join(_BRACES.get(mark, mark) for mark in text)
        for i, argument in enumerate(arguments):
            text = text.replace(argument.name, f"({{{i}}})")
        return f"({text})"

    shown = template(sympy.sstr(formula))
    try:
        eval(shown.format("1.5", "0.5", "2.5"), dict(vars(sympy)))
    except NameError:
        shown = ""  # SymPy has no name for it at its top level
    python = SciPyPrinter({"fully_qualified_modules": True}).doprint(formula)
    return Operator(
        name, arity, function, Differences(function), shown,
        template(python.replace("numpy.", "np.")),
    )  # fmt: skip
