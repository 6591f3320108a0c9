"""From a table to fitted candidates: closed forms, then draws from the network, all fitted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state, check_X_y

from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.expression.language import ARITHMETIC, DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.front.finish import in_user_units
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.proposal.bags import Bags
from sr_transformer.proposal.closed.families import (
    closed_form_candidates,
    constant_candidate,
    is_settled,
)
from sr_transformer.proposal.draw import NetworkSampler, Sampler
from sr_transformer.proposal.fit import Fitter, Table
from sr_transformer.proposal.long_tables import refined
from sr_transformer.proposal.proposers import PROPOSERS, REPAIR, TRANSFORMER, check_proposers
from sr_transformer.proposal.relevance import relevant_columns
from sr_transformer.table.scaling import Scaling

Array = np.ndarray

DEFAULT_CANDIDATES = 256
"""Formulas drawn where neither their number nor a time limit is given."""

_FIRST_CHUNK = 64  # where time is limited, so that some of what is drawn can also be fitted
_CHUNK = 256  # formulas drawn at a time, from one bag, between two looks at the clock
_FEWEST_DRAWN = 16  # as many in a short remainder of the time
_FIT_ROWS = 1000
_POLISH_ROWS = 20_000
_EXACT = 1e-20  # loss, relative to the mean square of y, at which a formula explains everything
_RELEVANT_COLUMNS = 10  # as many as the network reads
_STARTED_ANEW = 30  # best formulas that are fitted again where they are drawn again
_EMPTY_CHUNKS = 3  # without any new formula: there are no more


@dataclass(frozen=True)
class Proposal:
    """What was written for a table.

    Parameters
    ----------
    candidates : list of Candidate
        In scaled units, deduplicated, at most 20 of a size. The constant is always among them.
    columns : tuple of int
        The columns that the sampler and the non-linear closed forms might use, the most relevant
        first; all columns of a table of at most ten, in their order.
    interrupted : bool
        Whether the keyboard ended it.
    """

    candidates: list[Candidate]
    columns: tuple[int, ...]
    interrupted: bool


def propose_candidates(
    X: Array,
    y: Array,
    *,
    sampler: Sampler | None,
    operators: frozenset[str],
    maxsize: int,
    n_candidates: int | None,
    temperature: float,
    random_state: np.random.RandomState,
    proposers: Sequence[str] = PROPOSERS,
    sample_weight: Array | None = None,
    timeout_in_seconds: float | None = None,
    n_jobs: int | None = None,
    timings: dict[str, float] | None = None,
) -> Proposal:
    """Write formulas for a scaled table, in closed form and by drawing, and fit their constants.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Inputs, scaled (:class:`~sr_transformer.table.scaling.Scaling`). Of more than ten columns,
        the most relevant ones are shown to the sampler.
    y : ndarray of shape (n_rows,)
        Target, scaled.
    sampler : Sampler or None
        Where the drawn formulas come from; not needed without the proposer ``"transformer"``.
    operators : frozenset of str
        Operators that the candidates may use.
    maxsize : int
        Largest complexity of a candidate.
    n_candidates : int or None
        Number of formulas to draw; ``None`` for as many as the time allows, or for 256 where it
        is not limited.
    temperature : float
        Of the sampling: below one for safer, above one for more varied formulas. Later draws
        vary it, see :class:`~sr_transformer.proposal.bags.Bags`.
    random_state : numpy.random.RandomState
    proposers : sequence of str
        Names of :data:`~sr_transformer.proposal.proposers.PROPOSERS`.
    sample_weight : ndarray of shape (n_rows,), optional
        Positive weights.
    timeout_in_seconds : float, optional
        Drawing and fitting end when this much time has passed.
    n_jobs : int, optional
        Processes that fit constants, as in joblib; ``None`` is one.
    timings : dict, optional
        Receives the seconds spent under ``"closed-forms"``, ``"encode"``, ``"sample"``,
        ``"fit"``, ``"repair"`` and ``"polish"``.

    Returns
    -------
    Proposal

    Warns
    -----
    SearchInterruptedWarning
        If the keyboard interrupted it; what was found until then is returned.
    """
    started = time.perf_counter()
    deadline = np.inf if timeout_in_seconds is None else started + timeout_in_seconds
    if n_candidates is None and timeout_in_seconds is None:
        n_candidates = DEFAULT_CANDIDATES
    clock = _Clock({} if timings is None else timings)
    whole = Table(X, y, sample_weight)
    table = whole.rows(_some_rows(X.shape[0], _FIT_ROWS, random_state))
    fitter = Fitter(
        table=table,
        operators=operators,
        maxsize=maxsize,
        exact=_EXACT * float(np.mean(y * y)),
        deadline=deadline,
        n_jobs=n_jobs,
    )
    pool = HallOfFame(loss_floor=fitter.exact)
    pool.add(constant_candidate(table))
    with clock.measure("closed-forms"):
        relevance = relevant_columns(X, y, _RELEVANT_COLUMNS, random_state)
        pool.extend(
            closed_form_candidates(
                table,
                relevance.columns,
                proposers=proposers,
                operators=operators,
                maxsize=maxsize,
                exact=fitter.exact,
                deadline=deadline,
            )
        )
    seen = {c.expression.symbols for c in pool.candidates}
    n_drawn = 0
    interrupted = False
    try:
        settled = any(is_settled(candidate, fitter.exact) for candidate in pool.front)
        if not settled and TRANSFORMER not in proposers:
            if REPAIR in proposers:
                with clock.measure("repair"):
                    fitter.repair(pool, seen, random_state)
        elif not settled:
            speakable = _speakable(operators)
            bags = Bags(X, y, sampler, relevance, random_state)
            n_empty, pace = 0, 0.0
            while n_drawn < (n_candidates or np.inf) and n_empty < _EMPTY_CHUNKS:
                left = deadline - time.perf_counter()
                if left <= 0:
                    break
                most = _FIRST_CHUNK if n_drawn == 0 and deadline < np.inf else _CHUNK
                n = int(min(most, (n_candidates or np.inf) - n_drawn))
                if left < n * pace:
                    n = min(n, max(_FEWEST_DRAWN, int(left / pace)))
                chunk_started = time.perf_counter()
                with clock.measure("encode"):
                    columns = bags.read_next()
                with clock.measure("sample"):
                    drawn = sampler.draw(
                        n, speakable, maxsize, temperature * bags.heat, random_state
                    )
                    formulas, n_new = _new_formulas(drawn, columns, operators, maxsize, seen, pool)
                n_drawn += n
                n_empty = 0 if n_new else n_empty + 1
                bags.adapt(n_new / n)
                with clock.measure("fit"):
                    pool.extend(fitter.fit(formulas, random_state, pool))
                if REPAIR in proposers:
                    with clock.measure("repair"):
                        fitter.repair(pool, seen, random_state)
                        if n_drawn > _CHUNK:
                            fitter.recombine(pool, n, columns, seen, random_state)
                            fitter.repair(pool, seen, random_state)
                pace = (time.perf_counter() - chunk_started) / n
                if pool.front[-1].loss <= fitter.exact:
                    break
    except KeyboardInterrupt:
        interrupted = True
        planned = "" if n_candidates is None else f" of {n_candidates}"
        warnings.warn(
            f"Proposing was interrupted after {n_drawn}{planned} formulas; the best of those are "
            "returned.",
            SearchInterruptedWarning,
            stacklevel=2,
        )
    with clock.measure("polish"):
        rows = _some_rows(X.shape[0], _POLISH_ROWS, random_state)
        candidates = fitter.polish(pool, whole.rows(rows))
        if len(rows) < X.shape[0]:
            candidates = refined(candidates, whole, deadline)
    return Proposal(candidates, relevance.columns, interrupted)


def propose(
    X: Array,
    y: Array,
    *,
    n_candidates: int | None = None,
    proposers: Sequence[str] = PROPOSERS,
    binary_operators: Sequence[str] = DEFAULT_BINARY,
    unary_operators: Sequence[str] = DEFAULT_UNARY,
    maxsize: int = 30,
    variable_names: Sequence[str] | None = None,
    checkpoint: str = "default",
    device: str = "auto",
    timeout_in_seconds: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> HallOfFame:
    """Let the Transformer and the closed forms propose formulas for a table, without any search.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns)
        Inputs; a DataFrame gives the formulas its column names.
    y : array-like of shape (n_rows,)
        Target.
    n_candidates : int or None
        Number of formulas to draw. ``None`` for 256 or, with ``timeout_in_seconds``, as many as
        the time allows.
    proposers : sequence of str
        What writes formulas: ``"transformer"``, the closed forms ``"power-law"``, ``"linear"``,
        ``"polynomial"``, ``"rational"``, ``"additive"`` and ``"link"``, and ``"repair"``, which
        changes the good ones of the others. Without ``"transformer"`` no checkpoint is loaded.
    binary_operators, unary_operators : sequence of str
        Operators that the formulas may use, by PySR's names.
    maxsize : int
        Largest complexity.
    variable_names : sequence of str, optional
        Names of the columns; by default those of the DataFrame, else x0, x1, ...
    checkpoint : str
        ``"default"`` for the embedded model, or the path of a safetensors file.
    device : str
        ``"auto"`` or a torch device.
    timeout_in_seconds : float, optional
        Drawing and fitting end when this much time has passed.
    random_state : int, RandomState or None
        Seed of the draws.

    Returns
    -------
    HallOfFame
        In the user's units. Its ``guesses()`` are ready for ``PySRRegressor(guesses=...)``.

    Raises
    ------
    ValueError
        If the table holds anything but finite numbers, or a parameter is out of range.
    CheckpointError
        If the checkpoint cannot be loaded.

    Examples
    --------
    >>> hall_of_fame = propose(X, y)  # doctest: +SKIP
    >>> PySRRegressor(guesses=hall_of_fame.guesses(50))  # doctest: +SKIP
    """
    proposers = check_proposers(proposers)
    if n_candidates is not None and n_candidates < 1:
        raise ValueError(f"n_candidates is {n_candidates!r}; it must be None or at least 1.")
    if variable_names is None and hasattr(X, "columns"):
        variable_names = [str(name) for name in X.columns]
    X, y = check_X_y(X, y, dtype=np.float64, y_numeric=True)
    y = np.asarray(y, dtype=np.float64)
    if variable_names is not None and len(variable_names) != X.shape[1]:
        raise ValueError(
            f"{len(variable_names)} variable_names were given for {X.shape[1]} columns."
        )
    operators = ARITHMETIC.check(binary_operators, unary_operators)
    # A formula of a scaled table is written back with factors, so that "*" is needed.
    scaling = Scaling.of(X, y) if "*" in operators else Scaling.identity(X.shape[1])
    proposal = propose_candidates(
        scaling.scale_X(X),
        scaling.scale_y(y),
        sampler=_network_sampler(checkpoint, device) if TRANSFORMER in proposers else None,
        proposers=proposers,
        operators=operators,
        maxsize=maxsize,
        n_candidates=n_candidates,
        temperature=1.0,
        random_state=check_random_state(random_state),
        timeout_in_seconds=timeout_in_seconds,
    )
    return in_user_units(
        proposal.candidates, X, y, sample_weight=None, scaling=scaling, operators=operators,
        maxsize=maxsize, variable_names=variable_names,
    )  # fmt: skip


def _network_sampler(checkpoint: str, device: str) -> NetworkSampler:
    from sr_transformer.model.checkpoint import load_model

    return NetworkSampler(load_model(checkpoint, device))


class _Clock:
    """Adds up seconds by stage."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings = timings
        for stage in ("closed-forms", "encode", "sample", "fit", "repair", "polish"):
            timings.setdefault(stage, 0.0)
        self._stage, self._start = "", 0.0

    def measure(self, stage: str) -> _Clock:
        self._stage = stage
        return self

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timings[self._stage] += time.perf_counter() - self._start


