"""``SymbolicTransformerRegressor``: the scikit-learn estimator. It checks, calls and shows."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from sr_transformer.expression.operators import DEFAULT_BINARY, DEFAULT_UNARY, check_operators
from sr_transformer.hall_of_fame import Candidate, HallOfFame, check_model_selection
from sr_transformer.proposal.closed_forms import PROPOSERS, check_proposers
from sr_transformer.scaling import Scaling
from sr_transformer.search.engine import SearchEngine, SearchTask, resolve_engine, run_search

if TYPE_CHECKING:
    import pandas as pd
    import sympy
    from matplotlib.axes import Axes

    from sr_transformer.proposal.sampling import Sampler

Array = np.ndarray

# Share of timeout_in_seconds that proposing may use where a search follows.
_PROPOSAL_SHARE = 0.3

# Formulas that seed an engine: as many as PySR was measured with.
_N_GUESSES = 50

# An engine's formulas are refitted on at most so many rows, drawn at random.
_REFIT_ROWS = 10_000

# Repeated rows are merged in tables of up to so many numbers; above, sorting costs seconds.
_MERGED_NUMBERS = 2_000_000


class SymbolicTransformerRegressor(RegressorMixin, BaseEstimator):
    """Find a formula for y in terms of the columns of X.

    A pretrained Transformer reads the table and writes down formulas; their constants are fitted,
    and the good ones seed an evolutionary search where one is usable. All formulas form one Pareto
    front of accuracy against complexity, from which one is selected.

    Parameters
    ----------
    search : {"auto", "pysr", "operon", "none"} or pysr.PySRRegressor, default="auto"
        The engine that goes on from the Transformer's formulas. ``"auto"`` takes PySR where it can
        run and else warns and does without; ``"pysr"`` and ``"operon"`` raise instead; ``"none"``
        is the Transformer alone. An own ``PySRRegressor`` is cloned and seeded; its operators,
        maxsize and other settings then replace those given here.
    binary_operators, unary_operators : sequence of str
        Operators that formulas may use, by PySR's names.
    maxsize : int, default=30
        Largest complexity: the number of operators, constants and variables of a formula.
    n_candidates : int or None, default=None
        Number of formulas that the Transformer draws. ``None`` for as many as
        ``timeout_in_seconds`` allows; without a time limit, or with a search that follows, 256.
    proposers : sequence of str, default=all
        What writes formulas before any search: ``"transformer"``, and the closed forms
        ``"power-law"``, ``"linear"``, ``"polynomial"``, ``"rational"``, ``"additive"`` (sums of
        functions of the columns) and ``"link"`` (a function of a sum), which take milliseconds.
        Each is the ``source`` of its formulas. Without ``"transformer"`` no checkpoint is loaded.
    temperature : float, default=1.0
        Above 1 the draws are more varied, below 1 less.
    timeout_in_seconds : float or None, default=None
        Time for the fit. The engine's start and compilation are not counted.
    model_selection : {"best", "accuracy", "score"}, default="best"
        How one row of the front is selected, with PySR's meanings; see
        :meth:`sr_transformer.hall_of_fame.HallOfFame.select`.
    checkpoint : str or path, default="default"
        The Transformer's weights; ``"default"`` are those that came with the package.
    device : str, default="auto"
        Where the Transformer runs: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    n_jobs : int or None, default=None
        Number of parallel workers that fit constants.
    random_state : int, RandomState or None, default=None
        Seed. With one, the engine too runs repeatably, which makes it use one core only.
    verbose : int, default=0
        Above 0 the stages are printed.

    Attributes
    ----------
    equations_ : DataFrame
        The front: complexity, loss, score, equation, sympy_format, source.
    hall_of_fame_ : HallOfFame
        The pool of all formulas.
    engine_ : str
        What found the formulas: ``"transformer"`` alone or with ``"pysr"`` or ``"operon"``.
    search_ : pysr.PySRRegressor or pyoperon.sklearn.SymbolicRegressor
        The fitted engine, only where one ran. It saw the table with each column and y divided by
        a power of ten; the formulas of ``equations_`` are in the units of the table itself. It is
        not part of a pickle, so that a model can be loaded where Julia is not.
    timings_ : dict of str to float
        Seconds of each stage.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only for tables with named columns

    Examples
    --------
    >>> import numpy as np
    >>> from sr_transformer import SymbolicTransformerRegressor
    >>> X = np.random.default_rng(0).uniform(1, 5, (100, 2))
    >>> model = SymbolicTransformerRegressor(search="none", random_state=0)
    >>> model.fit(X, X[:, 0] * X[:, 1]).sympy()
    x0*x1
    """

    def __init__(
        self,
        search: Any = "auto",
        *,
        binary_operators: Sequence[str] = DEFAULT_BINARY,
        unary_operators: Sequence[str] = DEFAULT_UNARY,
        maxsize: int = 30,
        n_candidates: int | None = None,
        proposers: Sequence[str] = PROPOSERS,
        temperature: float = 1.0,
        timeout_in_seconds: float | None = None,
        model_selection: str = "best",
        checkpoint: str = "default",
        device: str = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.search = search
        self.binary_operators = binary_operators
        self.unary_operators = unary_operators
        self.maxsize = maxsize
        self.n_candidates = n_candidates
        self.proposers = proposers
        self.temperature = temperature
        self.timeout_in_seconds = timeout_in_seconds
        self.model_selection = model_selection
        self.checkpoint = checkpoint
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # --- fit ----------------------------------------------------------------------------------
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SymbolicTransformerRegressor:
        """Find formulas for a table.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Finite numbers, at least two rows. The columns of a DataFrame give the variables their
            names.
        y : array-like of shape (n_rows,)
            Finite numbers.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the squared errors; none is negative. A row of weight 0 is left out, and a
            whole weight means as much as repeating the row.

        Returns
        -------
        SymbolicTransformerRegressor
            This object.

        Raises
        ------
        ValueError
            If the table or a parameter is not as described.
        EngineUnavailableError
            If ``search`` names an engine that cannot run here.
        CheckpointError
            If the checkpoint cannot be used.

        Warns
        -----
        EngineFallbackWarning
            If ``search="auto"`` and no engine can run here.
        SearchInterruptedWarning
            If the engine was interrupted or failed.
        """
        started = perf_counter()
        operators, maxsize = self._check_parameters()
        X, y, weights = self._check_table(X, y, sample_weight)
        random_state = check_random_state(self.random_state)
        # Before torch is imported: Julia can crash when it is loaded second.
        engine = resolve_engine(self.search)
        longest: int | None = maxsize
        if engine is not None and engine.operators is not None:
            operators = engine.operators
        if engine is not None and engine.maxsize is not None:
            # Its settings may count complexity otherwise, so that only the engine applies them.
            maxsize, longest = engine.maxsize, None
        self.timings_ = {"start": perf_counter() - started}

        # A formula of a scaled table is written back with factors, so that "*" is needed.
        scaling = Scaling.of(X, y) if "*" in operators else Scaling.identity(X.shape[1])
        scaled = (scaling.scale_X(X), scaling.scale_y(y))
        _check_squares(y, scaled[1])
        candidates = self._propose(scaled, weights, operators, maxsize, engine, random_state)
        table = _UserTable(X, y, weights, scaling, operators, longest, self._names())
        self._forget_search()
        if engine is not None:
            candidates += self._search(engine, table, scaled, maxsize, candidates, random_state)

        selecting = perf_counter()
        self.hall_of_fame_ = table.pool(candidates, self.model_selection)
        self.timings_["select"] = perf_counter() - selecting
        self.timings_["total"] = perf_counter() - started
        self._say(f"{len(self.hall_of_fame_)} formulas after {self.timings_['total']:.1f} s")
        return self

    def _check_parameters(self) -> tuple[frozenset[str], int]:
        """Raise ValueError for a parameter that cannot be used; the operators and size limit."""
        operators = check_operators(self.binary_operators, self.unary_operators)
        if not operators:
            raise ValueError("binary_operators and unary_operators are both empty; name some.")
        check_model_selection(self.model_selection)
        _check_number("maxsize", self.maxsize, Integral, 1)
        if self.n_candidates is not None:
            _check_number("n_candidates", self.n_candidates, Integral, 1)
        check_proposers(self.proposers)
        _check_number("temperature", self.temperature, Real, above=0)
        _check_number("verbose", self.verbose, Integral, 0)
        if self.timeout_in_seconds is not None:
            _check_number("timeout_in_seconds", self.timeout_in_seconds, Real, above=0)
        if self.n_jobs is not None and not (isinstance(self.n_jobs, Integral) and self.n_jobs):
            raise ValueError(
                f"n_jobs is {self.n_jobs!r}; allowed are None, a positive number of workers, or -1 "
                "for all cores."
            )
        return operators, int(self.maxsize)

    def _check_table(self, X: Any, y: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        """Finite float64 arrays; weights are ``None`` where all rows count the same."""
        try:
            X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        except ValueError as error:
            raise _name_text_column(X, error) from error
        try:
            y = np.asarray(y, dtype=np.float64)
        except ValueError as error:
            raise ValueError(f"y holds something that is not a number: {error}.") from error
        _check_names(self._names())
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
            used = weights > 0
            if used.sum() < 2:
                raise ValueError(
                    f"sample_weight is above 0 in {used.sum()} rows; at least 2 are needed."
                )
            X, y, weights = X[used], y[used], weights[used]
        if X.shape[0] * (X.shape[1] + 1) <= _MERGED_NUMBERS:
            X, y, weights = _merge_repeated_rows(X, y, weights)
        if weights is not None and np.all(weights == weights[0]):
            weights = None
        return X, y, weights

    def _propose(
        self,
        scaled: tuple[Array, Array],
        weights: Array | None,
        operators: frozenset[str],
        maxsize: int,
        engine: SearchEngine | None,
        random_state: np.random.RandomState,
    ) -> list[Candidate]:
        """The proposers' fitted formulas, in scaled units."""
        from sr_transformer.proposal.propose import DEFAULT_CANDIDATES, propose_candidates

        loading = perf_counter()
        sampler = self._sampler() if "transformer" in self.proposers else None
        self.timings_["start"] += perf_counter() - loading
        n_candidates = self.n_candidates
        if n_candidates is None and engine is not None:
            n_candidates = DEFAULT_CANDIDATES
        self._say("proposing formulas")
        timeout = self.timeout_in_seconds
        if timeout is not None and engine is not None:
            timeout *= _PROPOSAL_SHARE
        return propose_candidates(
            *scaled,
            sampler=sampler,
            sample_weight=weights,
            operators=operators,
            maxsize=maxsize,
            n_candidates=n_candidates,
            proposers=self.proposers,
            temperature=self.temperature,
            timeout_in_seconds=timeout,
            random_state=random_state,
            n_jobs=self.n_jobs,
            timings=self.timings_,
        )

    def _sampler(self) -> Sampler:
        """Where the formulas come from."""
        from sr_transformer.model.checkpoint import load_model
        from sr_transformer.proposal.sampling import NetworkSampler

        return NetworkSampler(load_model(self.checkpoint, self.device))

    def _search(
        self,
        engine: SearchEngine,
        table: _UserTable,
        scaled: tuple[Array, Array],
        maxsize: int,
        candidates: list[Candidate],
        random_state: np.random.RandomState,
    ) -> list[Candidate]:
        """The engine's formulas, refitted, in scaled units."""
        from sr_transformer.proposal.constants import refit

        started = perf_counter()
        seed = int(random_state.randint(2**31 - 1)) if self.random_state is not None else None
        if engine.scaled:
            pool = HallOfFame()
            pool.extend(candidates)
            X, y = scaled
        else:
            pool = table.pool(candidates)
            X, y = table.X, table.y
        remaining = self.timeout_in_seconds
        if remaining is not None:
            # The start of the engine and of the network is not counted.
            used = sum(s for stage, s in self.timings_.items() if stage != "start")
            remaining = max(remaining - used, 1.0)
        self._say(f"searching with {engine.name}")
        result = run_search(
            engine,
            SearchTask(
                X=X,
                y=y,
                weights=table.weights,
                guesses=[candidate.expression for candidate in pool.ladder(_N_GUESSES)],
                operators=table.operators,
                maxsize=maxsize,
                timeout_in_seconds=remaining,
                random_state=seed,
                variable_names=table.names,
                verbose=self.verbose,
            ),
        )
        if result.fitted is not None:
            self.search_ = result.fitted
        if result.expressions:
            self.engine_ = engine.name
        if result.n_unreadable:
            self._say(f"{result.n_unreadable} formulas of search_ use operators unknown here")
        rows = slice(None)
        if len(y) > _REFIT_ROWS:
            rows = np.sort(random_state.choice(len(y), _REFIT_ROWS, replace=False))
        X, y = scaled[0][rows], scaled[1][rows]
        weights = None if table.weights is None else table.weights[rows]
        found = []
        for expression in result.expressions:
            if not engine.scaled:
                expression = table.scaling.to_scaled_units(expression)
            found.append(Candidate(*refit(expression, X, y, weights), source=engine.name))
        self.timings_["start"] += result.start_seconds
        self.timings_["search"] = perf_counter() - started - result.start_seconds
        return found

    def _forget_search(self) -> None:
        self.engine_ = "transformer"
        if hasattr(self, "search_"):
            del self.search_

    def _say(self, text: str) -> None:
        if self.verbose > 0:
            print(f"sr-transformer: {text}", flush=True)

    # --- what was found -----------------------------------------------------------------------
    def predict(self, X: Any, index: int | None = None) -> Array:
        """Values of a formula, exactly as it is shown.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        index : int or None
            Row of ``equations_``; ``None`` for the selected one.

        Returns
        -------
        ndarray of shape (n_rows,)
            ``nan`` or ``inf`` where the formula is undefined; nothing is clipped or replaced.
        """
        candidate = self._candidate(index)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return candidate.expression.evaluate(X)

    def sympy(self, index: int | None = None) -> sympy.Basic:
        """A formula as a SymPy expression; ``index`` as in :meth:`predict`."""
        return self._candidate(index).expression.to_sympy(self._names())

    def latex(self, index: int | None = None, precision: int = 4) -> str:
        """A formula in LaTeX, with constants of ``precision`` digits; ``index`` as there."""
        return self._candidate(index).expression.to_latex(self._names(), precision)

    def get_best(self, index: int | None = None) -> pd.Series:
        """A row of ``equations_``; ``index`` as in :meth:`predict`."""
        self._candidate(index)
        return self.equations_.iloc[self._selected() if index is None else index]

    @property
    def equations_(self) -> pd.DataFrame:
        """The Pareto front as a DataFrame."""
        check_is_fitted(self, "hall_of_fame_")
        return self.hall_of_fame_.to_frame()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the front, with the selected formula highlighted."""
        check_is_fitted(self, "hall_of_fame_")
        from sr_transformer.plotting import plot_front

        return plot_front(self.hall_of_fame_, selected=self._selected(), ax=ax)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        return f"{text}\n{self.hall_of_fame_!r}" if hasattr(self, "hall_of_fame_") else text

    def __getstate__(self) -> dict[str, Any]:
        # Without search_: loading a PySRRegressor starts Julia, and predicting needs neither.
        return {key: value for key, value in super().__getstate__().items() if key != "search_"}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "hall_of_fame_")

    def _selected(self) -> int:
        return self.hall_of_fame_.select(self.model_selection)

    def _candidate(self, index: int | None) -> Candidate:
        check_is_fitted(self, "hall_of_fame_")
        size = len(self.hall_of_fame_)
        if index is None:
            index = self._selected()
        elif not isinstance(index, Integral) or not -size <= index < size:
            raise IndexError(
                f"index is {index!r}; equations_ has {size} rows, so that 0 to {size - 1} are "
                "allowed."
            )
        return self.hall_of_fame_[index]

    def _names(self) -> tuple[str, ...]:
        """Names of the columns: the table's own, or x0, x1, ..."""
        if hasattr(self, "feature_names_in_"):
            return tuple(map(str, self.feature_names_in_))
        return tuple(f"x{i}" for i in range(self.n_features_in_))


