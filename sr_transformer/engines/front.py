"""The front of a search engine whose loss nobody else can compute, shown as the engine gave it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sr_transformer.engines.base import SearchResult
from sr_transformer.front.hall_of_fame import HallOfFame, check_model_selection
from sr_transformer.front.pool import Candidate


class EnginesFront(HallOfFame):
    """A hall of fame in which formulas, losses, scores and the choice are an engine's own.

    Parameters
    ----------
    variable_names : sequence of str or None
    source : str
        The engine.
    result : SearchResult
        Formulas in the user's units, in the engine's order. Losses may be negative.
    """

    def __init__(
        self, variable_names: Sequence[str] | None, source: str, result: SearchResult
    ) -> None:
        super().__init__(variable_names, loss_floor=-np.inf)
        self.model_selection = source
        self._rows = [
            Candidate(expression, loss, source)
            for expression, loss in zip(result.expressions, result.losses, strict=True)
        ]
        self._scores, self._selected = list(result.scores), result.selected

    @property
    def candidates(self) -> list[Candidate]:
        """All rows."""
        return self._rows

    @property
    def front(self) -> list[Candidate]:
        """The same."""
        return self._rows

    @property
    def scores(self) -> list[float]:
        """The engine's score of each row."""
        return self._scores

    def select(self, model_selection: str | None = None) -> int:
        """Row that a rule chooses: the engine's own choice where the rule is the default one.

        A description length is one of residuals of a known loss, and here is none.
        """
        rule = check_model_selection(model_selection or "description_length")
        if rule != "description_length":
            return super().select(rule)
        losses = [candidate.loss for candidate in self._rows]
        return int(np.nanargmin(losses)) if self._selected is None else self._selected
