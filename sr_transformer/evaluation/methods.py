"""The methods that are compared: ours with each engine, ours without the model, and gplearn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from sr_transformer import __version__
from sr_transformer.errors import SRTransformerError
from sr_transformer.estimators.regressor import SymbolicTransformerRegressor
from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_UNARY
from sr_transformer.prior.stream import PRIOR_VERSION
from sr_transformer.proposal.draw import PriorSampler
from sr_transformer.proposal.proposers import CLOSED_FORMS, PROPOSERS, REPAIR, TRANSFORMER
from sr_transformer.proposal.proposing import Proposal

Array = np.ndarray


class UnknownMethodError(SRTransformerError, ValueError):
    """A method was asked for that does not exist."""


@dataclass(frozen=True)
class Answer:
    """What a method made of a table.

    Parameters
    ----------
    predict : callable
        Values of the chosen formula for X (n_rows, n_columns).
    formula : str
        The chosen formula as the method writes it.
    complexity : int
        Number of operators, constants and variables.
    expression : Expression
        The same formula in our language.
    timings : dict of str to float
        Seconds by stage, where the method tells.
    """

    predict: Callable[[Array], Array]
    formula: str
    complexity: int
    expression: Expression
    timings: dict[str, float] = field(default_factory=dict)


class Method(Protocol):
    """A way from a table to a formula.

    Attributes
    ----------
    name : str
        As in ``--methods`` and in the results.
    """

    name: str

    def unusable_reason(self) -> str | None:
        """Why the method cannot run here; ``None`` where it can."""

    def version(self) -> str:
        """What the results depend on beside the settings: releases, and the weights in use."""

    def prepare(self) -> None:
        """Load whatever need not be loaded again for each table; not timed."""

    def fit(self, X: Array, y: Array, *, seconds: float, seed: int) -> Answer:
        """Find a formula for y (n_rows,) from X (n_rows, n_columns) within the time."""


class Ours:
    """:class:`SymbolicTransformerRegressor` with one of its engines.

    Parameters
    ----------
    search : str
        The estimator's parameter, and the method's name.
    """

    def __init__(self, search: str) -> None:
        self.name = search

    def unusable_reason(self) -> str | None:
        """Why the engine cannot run here."""
        from sr_transformer.engines.operon.engine import OperonEngine
        from sr_transformer.engines.pysr.engine import PySREngine

        return {"pysr": PySREngine, "operon": OperonEngine}[self.name]().unusable_reason()

    def version(self) -> str:
        """This release and a hash of the weights; the engine's release where there is one."""
        return f"{__version__} {_weights()} {_release(self.name)}"

    def prepare(self) -> None:
        """Load the network, and start the engine."""
        # Noise: a table that a proposed formula explains would not be searched.
        X, y = np.random.default_rng(0).normal(size=(2, 30))
        self._estimator(seconds=2.0, seed=0, n_candidates=8).fit(X[:, None], y)

    def fit(self, X: Array, y: Array, *, seconds: float, seed: int) -> Answer:
        """Fit the estimator, and answer with the formula that it selects."""
        model = self._estimator(seconds=seconds, seed=seed).fit(X, y)
        hall = model.hall_of_fame_
        best = hall.front[hall.select()]
        return Answer(
            best.expression.evaluate, best.expression.to_text(), best.complexity,
            best.expression, model.timings_,
        )  # fmt: skip

    def _estimator(
        self, *, seconds: float, seed: int, n_candidates: int | None = None
    ) -> SymbolicTransformerRegressor:
        return SymbolicTransformerRegressor(
            self.name, n_candidates=n_candidates, timeout_in_seconds=seconds,
            random_state=_seed_of(self.name, seed),
        )  # fmt: skip


class Proposing(Ours):
    """The estimator without a search engine and with some or all of its proposers.

    It draws formulas until the time is used or the table is explained exactly.

    Parameters
    ----------
    name : str
        The method's name.
    proposers : sequence of str
    """

    def __init__(self, name: str, proposers: Sequence[str]) -> None:
        super().__init__(name)
        self.proposers = tuple(proposers)

    def unusable_reason(self) -> str | None:
        """Always ``None``: nothing but this package is needed."""
        return None

    def version(self) -> str:
        """This release and, where the network is asked, a hash of the weights."""
        return f"{__version__} {_weights()}" if TRANSFORMER in self.proposers else __version__

    def _estimator(
        self, *, seconds: float, seed: int, n_candidates: int | None = None
    ) -> SymbolicTransformerRegressor:
        return SymbolicTransformerRegressor(
            "none", n_candidates=n_candidates, proposers=self.proposers,
            timeout_in_seconds=seconds, random_state=seed,
        )  # fmt: skip


class WithoutModel(Proposing):
    """``transformer`` with formulas from the prior: what learning adds."""

    def __init__(self) -> None:
        super().__init__("prior", [TRANSFORMER, REPAIR])

    def version(self) -> str:
        """This release and that of the prior."""
        return f"{__version__} prior {PRIOR_VERSION}"

    def _estimator(
        self, *, seconds: float, seed: int, n_candidates: int | None = None
    ) -> SymbolicTransformerRegressor:
        return _PriorRegressor(
            "none", n_candidates=n_candidates, proposers=self.proposers,
            timeout_in_seconds=seconds, random_state=seed,
        )  # fmt: skip


class _PriorRegressor(SymbolicTransformerRegressor):
    """The estimator with the prior in the place of the network, and without a search engine."""

    def _sampler(self) -> PriorSampler:
        return PriorSampler()


