"""``SymbolicTransformerRegressor``: the scikit-learn estimator. It checks, calls and shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sr_transformer.expression.operators import DEFAULT_BINARY, DEFAULT_UNARY, check_operators
from sr_transformer.hall_of_fame import Candidate, check_model_selection
from sr_transformer.progress import Stages
from sr_transformer.search.engine import SearchEngine, resolve_engine
from sr_transformer.search.seeding import SeedingReport, finished, is_explained, seeded_search
from sr_transformer.table import UserTable, check_table, column_names, merge_repeated_rows

if TYPE_CHECKING:
    import pandas as pd
    import sympy
    from matplotlib.axes import Axes

    from sr_transformer.proposal.sampling import Sampler

Array = np.ndarray

# Share of timeout_in_seconds that proposing may use where a search follows.
_PROPOSAL_SHARE = 0.3


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
    n_candidates : int, default=256
        Number of formulas that the Transformer draws.
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
        1 shows the stages and a progress bar on standard error; 2 also what the engine prints.

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
    seeding_report_ : SeedingReport
        What became of the Transformer's formulas in the engine: how many it accepted, how many
        survived there, how many it improved on; or why no search ran. Print it.
    timings_ : dict of str to float
        Seconds of each stage. ``"start"``, of the network and the engine, is not counted for
        ``timeout_in_seconds``.
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
        n_candidates: int = 256,
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
        operators, maxsize = self._check_parameters()
        self._forget_search()
        with Stages(self.timeout_in_seconds, int(self.verbose), self._say) as stages:
            self.timings_ = stages.timings
            with stages.measure("start"):
                X, y, weights = check_table(self, X, y, sample_weight)
                # Before torch is imported: Julia can crash when it is loaded second.
                engine = resolve_engine(self.search)
            longest: int | None = maxsize
            if engine is not None and engine.operators is not None:
                operators = engine.operators
            if engine is not None and engine.maxsize is not None:
                # Its settings may count complexity otherwise, so that only the engine applies them.
                maxsize, longest = engine.maxsize, None
            table = UserTable(
                *merge_repeated_rows(X, y, weights), operators, longest, column_names(self)
            )
            self._fit_table(table, engine, maxsize, stages)
            stages.say(f"{len(self.hall_of_fame_)} formulas")
        return self

    def _check_parameters(self) -> tuple[frozenset[str], int]:
        """Raise ValueError for a parameter that cannot be used; the operators and size limit."""
        operators = check_operators(self.binary_operators, self.unary_operators)
        if not operators:
            raise ValueError("binary_operators and unary_operators are both empty; name some.")
        check_model_selection(self.model_selection)
        _check_number("maxsize", self.maxsize, Integral, 1)
        _check_number("n_candidates", self.n_candidates, Integral, 1)
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

    def _fit_table(
        self, table: UserTable, engine: SearchEngine | None, maxsize: int, stages: Stages
    ) -> None:
        """Propose, search and pool."""
        random_state = check_random_state(self.random_state)
        left = stages.share(1.0)
        limit = stages.share(1.0 if engine is None else _PROPOSAL_SHARE)
        begun = stages.used()
        candidates = self._propose(table, maxsize, limit, random_state, stages)
        if engine is None:
            not_run = "search='none'" if self.search == "none" else "no engine can run here"
            self.seeding_report_ = SeedingReport(engine=None, not_run=not_run)
        else:
            n_columns = table.X.shape[1]
            candidates = [c for c in candidates if engine.admits(c.expression, n_columns)]
            if is_explained(table, candidates):
                self.seeding_report_ = SeedingReport(
                    engine=engine.name,
                    not_run="a proposed formula explains the table to machine precision",
                    seconds={"propose": stages.used() - begun},
                )
            else:
                candidates = self._search(
                    engine, table, candidates, maxsize, left, random_state, stages
                )
        with stages.measure("select"):
            self.hall_of_fame_ = table.pool(candidates, self.model_selection)

    def _propose(
        self,
        table: UserTable,
        maxsize: int,
        left: Callable[[], float | None],
        random_state: np.random.RandomState,
        stages: Stages,
    ) -> list[Candidate]:
        """The Transformer's fitted formulas, in scaled units."""
        from sr_transformer.proposal.propose import propose_candidates

        X, y = table.scaled_X, table.scaled_y
        with stages.measure("start"):
            sampler = self._sampler()
        stages.say(f"proposing {self.n_candidates} formulas")
        return propose_candidates(
            X,
            y,
            sampler=sampler,
            sample_weight=table.weights,
            operators=table.operators,
            maxsize=maxsize,
            n_candidates=self.n_candidates,
            temperature=self.temperature,
            timeout_in_seconds=left(),
            random_state=random_state,
            n_jobs=self.n_jobs,
            timings=stages.timings,
        )

    def _sampler(self) -> Sampler:
        """Where the formulas come from."""
        from sr_transformer.model.checkpoint import load_model
        from sr_transformer.proposal.sampling import NetworkSampler

        return NetworkSampler(load_model(self.checkpoint, self.device))

    def _search(
        self,
        engine: SearchEngine,
        table: UserTable,
        candidates: list[Candidate],
        maxsize: int,
        left: Callable[[], float | None],
        random_state: np.random.RandomState,
        stages: Stages,
    ) -> list[Candidate]:
        """The candidates and the engine's formulas, refitted, in scaled units."""
        seed = int(random_state.randint(2**31 - 1)) if self.random_state is not None else None
        proposing = stages.used()
        stages.say(f"searching with {engine.name}")
        result = seeded_search(
            engine,
            table,
            candidates,
            maxsize=maxsize,
            seed=seed,
            left=left,
            clock=stages.elapsed,
            verbose=int(self.verbose),
        )
        self.seeding_report_ = finished(result.report, proposing)
        for stage, seconds in result.report.seconds.items():
            stages.add(stage, seconds)
        if result.fitted is not None:
            self.search_ = result.fitted
        if result.candidates:
            self.engine_ = engine.name
        stages.say(repr(self.seeding_report_))
        return candidates + result.candidates

    def _forget_search(self) -> None:
        self.engine_ = "transformer"
        if hasattr(self, "search_"):
            del self.search_

    def _say(self, text: str) -> None:
        """Is told each stage of a fit; the command line shows them its own way."""

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
        return self._candidate(index).expression.to_sympy(column_names(self))

    def latex(self, index: int | None = None, precision: int = 4) -> str:
        """A formula in LaTeX, with constants of ``precision`` digits; ``index`` as there."""
        return self._candidate(index).expression.to_latex(column_names(self), precision)

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