def _some_rows(n_rows: int, most: int, random_state: np.random.RandomState) -> Array:
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(random_state.choice(n_rows, most, replace=False))


def _can_be_lowered(name: str, operators: frozenset[str]) -> bool:
    if name in operators:
        return True
    if name == "^":
        sample = Expression(["^", "x0", "c"], [4.0])
    else:
        sample = Expression([name, "x0", "x1"][: 1 + ARITHMETIC.arity[name]])
    return sample.lower(operators) is not None


def _speakable(operators: frozenset[str]) -> frozenset[str]:
    """All operators that can be written with those allowed."""
    return frozenset(name for name in ARITHMETIC.arity if _can_be_lowered(name, operators))


def _new_formulas(
    drawn: Iterable[Expression],
    columns: Sequence[int],
    operators: frozenset[str],
    maxsize: int,
    seen: set[tuple[str, ...]],
    pool: HallOfFame,
) -> tuple[list[Expression], int]:
    """What was drawn, in the table's columns and the allowed operators.

    Formulas that are known are left out, unless they are among the best: their constants, drawn
    from another look at the table, are another start.

    Returns
    -------
    formulas : list of Expression
    n_new : int
        How many of them differ from all known ones in more than constants.
    """
    names = {f"x{i}": f"x{column}" for i, column in enumerate(columns)}
    best = {candidate.expression.symbols for candidate in pool.ladder(_STARTED_ANEW)}
    formulas = []
    for formula in drawn:
        symbols = tuple(names.get(s, s) for s in formula.symbols)
        lowered = Expression(symbols, formula.constants).lower(operators)
        if lowered is None or len(lowered.symbols) > maxsize:
            continue
        if lowered.symbols in seen and (lowered.symbols not in best or not lowered.constants):
            continue
        formulas.append(lowered)
    new = {formula.symbols for formula in formulas} - seen
    seen |= new
    return formulas, len(new)
