"""Symbolic regression by a pretrained Transformer that seeds PySR's evolutionary search.

Importing this package is cheap: the public names load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sr_transformer.estimators.propose import propose
    from sr_transformer.estimators.regressor import SymbolicTransformerRegressor
    from sr_transformer.expression import Expression
    from sr_transformer.model.checkpoint import load_model

__version__ = "0.2.0.dev0"

__all__ = ["Expression", "SymbolicTransformerRegressor", "load_model", "propose"]

_HOME = {
    "Expression": "sr_transformer.expression",
    "SymbolicTransformerRegressor": "sr_transformer.estimators.regressor",
    "load_model": "sr_transformer.model.checkpoint",
    "propose": "sr_transformer.estimators.propose",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
