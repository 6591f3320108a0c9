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
from sr_transformer.clock import Clock
from sr_transformer.engines.choose import ENGINES, resolve_engine
from sr_transformer.errors import SRTransformerError
from sr_transformer.expression import Expression
from sr_transformer.expression.language import DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.model.checkpoint import checkpoint_path, load_model, weights_hash
from sr_transformer.pipeline import Settings, Task, run
from sr_transformer.prior.stream import PRIOR_VERSION
from sr_transformer.proposal.draw import NetworkSampler, PriorSampler, Sampler
from sr_transformer.proposal.proposers import CLOSED_FORMS, PROPOSERS, REPAIR, TRANSFORMER
from sr_transformer.table.table import Table

Array = np.ndarray


class UnknownMethodError(SRTransformerError, ValueError):
    """A method was asked for that does not exist."""


@dataclass(frozen=True)
class Answer:
    """What a method made of a table: the formula that it chose."""

    predict: Callable[[Array], Array]  # its values for X of shape (n_rows, n_columns)
    formula: str  # as the method writes it
    complexity: int  # number of operators, constants and variables
    expression: Expression  # the same formula in our language
    timings: dict[str, float] = field(default_factory=dict)  # seconds by stage, where it tells


class Method(Protocol):
    """A way from a table to a formula."""

    name: str  # as in ``--methods`` and in the results

    def unusable_reason(self) -> str | None:
        """Why the method cannot run here; ``None`` where it can."""

    def version(self) -> str:
        """What the results depend on beside the settings: releases, and the weights in use."""

    def prepare(self) -> None:
        """Load whatever need not be loaded again for each table; not timed."""

    def fit(self, X: Array, y: Array, *, seconds: float, seed: int) -> Answer:
        """Find a formula for y (n_rows,) from X (n_rows, n_columns) within the time."""


@dataclass(frozen=True, eq=False)
class Ours:
    """The pipeline, whole or in part.

    It draws formulas until the time is used or the table is explained exactly, or goes on with an
    engine.
    """

    name: str
    engine: str | None = None  # its name; without one the proposals are the answer
    proposers: Sequence[str] = PROPOSERS  # none: all of the time is the engine's, without guesses
    sampler: Sampler | None = None  # what stands in the place of the network

    def unusable_reason(self) -> str | None:
        """Why the engine cannot run here."""
        return ENGINES[self.engine]().unusable_reason() if self.engine else None

    def version(self) -> str:
        """This release, what the drawn formulas come from, and the engine's release."""
        parts = [__version__]
        if TRANSFORMER in self.proposers:
            parts.append(f"prior {PRIOR_VERSION}" if self.sampler else _weights())
        if self.engine:
            package = {"operon": "pyoperon"}.get(self.engine, self.engine)
            parts.append(f"{package} {metadata.version(package)}")
        return " ".join(parts)

    def prepare(self) -> None:
        """Load the network, and start the engine."""
        # Noise: a table that a proposed formula explains would not be searched.
        X, y = np.random.default_rng(0).normal(size=(2, 30))
        self.fit(X[:, None], y, seconds=2.0, seed=0, n_candidates=8)

    def fit(
        self,
        X: Array,
        y: Array,
        *,
        seconds: float | None = None,
        seed: int,
        n_candidates: int | None = None,
    ) -> Answer:
        """Go through the pipeline, and answer with the formula that is selected."""
        clock = Clock(seconds)
        with clock.measure("start"):
            engine = resolve_engine(self.engine or "none")
            sampler = self.sampler
            if sampler is None and TRANSFORMER in self.proposers:
                sampler = NetworkSampler(load_model())
        task = Task(
            table=Table.of(X, y),
            operators=frozenset((*DEFAULT_BINARY, *DEFAULT_UNARY)),
            variable_names=tuple(f"x{i}" for i in range(X.shape[1])),
        )
        settings = Settings(
            proposers=self.proposers,
            n_candidates=n_candidates,
            # PySR would run on one core with a seed.
            random_state=None if self.engine == "pysr" else seed,
        )
        # A fit that Ctrl-C cuts short tells nothing about the method.
        outcome = run(task, settings, sampler, engine, clock, keep_found=False)
        hall = outcome.hall_of_fame
        best = hall[hall.select()]
        return Answer(
            best.expression.evaluate, best.expression.to_text(), best.complexity, best.expression,
            clock.timings | {"total": clock.elapsed()},
        )  # fmt: skip


class GPLearn:
    """gplearn's genetic programming: a population of 1000, as many generations as time allows."""

    name = "gplearn"

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
            population_size=1000,
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
    further = {
        "square": lambda a: a * a,
        "cube": lambda a: a * a * a,
        "exp": lambda a: np.exp(np.clip(a, -50.0, 50.0)),
        "tanh": np.tanh,
    }
    made = (
        make_function(function=further[name], name=name, arity=1, wrap=False)
        for name in DEFAULT_UNARY
        if name in further
    )
    return ["add", "sub", "mul", "div", *(name for name in DEFAULT_UNARY if name in known), *made]


@cache
def _weights() -> str:
    """Short hash of the default checkpoint."""
    return weights_hash(checkpoint_path())


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Ours("none"),
        Ours("transformer", proposers=(TRANSFORMER, REPAIR)),
        Ours("closed-forms", proposers=(*CLOSED_FORMS, REPAIR)),
        Ours("pysr", "pysr"),
        Ours("operon", "operon"),
        Ours("pysr-alone", "pysr", proposers=()),
        Ours("operon-alone", "operon", proposers=()),
        # What learning adds to this is what "transformer" has more.
        Ours("prior", proposers=(TRANSFORMER, REPAIR), sampler=PriorSampler()),
        GPLearn(),
    )
}
"""The methods by their names."""


def find_method(name: str) -> Method:
    """The method of a name.

    Raises
    ------
    UnknownMethodError
        If there is none.
    """
    if name not in METHODS:
        raise UnknownMethodError(f"no method {name!r}; there are {', '.join(METHODS)}.")
    return METHODS[name]
