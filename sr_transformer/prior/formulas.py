"""Random formulas as scientists write them: products of powers, sums, ratios, functions of both.

Two sources are mixed: random unary-binary trees after Lample & Charton (2020), which reach every
formula, and a small grammar of the shapes that laws have, which reaches the likely ones often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

Draft = tuple[list[str], list[float]]
"""A formula under construction: prefix symbols and constants, not yet simplified."""

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
_VARIABLES = [f"x{i}" for i in range(10)]
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
        self._fresh: list[str] = []
        self._all: list[str] = []

    def draw(self) -> Draft:
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
    def _variable(self) -> str:
        if self._fresh and self.random.random() < 0.85:
            return self._fresh.pop()
        return self.random.choice(self._all)

    def _constant(self) -> Draft:
        return ["c"], [random_constant(self.random)]

    def _scaled(self, draft: Draft) -> Draft:
        """The draft with a constant factor, or as it is."""
        if self.random.random() < 0.5:
            return draft
        symbols, constants = draft
        return ["*", "c", *symbols], [random_constant(self.random), *constants]

    # --- random trees ---------------------------------------------------------------------------
    def _tree(self, n_operators: int) -> Draft:
        random = self.random
        if n_operators == 0:
            if random.random() < 0.2:
                return self._constant()
            return self._scaled_rarely([self._variable()], [])
        if random.random() < 0.38:
            symbols, constants = self._tree(n_operators - 1)
            name = _DRAW_UNARY.draw(random)
            if name == "^":
                return ["^", *symbols, "c"], [*constants, self._odd_exponent()]
            return [name, *symbols], constants
        left = random.randrange(n_operators)
        a, b = self._tree(left), self._tree(n_operators - 1 - left)
        return [_DRAW_BINARY.draw(random), *a[0], *b[0]], a[1] + b[1]

    def _scaled_rarely(self, symbols: list[str], constants: list[float]) -> Draft:
        if self.random.random() < 0.8:
            return symbols, constants
        return ["*", "c", *symbols], [random_constant(self.random), *constants]

    def _odd_exponent(self) -> float:
        random = self.random
        if random.random() < 0.6:
            return random.choice((4.0, 5.0, 1.5, 0.25, 2.5, 1.0 / 3.0, 2.0 / 3.0, 6.0))
        return round(random.uniform(0.2, 4.0), random.choice((1, 2, 6)))

    # --- shapes of laws -------------------------------------------------------------------------
    def _power(self) -> Draft:
        exponent = _DRAW_EXPONENT.draw(self.random)
        variable = self._variable()
        if exponent == 1.0:
            return [variable], []
        if self.random.random() < 0.03:
            exponent = self._odd_exponent()
        return ["^", variable, "c"], [exponent]

    def _factor(self) -> Draft:
        u = self.random.random()
        if u < 0.76:
            return self._power()
        if u < 0.84:
            sign = "+" if self.random.random() < 0.5 else "-"
            return [sign, self._variable(), self._variable()], []
        if u < 0.92:
            symbols, constants = self._product(self.random.choice((1, 1, 2, 2, 3)))
            sign = "+" if self.random.random() < 0.5 else "-"
            first = 1.0 if self.random.random() < 0.6 else random_constant(self.random)
            return [sign, "c", *symbols], [first, *constants]
        return self._function(self.random.choice((1, 1, 2, 3)))

    def _product(self, n_factors: int) -> Draft:
        random = self.random
        n_factors = max(1, min(n_factors, 6) - random.choice((0, 0, 1, 1, 2)))
        symbols, constants = self._factor()
        for _ in range(n_factors - 1):
            more_symbols, more_constants = self._factor()
            name = "*" if random.random() < 0.62 else "/"
            symbols = [name, *symbols, *more_symbols]
            constants = constants + more_constants
        return symbols, constants

    def _argument(self, size: int) -> Draft:
        u = self.random.random()
        if u < 0.75:
            return self._scaled(self._product(size))
        return self._sum(1, size)

    def _function(self, size: int) -> Draft:
        name = _DRAW_FUNCTION.draw(self.random)
        symbols, constants = self._argument(size)
        if name == "exp-":
            return ["exp", "neg", *symbols], constants
        if name == "gauss":
            return ["exp", "neg", "square", *symbols], constants
        return [name, *symbols], constants

    def _term(self, size: int) -> Draft:
        u = self.random.random()
        if u < 0.7:
            return self._scaled(self._product(size))
        if u < 0.85:
            return self._scaled(self._function(size))
        # Products of a power and a function: damped oscillations, saturations, Planck-like tails.
        a, b = self._power(), self._function(size)
        return self._scaled((["*", *a[0], *b[0]], a[1] + b[1]))

    def _sum(self, least: int, n_variables: int) -> Draft:
        random = self.random
        n_terms = least + random.choice((0, 0, 0, 1, 1, 2))
        size = max(1, round(n_variables / n_terms))
        symbols, constants = self._term(size)
        for _ in range(n_terms - 1):
            more_symbols, more_constants = self._term(size)
            name = "+" if random.random() < 0.65 else "-"
            symbols = [name, *symbols, *more_symbols]
            constants = constants + more_constants
        if random.random() < 0.35:
            symbols = ["+", *symbols, "c"]
            constants = [*constants, random_constant(random)]
        return symbols, constants

    def _ratio(self, n_variables: int) -> Draft:
        half = max(1, n_variables // 2)
        above = self._term(half) if self.random.random() < 0.6 else self._sum(1, half)
        below = self._sum(2, max(1, n_variables - half))
        return self._scaled((["/", *above[0], *below[0]], above[1] + below[1]))
