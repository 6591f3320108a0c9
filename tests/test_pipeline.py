"""The one way through: what the outcome says, and what an interruption leaves, at every stage."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from strategies import DEFAULT_OPERATORS

from sr_transformer import SymbolicTransformerRegressor
from sr_transformer.clock import Clock
from sr_transformer.engines.base import SearchResult
from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.proposal.draw import PriorSampler
from sr_transformer.table.table import Table


class Engine:
    """Brings back one formula; its settings are those of the task."""

    name, scaled, operators, maxsize = "engine", True, None, None
    loss, is_judge = None, False

    def unusable_reason(self) -> None:
        """It can always run."""

    def admits(self, expression: Expression) -> bool:
        return True

    def search(self, task) -> SearchResult:
        return SearchResult(expressions=[Expression.parse("1.5 * sin(x0 * x1) + 0.3")])


def outcome_of(X, y, *, engine=None, sampler=None, clock=None, **settings):
    task = Task(table=Table.of(X, y), operators=DEFAULT_OPERATORS, variable_names=("a", "b"))
    settings = Settings(**{"n_candidates": 16, "random_state": 0, **settings})
    return run(task, settings, sampler or PriorSampler(), engine, clock or Clock())


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    return rng.uniform(1.0, 3.0, (40, 2)), rng.normal(size=40)


def raises_once(monkeypatch, target: str) -> None:
    """Let a function be interrupted by the keyboard when it is called for the first time."""
    module, _, name = target.rpartition(".")
    owner = __import__(module, fromlist=[name])
    function, called = getattr(owner, name), []

    def interrupted(*arguments, **keywords):
        if not called:
            called.append(name)
            raise KeyboardInterrupt
        return function(*arguments, **keywords)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(
    "stage",
    [
        "sr_transformer.proposal.proposing.relevant_columns",
        "sr_transformer.proposal.proposing.closed_form_candidates",
        "sr_transformer.proposal.proposing.speakable",
        "sr_transformer.proposal.fit.scout",
        "sr_transformer.proposal.repair.Editor",
        "sr_transformer.proposal.fit.refit",
        "sr_transformer.engines.seeding.run_search",
        "sr_transformer.engines.seeding.refit",
        "sr_transformer.pipeline.bring_to_users_units",
        "sr_transformer.pipeline.simplify_constants",
    ],
)
def test_ctrl_c_at_any_stage_keeps_what_there_is_and_is_told(noise, monkeypatch, stage):
    raises_once(monkeypatch, stage)
    with pytest.warns(SearchInterruptedWarning) as caught:
        outcome = outcome_of(*noise, engine=Engine())
    assert len(caught) == 1
    assert outcome.interrupted
    hall = outcome.hall_of_fame
    assert np.isfinite(hall[hall.select()].expression.evaluate(noise[0])).all()


def test_a_fit_that_nothing_ends_says_so_and_credits_who_is_on_the_front(noise):
    X, y = noise
    law = Engine().search(None).expressions[0].evaluate(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = outcome_of(X, law + 0.01 * y, engine=Engine(), proposers=["linear"])
    assert not outcome.interrupted
    assert outcome.engine == "engine"
    assert outcome_of(X, y, engine=Engine()).engine == "transformer"  # others are better there
    assert "engine" in {candidate.source for candidate in outcome.pool.candidates}
    assert outcome.hall_of_fame.variable_names == ("a", "b")


def test_without_proposers_the_engine_has_all_of_the_time_and_nothing_is_proposed(noise):
    class Asking(Engine):
        def search(self, task):
            self.task = task
            return super().search(task)

    engine = Asking()
    outcome_of(*noise, engine=engine, proposers=(), clock=Clock(50.0))
    assert engine.task.timeout_in_seconds > 45.0
    assert [guess.symbols for guess in engine.task.guesses] == [("c",)]


def test_the_estimator_tells_of_an_interruption(noise, monkeypatch):
    raises_once(monkeypatch, "sr_transformer.proposal.fit.scout")
    model = SymbolicTransformerRegressor("none", n_candidates=8, random_state=0)
    with pytest.warns(SearchInterruptedWarning):
        model.fit(*noise)
    assert model.interrupted_
    assert not model.fit(*noise).interrupted_
