"""How many formulas of the prior a model recovers, beside the same pipeline without a model.

The problems are drawn from the prior with seeds that neither training nor validation uses: the
first, third, ... without noise, the second, fourth, ... with it. Of each table 256 rows are kept
back. Short formulas among them occur in training too, with other constants and other tables; by
skeleton, only the public suites are held out.

A problem counts as recovered within n draws if the law is among the candidates that the pipeline
makes of n draws, without closed forms; see :func:`~sr_transformer.evaluation.judging.holds_law`.
That is measured with the formulas as they were drawn, their constants fitted, and with repair; what
is recovered as drawn counts with repair, too. On noisy problems it counts that the right form was
proposed. Picking it from the front is another task, which this measurement does not pose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from rich.console import Console

from sr_transformer import __version__
from sr_transformer.clock import Clock
from sr_transformer.evaluation.judging import holds_law
from sr_transformer.evaluation.measuring import Record, append_record, progress_bar, read_records
from sr_transformer.evaluation.problems import Problem
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.limits import check_positive, check_whole
from sr_transformer.model.checkpoint import load_model, weights_hash
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.prior.stream import Example, ExampleStream, PriorConfig
from sr_transformer.proposal.draw import NetworkSampler, PriorSampler, Sampler
from sr_transformer.proposal.proposers import REPAIR, TRANSFORMER
from sr_transformer.table.table import Table
from sr_transformer.training.data import PROBLEMS, validation_batches
from sr_transformer.training.objective import validate

Array = np.ndarray

_UNSEEN_ROWS = 256
_JUDGED = 600  # formulas: the best twenty of each size, where all sizes occur
_VALIDATION_EXAMPLES = 1024
_MAXSIZE = PriorConfig().max_complexity

COLUMNS = ("model", "no model", "model, repaired", "no model, repaired")
"""What is compared: draws of the network or of the prior, as they are or with repair."""


class Outcome(NamedTuple):
    """What happened to one problem."""

    complexity: int  # of the formula that was looked for
    n_variables: int  # of the same
    noisy: bool
    draws: tuple[int, ...]  # the numbers of draws that were tried, ascending
    needed: tuple[int | None, ...]  # the smallest of them within which each of COLUMNS recovered it


class Row(NamedTuple):
    """Recovery on one kind of problems."""

    label: str
    n_problems: int
    shares: tuple[tuple[float, ...], ...]  # what each of COLUMNS recovered, by number of draws


@dataclass(frozen=True)
class Evaluation:
    """What was measured."""

    outcomes: tuple[Outcome, ...]
    validation: dict[str, float]  # see :func:`~sr_transformer.training.objective.validate`
    n_asked: int  # problems; a time limit may have left some out
    draws: tuple[int, ...]  # numbers of draws within which recovery was counted, ascending

    @property
    def rows(self) -> list[Row]:
        """Shares by kind of problem; kinds without a problem are left out."""
        rows = []
        for label, belongs in KINDS.items():
            group = [outcome.needed for outcome in self.outcomes if belongs(outcome)]
            if group:
                shares = tuple(map(self._shares, zip(*group, strict=True)))
                rows.append(Row(label, len(group), shares))
        return rows

    def _shares(self, needed: Sequence[int | None]) -> tuple[float, ...]:
        enough = (sum(n is not None and n <= draws for n in needed) for draws in self.draws)
        return tuple(count / len(needed) for count in enough)


KINDS: dict[str, Callable[[Outcome], bool]] = {
    "all": lambda o: True,
    "without noise": lambda o: not o.noisy,
    "with noise": lambda o: o.noisy,
    "complexity 1 to 5": lambda o: o.complexity <= 5,
    "complexity 6 to 10": lambda o: 6 <= o.complexity <= 10,
    "complexity 11 to 15": lambda o: 11 <= o.complexity <= 15,
    "complexity 16 to 30": lambda o: o.complexity >= 16,
    "1 variable": lambda o: o.n_variables == 1,
    "2 variables": lambda o: o.n_variables == 2,
    "3 variables": lambda o: o.n_variables == 3,
    "4 or more variables": lambda o: o.n_variables >= 4,
    "without noise, complexity to 15, to 3 variables": lambda o: (
        not o.noisy and o.complexity <= 15 and o.n_variables <= 3
    ),
}
"""The rows of the table."""


def evaluate_recovery(
    checkpoint: str | Path = "default",
    *,
    n_problems: int = 1000,
    draws: tuple[int, ...] = (32, 256, 1024),
    seconds: float | None = None,
    device: str = "auto",
    n_jobs: int = 1,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Measure a model on problems of the prior that are always the same.

    Parameters
    ----------
    checkpoint : str or Path
        ``"default"`` or the path of a safetensors file.
    n_problems : int, default=1000
    draws : tuple of int
        Numbers of draws, ascending, within which recovery is counted.
    seconds : float, optional
        No problem is begun after so much time; the first ones of the set were done then.
    device : str
        ``"auto"`` or a torch device.
    n_jobs : int, default=1
        Processes that solve problems. Each problem has seeds of its own.
    out : str or Path, optional
        File of JSON lines to which each outcome is appended. What it holds already, of the same
        model and release, is not measured again: to 32 and 256 draws that are there, 1024 add only
        the other 768, where 256 were not enough.
    console : rich Console, optional
        Where progress is shown.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a number is out of range, or ``out`` is a file of something else.
    OSError
        If ``out`` cannot be written, or the disk is full: what it holds is complete.
    CheckpointError
        If the model cannot be loaded.
    KeyboardInterrupt
        From the keyboard; the problem that it cut short has no outcome.
    """
    check_whole("the number of problems", n_problems)
    check_whole("the number of processes", n_jobs)
    if not draws or list(draws) != sorted({n for n in draws if n >= 1}):
        raise ValueError(f"the numbers of draws are {draws}; they must ascend from at least 1.")
    if seconds is not None:
        check_positive("the time limit in seconds", seconds)
    model = load_model(checkpoint, device)
    deadline = np.inf if seconds is None else time.monotonic() + seconds
    measured = {"model": weights_hash(model.path), "version": __version__}
    known = {} if out is None else _read_outcomes(Path(out), measured, draws)
    outcomes = {i: known[i] for i in range(n_problems) if i in known and known[i].draws == draws}
    missing = [i for i in range(n_problems) if i not in outcomes]

    def waiting() -> Iterator[int]:
        for index in missing:
            if (outcomes or index != missing[0]) and time.monotonic() > deadline:
                return
            yield index

    with progress_bar(console, transient=True) as progress:
        bar = progress.add_task("problems", total=n_problems, completed=len(outcomes))
        batches = validation_batches(_VALIDATION_EXAMPLES, 64, model.vocabulary)
        validation = validate(model.network, model.vocabulary, batches, model.device)
        solved = Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)(
            delayed(solve)(index, str(model.path), str(model.device), draws, known.get(index))
            for index in waiting()
        )
        for index, outcome in zip(missing, solved, strict=False):
            outcomes[index] = outcome
            if out is not None:
                append_record(Path(out), {**measured, "problem": index, **outcome._asdict()})
            progress.advance(bar)
    in_order = tuple(outcomes[index] for index in sorted(outcomes))
    return Evaluation(in_order, validation, n_problems, draws)


