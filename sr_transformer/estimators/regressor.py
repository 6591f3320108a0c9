"""``SymbolicTransformerRegressor``: the scikit-learn estimator. It checks, calls and shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from sr_transformer.clock import Clock
from sr_transformer.console import shown_fit
from sr_transformer.engines.base import KEYBOARD
from sr_transformer.engines.choose import resolve_engine
from sr_transformer.estimators.callers import is_one_of_many
from sr_transformer.estimators.checks import (
    are_counts,
    check_parameters,
    check_table,
    check_units,
    column_names,
    refuse_arguments,
    unchanged_by_errors,
)
from sr_transformer.estimators.shown import FittedFormulas
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.pipeline import Outcome, Settings, Task, run
from sr_transformer.proposal.draw import NetworkSampler
from sr_transformer.proposal.proposers import PROPOSERS, TRANSFORMER
from sr_transformer.table.loss import check_loss
from sr_transformer.table.table import Table

Array = np.ndarray


class SymbolicTransformerRegressor(FittedFormulas, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Find a formula for y in terms of the columns of X.

    A pretrained Transformer reads the table and writes down formulas; their constants are fitted,
    and the good ones seed an evolutionary search where one is usable. All formulas form one Pareto
    front of accuracy against complexity, from which one is selected.

    Parameters
    ----------
    search : {"auto", "pysr", "operon", "none"} or pysr.PySRRegressor, default="auto"
        The engine that goes on from the Transformer's formulas. ``"auto"`` takes PySR where it can
        run, and else, also where its Julia would have to be downloaded first, warns and takes
        Operon or, without that, none; ``"pysr"``, which downloads it, and ``"operon"`` raise
        instead; ``"none"`` is the Transformer alone. An own ``PySRRegressor`` is cloned and
        seeded; its operators, maxsize, loss and other settings then replace those given here.
    binary_operators, unary_operators : sequence of str
        Operators that formulas may use, by PySR's names.
    maxsize : int, default=30
        Largest complexity: the number of operators, constants and variables of a formula. At most
        511, which is what the Transformer can write.
    n_candidates : int or None, default=None
        Number of formulas that the Transformer draws. ``None`` for as many as
        ``timeout_in_seconds`` allows, in half of it where a search follows; without a limit, 256.
    proposers : sequence of str, default=all
        What writes formulas before any search: ``"transformer"``; the closed forms
        ``"power-law"``, ``"linear"``, ``"polynomial"``, ``"rational"``, ``"curve"`` (the usual
        forms of one column: decays, growth, peaks, waves), ``"additive"`` (sums of functions of
        one and two columns), ``"link"`` (a function of a sum) and ``"product"`` (products of
        functions of one and two columns), which take milliseconds; and ``"repair"``, which changes
        and recombines the good formulas of the others. Each is the
        ``source`` of its formulas. Without ``"transformer"`` no checkpoint is loaded.
    loss : {"squared", "absolute", "huber", "relative"}, default="squared"
        What is minimised, from the first proposal to the choice: the mean of the squared errors;
        of the absolute errors; Huber's loss, squares of most and absolute values of the largest
        errors, with a scale that is found along with each formula
        (:class:`sr_transformer.table.loss.Loss` has the definition); or of the squares of the
        errors over y, which must not be 0 then. ``"absolute"`` and ``"huber"`` are for rows that
        are grossly wrong. The losses that are shown are mean absolute errors for ``"absolute"``
        and mean squares for the others.
    temperature : float, default=1.0
        Above 1 the draws are more varied, below 1 less.
    timeout_in_seconds : float or None, default=None
        Time for the fit, the last fit of the constants to all rows included. The engine's start and
        compilation, and loading the network, are not counted. In little time fewer formulas are
        tried, and of a wide table fewer rows and pairs of columns looked at; a search of less than
        half a second is left out. It is kept to a tenth and 0.3 s.
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
        ``"pysr"`` or ``"operon"``, where a formula of the front is the engine's own; else
        ``"transformer"``.
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
    interrupted_ : bool
        Whether Ctrl-C ended the fit before its time; what was found until then is there.
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
        loss: str = "squared",
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
        self.loss = loss
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
        **unknown: Any,
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
            Weights of the rows in the loss; none is negative, and a row of weight 0 is left out.
            Those of a type of whole numbers say how often each row was read, which means as much
            as repeating it. Others say how precise each reading is, in any unit, such as 1 over the
            square of its error: they do not change how many readings there are.
        X_units : sequence of str, optional
            The unit of each column, as in ``PySRRegressor.fit``. Only PySR knows units. It then
            searches the table as it is, and its formulas are the answer: those of the Transformer,
            which may break the units, are only what it starts from.
        y_units : str or sequence of str, optional
            The unit of y, or of each of its columns.
        **unknown
            None: other arguments are refused with what does the same here.

        Returns
        -------
        SymbolicTransformerRegressor
            This object.

        Raises
        ------
        ValueError
            If the table or a parameter is not as described; dates, masked and missing values and
            text are refused by the name of their column.
        TypeError
            If an argument is unknown, or the table is sparse or holds objects that are no numbers.
        EngineUnavailableError
            If ``search`` names an engine that cannot run here.
        CheckpointError
            If the checkpoint cannot be used.

        Warns
        -----
        EngineFallbackWarning
            If ``search="auto"`` and PySR cannot run here.
        SearchInterruptedWarning
            If Ctrl-C ended the fit, or the engine failed; what was found until then is there.

        Notes
        -----
        The first Ctrl-C ends the fit: what was found until then is finished within moments and
        kept, and ``interrupted_`` is true. A second one does not wait for that: it raises
        ``KeyboardInterrupt`` and leaves this object as it was, and so does the first one before
        anything was found. Where the fit is one of many of a tool that would go on with the next,
        which is where joblib or scikit-learn calls it (cross-validation, searches, ensembles; not
        a pipeline, and not the last fit of a search), the first Ctrl-C raises, so that it ends the
        tool. A loop of your own goes on after a fit that was interrupted, unless it looks at
        ``interrupted_``.
        """
        refuse_arguments(unknown)
        checked = check_parameters(self)
        clock = Clock(checked["timeout_in_seconds"])
        with shown_fit(clock, checked["verbose"]), unchanged_by_errors(self):
            X, y, weights = check_table(self, X, y, sample_weight)
            with clock.measure("start"):
                # Before torch is imported: Julia can crash when it is loaded second.
                engine = resolve_engine(self.search)
            check_units(engine, X, y, X_units, y_units)
            loss = check_loss(self.loss)
            with clock.measure("start"):
                sampler = self._sampler() if TRANSFORMER in checked["proposers"] else None
            names = column_names(self)
            X = np.asfortranarray(X)  # once, not for each output
            targets = y.reshape(len(y), -1).T
            several = y.ndim == 2
            not_run = "search='none'" if self.search == "none" else "no engine can run here"
            settings = Settings(**{each.name: checked[each.name] for each in fields(Settings)})
            outcomes: list[Outcome] = []
            keep_found = not is_one_of_many()
            for output, target in enumerate(targets):
                if several:
                    clock.say(f"output {output} of {len(targets)}")
                task = Task(
                    table=Table.of(X, target, weights, loss, counts=are_counts(sample_weight)),
                    operators=checked["operators"],
                    maxsize=checked["maxsize"],
                    variable_names=names,
                    output=output if several else None,
                    X_units=X_units,
                    y_units=y_units if isinstance(y_units, str | None) else y_units[output],
                )
                share = 1 / (len(targets) - output)
                if any(outcome.interrupted for outcome in outcomes):
                    # Who pressed Ctrl-C waits for nothing more: the rest gets what is quick.
                    engine, not_run, share, keep_found = None, KEYBOARD, 0.0, False
                part = clock.part(share)
                outcomes.append(
                    run(
                        task, settings, sampler, engine, part, not_run=not_run,
                        keep_found=keep_found,
                    )
                )  # fmt: skip
            self.timings_ = clock.timings | {"total": clock.elapsed()}
            self._keep(outcomes, several)
        return self

    def _sampler(self) -> NetworkSampler:
        from sr_transformer.model.checkpoint import load_model

        return NetworkSampler(load_model(self.checkpoint, self.device))

    def _keep(self, outcomes: Sequence[Outcome], several: bool) -> None:
        """Set the fitted attributes; they are lists where there are several outputs."""
        self.n_outputs_ = len(outcomes)
        self.interrupted_ = any(outcome.interrupted for outcome in outcomes)
        for attribute, name in _FITTED.items():
            values = [getattr(outcome, name) for outcome in outcomes]
            setattr(self, attribute, values if several else values[0])
        if all(outcome.fitted is None for outcome in outcomes):
            del self.search_


_FITTED = {
    "hall_of_fame_": "hall_of_fame", "engine_": "engine", "seeding_report_": "report",
    "search_": "fitted", "relevant_columns_": "columns",
}  # fmt: skip
