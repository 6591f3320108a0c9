"""What runs in Operon's own process: the search, from formulas and back to formulas."""

from __future__ import annotations

import math
import os
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any

import numpy as np
import pyoperon
import pyoperon.sklearn
from joblib import cpu_count
from pyoperon.sklearn import SymbolicRegressor

from sr_transformer.clock import Clock
from sr_transformer.engines.base import SearchResult, SearchTask, describe
from sr_transformer.engines.operon.trees import (
    NODE_NAMES,
    allowed_symbols,
    read_front,
    to_nodes,
)
from sr_transformer.engines.seeding import without_scale
from sr_transformer.expression import Expression

Array = np.ndarray

POPULATION = 1000
# Of squared losses and of robust ones. Both are taken with the best factor and offset.
_OBJECTIVES = {False: ("r2", "length"), True: ("mae", "length")}
# Operon has a row of a relative loss several times; the weights of rows run over twice as many
# decades as y, and a few would be all that it has.
_MOST_RELATIVE_WEIGHT = 4.0  # times the median one, or one over it
_LOCAL_ITERATIONS = 5  # Levenberg-Marquardt steps for the constants of each new individual
_NODES_A_SYMBOL = 2 / 3
_SMALLEST_LENGTH = 3  # one operator, or Operon has nothing to make trees of
_SMALLEST_DEPTH = 10  # Operon's own limit; deeper formulas to start from raise it
_UNLIMITED = 10**9
_ROUND_SECONDS = 2  # between two reports; Operon counts whole seconds
_ROUND_GENERATIONS = 20  # between two reports of a search without a time limit
_N_ROUNDS = 5  # of a search without a time limit
_MOST_ROWS = 2000  # a generation on 4000 took 9 s on a busy core; constants are refitted on more
_EXACT = 1e-12  # share of the variance that 32-bit rounding may leave
_PATIENCE = 3  # rounds in which an exact formula has to get shorter


# --- the search -----------------------------------------------------------------------------------
def settings(task: SearchTask, starts: Sequence[Expression] = ()) -> dict[str, Any]:
    """Keywords of the ``SymbolicRegressor`` for a task, but for its time.

    A weighted variable is a single node, which is three symbols of a formula: trees as long as
    ``task.maxsize`` would mostly be too long as formulas. The formulas to start from, which are
    not, make room for themselves.
    """
    shortest = max(_SMALLEST_LENGTH, math.ceil(task.maxsize * _NODES_A_SYMBOL))
    lengths = [len(to_nodes(start, _any_hashes(task))) for start in starts]
    return {
        "allowed_symbols": allowed_symbols(task.operators),
        "objectives": list(_OBJECTIVES[task.loss.is_robust]),
        "max_length": max([shortest, *lengths]),
        "max_depth": max([_SMALLEST_DEPTH, *(start.depth for start in starts)]),
        "population_size": POPULATION,
        "pool_size": POPULATION,
        "optimizer_iterations": _LOCAL_ITERATIONS,
        "max_evaluations": _UNLIMITED * 1000,
        "epsilon": 0.0,
        "n_threads": cpu_count() if task.random_state is None else 1,
    }


def _any_hashes(task: SearchTask) -> range:
    """Names of the columns for where any will do."""
    return range(1, task.X.shape[1] + 1)


def training_rows(task: SearchTask) -> Array:
    """Rows for Operon, which knows no weights: those of larger weight come several times."""
    n_rows = len(task.y)
    rng = np.random.default_rng(task.random_state)
    if task.weights is None:
        if n_rows <= _MOST_ROWS:
            return np.arange(n_rows)
        return np.sort(rng.choice(n_rows, _MOST_ROWS, replace=False))
    # Four for a row of mean weight: each weight is right to an eighth of the mean.
    n_drawn = min(4 * n_rows, _MOST_ROWS)
    weights = task.weights
    if task.loss.name == "relative":
        middle = np.median(weights)
        weights = np.clip(weights, middle / _MOST_RELATIVE_WEIGHT, middle * _MOST_RELATIVE_WEIGHT)
    ends = np.cumsum(weights) / np.sum(weights) * n_drawn
    return np.repeat(np.arange(n_rows), np.diff(np.round(ends), prepend=0.0).astype(int))


