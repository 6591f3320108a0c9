"""How often the right form is chosen: the rule by description length, against others.

Every table is fitted once; the rules choose from the same formulas. So the table tells what a rule
is worth, and, by the column of what is among the formulas at all, what the proposers are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from rich.table import Table as RichTable

from sr_transformer.clock import Clock
from sr_transformer.evaluation.laboratory import LEVELS, SIZES, Case, draw_case
from sr_transformer.evaluation.measuring import table_of_numbers
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.front.constant_cost import free_cost, simple_cost
from sr_transformer.front.form_cost import form_cost
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.front.pool import Candidate
from sr_transformer.model.checkpoint import load_model
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.proposal.draw import NetworkSampler
from sr_transformer.table.table import Table

_CANDIDATES = 96  # formulas drawn for each table
_CLOSEST = 80  # formulas of a table that are judged, those of the shortest descriptions


def _by_description_length(hall: HallOfFame, _: Case) -> Candidate:
    return hall[hall.select("description_length")]


def _by_pysr(hall: HallOfFame, _: Case) -> Candidate:
    return hall[hall.select("best")]


def _by_loss(hall: HallOfFame, _: Case) -> Candidate:
    return hall[hall.select("accuracy")]


def _by_bic(hall: HallOfFame, case: Case) -> Candidate:
    """Schwarz (1978): half a log(n) for each constant, nothing for symbols."""
    n = len(case.y)

    def length(candidate: Candidate) -> float:
        loss = max(candidate.loss, hall.loss_floor, np.finfo(float).tiny)
        return n * math.log(loss) + len(candidate.expression.constants) * math.log(n)

    return min(hall, key=length)


def _by_oracle(hall: HallOfFame, case: Case) -> Candidate:
    """Description length where the size of the noise is known."""
    sample = hall.evidence.sample
    unit = 10.0**hall.loss_exponent
    noise = max((case.deviation / unit) ** 2, sample.floor, np.finfo(float).tiny)
    digits = free_cost(sample.n_rows, sample.ratio(noise))

    def length(candidate: Candidate) -> float:
        expression = candidate.expression
        if len(expression.constants) >= len(case.y):
            return math.inf
        return (
            form_cost(expression, sample.operators, sample.n_columns)
            + sum(min(simple_cost(c), digits) for c in expression.constants)
            + 0.5 * sample.n_rows * max(candidate.loss, sample.floor) / noise
        )

    return min(hall.candidates, key=length)


RULES: dict[str, Callable[[HallOfFame, Case], Candidate]] = {
    "description length": _by_description_length,
    "PySR's best": _by_pysr,
    "lowest loss": _by_loss,
    "BIC": _by_bic,
    "oracle": _by_oracle,
}
"""The rules; the oracle knows the size of the noise."""


@dataclass(frozen=True)
class Verdict:
    """What each rule made of a table: whether the right form was chosen, by the rules' names."""

    kind: str
    form: str
    n_rows: int
    noise: float
    right: dict[str, bool]
    among: bool  # whether the right form is among the formulas at all


def cases(per_cell: int, first: int = 0) -> Iterator[Case]:
    """The grid: so many tables of each kind, size and noise, of seeds that begin with ``first``."""
    for seed in range(first, first + per_cell):
        for place, n_rows in enumerate(SIZES):
            yield draw_case("noise", n_rows, 1.0, seed)
            for level, noise in enumerate(LEVELS):
                # In steps that go through all forms over the cells.
                yield draw_case("laboratory", n_rows, noise, seed + 3 * place + 5 * level)
                yield draw_case("prior", n_rows, noise, len(LEVELS) * seed + level)


def judge(tables: Iterable[Case], seconds: float | None = None) -> Iterator[Verdict]:
    """Fit each table and let the rules choose.

    Parameters
    ----------
    tables : iterable of Case
    seconds : float, optional
        For each fit; by default each draws 96 formulas.
    """
    sampler = NetworkSampler(load_model())
    operators = frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY))
    for case in tables:
        names = tuple(f"x{i}" for i in range(case.X.shape[1]))
        task = Task(table=Table.of(case.X, case.y), operators=operators, variable_names=names)
        n = None if seconds is not None else _CANDIDATES
        settings = Settings(n_candidates=n, random_state=0)
        outcome = run(task, settings, sampler, None, Clock(seconds))
        if outcome.interrupted:
            raise KeyboardInterrupt
        yield _verdict(case, outcome.hall_of_fame)


def _verdict(case: Case, hall: HallOfFame) -> Verdict:
    known: dict[Candidate, bool] = {}

    def is_law(candidate: Candidate) -> bool:
        if candidate not in known:
            known[candidate] = case.is_law(candidate.expression)
        return known[candidate]

    right = {name: is_law(rule(hall, case)) for name, rule in RULES.items()}
    closest = sorted(hall.candidates, key=hall.evidence.length)[:_CLOSEST]
    among = any(right.values()) or any(map(is_law, closest))
    return Verdict(case.kind, case.form, len(case.y), case.noise, right, among)


def tables_of(verdicts: list[Verdict]) -> list[RichTable]:
    """For a terminal: shares of right choices by number of rows, and by noise."""
    by_rows = table_of_numbers("Right forms chosen, by rows", ["tables"], [*map(str, SIZES), "all"])
    by_noise = table_of_numbers(
        "Right forms chosen, by noise", ["tables"], [f"{100 * level:g} %" for level in LEVELS]
    )
    for kind in ("noise", "laboratory", "prior"):
        own = [v for v in verdicts if v.kind == kind]
        for name in (*RULES, "among the formulas"):
            heading = f"{kind}: {name}"
            sizes = [[v for v in own if v.n_rows == n] for n in SIZES]
            by_rows.add_row(heading, *(_share(group, name) for group in (*sizes, own)))
            if kind != "noise":
                levels = [[v for v in own if v.noise == level] for level in LEVELS]
                by_noise.add_row(heading, *(_share(group, name) for group in levels))
    return [by_rows, by_noise]


def _share(group: list[Verdict], name: str) -> str:
    if not group:
        return ""
    return f"{100 * np.mean([v.right.get(name, v.among) for v in group]):.0f} %"
