"""Random formulas as scientists write them: products of powers, sums, ratios, functions of both.

Two sources are mixed: random unary-binary trees after Lample & Charton (2020), which reach every
formula, and a small grammar of the shapes that laws have, which reaches the likely ones often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from sr_transformer.expression import Expression

_joined, _number = Expression.joined, Expression.number

_BINARY = {"+": 10.0, "-": 6.0, "*": 10.0, "/": 7.0, "max": 0.15, "min": 0.15}
_UNARY = {
    "square": 4.0, "cube": 1.0, "sqrt": 3.0, "inv": 1.5, "neg": 1.0, "exp": 3.5, "log": 2.5,
    "sin": 3.5, "cos": 3.5, "tan": 0.3, "asin": 0.25, "acos": 0.25, "atan": 0.4, "sinh": 0.2,
    "cosh": 0.2, "tanh": 0.8, "abs": 0.5, "^": 1.0,
}  # fmt: skip
_FUNCTIONS = {
    "exp": 3.0, "exp-": 3.0, "log": 2.0, "sin": 3.0, "cos": 3.0, "sqrt": 2.5, "tanh": 0.8,
    "square": 1.0, "tan": 0.2, "asin": 0.25, "acos": 0.2, "atan": 0.4, "abs": 0.4, "gauss": 1.0,
    "sinh": 0.15, "cosh": 0.15, "inv": 0.5,
}  # fmt: skip
_EXPONENTS = {1.0: 10.0, 2.0: 4.0, 3.0: 1.2, 0.5: 1.5, 4.0: 0.4, 1.5: 0.3, 5.0: 0.15, 6.0: 0.05}
_VARIABLES = [Expression.variable(i) for i in range(10)]
_N_VARIABLES = (0.22, 0.22, 0.2, 0.14, 0.09, 0.06, 0.03, 0.02, 0.01, 0.01)


@dataclass(frozen=True)
class FormulaShape:
    """Bounds of the formulas that are drawn.

    Parameters
    ----------
    max_variables : int
        Largest number of different variables, at most 10.
    max_operators : int
        Largest number of operators of a random tree before simplification.
    """

    max_variables: int = 10
    max_operators: int = 12


class _Weighted:
    """A discrete distribution as a long list, from which a draw costs one look."""

    _LENGTH = 4096

    def __init__(self, weights: dict) -> None:
        total = sum(weights.values())
        self.table = []
        reached = 0.0
        for item, weight in weights.items():
            reached += weight / total
            self.table += [item] * (round(reached * self._LENGTH) - len(self.table))

    def draw(self, random: Random):
        return self.table[int(random.random() * self._LENGTH)]


_DRAW_BINARY = _Weighted(_BINARY)
_DRAW_UNARY = _Weighted(_UNARY)
_DRAW_FUNCTION = _Weighted(_FUNCTIONS)
_DRAW_EXPONENT = _Weighted(_EXPONENTS)
_DRAW_SIMPLE = _Weighted(
    {1.0: 6.0, 2.0: 8.0, 3.0: 4.0, 4.0: 2.0, 5.0: 1.5, 6.0: 0.7, 0.5: 3.0, 8.0: 0.5, 10.0: 0.8}
)


def random_constant(random: Random) -> float:
    """A constant as formulas hold them: small integers, simple decimals, heavy tails.

    The tail is Cauchy: it costs nothing near one and was worth 14 points of recovery outside the
    usual range for Flash-ANSR (version notes of psaegert/flash-ansr).
    """
    u = random.random()
    if u < 0.4:
        value = _DRAW_SIMPLE.draw(random)
    elif u < 0.65:
        value = math.exp(random.gauss(0.0, 0.6))
    elif u < 0.9:
        value = 10.0 ** random.uniform(-1.3, 1.3)
    else:
        value = abs(math.tan(math.pi * (random.random() - 0.5)))
        value = min(max(value, 1e-3), 1e3)
    if random.random() < 0.3:
        value = float(f"{value:.1e}")  # people write 9.8, not 9.80665
    return -value if random.random() < 0.2 else value


class FormulaSampler:
    """Draws formulas; see the module's text.

    Parameters
    ----------
    random : random.Random
        Source of randomness.
    shape : FormulaShape
        Bounds.
    """

    def __init__(self, random: Random, shape: FormulaShape) -> None:
        self.random = random
        self.shape = shape
        weights = _N_VARIABLES[: shape.max_variables]
        self._n_variables = _Weighted({n: w for n, w in enumerate(weights, start=1)})
        self._fresh: list[Expression] = []
        self._all: list[Expression] = []

    def draw(self) -> Expression:
        """Draw one formula, unsimplified."""
        random = self.random
        n_variables = self._n_variables.draw(random)
        self._all = _VARIABLES[:n_variables]
        random.shuffle(self._all)
        self._fresh = self._all.copy()
        u = random.random()
        if u < 0.4:
            low = max(1, n_variables - 1)
            n_operators = low + int(random.expovariate(1.0 / 2.5))
            return self._tree(min(n_operators, self.shape.max_operators))
        if u < 0.6:
            return self._scaled(self._product(1 + n_variables))
        if u < 0.8:
            return self._sum(2, n_variables)
        if u < 0.9:
            return self._ratio(n_variables)
        return self._scaled(self._function(n_variables))

    # --- leaves -------------------------------------------------------------------------------
    def _variable(self) -> Expression:
        if self._fresh and self.random.random() < 0.85:
            return self._fresh.pop()
        return self.random.choice(self._all)

    def _constant(self) -> Expression:
        return _number(random_constant(self.random))

    def _scaled(self, formula: Expression, share: float = 0.5) -> Expression:
        """The formula with a constant factor, or with this share as it is."""
        if self.random.random() < share:
            return formula
        return _joined("*", self._constant(), formula)

    # --- random trees ---------------------------------------------------------------------------
    def _tree(self, n_operators: int) -> Expression:
        random = self.random
        if n_operators == 0:
            if random.random() < 0.2:
                return self._constant()
            return self._scaled(self._variable(), 0.8)
        if random.random() < 0.38:
            below = self._tree(n_operators - 1)
            name = _DRAW_UNARY.draw(random)
            if name == "^":
                return _joined("^", below, _number(self._odd_exponent()))
            return _joined(name, below)
        left = random.randrange(n_operators)
        a, b = self._tree(left), self._tree(n_operators - 1 - left)
        return _joined(_DRAW_BINARY.draw(random), a, b)

    def _odd_exponent(self) -> float:
        random = self.random
        if random.random() < 0.6:
            return random.choice((4.0, 5.0, 1.5, 0.25, 2.5, 1.0 / 3.0, 2.0 / 3.0, 6.0))
        return round(random.uniform(0.2, 4.0), random.choice((1, 2, 6)))

    # --- shapes of laws -------------------------------------------------------------------------
    def _power(self) -> Expression:
        exponent = _DRAW_EXPONENT.draw(self.random)
        variable = self._variable()
        if exponent == 1.0:
            return variable
        if self.random.random() < 0.03:
            exponent = self._odd_exponent()
        return _joined("^", variable, _number(exponent))

    def _factor(self) -> Expression:
        u = self.random.random()
        if u < 0.76:
            return self._power()
        if u < 0.84:
            sign = "+" if self.random.random() < 0.5 else "-"
            return _joined(sign, self._variable(), self._variable())
        if u < 0.92:
            product = self._product(self.random.choice((1, 1, 2, 2, 3)))
            sign = "+" if self.random.random() < 0.5 else "-"
            first = 1.0 if self.random.random() < 0.6 else random_constant(self.random)
            return _joined(sign, _number(first), product)
        return self._function(self.random.choice((1, 1, 2, 3)))

    def _product(self, n_factors: int) -> Expression:
        random = self.random
        n_factors = max(1, min(n_factors, 6) - random.choice((0, 0, 1, 1, 2)))
        product = self._factor()
        for _ in range(n_factors - 1):
            factor = self._factor()
            product = _joined("*" if random.random() < 0.62 else "/", product, factor)
        return product

    def _argument(self, size: int) -> Expression:
        u = self.random.random()
        if u < 0.75:
            return self._scaled(self._product(size))
        return self._sum(1, size)

    def _function(self, size: int) -> Expression:
        name = _DRAW_FUNCTION.draw(self.random)
        argument = self._argument(size)
        if name == "exp-":
            return _joined("exp", _joined("neg", argument))
        if name == "gauss":
            return _joined("exp", _joined("neg", _joined("square", argument)))
        return _joined(name, argument)

    def _term(self, size: int) -> Expression:
        u = self.random.random()
        if u < 0.7:
            return self._scaled(self._product(size))
        if u < 0.85:
            return self._scaled(self._function(size))
        # Products of a power and a function: damped oscillations, saturations, Planck-like tails.
        return self._scaled(_joined("*", self._power(), self._function(size)))

    def _sum(self, least: int, n_variables: int) -> Expression:
        random = self.random
        n_terms = least + random.choice((0, 0, 0, 1, 1, 2))
        size = max(1, round(n_variables / n_terms))
        total = self._term(size)
        for _ in range(n_terms - 1):
            term = self._term(size)
            total = _joined("+" if random.random() < 0.65 else "-", total, term)
        if random.random() < 0.35:
            total = _joined("+", total, self._constant())
        return total

    def _ratio(self, n_variables: int) -> Expression:
        half = max(1, n_variables // 2)
        above = self._term(half) if self.random.random() < 0.6 else self._sum(1, half)
        below = self._sum(2, max(1, n_variables - half))
        return self._scaled(_joined("/", above, below))
