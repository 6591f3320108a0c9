"""When a law counts as recovered: by its values, or by its form where there is noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sr_transformer.evaluation.problems import Problem
from sr_transformer.expression import Expression
from sr_transformer.proposal.constants import refit
from sr_transformer.table.table import Table

Array = np.ndarray

RECOVERED_BELOW = 2.0**-23
"""Share of the unseen rows' variance that may stay unexplained: single precision's rounding."""

_CLOSEST = 64  # formulas that are judged, those closest to the noise-free values of the table


def fraction_unexplained(predicted: Array, problem: Problem) -> float:
    """Mean squared error on the unseen rows over their variance; infinite where undefined."""
    with np.errstate(all="ignore"):
        residual = np.mean(np.square(predicted - problem.y_unseen))
        variance = np.var(problem.y_unseen)
    if not np.isfinite(residual):
        return np.inf
    if variance == 0:
        return 0.0 if residual == 0 else np.inf
    return float(residual / variance)


def is_law(expression: Expression, problem: Problem, *, superfluous: bool = False) -> bool:
    """Whether a formula is the law of a problem.

    Noise moves the fitted constants however right a formula is, so its values cannot be those of
    the law: with noise the constants are fitted to the values without it first.

    Parameters
    ----------
    expression : Expression
    problem : Problem
    superfluous : bool, default=False
        Whether a formula with a term too many is the law. If not, a formula for a problem with
        noise is refused where one of its constants may be nought as well.
    """
    if problem.noisy:
        expression, _ = refit(expression, Table(problem.X, problem.clean))
    if not _explains(expression, problem):
        return False
    if superfluous or not problem.noisy:
        return True
    constants = expression.constants
    shorter = [(*constants[:i], 0.0, *constants[i + 1 :]) for i in range(len(constants))]
    return not any(_explains(expression.with_constants(others), problem) for others in shorter)


def holds_law(expressions: Sequence[Expression], problem: Problem) -> bool:
    """Whether the law is among the formulas, be it with a term too many."""
    table = Table(problem.X, problem.clean)
    losses = [table.loss(expression) for expression in expressions]
    closest = np.argsort(losses, kind="stable")[:_CLOSEST]
    return any(is_law(expressions[i], problem, superfluous=True) for i in closest)


def _explains(expression: Expression, problem: Problem) -> bool:
    values = expression.evaluate(problem.X_unseen)
    return fraction_unexplained(values, problem) <= RECOVERED_BELOW
