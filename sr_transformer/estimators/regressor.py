"""``SymbolicTransformerRegressor``: the scikit-learn estimator. It checks, calls and shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state

from sr_transformer.clock import Stages
from sr_transformer.engines.base import KEYBOARD, SearchEngine, resolve_engine
from sr_transformer.engines.seeding import (
    SeededSearch,
    SeedingReport,
    finished,
    is_explained,
    seeded_search,
)
from sr_transformer.estimators.checks import check_parameters, check_units
from sr_transformer.estimators.shown import FittedFormulas
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.front.hall_of_fame import HallOfFame
from sr_transformer.proposal.proposers import PROPOSERS, TRANSFORMER
from sr_transformer.table.table import UserTable, check_table, column_names, merge_repeated_rows

if TYPE_CHECKING:
    from sr_transformer.proposal.draw import Sampler
    from sr_transformer.proposal.proposing import Proposal

Array = np.ndarray

# Share of timeout_in_seconds that proposing may use where a search follows. Of 47 known laws, in
# 10 s on two cores, PySR recovered 39 so; with .3 and no more than 256 draws 35, without formulas
# to start from 19. Proposing alone, for all of the time, recovered 42.
_PROPOSAL_SHARE = 0.5


class SymbolicTransformerRegressor(FittedFormulas, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Find a formula for y in terms of the columns of X.

    A pretrained Transformer reads the table and writes down formulas; their constants are fitted,
    and the good ones seed an evolutionary search where one is usable. All formulas form one Pareto
    front of accuracy against complexity, from which one is selected.

    Parameters
    ----------
    search : {"auto", "pysr", "operon", "none"} or pysr.PySRRegressor, default="auto"
        The engine that goes on from the Transformer's formulas. ``"auto"`` takes PySR where it can
        run, and else warns and takes Operon or, without that, none; ``"pysr"`` and ``"operon"``
        raise instead; ``"none"`` is the Transformer alone. An own ``PySRRegressor`` is cloned and
        seeded; its operators, maxsize and other settings then replace those given here.
    binary_operators, unary_operators : sequence of str
        Operators that formulas may use, by PySR's names.
    maxsize : int, default=30
        Largest complexity: the number of operators, constants and variables of a formula.
    n_candidates : int or None, default=None
        Number of formulas that the Transformer draws. ``None`` for as many as
        ``timeout_in_seconds`` allows, in half of it where a search follows; without a limit, 256.
    proposers : sequence of str, default=all
        What writes formulas before any search: ``"transformer"``; the closed forms
        ``"power-law"``, ``"linear"``, ``"polynomial"``, ``"rational"``, ``"additive"`` (sums of
        functions of the columns) and ``"link"`` (a function of a sum), which take milliseconds;
        and ``"repair"``, which changes and recombines the good formulas of the others. Each is the
        ``source`` of its formulas. Without ``"transformer"`` no checkpoint is loaded.
    temperature : float, default=1.0
        Above 1 the draws are more varied, below 1 less.
    timeout_in_seconds : float or None, default=None
        Time for the fit. The engine's start and compilation are not counted.
    model_selection : {"description_length", "best", "accuracy", "score"}
        How one row of the front is selected: by default the formula that describes y in the
        fewest nats, so that noise does not choose; the others have PySR's meanings. See
        :meth:`sr_transformer.front.hall_of_fame.HallOfFame.select`.
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
    relevant_columns_ : tuple of int
        The columns that the Transformer and the non-linear closed forms might use: of more than
        ten, the ten that matter most, the first most of all.
    timings_ : dict of str to float
        Seconds of each stage. ``"start"``, of the network and the engine, is not counted for
        ``timeout_in_seconds``.
    n_outputs_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only for tables with named columns

    Notes
    -----
    Where y has several columns, each is an output with a search and a front of its own. The first
    five attributes are then lists, in the order of the columns (an engine that did not run is
    ``None`` in ``search_``), and so is what the methods return for a formula.

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
        model_selection: str = "description_length",
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
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_units: Sequence[str] | None = None,
        y_units: str | Sequence[str] | None = None,
    ) -> SymbolicTransformerRegressor:
        """Find formulas for a table.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Finite numbers, at least two rows. The columns of a DataFrame give the variables their
            names.
        y : array-like of shape (n_rows,) or (n_rows, n_outputs)
            Finite numbers. The time limit is shared by the outputs.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the squared errors; none is negative. A row of weight 0 is left out, and a
            whole weight means as much as repeating the row.
        X_units : sequence of str, optional
            The unit of each column, as in ``PySRRegressor.fit``. Only PySR knows units. It then
            searches the table as it is, and its formulas are the answer: those of the Transformer,
            which may break the units, are only what it starts from.
        y_units : str or sequence of str, optional
            The unit of y, or of each of its columns.

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
            If ``search="auto"`` and PySR cannot run here.
        SearchInterruptedWarning
            If the engine was interrupted or failed.
        """
        operators, maxsize = check_parameters(self)
        with Stages(self.timeout_in_seconds, int(self.verbose), self._say) as stages:
            self.timings_ = stages.timings
            with stages.measure("start"):
                X, y, weights = check_table(self, X, y, sample_weight)
                # Before torch is imported: Julia can crash when it is loaded second.
                engine = resolve_engine(self.search)
            check_units(engine, X, y, X_units, y_units)
            longest: int | None = maxsize
            if engine is not None and engine.operators is not None:
                operators = engine.operators
            if engine is not None and engine.maxsize is not None:
                # Its settings may count complexity otherwise, so that only the engine applies them.
                maxsize, longest = engine.maxsize, None
            names = column_names(self)
            targets = y.reshape(len(y), -1).T
            outputs: list[_Output] = []
            for output, target in enumerate(targets):
                if len(targets) > 1:
                    stages.say(f"output {output} of {len(targets)}")
                table = UserTable(
                    *merge_repeated_rows(X, target, weights), operators, longest, names
                )
                left = stages.share(1 / (len(targets) - output))
                not_run = None
                if engine is None:
                    not_run = "search='none'" if self.search == "none" else "no engine can run here"
                elif any(done.was_interrupted for done in outputs):
                    # Who pressed Ctrl-C waits for no other search: the rest gets what is quick.
                    not_run, left = KEYBOARD, lambda: 0.0
                job = _Job(
                    not_run=not_run,
                    output=output if y.ndim == 2 else None,
                    X_units=X_units,
                    y_units=y_units if isinstance(y_units, str | None) else y_units[output],
                )
                outputs.append(self._fit_output(table, engine, maxsize, left, stages, job))
        self._keep(outputs, several=y.ndim == 2)
        return self

    def _keep(self, outputs: list[_Output], several: bool) -> None:
        """Set the fitted attributes; they are lists where there are several outputs."""
        self.n_outputs_ = len(outputs)
        for name in ("hall_of_fame", "engine", "seeding_report", "search", "relevant_columns"):
            values = [getattr(output, name) for output in outputs]
            setattr(self, f"{name}_", values if several else values[0])
        if all(output.search is None for output in outputs):
            del self.search_

    def _fit_output(
        self,
        table: UserTable,
        engine: SearchEngine | None,
        maxsize: int,
        left: Callable[[], float | None],
        stages: Stages,
        job: _Job,
    ) -> _Output:
        """Propose, search and pool for one column of y."""
        random_state = check_random_state(self.random_state)
        seconds = left()
        if seconds is not None and engine is not None:
            seconds *= _PROPOSAL_SHARE
        begun = stages.used()
        proposal = self._propose(table, maxsize, seconds, random_state, stages)
        candidates = proposal.candidates
        not_run = KEYBOARD if proposal.interrupted and engine is not None else job.not_run
        proposing = stages.used() - begun
        searched: SeededSearch | None = None
        if engine is None or not_run is not None:
            report = SeedingReport(engine=None, not_run=not_run)
        else:
            n_columns = table.X.shape[1]
            candidates = [c for c in candidates if engine.admits(c.expression, n_columns)]
            report = SeedingReport(
                engine=engine.name,
                not_run="a proposed formula explains the table to machine precision",
                seconds={"propose": proposing},
            )
            if job.has_units or not is_explained(table, candidates):
                stages.say(f"searching with {engine.name}")
                searched = seeded_search(
                    engine,
                    table,
                    candidates,
                    maxsize=maxsize,
                    seed=self._seed(random_state),
                    left=left,
                    clock=stages.elapsed,
                    verbose=int(self.verbose),
                    output=job.output,
                    X_units=job.X_units,
                    y_units=job.y_units,
                )
                report = finished(searched.report, proposing)
                for stage, value in searched.report.seconds.items():
                    stages.add(stage, value)
                if job.has_units and searched.candidates:
                    candidates = []  # only PySR can tell which of them keep to the units
                if searched.columns is not None:
                    used = set(searched.columns)
                    candidates = [c for c in candidates if used.issuperset(c.expression.variables)]
                candidates = candidates + searched.candidates
        with stages.measure("select"):
            hall = table.pool(candidates, self.model_selection, job.has_units)
        stages.say(f"{len(hall)} formulas; {report!r}")
        if searched is None:
            return _Output(hall, "transformer", report, None, proposal.columns)
        found = engine.name if searched.candidates else "transformer"
        return _Output(hall, found, report, searched.fitted, proposal.columns)

    def _seed(self, random_state: np.random.RandomState) -> int | None:
        return None if self.random_state is None else int(random_state.randint(2**31 - 1))

    def _propose(
        self,
        table: UserTable,
        maxsize: int,
        seconds: float | None,
        random_state: np.random.RandomState,
        stages: Stages,
    ) -> Proposal:
        """The proposers' fitted formulas, in scaled units."""
        from sr_transformer.proposal.proposing import propose_candidates

        X, y = table.scaled_X, table.scaled_y
        with stages.measure("start"):
            sampler = self._sampler() if TRANSFORMER in self.proposers else None
        number = "" if self.n_candidates is None else f"{self.n_candidates} "
        stages.say(f"proposing {number}formulas")
        return propose_candidates(
            X,
            y,
            sampler=sampler,
            sample_weight=table.weights,
            operators=table.operators,
            maxsize=maxsize,
            n_candidates=self.n_candidates,
            proposers=self.proposers,
            temperature=self.temperature,
            timeout_in_seconds=seconds,
            random_state=random_state,
            n_jobs=self.n_jobs,
            timings=stages.timings,
        )

    def _sampler(self) -> Sampler:
        """Where the formulas come from."""
        from sr_transformer.model.checkpoint import load_model
        from sr_transformer.proposal.draw import NetworkSampler

        return NetworkSampler(load_model(self.checkpoint, self.device))

    def _say(self, text: str) -> None:
        """Is told each stage of a fit; the command line shows them its own way."""


@dataclass(frozen=True)
class _Job:
    """Which column of y is fitted, the units of the table, and why no engine may run, if so."""

    not_run: str | None
    output: int | None
    X_units: Sequence[str] | None
    y_units: str | None

    @property
    def has_units(self) -> bool:
        return self.X_units is not None or self.y_units is not None


@dataclass(frozen=True)
class _Output:
    """What a fit found for one column of y."""

    hall_of_fame: HallOfFame
    engine: str
    seeding_report: SeedingReport
    search: Any
    relevant_columns: tuple[int, ...]

    @property
    def was_interrupted(self) -> bool:
        return KEYBOARD in (self.seeding_report.interruption, self.seeding_report.not_run)