def _read_outcomes(path: Path, measured: Record, draws: tuple[int, ...]) -> dict[int, Outcome]:
    """What a file holds of the same model and release, by problem, as far as the draws agree."""

    def key(record: Record) -> tuple[Any, ...]:
        return tuple(record[name] for name in (*measured, "problem", *Outcome._fields))

    outcomes: dict[int, Outcome] = {}
    for record in read_records(path, key, "an outcome of an evaluation"):
        if not measured.items() <= record.items():
            continue
        both = takewhile(lambda pair: pair[0] == pair[1], zip(draws, record["draws"], strict=False))
        tried = tuple(n for n, _ in both)
        before = outcomes.get(record["problem"])
        if before is None or len(before.draws) < len(tried):
            needed = tuple(n if n in tried else None for n in record["needed"])
            known = {**record, "draws": tried, "needed": needed}
            outcomes[record["problem"]] = Outcome(*(known[name] for name in Outcome._fields))
    return outcomes


def make_problem(index: int) -> Problem:
    """Problem ``index`` of the set: always the same one."""
    seed = [0, PROBLEMS, index]
    rng = np.random.default_rng(seed)
    noisy = index % 2 == 1
    config = PriorConfig(share_clean=0.0 if noisy else 1.0)
    stream = ExampleStream(seed, config)
    low, high = np.log(config.min_rows), np.log(config.max_rows)
    n_rows = round(float(np.exp(rng.uniform(low, high))))
    while True:
        example = stream.draw(n_rows + _UNSEEN_ROWS)
        values = example.expression.evaluate(example.X)
        if _is_sound(example, values, noisy):
            break
    order = rng.permutation(len(values))
    shown, unseen = np.sort(order[:n_rows]), np.sort(order[n_rows:])
    return Problem(
        np.asfortranarray(example.X[shown]), example.y[shown], values[shown],
        np.asfortranarray(example.X[unseen]), values[unseen], example.expression, noisy,
    )  # fmt: skip


