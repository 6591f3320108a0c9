"""The language of formulas that every other part speaks."""

from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import OPERATORS, Operator

__all__ = ["OPERATORS", "Expression", "Operator"]