def starts(task: SearchTask, X: Array) -> tuple[list[Expression], Counter[str]]:
    """The task's formulas as Operon can hold them, at most half of its population.

    Operon asserts instead of checking, so that whatever is too long, undefined on a row or without
    a variable is left out here. The factor and offset around a formula are left to Operon, which
    solves for them by itself.

    Parameters
    ----------
    task : SearchTask
    X : ndarray of shape (n_rows, n_columns)
        The rows that Operon is given.

    Returns
    -------
    starts : list of Expression
    refused : Counter
        How many formulas were left out, by the reason for it.
    """
    operators = task.operators & NODE_NAMES.keys()
    made: dict[tuple[str, ...], Expression] = {}
    refused: Counter[str] = Counter()
    for guess in task.guesses:
        lowered = guess.lower(operators)
        if lowered is None:
            refused["operator not enabled"] += 1
        elif not lowered.variables:
            refused["constant"] += 1
        elif lowered.complexity() > task.maxsize:
            refused["larger than maxsize"] += 1
        elif (lowered := without_scale(lowered)).symbols in made:
            refused["same as another up to constants"] += 1
        elif not _is_finite(lowered, X):
            refused["not finite on the table"] += 1
        elif to_nodes(lowered, _any_hashes(task)) is None:
            refused["number out of range"] += 1
        elif len(made) == POPULATION // 2:
            refused["half of the population is full"] += 1
        else:
            made[lowered.symbols] = lowered
    return list(made.values()), refused


def _is_finite(expression: Expression, X: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.all(np.isfinite(expression.evaluate(X).astype(np.float32))))


def individuals(starts: Iterable[Expression], hashes: Sequence[int]) -> list[Any]:
    """Members of Operon's population."""
    made = []
    for start in starts:
        made.append(pyoperon.Individual(len(_OBJECTIVES[False])))
        made[-1].Genotype = pyoperon.Tree(to_nodes(start, hashes)).UpdateNodes()
    return made


def search(task: SearchTask, report: Callable[[SearchResult], None]) -> None:
    """Search from the task's formulas and report the front again and again.

    Raises
    ------
    ValueError
        If Operon has none of the task's operators.
    """
    clock = Clock(task.timeout_in_seconds)
    if not task.operators & NODE_NAMES.keys():
        raise ValueError(
            f"Operon has none of the operators {' '.join(sorted(task.operators))}; it knows "
            f"{' '.join(NODE_NAMES)}."
        )
    rows = training_rows(task)
    # Operon's constants are fitted by squares, whatever its objective is.
    X, y = task.X[rows], (task.y if task.tamed_y is None else task.tamed_y)[rows]
    if np.ptp(y) == 0.0:
        return  # the share of a variance of zero is undefined
    first, refused = starts(task, X)
    seeding = {"accepted": first, "refused": dict(refused)}
    report(SearchResult(**seeding))
    model = SymbolicRegressor(**settings(task, first), generations=0)
    # On rows where a formula is undefined scikit-learn's own would end the whole fit.
    pyoperon.sklearn.mean_squared_error = _mean_squared_error
    model.set_params(random_state=task.random_state).fit(X, y)
    hashes = list(model.variables_)
    # The first entries are the population, the others its offspring; a list of another length
    # makes Operon abort.
    model.individuals_ = individuals(first, hashes) + list(model.individuals_)[len(first) :]
    model.set_params(warm_start=True)
    pace = _Pace(_ROUND_SECONDS)
    while (limits := pace.limits(clock.left())) is not None:
        if task.random_state is not None:
            model.set_params(random_state=(task.random_state + pace.n_rounds) % 2**32)
        begun = clock.elapsed()
        model.set_params(**limits).fit(X, y)
        seconds = clock.elapsed() - begun
        front = model.pareto_front_
        exact = [row for row in front if row["mean_squared_error"] <= _EXACT * np.var(y)]
        shortest = min((row["length"] for row in exact), default=math.inf)
        population, complete = whole(model.individuals_)
        pace.finished(seconds, model.stats_["generations"], complete=complete, shortest=shortest)
        trees = [row["tree"] for row in front]
        found, n_unreadable = read_front(trees, hashes, task.operators)
        model.individuals_ = []  # they cannot be pickled
        report(SearchResult(expressions=found, fitted=model, n_unreadable=n_unreadable, **seeding))
        model.individuals_ = population


