"""The language of formulas that every other part speaks."""

from sr_transformer.expression import lowering, reading, shortest, simplify, sympy, writing
from sr_transformer.expression.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, Language, Operator

__all__ = ["ARITHMETIC", "Expression", "Language", "Operator"]

# Each form of a formula has its home in a module of its own, which knows Expression; bound here, so
# that Expression need not know them.
Expression.parse = staticmethod(reading.parse)
Expression.from_sympy = staticmethod(sympy.from_sympy)
Expression.to_text = writing.to_text
Expression.to_sympy = sympy.to_sympy
Expression.to_latex = sympy.to_latex
Expression.to_python = writing.to_python
Expression.to_pysr = writing.to_pysr
Expression.simplify = simplify.simplify
Expression.key = property(simplify.key_of)
Expression.shortest = shortest.shortest
Expression.lower = lowering.lower
