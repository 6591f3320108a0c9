"""The hall of fame that a user sees: the front in the user's units, and the choice among it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.errors import shown
from sr_transformer.expression.guess import GuessRules, pysr_names, written_guesses
from sr_transformer.front.evidence import Evidence
from sr_transformer.front.pool import Candidate, Pool, pareto
from sr_transformer.table.loss import SQUARED, Loss

if TYPE_CHECKING:
    import pandas as pd

    from sr_transformer.expression import Expression

Array = np.ndarray

MODEL_SELECTIONS = ("description_length", "best", "accuracy", "score")

# "best" chooses among the formulas whose loss is at most this many times the smallest (PySR's).
_BEST_WITHIN = 1.5

# SymPy can be busy for hours with a deeply nested formula; longer ones get no SymPy form.
_LONGEST_SYMPY = 60


class HallOfFame(Pool):
    """Fitted formulas of one table in the user's units, and the choice among them.

    Iterating, indexing and ``len`` go over the front, simplest formula first. Of several
    formulas of one complexity the front shows the one of the shortest description, if there is
    ``evidence``, and of all the one of the shortest is on it; the others stay in the pool. A
    formula of as many constants as rows is not shown.

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
    evidence : Evidence or None
        What the table says, for description lengths; without it the rule ``"description_length"``
        cannot be used.
    loss_floor : float
        Losses below count as equal to it.
    loss_kind : Loss
        What they are losses of.
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
        evidence: Evidence | None = None,
        loss_floor: float = 0.0,
        loss_kind: Loss = SQUARED,
        loss_exponent: int = 0,
    ) -> None:
        super().__init__(loss_floor)
        self.variable_names = None if variable_names is None else tuple(variable_names)
        self.operators = None if operators is None else frozenset(operators)
        self.maxsize = maxsize
        self.model_selection = check_model_selection(model_selection)
        self.evidence = evidence
        self.loss_kind = loss_kind
        self.loss_exponent = loss_exponent
        self._framed: tuple[list[Candidate], pd.DataFrame] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What is shown of the rows is found out before the evidence parts with the table.
        if self.evidence is not None:
            self.evidence.settle(self.front)
        return {**self.__dict__, "_framed": None}  # rebuilt where it is asked for

    # --- the choice ---------------------------------------------------------------------------
    @property
    def front(self) -> list[Candidate]:
        """The formulas that are shown, simplest first: none matches or beats a longer one."""
        if self._front is None:
            if self.evidence is None:
                self._front = pareto(self.candidates, self.loss_floor)
            else:
                settled = self._rivals_settled(self.evidence) or self.candidates
                self._front = pareto(settled, self.loss_floor, self.evidence.loss)
        return self._front

    def _rivals_settled(self, evidence: Evidence) -> list[Candidate]:
        """Of each complexity the formula that is believed.

        Lookalikes that are shorter than the one that is believed of all, and by chance a little
        closer, do not push it off the front.
        """
        groups = (list(group) for _, group in groupby(self.candidates, lambda c: c.complexity))
        settled = [c for c in map(evidence.believed, groups) if c is not None]
        best = evidence.believed(settled)
        if best is None:
            return settled

        def is_shadowed(candidate: Candidate) -> bool:
            return candidate.complexity < best.complexity and max(
                evidence.loss(candidate), self.loss_floor
            ) <= max(evidence.loss(best), self.loss_floor)

        return [c for c in settled if not is_shadowed(c)]

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

        See :func:`sr_transformer.front.description_length.description_length`; what speaks against
        a formula (:class:`~sr_transformer.front.evidence.Evidence`) is added.

        Raises
        ------
        ValueError
            If this object was made without ``evidence``.
        """
        return [self._evidence().length(c) for c in self.front]

    def _evidence(self) -> Evidence:
        if self.evidence is None:
            raise ValueError(
                "Description lengths need the table: make the hall of fame with evidence=..., or "
                f"select by {', '.join(map(repr, MODEL_SELECTIONS[1:]))}."
            )
        return self.evidence

    def select(self, model_selection: str | None = None) -> int:
        """Row of the front that a rule chooses.

        Parameters
        ----------
        model_selection : {"description_length", "best", "accuracy", "score"} or None
            ``"description_length"``: the formula that describes y in the fewest nats, its own
            text and constants included, so that noise does not pay for symbols; see
            :meth:`~sr_transformer.front.evidence.Evidence.chosen`. ``"accuracy"``:
            the smallest loss. ``"score"``: the highest score. ``"best"``: the highest score among
            the rows whose loss is at most 1.5 times the smallest. The last three have PySR's
            meanings. ``None`` for the rule of this object.
        """
        rule = check_model_selection(model_selection or self.model_selection)
        if not self.front:
            raise ValueError("The hall of fame is empty: there is no formula to select.")
        if rule == "description_length":
            return self._evidence().chosen(self.front)
        losses = np.array([self._floored(c.loss) for c in self.front])
        if rule == "accuracy":
            return int(np.argmin(losses))
        scores = np.array(self.scores)
        if rule == "best":
            scores = np.where(losses <= _BEST_WITHIN * losses.min(), scores, -np.inf)
        return int(np.argmax(scores))

    # --- its forms ----------------------------------------------------------------------------
    def shown_loss(self, candidate: Candidate) -> float:
        """The user's loss, in the units of y; it may over- or underflow where y is extreme."""
        half = 10.0**self.loss_exponent
        return self.loss_kind.shown(float(candidate.loss * half * half))

    def to_frame(self) -> pd.DataFrame:
        """The front as a table.

        Returns
        -------
        DataFrame
            Columns ``complexity``, ``loss``, ``score``, ``equation`` (text with all digits),
            ``sympy_format`` (``None`` for formulas of more than 60 symbols), ``source`` and, where
            there is evidence, ``description_length``, ``standard_errors`` (a tuple with one of each
            constant from left to right, ``None`` for simple numbers, which are taken to be
            exact) and ``undefined`` (the share of the box of the columns' ranges on which the
            formula has no finite value).
        """
        import pandas as pd

        front = self.front
        if self._framed is not None and self._framed[0] is front:
            return self._framed[1].copy()
        names = self.variable_names
        shown = [
            c.expression.to_sympy(names) if c.complexity <= _LONGEST_SYMPY else None for c in front
        ]
        frame = pd.DataFrame(
            {
                "complexity": [c.complexity for c in front],
                "loss": [self.shown_loss(c) for c in front],
                "score": self.scores,
                "equation": [c.expression.to_text(names) for c in front],
                "sympy_format": pd.Series(shown, dtype=object),
                "source": [c.source for c in front],
            }
        )
        if self.evidence is not None:
            frame["description_length"] = self.description_lengths
            errors = [self.evidence.errors(c.expression) for c in front]
            frame["standard_errors"] = pd.Series(errors, dtype=object)
            frame["undefined"] = [self.evidence.behaviour(c.expression).undefined for c in front]
        self._framed = front, frame
        return frame.copy()

    def __repr__(self) -> str:
        if not self.front:
            return "HallOfFame(empty)"
        chosen, front = self.select(), self.front
        texts = [c.expression.to_text(self.variable_names, precision=5) for c in front]
        width = max(len("equation"), *map(len, texts))
        lines = [f"HallOfFame of {len(front)} formulas, selected by {self.model_selection!r}:"]
        lines.append(f"      complexity       loss    score  {'equation':<{width}}  source")
        for row, (candidate, score, text) in enumerate(
            zip(front, self.scores, texts, strict=True)
        ):
            mark = ">>>>" if row == chosen else "    "
            loss = self.shown_loss(candidate)
            lines.append(
                f"{mark}  {candidate.complexity:>10}  {loss:>9.3g}  {score:>7.3f}  "
                f"{text:<{width}}  {candidate.source}"
            )
        if self.evidence is not None:
            lines += self._remarks(front[chosen].expression)
        return "\n".join(lines)

    def _remarks(self, expression: Expression) -> list[str]:
        """How certain the constants of a formula are, and where it is undefined."""
        names, lines = self.variable_names, []
        errors = self.evidence.errors(expression)
        if any(error is not None for error in errors):
            text = expression.to_text(names, precision=5, errors=errors)
            lines.append(f"With standard errors: {text}")
        behaviour = self.evidence.behaviour(expression)
        if behaviour.example is not None:
            point = ", ".join(
                f"{f'x{i}' if names is None else names[i]} = {value:.4g}"
                for i, value in behaviour.example.items()
            )
            share = f"{100 * behaviour.undefined:.2g} %"
            lines.append(f"It is undefined on {share} of the columns' ranges, as at {point}.")
        return lines

    # --- for a search engine --------------------------------------------------------------------
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
        if operators is None:
            operators = self.operators
        if operators is None:
            operators = frozenset().union(*(c.expression.operators for c in self.candidates))
        if variable_names is None and self.variable_names is not None:
            variable_names = pysr_names(self.variable_names)
        rules = GuessRules(
            operators=operators,
            variable_names=variable_names,
            maxsize=self.maxsize if maxsize is None else maxsize,
        )
        # Lowering can make two formulas equal or one too long, so a few more are tried.
        accepted, _ = written_guesses((c.expression for c in self.ladder(2 * n)), rules)
        return list(accepted)[:n]


def check_model_selection(rule: str) -> str:
    """Return the rule if it is one, else raise ValueError."""
    if not isinstance(rule, str) or rule not in MODEL_SELECTIONS:
        allowed = ", ".join(map(repr, MODEL_SELECTIONS))
        raise ValueError(f"model_selection is {shown(rule)}; allowed are {allowed}.")
    return rule