def _is_sound(example: Example, values: Array, noisy: bool) -> bool:
    """Whether the formula really has the values that it is said to have."""
    if not np.isfinite(values).all():
        return False
    return noisy or bool(np.allclose(values, example.y, rtol=1e-6, atol=1e-6 * np.std(example.y)))


def solve(
    index: int,
    checkpoint: str,
    device: str,
    draws: tuple[int, ...],
    known: Outcome | None = None,
) -> Outcome:
    """Let each of COLUMNS try one problem, after what is known of its first numbers of draws."""
    problem = make_problem(index)
    if known is None:
        size = len(problem.truth.symbols), len(problem.truth.variables)
        known = Outcome(*size, problem.noisy, (), (None,) * len(COLUMNS))
    begun = known.draws[-1] if known.draws else 0
    needed = list(known.needed)
    samplers = (NetworkSampler(load_model(checkpoint, device)), PriorSampler())
    for i, sampler in enumerate(samplers):
        for column, proposers in ((i, [TRANSFORMER]), (i + 2, [TRANSFORMER, REPAIR])):
            enough = needed[i]  # where the drawn formulas are, the repaired ones are, too
            more = [n for n in draws[len(known.draws) :] if enough is None or n < enough]
            needed[column] = (
                needed[column]
                or _draws_needed(problem, sampler, index, begun, more, proposers)
                or enough
            )
    return known._replace(draws=draws, needed=tuple(needed))


def _draws_needed(
    problem: Problem,
    sampler: Sampler,
    index: int,
    drawn: int,
    draws: Sequence[int],
    proposers: Sequence[str],
) -> int | None:
    """The smallest number of draws that is enough, where ``drawn`` were too few.

    Draws are independent, so 32, 224 more and 768 more are 1024 draws; what is recovered early
    needs no more of them.
    """
    task = Task(
        table=Table.of(problem.X, problem.y),
        operators=frozenset(ARITHMETIC.operators),
        maxsize=_MAXSIZE,
        variable_names=tuple(f"x{i}" for i in range(problem.X.shape[1])),
    )
    for total in draws:
        settings = Settings(
            proposers=proposers,
            n_candidates=total - drawn,
            random_state=np.random.RandomState([PROBLEMS, index, total]),
        )
        outcome = run(task, settings, sampler, None, Clock(), keep_found=False)
        best = outcome.pool.ladder(_JUDGED)
        if holds_law([outcome.scaling.to_user_units(c.expression) for c in best], problem):
            return total
        drawn = total
    return None