def whole(individuals: Sequence[Any]) -> tuple[list[Any], bool]:
    """A population and its offspring, where the clock may have stopped Operon amid a generation.

    What it had not made by then are empty trees, and Operon crashes when it goes on from one. What
    it had made takes their places.

    Returns
    -------
    individuals : list of pyoperon.Individual
    complete : bool
        Whether nothing had to be replaced.
    """
    made = [each for each in individuals if each.Genotype.Length > 0]
    n_missing = len(individuals) - len(made)
    filled = [made[i % len(made)] for i in range(n_missing)]
    return made + filled, n_missing == 0


@dataclass
class _Pace:
    """How long the next round lasts, or that there is none."""

    round_seconds: int
    n_rounds: int = 0
    seconds_a_generation: float = 0.0
    shortest: float = math.inf  # length of an exact formula
    since: int = 0  # the round that found it

    def limits(self, left: float | None) -> dict[str, int | None] | None:
        if self.shortest < math.inf and self.n_rounds - self.since >= _PATIENCE:
            return None
        if left is None:
            if self.n_rounds == _N_ROUNDS:
                return None
            return {"generations": _ROUND_GENERATIONS, "max_time": None}
        if left >= 1.0:
            return {"generations": _UNLIMITED, "max_time": min(self.round_seconds, int(left))}
        generations = int(left / max(self.seconds_a_generation, 1e-4)) if self.n_rounds else 1
        return {"generations": generations, "max_time": 1} if generations > 0 else None

    def finished(
        self, seconds: float, generations: int, *, complete: bool, shortest: float
    ) -> None:
        """Note a round, and the length of the shortest exact formula; infinite without one.

        A round that was too short for a single generation is followed by one of twice the time.
        """
        self.n_rounds += 1
        if not complete:
            self.round_seconds *= 2
        self.seconds_a_generation = seconds / max(generations, 1)
        if shortest < self.shortest:
            self.shortest, self.since = shortest, self.n_rounds


def _mean_squared_error(wanted: Array, found: Array) -> float:
    with np.errstate(all="ignore"):
        error = float(np.mean(np.square(found - wanted)))
    return error if np.isfinite(error) else np.inf


# --- the process ----------------------------------------------------------------------------------
def main() -> None:
    """Read a task from standard input, and write messages to standard output."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Operon prints must not get between the messages

    def send(kind: str, content: Any = None) -> None:
        pickle.dump((kind, content), output)
        output.flush()

    clock = Clock()
    send("started")
    task: SearchTask = pickle.load(sys.stdin.buffer)
    Thread(target=_end_with_the_caller, daemon=True).start()
    if task.timeout_in_seconds is not None:  # a long table takes some of it to come over
        seconds = max(task.timeout_in_seconds - clock.elapsed(), 0.0)
        task = replace(task, timeout_in_seconds=seconds)
    try:
        search(task, lambda result: send("front", result))
    except Exception as error:
        send("failed", f"it failed with {describe(error)}")
    else:
        send("finished")


def _end_with_the_caller() -> None:
    """End this process when the other end of standard input is closed: the caller was killed."""
    os.read(0, 1)
    os._exit(1)
