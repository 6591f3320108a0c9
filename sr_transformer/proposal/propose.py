"""From a table to fitted candidates: read once, draw many formulas, fit the constants of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.utils import check_random_state, check_X_y

from sr_transformer.errors import SearchInterruptedWarning
from sr_transformer.expression import Expression
from sr_transformer.expression.operators import (
    ARITY,
    DEFAULT_BINARY,
    DEFAULT_UNARY,
    check_operators,
)
from sr_transformer.hall_of_fame import Candidate, HallOfFame
from sr_transformer.proposal.constants import loss_of, refit
from sr_transformer.proposal.fitting import Fitter, Table
from sr_transformer.proposal.sampling import NetworkSampler, Sampler
from sr_transformer.scaling import Scaling

Array = np.ndarray

SOURCE = "transformer"
"""What the candidates of this module name as their source."""

_CHUNK = 256  # formulas drawn at a time, between two looks at the clock
_ENCODER_ROWS = 256
_FIT_ROWS = 1000
_POLISH_ROWS = 20_000
_EXACT = 1e-20  # loss, relative to the mean square of y, at which a formula explains everything


def propose_candidates(
    X: Array,
    y: Array,
    *,
    sampler: Sampler,
    operators: frozenset[str],
    maxsize: int,
    n_candidates: int,
    temperature: float,
    random_state: np.random.RandomState,
    sample_weight: Array | None = None,
    timeout_in_seconds: float | None = None,
    n_jobs: int | None = None,
    timings: dict[str, float] | None = None,
) -> list[Candidate]:
    """Draw formulas for a scaled table and fit their constants.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Inputs, scaled (:class:`sr_transformer.scaling.Scaling`). Of more columns than the sampler
        can read, the most relevant ones are shown to it.
    y : ndarray of shape (n_rows,)
        Target, scaled.
    sampler : Sampler
        Where the formulas come from.
    operators : frozenset of str
        Operators that the candidates may use.
    maxsize : int
        Largest complexity of a candidate.
    n_candidates : int
        Number of formulas to draw.
    temperature : float
        Of the sampling: below one for safer, above one for more varied formulas.
    random_state : numpy.random.RandomState
    sample_weight : ndarray of shape (n_rows,), optional
        Positive weights.
    timeout_in_seconds : float, optional
        Drawing and fitting end when this much time has passed.
    n_jobs : int, optional
        Processes that fit constants, as in joblib; ``None`` is one.
    timings : dict, optional
        Receives the seconds spent under ``"encode"``, ``"sample"``, ``"fit"``, ``"repair"`` and
        ``"polish"``.

    Returns
    -------
    list of Candidate
        In scaled units, deduplicated, at most 20 of a size. A constant and, where the operators
        allow it, linear formulas are always among them.

    Warns
    -----
    SearchInterruptedWarning
        If the keyboard interrupted it; what was found until then is returned.
    """
    deadline = np.inf if timeout_in_seconds is None else time.perf_counter() + timeout_in_seconds
    clock = _Clock({} if timings is None else timings)
    whole = Table(X, y, sample_weight)
    table = whole.rows(_some_rows(X.shape[0], _FIT_ROWS, random_state))
    fitter = Fitter(
        table=table,
        source=SOURCE,
        operators=operators,
        maxsize=maxsize,
        exact=_EXACT * float(np.mean(y * y)),
        deadline=deadline,
        n_jobs=n_jobs,
    )
    pool = HallOfFame(loss_floor=fitter.exact)
    pool.extend(_linear_candidates(table, operators, maxsize))
    if pool.front[-1].loss <= fitter.exact:
        return pool.candidates
    with clock.measure("encode"):
        columns = relevant_columns(X, y, sampler.n_columns, random_state)
        rows = _some_rows(X.shape[0], _ENCODER_ROWS, random_state)
        sampler.read(X[np.ix_(rows, columns)], y[rows])
    speakable = frozenset(name for name in ARITY if _can_be_lowered(name, operators))

    seen = {c.expression.symbols for c in pool.candidates}
    n_drawn = 0
    try:
        while n_drawn < n_candidates and time.perf_counter() < deadline:
            n = min(_CHUNK, n_candidates - n_drawn)
            with clock.measure("sample"):
                drawn = sampler.draw(n, speakable, maxsize, temperature, random_state)
                formulas = _new_formulas(drawn, columns, operators, maxsize, seen)
            n_drawn += n
            with clock.measure("fit"):
                pool.extend(fitter.fit(formulas, random_state, pool))
            with clock.measure("repair"):
                fitter.repair(pool, seen, random_state)
            if pool.front[-1].loss <= fitter.exact:
                break
    except KeyboardInterrupt:
        warnings.warn(
            f"Proposing was interrupted after {n_drawn} of {n_candidates} formulas; the best of "
            "those are returned.",
            SearchInterruptedWarning,
            stacklevel=2,
        )
    with clock.measure("polish"):
        rows = _some_rows(X.shape[0], _POLISH_ROWS, random_state)
        return fitter.polish(pool, whole.rows(rows))


def propose(
    X: Array,
    y: Array,
    *,
    n_candidates: int = 256,
    binary_operators: Sequence[str] = DEFAULT_BINARY,
    unary_operators: Sequence[str] = DEFAULT_UNARY,
    maxsize: int = 30,
    variable_names: Sequence[str] | None = None,
    checkpoint: str = "default",
    device: str = "auto",
    timeout_in_seconds: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> HallOfFame:
    """Let the Transformer propose formulas for a table, without any search.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns)
        Inputs; a DataFrame gives the formulas its column names.
    y : array-like of shape (n_rows,)
        Target.
    n_candidates : int
        Number of formulas to draw.
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
    from sr_transformer.model.checkpoint import load_model

    if variable_names is None and hasattr(X, "columns"):
        variable_names = [str(name) for name in X.columns]
    X, y = check_X_y(X, y, dtype=np.float64, y_numeric=True)
    y = np.asarray(y, dtype=np.float64)
    if variable_names is not None and len(variable_names) != X.shape[1]:
        raise ValueError(
            f"{len(variable_names)} variable_names were given for {X.shape[1]} columns."
        )
    operators = check_operators(binary_operators, unary_operators)
    # A formula of a scaled table is written back with factors, so that "*" is needed.
    scaling = Scaling.of(X, y) if "*" in operators else Scaling.identity(X.shape[1])
    candidates = propose_candidates(
        scaling.scale_X(X),
        scaling.scale_y(y),
        sampler=NetworkSampler(load_model(checkpoint, device)),
        operators=operators,
        maxsize=maxsize,
        n_candidates=n_candidates,
        temperature=1.0,
        random_state=check_random_state(random_state),
        timeout_in_seconds=timeout_in_seconds,
    )
    return HallOfFame.in_user_units(
        candidates, X, y, sample_weight=None, scaling=scaling, operators=operators,
        maxsize=maxsize, variable_names=variable_names,
    )  # fmt: skip


