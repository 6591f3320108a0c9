"""Problems to solve, and the catalogues of laws in YAML that they are drawn from.

A catalogue maps names to a formula in ``v1, v2, ...`` and, for each variable, the range it is drawn
from::

    expressions:
      Nguyen-1:
        prepared: v1**3+v1**2+v1
        vars:
          v1: {sample_range: [-1.0, 1.0], sample_type: [uni, pos]}
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr_transformer.errors import ExpressionError, SRTransformerError
from sr_transformer.expression import Expression

Array = np.ndarray

UNSEEN_ROWS = 512

# A formula that is finite on fewer than one in a thousand draws is not worth waiting for.
_MOST_ROUNDS = 1000


class CatalogueError(SRTransformerError, ValueError):
    """A catalogue cannot be read, or a problem in it yields no table."""


@dataclass(frozen=True)
class Variable:
    """How one column is drawn: from the range of low to high."""

    low: float
    high: float
    scale: str  # "uni": uniform, "log": uniform in the logarithm, "int": over the whole numbers
    sign: str  # "pos": values as drawn, "neg": negated, "pos_neg": with a random sign

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``n`` values, float64 of shape (n,)."""
        if self.scale == "uni":
            values = rng.uniform(self.low, self.high, n)
        elif self.scale == "log":
            values = np.exp(rng.uniform(np.log(self.low), np.log(self.high), n))
        else:
            values = rng.integers(round(self.low), round(self.high) + 1, n).astype(float)
        if self.sign == "neg":
            return -values
        if self.sign == "pos_neg":
            return values * rng.choice([-1.0, 1.0], n)
        return values


@dataclass(frozen=True, eq=False)
class Problem:
    """A table, the rows that its formulas are judged on, and what made it."""

    X: Array  # (n_rows, n_columns): the rows that are shown
    y: Array  # (n_rows,), with noise where the problem has any
    clean: Array  # (n_rows,): y without its noise
    X_unseen: Array  # (n_unseen, n_columns): further rows of the same kind
    y_unseen: Array  # (n_unseen,), without noise
    truth: Expression  # the law that is looked for
    noisy: bool


@dataclass(frozen=True)
class Law:
    """What a catalogue holds: a formula and the ranges of its variables."""

    catalogue: str
    name: str
    truth: Expression  # columns in the order v1, v2, ...
    variables: tuple[Variable, ...]  # of each column, those that the formula does not use included

    def problem(self, *, rows: int, noise: float, seed: int) -> Problem:
        """Draw a table; the same arguments always give the same one.

        Parameters
        ----------
        rows : int
            Number of shown rows; 512 more are unseen.
        noise : float
            Standard deviation of the noise on y, as a fraction of y's own.
        seed : int

        Raises
        ------
        CatalogueError
            If the law is hardly ever finite on the ranges.
        """
        # The law's own name seeds it, so that a table depends on nothing else in the catalogue.
        key = zlib.crc32(f"{self.catalogue}/{self.name}".encode())
        rng = np.random.default_rng([seed, key])
        X, y = self._finite_rows(rows, rng)
        unseen = self._finite_rows(UNSEEN_ROWS, rng)
        noisy = y + noise * np.std(y) * rng.standard_normal(rows) if noise else y
        return Problem(X, noisy, y, *unseen, self.truth, noise > 0)

    def _finite_rows(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        kept: list[tuple[Array, Array]] = []
        missing = n
        for _ in range(_MOST_ROUNDS):
            X = np.column_stack([variable.draw(n, rng) for variable in self.variables])
            y = self.truth.evaluate(X)
            finite = np.flatnonzero(np.isfinite(y))[:missing]
            kept.append((X[finite], y[finite]))
            missing -= finite.size
            if missing == 0:
                X, y = map(np.concatenate, zip(*kept, strict=True))
                return X, y
        raise CatalogueError(
            f"{self.catalogue}/{self.name}: only {n - missing} of {n} rows were finite after "
            f"{_MOST_ROUNDS * n} draws; check its formula and its sample_range."
        )


def read_catalogue(path: str | Path) -> list[Law]:
    """Read a catalogue.

    Parameters
    ----------
    path : str or Path
        A YAML file; its stem becomes the catalogue's name.

    Returns
    -------
    list of Law
        In the order of the file.

    Raises
    ------
    CatalogueError
        If PyYAML is missing, or the file is not there or not a catalogue.
    """
    try:
        import yaml
    except ImportError as missing:
        raise CatalogueError(
            "reading a catalogue needs PyYAML, which is not installed; install it with "
            'pip install "sr-transformer[benchmark]"'
        ) from missing
    path = Path(path)
    try:
        # The C loader reads the largest catalogue in a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path} is not valid YAML: {error}") from error
    entries = content.get("expressions") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise CatalogueError(
            f"{path} holds no problems: expected a mapping 'expressions' from a name to "
            "'prepared' and 'vars'."
        )
    return [_read_law(path.stem, str(name), entry) for name, entry in entries.items()]


def _read_law(catalogue: str, name: str, entry: Any) -> Law:
    where = f"{catalogue}/{name}"
    try:
        formula, described = entry["prepared"], entry["vars"]
    except (KeyError, TypeError) as error:
        raise CatalogueError(f"{where} lacks 'prepared' or 'vars'.") from error
    n_variables = sum(1 for variable in described if variable != "v0")
    names = [f"v{i}" for i in range(1, n_variables + 1)]
    absent = [variable for variable in names if variable not in described]
    if absent or not names:
        raise CatalogueError(
            f"{where}: 'vars' must describe v1 ... v{max(n_variables, 1)}; found "
            f"{', '.join(map(str, described)) or 'nothing'}."
        )
    try:
        truth = Expression.parse(formula, names)
    except ExpressionError as error:
        raise CatalogueError(f"{where}: the formula {formula!r} cannot be read: {error}") from error
    variables = tuple(_read_variable(f"{where} {v}", described[v]) for v in names)
    return Law(catalogue, name, truth, variables)


def _read_variable(where: str, entry: Any) -> Variable:
    try:
        low, high = map(float, entry["sample_range"])
        scale, sign = entry["sample_type"]
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogueError(
            f"{where}: expected sample_range: [low, high] and sample_type: [scale, sign], found "
            f"{entry!r}."
        ) from error
    for what, found, allowed in (
        ("scale", scale, ("uni", "log", "int")),
        ("sign", sign, ("pos", "neg", "pos_neg")),
    ):
        if found not in allowed:
            raise CatalogueError(
                f"{where}: the {what} in sample_type is {found!r}; allowed are "
                f"{', '.join(allowed)}."
            )
    if low > high or (scale == "log" and low <= 0):
        raise CatalogueError(
            f"{where}: sample_range is [{low:g}, {high:g}]; the first must not exceed the second, "
            "and a logarithmic range must be positive."
        )
    return Variable(low, high, scale, sign)
