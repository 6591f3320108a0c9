"""The checks of an estimator's parameters, and of the units it is given."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from sr_transformer.engines.base import SearchEngine
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.front.hall_of_fame import check_model_selection
from sr_transformer.proposal.proposers import check_proposers

Array = np.ndarray


def check_parameters(estimator: Any) -> tuple[frozenset[str], int]:
    """Raise ValueError for a parameter that cannot be used.

    Returns
    -------
    operators : frozenset of str
        Binary and unary ones together.
    maxsize : int
    """
    operators = ARITHMETIC.check(estimator.binary_operators, estimator.unary_operators)
    if not operators:
        raise ValueError("binary_operators and unary_operators are both empty; name some.")
    check_model_selection(estimator.model_selection)
    _check_number("maxsize", estimator.maxsize, Integral, 1)
    if estimator.n_candidates is not None:
        _check_number("n_candidates", estimator.n_candidates, Integral, 1)
    check_proposers(estimator.proposers)
    _check_number("temperature", estimator.temperature, Real, above=0)
    _check_number("verbose", estimator.verbose, Integral, 0)
    if estimator.timeout_in_seconds is not None:
        _check_number("timeout_in_seconds", estimator.timeout_in_seconds, Real, above=0)
    n_jobs = estimator.n_jobs
    if n_jobs is not None and not (isinstance(n_jobs, Integral) and n_jobs):
        raise ValueError(
            f"n_jobs is {n_jobs!r}; allowed are None, a positive number of workers, or -1 for all "
            "cores."
        )
    return operators, int(estimator.maxsize)


def _check_number(
    name: str, value: Any, kind: type, at_least: float | None = None, above: float | None = None
) -> None:
    """Raise ValueError unless the value is a finite number of the kind and within the bound."""
    bound = f"above {above}" if at_least is None else f"of at least {at_least}"
    valid = (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and np.isfinite(value)
        and (value > above if at_least is None else value >= at_least)
    )
    if not valid:
        noun = "a whole number" if kind is Integral else "a number"
        raise ValueError(f"{name} is {value!r}; it must be {noun} {bound}.")


def check_units(
    engine: SearchEngine | None,
    X: Array,
    y: Array,
    X_units: Sequence[str] | None,
    y_units: str | Sequence[str] | None,
) -> None:
    """Raise ValueError for units that do not fit the table, or that nothing here understands."""
    if X_units is None and y_units is None:
        return
    if engine is None or engine.name != "pysr":
        raise ValueError(
            f"X_units and y_units are understood by PySR only, and the search is by "
            f"{'the Transformer alone' if engine is None else engine.name}. Search with 'pysr' or "
            "your own PySRRegressor, or leave the units out."
        )
    if X_units is not None and (isinstance(X_units, str) or len(X_units) != X.shape[1]):
        raise ValueError(
            f"X_units is {X_units!r}; X has {X.shape[1]} columns: give a unit of each."
        )
    n_outputs = 1 if y.ndim == 1 else y.shape[1]
    n_units = 1 if isinstance(y_units, str) else n_outputs if y_units is None else len(y_units)
    if n_units != n_outputs:
        raise ValueError(f"y_units is {y_units!r}; y has {n_outputs} columns: give a unit of each.")