class Alone(Ours):
    """An engine as the estimator runs it, for all of the time and without formulas to start from.

    Parameters
    ----------
    engine : str
        The method whose engine it is.
    """

    def __init__(self, engine: str) -> None:
        super().__init__(f"{engine}-alone")
        self.engine = engine

    def unusable_reason(self) -> str | None:
        """Why the engine cannot run here."""
        return Ours(self.engine).unusable_reason()

    def version(self) -> str:
        """This release and the engine's; no weights are in use."""
        return f"{__version__} {_release(self.engine)}"

    def _estimator(
        self, *, seconds: float, seed: int, n_candidates: int | None = None
    ) -> SymbolicTransformerRegressor:
        return _UnseededRegressor(
            self.engine, timeout_in_seconds=seconds, random_state=_seed_of(self.engine, seed)
        )


class _UnseededRegressor(SymbolicTransformerRegressor):
    """The estimator without proposals: scaling, refit and selection are the same."""

    def _propose(self, *_: Any, **__: Any) -> Proposal:
        return Proposal([], (), interrupted=False)


class GPLearn:
    """gplearn's genetic programming: a population of 1000, as many generations as time allows."""

    name = "gplearn"

    _POPULATION = 1000

    def unusable_reason(self) -> str | None:
        """Whether the package is there."""
        if find_spec("gplearn") is None:
            return 'gplearn is not installed; pip install "sr-transformer[benchmark]"'
        return None

    def version(self) -> str:
        """The package's release."""
        return metadata.version("gplearn")

    def prepare(self) -> None:
        """Import it."""
        import gplearn.genetic  # noqa: F401

    def fit(self, X: Array, y: Array, *, seconds: float, seed: int) -> Answer:
        """Add generations one by one, until the next would exceed the time."""
        from gplearn.genetic import SymbolicRegressor

        started = time.perf_counter()
        model = SymbolicRegressor(
            population_size=self._POPULATION,
            generations=1,
            function_set=_gplearn_functions(),
            const_range=(-10.0, 10.0),
            metric="mse",
            # An exact formula ends the run, as it does for the other methods.
            stopping_criteria=1e-20 * float(np.mean(y * y)),
            low_memory=True,
            warm_start=True,
            random_state=seed,
        )
        last = 0.0
        while True:
            begun = time.perf_counter()
            with np.errstate(all="ignore"):
                model.fit(X, y)
            now = time.perf_counter()
            last = max(last, now - begun)
            exact = model.run_details_["best_fitness"][-1] <= model.stopping_criteria
            if exact or now - started + last > seconds:
                break
            model.set_params(generations=model.generations + 1)
        program = model._program
        expression = expression_of_gplearn(program.program)
        return Answer(model.predict, str(program), int(program.length_), expression)


_GPLEARN_SYMBOLS = {
    "add": ("+",), "sub": ("-",), "mul": ("*",), "div": ("/",), "sqrt": ("sqrt", "abs"),
    "log": ("log", "abs"),
}  # fmt: skip


def expression_of_gplearn(program: Sequence[Any]) -> Expression:
    """gplearn's list of functions, columns (whole numbers) and constants in our language.

    Its protected functions are translated as they are where they are defined.
    """
    symbols: list[str] = []
    constants: list[float] = []
    for node in program:
        if isinstance(node, int):
            symbols.append(f"x{node}")
        elif isinstance(node, float):
            symbols.append("c")
            constants.append(float(node))
        else:
            symbols += _GPLEARN_SYMBOLS.get(node.name, (node.name,))
    return Expression(symbols, constants)


def _gplearn_functions() -> list[Any]:
    """The operators that our own methods use too, as far as gplearn can be given them.

    Its own logarithm, square root and division are protected against undefined values; so is the
    exponential here, without which gplearn could not be given one.
    """
    from gplearn.functions import make_function

    known = {"sqrt", "log", "sin", "cos", "tan", "abs"}
    made = {
        "square": lambda a: a * a,
        "cube": lambda a: a * a * a,
        "exp": lambda a: np.exp(np.clip(a, -50.0, 50.0)),
        "tanh": np.tanh,
    }
    functions: list[Any] = ["add", "sub", "mul", "div"]
    functions += [name for name in DEFAULT_UNARY if name in known]
    functions += [
        make_function(function=made[name], name=name, arity=1, wrap=False)
        for name in DEFAULT_UNARY
        if name in made
    ]
    return functions


def _release(engine: str) -> str:
    """Name and version of an engine's package."""
    package = {"operon": "pyoperon"}.get(engine, engine)
    return f"{package} {metadata.version(package)}"


def _seed_of(engine: str, seed: int) -> int | None:
    """The estimator's seed; none for PySR, which would run on one core with it."""
    return None if engine == "pysr" else seed


@cache
def _weights() -> str:
    """Short hash of the default checkpoint."""
    from sr_transformer.model.checkpoint import default_checkpoint, weights_hash

    return weights_hash(default_checkpoint())


METHODS: dict[str, Callable[[], Method]] = {
    "none": lambda: Proposing("none", PROPOSERS),
    "transformer": lambda: Proposing("transformer", [TRANSFORMER, REPAIR]),
    "closed-forms": lambda: Proposing("closed-forms", [*CLOSED_FORMS, REPAIR]),
    "pysr": lambda: Ours("pysr"),
    "operon": lambda: Ours("operon"),
    "pysr-alone": lambda: Alone("pysr"),
    "operon-alone": lambda: Alone("operon"),
    "prior": WithoutModel,
    "gplearn": GPLearn,
}
"""How to make each method, by name."""


def make_method(name: str) -> Method:
    """Make a method by its name.

    Raises
    ------
    UnknownMethodError
        If there is none of that name.
    """
    if name not in METHODS:
        raise UnknownMethodError(f"no method {name!r}; there are {', '.join(METHODS)}.")
    return METHODS[name]()
