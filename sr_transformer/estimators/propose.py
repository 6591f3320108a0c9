"""``propose``: the formulas of a fit without any search, for whoever only wants those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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
    CheckpointError
        If the checkpoint cannot be loaded.

    Examples
    --------
    >>> hall_of_fame = propose(X, y)  # doctest: +SKIP
    >>> PySRRegressor(guesses=hall_of_fame.guesses(50))  # doctest: +SKIP
    """
    if variable_names is not None:
        import pandas as pd

        n_columns = np.shape(X)[1] if np.ndim(X) == 2 else 1
        if len(variable_names) != n_columns:
            raise ValueError(
                f"{len(variable_names)} variable_names were given for {n_columns} columns."
            )
        X = pd.DataFrame(np.asarray(X), columns=[str(name) for name in variable_names])
    return SymbolicTransformerRegressor("none", **parameters).fit(X, y, sample_weight).hall_of_fame_
