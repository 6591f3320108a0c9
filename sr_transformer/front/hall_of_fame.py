"""The pool of fitted formulas: duplicates, Pareto front, selection rule and the table of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.expression import Expression
from sr_transformer.front.description_length import Sample, description_length

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray

MODEL_SELECTIONS = ("description_length", "best", "accuracy", "score")

ALMOST_EQUAL = 1e-6
"""Relative difference of two losses that does not matter."""

# "best" chooses among the formulas whose loss is at most this many times the smallest (PySR's).
_BEST_WITHIN = 1.5

# SymPy can be busy for hours with a deeply nested formula; longer ones get no SymPy form.
_LONGEST_SYMPY = 60


@dataclass(frozen=True)
class Candidate:
    """A fitted formula.

    Parameters
    ----------
    expression : Expression
    loss : float
        Mean squared error on the training table, weighted where weights were given.
    source : str
        Who found it: ``"transformer"``, ``"pysr"``, ...
    """

    expression: Expression
    loss: float
    source: str

    @property
    def complexity(self) -> int:
        """Number of operators, constants and variables, as PySR counts."""
        return self.expression.complexity()


class HallOfFame:
    """Fitted formulas of one table; what it shows of them is their Pareto front.

    Iterating, indexing and ``len`` go over the front, simplest formula first.

    Parameters
    ----------
    variable_names : sequence of str or None
        Names of the table's columns; ``None`` for x0, x1, ...
    operators : iterable of str or None
        Operators that the formulas may use, for :meth:`guesses`.
    maxsize : int or None
        Largest complexity, for :meth:`guesses`.
    model_selection : {"description_length", "best", "accuracy", "score"}
        The rule by which one row is chosen; see :meth:`select`.
    sample : Sample or None
        Of the table, for description lengths; without it the rule ``"description_length"`` cannot
        be used.
    loss_floor : float
        Losses below count as equal to it.
    loss_exponent : int
        The losses are in units of ``10 ** (2 * loss_exponent)``. Other than 0 only where y is so
        large or small that its square leaves the range of float64.
    """

    def __init__(
        self,
        variable_names: Sequence[str] | None = None,
        *,
        operators: Iterable[str] | None = None,
        maxsize: int | None = None,
        model_selection: str = "best",
        sample: Sample | None = None,
        loss_floor: float = 0.0,
        loss_exponent: int = 0,
    ) -> None:
        self.variable_names = None if variable_names is None else tuple(variable_names)
        self.operators = None if operators is None else frozenset(operators)
        self.maxsize = maxsize
        self.model_selection = check_model_selection(model_selection)
        self.sample = sample
        self.loss_floor = loss_floor
        self.loss_exponent = loss_exponent
        self._pool: dict[tuple[str, ...], Candidate] = {}
        self._front: list[Candidate] | None = None
        self._frame: pd.DataFrame | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_frame": None}  # rebuilt where it is asked for

    # --- filling ------------------------------------------------------------------------------
    def add(self, candidate: Candidate) -> bool:
        """Add a formula; ``False`` where it brings nothing new.

        Formulas that are equal after simplification, constants aside, are one: the better stays,
        and of two almost equally good ones the shorter, then the earlier. Non-finite losses stay
        out.
        """
        if not np.isfinite(candidate.loss):
            return False
        key = candidate.expression.simplify().symbols
        known = self._pool.get(key)
        if known is not None:
            loss, known_loss = self._floored(candidate.loss), self._floored(known.loss)
            better = loss < known_loss * (1 - ALMOST_EQUAL)
            as_good = loss <= known_loss * (1 + ALMOST_EQUAL)
            if not better and not (as_good and candidate.complexity < known.complexity):
                return False
        self._pool[key] = candidate
        self._front = self._frame = None
        return True

    def remove(self, candidate: Candidate) -> None:
        """Take a formula out of the pool; ``KeyError`` where it is not there."""
        del self._pool[candidate.expression.simplify().symbols]
        self._front = self._frame = None

    def extend(self, candidates: Iterable[Candidate]) -> None:
        """Add several formulas."""
        for candidate in candidates:
            self.add(candidate)

    def _floored(self, loss: float) -> float:
        return max(loss, self.loss_floor)

    # --- the front ----------------------------------------------------------------------------
    @property
    def candidates(self) -> list[Candidate]:
        """All formulas of the pool, by complexity and then loss."""
        return _sorted(self._pool.values())

    @property
    def front(self) -> list[Candidate]:
        """The formulas that no simpler or equally simple one matches, simplest first."""
        if self._front is None:
            front: list[Candidate] = []
            best = np.inf
            for candidate in self.candidates:
                if self._floored(candidate.loss) < best:
                    best = self._floored(candidate.loss)
                    front.append(candidate)
            self._front = front
        return self._front

    @property
    def scores(self) -> list[float]:
        """PySR's score of each row: the fall of log(loss) for each unit of complexity added."""
        scores = []
        before: Candidate | None = None
        for candidate in self.front:
            score = 0.0
            if before is not None:
                loss, last = self._floored(candidate.loss), self._floored(before.loss)
                fall = np.log(last) - np.log(loss) if loss > 0.0 else np.inf
                score = float(fall / (candidate.complexity - before.complexity))
            scores.append(score)
            before = candidate
        return scores

    @property
    def description_lengths(self) -> list[float]:
        """Nats that it takes to write down y by each row; only differences have a meaning.

        See :func:`sr_transformer.front.description_length.description_length`.

        Raises
        ------
        ValueError
            If this object was made without ``sample``.
        """
        if self.sample is None:
            raise ValueError(
                "Description lengths need the size of the table: make the hall of fame with "
                f"sample=..., or select by {', '.join(map(repr, MODEL_SELECTIONS[1:]))}."
            )
        smallest = np.finfo(float).tiny
        return [
            description_length(c.expression, max(self._floored(c.loss), smallest), self.sample)
            for c in self.front
        ]

    def select(self, model_selection: str | None = None) -> int:
        """Row of the front that a rule chooses.

        Parameters
        ----------
        model_selection : {"description_length", "best", "accuracy", "score"} or None
            ``"description_length"``: the formula that describes y in the fewest nats, its own
            text and constants included, so that noise does not pay for symbols. ``"accuracy"``:
            the smallest loss. ``"score"``: the highest score. ``"best"``: the highest score among
            the rows whose loss is at most 1.5 times the smallest. The last three have PySR's
            meanings. ``None`` for the rule of this object.
        """
        rule = check_model_selection(model_selection or self.model_selection)
        if not self.front:
            raise ValueError("The hall of fame is empty: there is no formula to select.")
        if rule == "description_length":
            return int(np.argmin(self.description_lengths))
        losses = np.array([self._floored(c.loss) for c in self.front])
        if rule == "accuracy":
            return int(np.argmin(losses))
        scores = np.array(self.scores)
        if rule == "best":
            scores = np.where(losses <= _BEST_WITHIN * losses.min(), scores, -np.inf)
        return int(np.argmax(scores))

    def __len__(self) -> int:
        return len(self.front)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.front)

    def __getitem__(self, index: int) -> Candidate:
        return self.front[index]

    # --- its forms ----------------------------------------------------------------------------
    def shown_loss(self, candidate: Candidate) -> float:
        """Loss in the units of y, squared; it may over- or underflow where y itself is extreme."""
        half = 10.0**self.loss_exponent
        return float(candidate.loss * half * half)

    def to_frame(self) -> pd.DataFrame:
        """The front as a table.

        Returns
        -------
        DataFrame
            Columns ``complexity``, ``loss``, ``score``, ``equation`` (text with all digits),
            ``sympy_format`` (``None`` for formulas of more than 60 symbols), ``source`` and, where
            the table's size is known, ``description_length``.
        """
        import pandas as pd

        if self._frame is None:
            self._frame = self._build_frame(pd)
        return self._frame.copy()

    def _build_frame(self, pd: ModuleType) -> pd.DataFrame:
        frame = pd.DataFrame(
            {
                "complexity": [c.complexity for c in self.front],
                "loss": [self.shown_loss(c) for c in self.front],
                "score": self.scores,
                "equation": [c.expression.to_text(self.variable_names) for c in self.front],
                "sympy_format": pd.Series(
                    [
                        c.expression.to_sympy(self.variable_names)
                        if c.complexity <= _LONGEST_SYMPY
                        else None
                        for c in self.front
                    ],
                    dtype=object,
                ),
                "source": [c.source for c in self.front],
            }
        )
        if self.sample is not None:
            frame["description_length"] = self.description_lengths
        return frame

    def __repr__(self) -> str:
        if not self.front:
            return "HallOfFame(empty)"
        chosen = self.select()
        texts = [c.expression.to_text(self.variable_names, precision=5) for c in self.front]
        width = max(len("equation"), *map(len, texts))
        lines = [f"HallOfFame of {len(self.front)} formulas, selected by {self.model_selection!r}:"]
        lines.append(f"      complexity       loss    score  {'equation':<{width}}  source")
        for row, (candidate, score, text) in enumerate(
            zip(self.front, self.scores, texts, strict=True)
        ):
            mark = ">>>>" if row == chosen else "    "
            loss = self.shown_loss(candidate)
            lines.append(
                f"{mark}  {candidate.complexity:>10}  {loss:>9.3g}  {score:>7.3f}  "
                f"{text:<{width}}  {candidate.source}"
            )
        return "\n".join(lines)

    # --- for a search engine --------------------------------------------------------------------
    def ladder(self, n: int) -> list[Candidate]:
        """The ``n`` best formulas over all complexities.

        First the best of each complexity, then the second best of each, and so on, so that every
        size is represented; all differ in more than their constants.
        """
        return ladder(self._pool.values(), n)

    def guesses(
        self,
        n: int = 50,
        *,
        operators: Iterable[str] | None = None,
        maxsize: int | None = None,
        variable_names: Sequence[str] | None = None,
    ) -> list[str]:
        """Formulas for ``PySRRegressor(guesses=...)``: a ladder of the best, all different.

        Parameters
        ----------
        n : int
            Largest number of formulas.
        operators : iterable of str or None
            The operators of the search; formulas that cannot be written with them are left out.
            ``None`` for those of this object.
        maxsize : int or None
            The search's size limit; ``None`` for that of this object.
        variable_names : sequence of str or None
            The names that PySR will give the columns; ``None`` for this object's own, with
            underscores in place of spaces, as PySR itself reads a DataFrame.

        Returns
        -------
        list of str
            At most ``n`` texts, each checked against what PySR accepts.
        """
        from sr_transformer.engines.pysr.engine import guess_strings, pysr_names
        from sr_transformer.engines.pysr.guesses import GuessRules

        operators = self.operators if operators is None else frozenset(operators)
        if operators is None:
            operators = frozenset().union(*(c.expression.operators for c in self.candidates))
        names = variable_names
        if names is None and self.variable_names is not None:
            names = pysr_names(self.variable_names)
        if names is None:
            columns = {i for c in self.candidates for i in c.expression.variables}
            names = tuple(f"x{i}" for i in range(max(columns, default=-1) + 1))
        rules = GuessRules(
            operators=operators,
            variable_names=names,
            maxsize=self.maxsize if maxsize is None else maxsize,
        )
        # Lowering can make two formulas equal or one too long, so a few more are tried.
        ladder = (candidate.expression for candidate in self.ladder(2 * n))
        return guess_strings(ladder, rules)[:n]


def _sorted(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (c.complexity, c.loss))


def ladder(candidates: Iterable[Candidate], n: int) -> list[Candidate]:
    """The ``n`` best of some formulas; see :meth:`HallOfFame.ladder`."""
    rank_at: dict[int, int] = {}
    ranked = []
    for candidate in _sorted(candidates):
        rank = rank_at.get(candidate.complexity, 0)
        rank_at[candidate.complexity] = rank + 1
        ranked.append((rank, candidate.complexity, candidate))
    ranked.sort(key=lambda entry: entry[:2])
    return [candidate for _, _, candidate in ranked[:n]]


def check_model_selection(rule: str) -> str:
    """Return the rule if it is one, else raise ValueError."""
    if rule not in MODEL_SELECTIONS:
        raise ValueError(
            f"model_selection is {rule!r}; allowed are {', '.join(map(repr, MODEL_SELECTIONS))}."
        )
    return rule