class _UserTable:
    """A checked table in the user's units and what formulas of it may look like."""

    def __init__(
        self,
        X: Array,
        y: Array,
        weights: Array | None,
        scaling: Scaling,
        operators: frozenset[str],
        maxsize: int | None,
        names: tuple[str, ...],
    ) -> None:
        self.X = X
        self.y = y
        self.weights = weights
        self.scaling = scaling
        self.operators = operators
        self.maxsize = maxsize
        self.names = names

    def pool(self, candidates: list[Candidate], model_selection: str = "best") -> HallOfFame:
        """Hall of fame, in the user's units, of formulas of the scaled table."""
        return HallOfFame.in_user_units(
            candidates,
            self.X,
            self.y,
            sample_weight=self.weights,
            scaling=self.scaling,
            operators=self.operators,
            maxsize=self.maxsize,
            variable_names=self.names,
            model_selection=model_selection,
        )


def _check_number(
    name: str, value: Any, kind: type, at_least: float | None = None, above: float | None = None
) -> None:
    """Raise ValueError unless the value is a finite number of the kind and within the bound."""
    bound = f"above {above}" if at_least is None else f"of at least {at_least}"
    valid = (
        isinstance(value, kind)
        and not isinstance(value, bool)
        and np.isfinite(value)
        and (value > above if at_least is None else value >= at_least)
    )
    if not valid:
        noun = "a whole number" if kind is Integral else "a number"
        raise ValueError(f"{name} is {value!r}; it must be {noun} {bound}.")


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f"several columns have the name {name!r}, so that a formula could not say which "
                "one it means; rename them."
            )
        seen.add(name)


