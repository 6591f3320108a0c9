"""``propose``: the formulas of a fit without any search, for whoever only wants those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr_transformer.errors import shown
from sr_transformer.estimators.checks import check_columns, check_names
from sr_transformer.estimators.regressor import SymbolicTransformerRegressor
from sr_transformer.front.hall_of_fame import HallOfFame


def propose(
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    variable_names: Sequence[str] | None = None,
    **parameters: Any,
) -> HallOfFame | list[HallOfFame]:
    """Let the Transformer and the closed forms propose formulas for a table, without any search.

    Parameters
    ----------
    X, y, sample_weight
        As for :meth:`SymbolicTransformerRegressor.fit`.
    variable_names : sequence of str, optional
        Names of the columns; by default those of a DataFrame, else x0, x1, ...
    **parameters
        Of :class:`SymbolicTransformerRegressor`, all but ``search``.

    Returns
    -------
    HallOfFame
        In the user's units; a list of them where y has several columns. Its ``guesses()`` are ready
        for ``PySRRegressor(guesses=...)``.

    Raises
    ------
    ValueError
        If the table or a parameter cannot be used.
    TypeError
        If there is no such parameter.
    CheckpointError
        If the checkpoint cannot be loaded.

    Examples
    --------
    >>> hall_of_fame = propose(X, y)  # doctest: +SKIP
    >>> PySRRegressor(guesses=hall_of_fame.guesses(50))  # doctest: +SKIP
    """
    if variable_names is not None:
        X = _named(X, variable_names)
    _refuse_unknown(parameters)
    return SymbolicTransformerRegressor("none", **parameters).fit(X, y, sample_weight).hall_of_fame_


def _named(X: Any, variable_names: Sequence[str]) -> Any:
    """The table with other names of its columns."""
    import pandas as pd

    names = check_names("variable_names", variable_names, "x0")
    table = check_columns(X)
    if len(names) != table.shape[1]:
        raise ValueError(
            f"variable_names is {shown(variable_names)}; X has {table.shape[1]} columns: give a "
            "name of each."
        )
    return pd.DataFrame(table, columns=list(names))


def _refuse_unknown(parameters: dict[str, Any]) -> None:
    allowed = sorted(SymbolicTransformerRegressor().get_params(deep=False).keys() - {"search"})
    for name in parameters:
        if name not in allowed:
            hint = {
                "weights": " Weights of the rows are given as sample_weight.",
                "search": " It never searches; SymbolicTransformerRegressor does.",
            }.get(name, "")
            raise TypeError(
                f"propose() has no parameter {name!r}; allowed are {', '.join(allowed)}.{hint}"
            )
