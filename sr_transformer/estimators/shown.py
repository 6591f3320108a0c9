"""What a fitted estimator shows: its fronts, the chosen formula in all its forms, its values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from sr_transformer.errors import UnknownRowError, shown
from sr_transformer.estimators.checks import (
    check_digits,
    check_weights,
    check_X,
    check_y,
    column_names,
    is_whole,
)
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate

if TYPE_CHECKING:
    import pandas as pd
    import sympy
    from matplotlib.axes import Axes

Array = np.ndarray

_FAR_OFF = 1e300  # its square is infinite, and so is R2 then, but nothing is undefined


class FittedFormulas:
    """Mixin of an estimator that has set ``hall_of_fame_``, a list of them for several outputs."""

    def predict(self, X: Any, index: int | list[int] | None = None) -> Array:
        """Values of a formula, exactly as it is shown.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        index : int, list of int or None
            Row of ``equations_``; ``None`` for the selected one. For several outputs, a list with
            a row of each.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_outputs)
            ``nan`` or ``inf`` where the formula is undefined; nothing is clipped or replaced.

        Raises
        ------
        ValueError
            If X is not what :meth:`fit` would take, or has other columns than it had.
        UnknownRowError
            If there is no such row; it is an IndexError.
        """
        candidates = self._candidates(index)
        X = check_X(self, X, reset=False)
        values = [candidate.expression.evaluate(X) for candidate in candidates]
        return np.column_stack(values) if self._has_several() else values[0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of the selected formula.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float
            1 minus the squared errors over those of the mean of y. A row on which the formula is
            undefined counts as answered by that mean: no formula fails for one such row, and none
            gains by being undefined where it would be right. Of several outputs, their mean.
        """
        table = check_X(self, X, reset=False)
        values, y = self.predict(X), check_y(y, table)
        weights = None if sample_weight is None else check_weights(sample_weight, table)
        if y.shape != values.shape:
            raise ValueError(
                f"y has shape {y.shape}, and what is predicted of X {values.shape}: give a column "
                "of y for each output of the fit."
            )
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is zero in all rows; some must be above zero.")
        size = np.abs(y).max() or 1.0
        y, undefined = y / size, ~np.isfinite(values)
        with np.errstate(over="ignore"):  # of a formula that is far off
            values = np.clip(values / size, -_FAR_OFF, _FAR_OFF)
            values = np.where(undefined, np.average(y, axis=0, weights=weights), values)
            return r2_score(y, values, sample_weight=weights)

    def sympy(self, index: int | list[int] | None = None) -> sympy.Basic | list[sympy.Basic]:
        """A formula as a SymPy expression; ``index`` as in :meth:`predict`."""
        candidates = self._candidates(index)
        names = column_names(self)
        return self._listed(c.expression.to_sympy(names) for c in candidates)

    def latex(self, index: int | list[int] | None = None, precision: int = 4) -> str | list[str]:
        """A formula in LaTeX, with constants of ``precision`` digits; ``index`` as there."""
        candidates = self._candidates(index)
        names, digits = column_names(self), check_digits(precision)
        return self._listed(c.expression.to_latex(names, digits) for c in candidates)

    def get_best(self, index: int | list[int] | None = None) -> pd.Series | list[pd.Series]:
        """A row of ``equations_``; ``index`` as in :meth:`predict`."""
        rows = self._rows(index)
        return self._listed(
            hall.to_frame().iloc[row] for hall, row in zip(self._halls(), rows, strict=True)
        )

    @property
    def equations_(self) -> pd.DataFrame | list[pd.DataFrame]:
        """The Pareto front as a DataFrame; for several outputs, a list of them."""
        return self._listed(hall.to_frame() for hall in self._halls())

    def plot(self, ax: Axes | None = None, output: int = 0) -> Axes:
        """Draw the front, with the selected formula highlighted; of several, that of an output."""
        halls = self._halls()
        if output not in range(len(halls)):
            raise UnknownRowError(
                f"output is {shown(output)}; the fit has outputs 0 to {len(halls) - 1}."
            )
        hall = halls[output]
        from sr_transformer.plotting import plot_front

        return plot_front(hall, selected=hall.select(self.model_selection), ax=ax)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        halls = self._halls() if self.__sklearn_is_fitted__() else []
        for output, hall in enumerate(halls):
            heading = f"Output {output}: " if self._has_several() else ""
            text += f"\n{heading}{hall!r}"
        return text

    def __getstate__(self) -> dict[str, Any]:
        # Without search_: loading a PySRRegressor starts Julia, and predicting needs neither.
        return {key: value for key, value in super().__getstate__().items() if key != "search_"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "hall_of_fame_")

    def _has_several(self) -> bool:
        return isinstance(self.hall_of_fame_, list)

    def _halls(self) -> list[HallOfFame]:
        """The hall of fame of each output."""
        check_is_fitted(self, "hall_of_fame_")
        return self.hall_of_fame_ if self._has_several() else [self.hall_of_fame_]

    def _listed(self, values: Iterable[Any]) -> Any:
        """The values of all outputs, or the value of the only one."""
        values = list(values)
        return values if self._has_several() else values[0]

    def _rows(self, index: int | list[int] | None) -> list[int]:
        """The row of each output."""
        halls = self._halls()
        if index is None:
            return [hall.select(self.model_selection) for hall in halls]
        rows = index if self._has_several() else [index]
        if not isinstance(rows, Sequence) or len(rows) != len(halls):
            raise UnknownRowError(
                f"index is {shown(index)}; there are {len(halls)} outputs, so that a list of "
                f"{len(halls)} rows is needed, one for each."
            )
        for hall, row in zip(halls, rows, strict=True):
            if not is_whole(row) or not -len(hall) <= row < len(hall):
                raise UnknownRowError(
                    f"index is {shown(row)}; equations_ has {len(hall)} rows, so that 0 to "
                    f"{len(hall) - 1} are allowed."
                )
        return list(rows)

    def _candidates(self, index: int | list[int] | None) -> list[Candidate]:
        """The formula of each output."""
        rows = self._rows(index)
        return [hall[row] for hall, row in zip(self._halls(), rows, strict=True)]
