"""When a law counts as recovered: by its values, or by its form where there is noise."""

from __future__ import annotations

import numpy as np

from sr_transformer.evaluation.problems import Table
from sr_transformer.expression import Expression
from sr_transformer.proposal.constants import loss_of, refit

Array = np.ndarray

RECOVERED_BELOW = 2.0**-23
"""Share of the unseen rows' variance that may stay unexplained: single precision's rounding."""


def fraction_unexplained(predicted: Array, table: Table) -> float:
    """Mean squared error on the unseen rows over their variance; infinite where undefined."""
    with np.errstate(all="ignore"):
        residual = np.mean(np.square(predicted - table.y_unseen))
        variance = np.var(table.y_unseen)
    if not np.isfinite(residual):
        return np.inf
    if variance == 0:
        return 0.0 if residual == 0 else np.inf
    return float(residual / variance)


def has_form_of_law(expression: Expression, table: Table) -> bool:
    """Whether a formula is the law once its constants are fitted to rows without noise.

    Noise moves the fitted constants however right a formula is, so its values cannot be those of
    the law. A formula with a term too many is not the law: if one of the constants may be nought
    as well, it does not count.
    """
    fitted, _ = refit(expression, table.X, table.clean)
    if not _explains(fitted, table):
        return False
    constants = fitted.constants
    shorter = [(*constants[:i], 0.0, *constants[i + 1 :]) for i in range(len(constants))]
    return not any(_explains(fitted.with_constants(others), table) for others in shorter)


def _explains(expression: Expression, table: Table) -> bool:
    limit = RECOVERED_BELOW * float(np.var(table.y_unseen))
    return loss_of(expression, table.X_unseen, table.y_unseen) <= limit
