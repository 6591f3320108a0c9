"""How many formulas of the prior a model recovers, beside the same pipeline without a model.

The problems are drawn from the prior with seeds that neither training nor validation uses: the
first, third, ... without noise, the second, fourth, ... with it. Of each table 256 rows are kept
back. Short formulas among them occur in training too, with other constants and other tables; by
skeleton, only the public suites are held out.

A problem counts as recovered within n draws if one of the candidates that
:func:`~sr_transformer.proposal.proposing.propose_candidates` makes of n draws, without closed
forms,
leaves at most 2^-23 of the variance of the noise-free values unexplained on the rows kept back.
That is measured with the formulas as they were drawn, their constants fitted, and with repair; what
is recovered as drawn counts with repair, too. Noise moves the fitted
constants however right a formula is, so on noisy problems its constants are fitted to the
noise-free values of the shown rows first: what counts is that the right form was proposed. Picking
it from the front is another task, which this measurement does not pose.
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

from sr_transformer import __version__
from sr_transformer.evaluation.json_lines import Record, append_record, read_records
from sr_transformer.evaluation.judging import RECOVERED_BELOW
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.front.hall_of_fame import Candidate
from sr_transformer.model.checkpoint import load_model, weights_hash
from sr_transformer.prior.stream import Example, ExampleStream, PriorConfig
from sr_transformer.proposal.constants import loss_of, refit
from sr_transformer.proposal.draw import NetworkSampler, PriorSampler, Sampler
from sr_transformer.proposal.proposers import REPAIR, TRANSFORMER
from sr_transformer.proposal.proposing import propose_candidates
from sr_transformer.training.data import PROBLEMS, validation_batches
from sr_transformer.training.validation import validate

Array = np.ndarray

_UNSEEN_ROWS = 256
_CLOSEST = 64  # candidates that are judged, those closest to the noise-free values of the table
_VALIDATION_EXAMPLES = 1024

METHODS = ("model", "no model", "model, repaired", "no model, repaired")
"""What is compared: draws of the network or of the prior, as they are or with repair."""

_MAXSIZE = PriorConfig().max_complexity


class Problem(NamedTuple):
    """A table, and what made it.

    Attributes
    ----------
    X, y : ndarray
        The rows that are shown; shapes (n_rows, n_columns) and (n_rows,), 8 to 1024 rows.
    clean : ndarray of shape (n_rows,)
        y without its noise.
    X_unseen, y_unseen : ndarray
        256 rows that were drawn with the others; without noise.
    expression : Expression
    noisy : bool
    """

    X: Array
    y: Array
    clean: Array
    X_unseen: Array
    y_unseen: Array
    expression: Expression
    noisy: bool


class Outcome(NamedTuple):
    """What happened to one problem.

    Attributes
    ----------
    complexity, n_variables : int
        Of the formula that was looked for.
    noisy : bool
    draws : tuple of int
        The numbers of draws that were tried, ascending.
    needed : tuple of (int or None), of the length of METHODS
        The smallest of them within which each method recovered it.
    """

    complexity: int
    n_variables: int
    noisy: bool
    draws: tuple[int, ...]
    needed: tuple[int | None, ...]


class Row(NamedTuple):
    """Recovery on one kind of problems.

    Attributes
    ----------
    label : str
    n_problems : int
    shares : tuple of tuple of float
        Share that each of METHODS recovered within each number of draws.
    """

    label: str
    n_problems: int
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Parameters
    ----------
    outcomes : tuple of Outcome
    validation : dict
        See :func:`~sr_transformer.training.validation.validate`.
    n_asked : int
        Problems that were asked for; a time limit may have left some out.
    draws : tuple of int
        Numbers of draws within which recovery was counted, ascending.
    """

    outcomes: tuple[Outcome, ...]
    validation: dict[str, float]
    n_asked: int
    draws: tuple[int, ...]

    @property
    def rows(self) -> list[Row]:
        """Shares by kind of problem; kinds without a problem are left out."""
        rows = []
        for label, belongs in KINDS.items():
            group = [outcome for outcome in self.outcomes if belongs(outcome)]
            if group:
                shares = zip(*(outcome.needed for outcome in group), strict=True)
                rows.append(Row(label, len(group), tuple(map(self._shares, shares))))
        return rows

    def _shares(self, needed: Sequence[int | None]) -> tuple[float, ...]:
        enough = [[n is not None and n <= draws for n in needed] for draws in self.draws]
        return tuple(sum(each) / len(each) for each in enough)


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
    report: Callable[[int], None] | None = None,
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
    report : callable, optional
        Called after each problem with the number of those done, those in ``out`` included.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a number is out of range, or ``out`` is a file of something else.
    CheckpointError
        If the model cannot be loaded.
    """
    if n_problems < 1:
        raise ValueError(f"the number of problems is {n_problems}; it must be at least 1.")
    if not draws or list(draws) != sorted({n for n in draws if n >= 1}):
        raise ValueError(f"the numbers of draws are {draws}; they must ascend from at least 1.")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"the time limit is {seconds} s; it must be above 0.")
    model = load_model(checkpoint, device)
    deadline = np.inf if seconds is None else time.monotonic() + seconds
    measured = {"model": weights_hash(model.path), "version": __version__}
    known: dict[int, Outcome] = {}
    if out is not None:
        known = _read_outcomes(Path(out), measured, draws)
        open(out, "a").close()  # where it cannot be written, that is said before the first problem
    batches = validation_batches(_VALIDATION_EXAMPLES, 64)
    validation = validate(model.network, batches, model.device)
    outcomes = {i: known[i] for i in range(n_problems) if i in known and known[i].draws == draws}
    missing = [i for i in range(n_problems) if i not in outcomes]

    def waiting() -> Iterator[int]:
        for index in missing:
            if (outcomes or index != missing[0]) and time.monotonic() > deadline:
                return
            yield index

    solved = Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)(
        delayed(solve)(index, str(model.path), str(model.device), draws, known.get(index))
        for index in waiting()
    )
    for index, outcome in zip(missing, solved, strict=False):
        outcomes[index] = outcome
        if out is not None:
            append_record(Path(out), {**measured, "problem": index, **outcome._asdict()})
        if report is not None:
            report(len(outcomes))
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
    """Let each of METHODS try one problem, after what is known of its first numbers of draws."""
    problem = make_problem(index)
    if known is None:
        size = len(problem.expression.symbols), len(problem.expression.variables)
        known = Outcome(*size, problem.noisy, (), (None,) * len(METHODS))
    begun = known.draws[-1] if known.draws else 0
    more = draws[len(known.draws) :]
    samplers = (NetworkSampler(load_model(checkpoint, device)), PriorSampler())
    drawn = [
        needed or _draws_needed(problem, sampler, index, begun, more, [TRANSFORMER])
        for sampler, needed in zip(samplers, known.needed[:2], strict=True)
    ]
    repaired = []
    for sampler, unrepaired, needed in zip(samplers, drawn, known.needed[2:], strict=True):
        fewer = tuple(n for n in more if unrepaired is None or n < unrepaired)
        needed = needed or _draws_needed(
            problem, sampler, index, begun, fewer, [TRANSFORMER, REPAIR]
        )
        repaired.append(needed or unrepaired)
    return known._replace(draws=draws, needed=(*drawn, *repaired))


def _draws_needed(
    problem: Problem,
    sampler: Sampler,
    index: int,
    drawn: int,
    draws: tuple[int, ...],
    proposers: Sequence[str],
) -> int | None:
    """The smallest number of draws that is enough, where ``drawn`` were too few.

    Draws are independent, so 32, 224 more and 768 more are 1024 draws; what is recovered early
    needs no more of them.
    """
    for total in draws:
        proposal = propose_candidates(
            problem.X,
            problem.y,
            sampler=sampler,
            operators=frozenset(ARITHMETIC.operators),
            maxsize=_MAXSIZE,
            n_candidates=total - drawn,
            temperature=1.0,
            proposers=proposers,
            random_state=np.random.RandomState([PROBLEMS, index, total]),
        )
        if is_recovered(proposal.candidates, problem):
            return total
        drawn = total
    return None


def is_recovered(candidates: list[Candidate], problem: Problem) -> bool:
    """Whether the formula that made the table is among the candidates; see the module's text."""
    losses = [loss_of(c.expression, problem.X, problem.clean) for c in candidates]
    limit = RECOVERED_BELOW * float(np.var(problem.y_unseen))
    for i in np.argsort(losses, kind="stable")[:_CLOSEST]:
        expression = candidates[i].expression
        if problem.noisy:
            expression, _ = refit(expression, problem.X, problem.clean)
        if loss_of(expression, problem.X_unseen, problem.y_unseen) <= limit:
            return True
    return False