def relevant_columns(
    X: Array, y: Array, n_columns: int, random_state: np.random.RandomState
) -> list[int]:
    """Columns that matter most for y, ascending; all of them where ``n_columns`` suffice.

    Judged by the importances of extremely randomised trees, which see products and other
    non-linear effects that a correlation misses.
    """
    if X.shape[1] <= n_columns:
        return list(range(X.shape[1]))
    from sklearn.ensemble import ExtraTreesRegressor

    rows = _some_rows(X.shape[0], 2000, random_state)
    trees = ExtraTreesRegressor(
        n_estimators=100, min_samples_leaf=2, max_features=0.5, random_state=random_state
    )
    # Trees work in 32 bits; scaled columns fit, except for outliers that carry no order anyway.
    limit = float(np.finfo(np.float32).max)
    trees.fit(np.clip(X[rows], -limit, limit), y[rows])
    order = np.argsort(-trees.feature_importances_, kind="stable")
    return sorted(order[:n_columns].tolist())


class _Clock:
    """Adds up seconds by stage."""

    def __init__(self, timings: dict[str, float]) -> None:
        self._timings = timings
        for stage in ("encode", "sample", "fit", "repair", "polish"):
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
        sample = Expression([name, "x0", "x1"][: 1 + ARITY[name]])
    return sample.lower(operators) is not None


def _new_formulas(
    drawn: Iterable[Expression],
    columns: Sequence[int],
    operators: frozenset[str],
    maxsize: int,
    seen: set[tuple[str, ...]],
) -> list[Expression]:
    """What was drawn, in the table's columns and the allowed operators, without what is known."""
    names = {f"x{i}": f"x{column}" for i, column in enumerate(columns)}
    formulas = []
    for formula in drawn:
        symbols = tuple(names.get(s, s) for s in formula.symbols)
        lowered = Expression(symbols, formula.constants).lower(operators)
        if lowered is None or len(lowered.symbols) > maxsize or lowered.symbols in seen:
            continue
        formulas.append(lowered)
    seen.update(formula.symbols for formula in formulas)
    return formulas


def _linear_candidates(table: Table, operators: frozenset[str], maxsize: int) -> list[Candidate]:
    """The constant; in the best column the proportion and the line; the widest linear formula."""
    X, y, weight = table.X, table.y, table.weight
    constant = Expression(["c"], [float(np.average(y, weights=weight))])
    formulas = [constant]
    if {"+", "*"} <= operators:
        usable = [i for i in range(X.shape[1]) if np.ptp(X[:, i]) > 0]
        relation = [_correlation(X[:, i], y) for i in usable]
        order = [usable[i] for i in np.argsort(relation, kind="stable")[::-1]]
        most = min((maxsize - 1) // 4, len(order))
        formulas += [_line(table, order[:n]) for n in sorted({1, most}) if 1 <= n <= most]
        if order:
            start = Expression(["*", "c", f"x{order[0]}"], [1.0])
            formulas.append(refit(start, X, y, weight)[0])
    return [Candidate(e, loss_of(e, X, y, weight), SOURCE) for e in formulas]


def _correlation(x: Array, y: Array) -> float:
    with np.errstate(all="ignore"):
        a, b = x - x.mean(), y - y.mean()
        size = np.sqrt(a @ a) * np.sqrt(b @ b)
        relation = float(abs(a @ b) / size)
    return relation if np.isfinite(relation) else 0.0


def _line(table: Table, columns: Sequence[int]) -> Expression:
    """Least-squares plane ``c * x_i + ... + c`` over some columns."""
    root = np.ones_like(table.y) if table.weight is None else np.sqrt(table.weight)
    design = np.column_stack([table.X[:, columns], np.ones(len(table.y))])
    solution = np.linalg.lstsq(design * root[:, None], table.y * root, rcond=None)[0]
    symbols = ["+"] * len(columns)
    for column in columns:
        symbols += ["*", "c", f"x{column}"]
    return Expression([*symbols, "c"], solution)
