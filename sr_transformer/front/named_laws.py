"""Laws that have a name: curves of one column that science meets again and again.

Spelled out, a logistic curve is as long as any other formula of nine symbols; known by name it is
one of a few. :func:`sr_transformer.front.form_cost.form_cost` takes the shorter of the two.
"""

from __future__ import annotations

from functools import cache

from sr_transformer.expression import Expression

NAMED_LAWS = {
    "line": ("2.5 * x0 + 1.3",),
    "parabola": ("2.5 * x0 ^ 2.0 + 1.3 * x0 + 0.7",),
    "reciprocal with offset": ("2.5 / x0 + 1.3",),
    "power": ("2.5 * x0 ^ 1.3",),
    "power with offset": ("2.5 * x0 ^ 1.3 + 0.7", "2.5 * (x0 + 1.3) ^ 0.7"),
    "logarithm": ("2.5 * log(x0) + 1.3",),
    "exponential": ("2.5 * exp(1.3 * x0)",),
    "exponential with offset": ("2.5 * exp(1.3 * x0) + 0.7",),
    "Arrhenius": ("2.5 * exp(1.3 / x0)",),
    "Vogel, Antoine": ("2.5 * exp(1.3 / (x0 + 0.7))", "1.3 / (x0 + 0.7) + 2.5"),
    "logistic": ("2.5 / (1.0 + exp(1.3 - 0.7 * x0))", "2.5 / (1.0 + exp(1.3 + 0.7 * x0))"),
    "Gompertz": ("2.5 * exp(1.3 * exp(0.7 * x0))", "2.5 * exp(-exp(1.3 + 0.7 * x0))"),
    "stretched exponential": ("2.5 * exp(1.3 * x0 ^ 0.7)",),
    "Michaelis-Menten, Langmuir": ("2.5 * x0 / (x0 + 1.3)", "2.5 - 1.3 / (x0 + 0.7)"),
    "hyperbola": ("2.5 / (x0 + 1.3)",),
    "Hill": (
        "2.5 * x0 ^ 1.3 / (x0 ^ 1.3 + 0.7)", "2.5 / (1.0 + 0.7 * x0 ^ 1.3)",
        "2.5 / (0.7 + x0 ^ 1.3)",
    ),
    "Gaussian": ("2.5 * exp(0.7 * (x0 - 1.3) ^ 2.0)", "2.5 * exp(0.7 * x0 ^ 2.0)"),
    "Gaussian with offset": ("2.5 * exp(0.7 * (x0 - 1.3) ^ 2.0) + 0.3",),
    "Lorentzian": ("2.5 / (0.7 + (x0 - 1.3) ^ 2.0)", "2.5 / (0.7 + x0 ^ 2.0)"),
    "wave": ("2.5 * sin(1.3 * x0 + 0.7)", "2.5 * cos(1.3 * x0 + 0.7)"),
    "wave with offset": ("2.5 * sin(1.3 * x0 + 0.7) + 0.3", "2.5 * cos(1.3 * x0 + 0.7) + 0.3"),
    "damped wave": (
        "2.5 * exp(-1.3 * x0) * sin(0.7 * x0 + 0.3)", "2.5 * exp(-1.3 * x0) * cos(0.7 * x0 + 0.3)",
    ),
    "hyperbolic tangent": ("2.5 * tanh(1.3 * x0)",),
}  # fmt: skip
"""By name, the spellings; what numbers they hold means nothing."""


def is_named(expression: Expression) -> bool:
    """Whether a formula of one column is one of them, whatever its constants are."""
    columns = expression.variables
    if len(columns) != 1 or len(expression.symbols) > _longest():
        return False
    return expression.renamed({columns[0]: 0}).simplify().symbols in _forms()


@cache
def _forms() -> frozenset[tuple[str, ...]]:
    texts = [text for spellings in NAMED_LAWS.values() for text in spellings]
    # The other sign of a constant can be another spelling.
    texts += [text.replace(" + ", " - ") for text in texts]
    return frozenset(Expression.parse(text).simplify().symbols for text in texts)


@cache
def _longest() -> int:
    return 2 + max(map(len, _forms()))