def _name_text_column(X: Any, error: ValueError) -> ValueError:
    """The error, or a clearer one where a DataFrame's column of text is the reason."""
    if "could not convert string" not in str(error) or not hasattr(X, "columns"):
        return error
    for column in X.columns:
        try:
            np.asarray(X[column], dtype=np.float64)
        except (ValueError, TypeError):
            return ValueError(
                f"column {column!r} holds something that is not a number ({error}). Leave the "
                "column out or write it in numbers."
            )
    return error


def _check_squares(y: Array, scaled: Array) -> None:
    """Raise ValueError where the squared errors of the scaled y would overflow."""
    with np.errstate(over="ignore"):
        if np.isfinite(np.sum(np.square(scaled))):
            return
    raise ValueError(
        f"y reaches {np.abs(y).max():.3g} with a typical size of {np.median(np.abs(y)):.3g}: "
        "squared errors overflow at such a spread. Fit log(y), or leave the outliers out."
    )


def _merge_repeated_rows(
    X: Array, y: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Each different row once, in a fixed order, with the sum of its weights.

    The squared error stays the same, and so repeating a row is the same as giving it weight, and
    the order of the rows does not matter.
    """
    rows = np.column_stack([X, y])
    order = np.lexsort(rows.T)
    rows = rows[order]
    first = np.flatnonzero(np.append(True, np.any(rows[1:] != rows[:-1], axis=1)))
    if len(first) == len(y):
        return X[order], y[order], None if weights is None else weights[order]
    ones = np.ones(len(y)) if weights is None else weights[order]
    return rows[first, :-1], rows[first, -1], np.add.reduceat(ones, first)
