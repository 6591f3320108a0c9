"""What PySR is told: the settings of a search, and what those of a user's own mean here."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sr_transformer.engines.base import SearchTask
from sr_transformer.expression.guess import GuessRules
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.table.loss import LOSSES, SQUARED, Loss

# At PySR's own .001 most guesses never enter a population within a short search. Measured with the
# real engine on eight laws, 25 s each, near misses as guesses: 8 of 8 solved at .05, 5 at .001. A
# first call that fills the populations with guesses (fraction 1, one iteration of one cycle) and a
# second one that goes on from there with .05 solved 7 of 8, so that it is not worth what it costs a
# user: two runs in the logs, files and clusters, denoising done twice, and few random members left.
FRACTION_REPLACED_GUESSES = 0.05

# Iterations of a search that its time limit ends.
_UNLIMITED = 1_000_000

# PySR refuses anything smaller; larger formulas than were asked for are left out afterwards.
_SMALLEST_MAXSIZE = 7

# Settings by which a user's own PySRRegressor measures loss otherwise than by squared errors.
LOSS_SETTINGS = ("elementwise_loss", "loss_function", "loss_function_expression")

# Settings of a user's own PySRRegressor that mean a number in the units of the table, so that the
# table must reach the engine as it was given.
ABSOLUTE_SETTINGS = (
    *LOSS_SETTINGS, "loss_scale", "early_stop_condition", "dimensional_constraint_penalty",
    "dimensionless_constants_only", "guesses",
)  # fmt: skip

# Settings of a PySRRegressor that decide which guesses it can use.
GUESS_SETTINGS = (
    "maxsize", "maxdepth", "constraints", "nested_constraints", "complexity_of_operators",
    "complexity_of_constants", "complexity_of_variables", "precision",
)  # fmt: skip


# Losses of Julia's LossFunctions and functions of prediction and target that are known here.
_KNOWN_LOSSES = (
    (re.compile(r"(L2DistLoss|LPDistLoss\{2(\.0)?\})\(\)"), SQUARED),
    (re.compile(r"(L1DistLoss|LPDistLoss\{1(\.0)?\})\(\)"), LOSSES["absolute"]),
    (re.compile(r"\w+\((\w+),(\w+)\)=abs\((\1-\2|\2-\1)\)"), LOSSES["absolute"]),
    (re.compile(r"\w+\((\w+),(\w+)\)=abs2\((\1-\2|\2-\1)\)"), SQUARED),
    (re.compile(r"\w+\((\w+),(\w+)\)=\((\1-\2|\2-\1)\)\^2"), SQUARED),
)
_HUBER = re.compile(r"HuberLoss\((?P<threshold>[0-9.]+(?:[eE][-+]?[0-9]+)?)\)")


def own_loss(regressor: Any) -> tuple[Loss | None, bool]:
    """The loss of a user's regressor, ``None`` where it sets none that can be computed here.

    Also whether it sets one that cannot.
    """
    if any(is_set(regressor, name) for name in LOSS_SETTINGS[1:]):
        return None, True
    if not is_set(regressor, LOSS_SETTINGS[0]):
        return None, False
    text = re.sub(r"\s", "", str(regressor.elementwise_loss)).removeprefix("LossFunctions.")
    for pattern, loss in _KNOWN_LOSSES:
        if pattern.fullmatch(text):
            return loss, False
    huber = _HUBER.fullmatch(text)
    if huber is None:
        return None, True
    return Loss("huber", float(huber["threshold"])), False


def _loss_settings(task: SearchTask) -> dict[str, Any]:
    """What tells PySR the loss of a task; its own is that of squares."""
    if not task.loss.is_robust:
        return {}
    if task.loss.threshold is None:
        return {"elementwise_loss": "L1DistLoss()"}
    return {"elementwise_loss": f"HuberLoss({task.loss.threshold!r})"}


def own_settings(task: SearchTask) -> dict[str, Any]:
    """Keywords of the ``PySRRegressor`` that is built for a task, but for its guesses."""
    enabled = [entry for entry in ARITHMETIC.arity.items() if entry[0] in task.operators]
    settings: dict[str, Any] = {
        "binary_operators": [name for name, arity in enabled if arity == 2],
        "unary_operators": [name for name, arity in enabled if arity == 1],
        "maxsize": max(_SMALLEST_MAXSIZE, task.maxsize),
        "timeout_in_seconds": task.timeout_in_seconds,
        "fraction_replaced_guesses": FRACTION_REPLACED_GUESSES,
        "verbosity": int(task.verbose > 1),
        "progress": task.verbose > 1,
        "temp_equation_file": True,
        "input_stream": "devnull",
    }
    settings |= _loss_settings(task)
    if task.timeout_in_seconds is not None:
        settings["niterations"] = _UNLIMITED
    if "^" in task.operators:
        # Any base, but a bare constant or variable as exponent: PySR's own advice.
        settings["constraints"] = {"^": (-1, 1)}
    if task.random_state is not None:
        # PySR repeats a run only if all three are set.
        settings["random_state"] = task.random_state
        settings["deterministic"] = True
        settings["parallelism"] = "serial"
    return settings


def prepared_clone(regressor: Any, task: SearchTask) -> Any:
    """Copy of a user's regressor with the settings that seeding needs."""
    from sklearn.base import clone

    model = clone(regressor)
    changes: dict[str, Any] = {}
    if not any(is_set(model, name) for name in LOSS_SETTINGS):
        changes |= _loss_settings(task)
    if not is_set(model, "fraction_replaced_guesses"):
        changes["fraction_replaced_guesses"] = FRACTION_REPLACED_GUESSES
    if task.timeout_in_seconds is not None:
        own = model.timeout_in_seconds
        limit = task.timeout_in_seconds
        changes["timeout_in_seconds"] = limit if own is None else min(limit, own)
    if task.output is not None and model.run_id is not None:
        # Each output is a search of its own, whose files must not replace those of another.
        changes["run_id"] = f"{model.run_id}_output{task.output}"
    return model.set_params(**changes)


def is_set(regressor: Any, name: str) -> bool:
    """Whether a parameter differs from its default; unknown parameters do not."""
    parameter = inspect.signature(type(regressor).__init__).parameters.get(name)
    if parameter is None:
        return False
    value = getattr(regressor, name)
    return value is not None and value != parameter.default


def refuse_other_searches(regressor: Any) -> None:
    if regressor.warm_start:
        raise ValueError(
            "search is a PySRRegressor with warm_start=True; every fit runs a fresh copy of it, "
            "which has nothing to go on from. Leave warm_start at False, and hand over formulas "
            "of an earlier search as its guesses."
        )
    spec = getattr(regressor, "expression_spec", None)
    if spec is not None and type(spec).__name__ != "ExpressionSpec":
        raise ValueError(
            f"search is a PySRRegressor with expression_spec={type(spec).__name__}; only plain "
            "expressions can be seeded. Leave expression_spec at None."
        )
    if getattr(regressor, "type_spec", None) is not None:
        raise ValueError(
            "search is a PySRRegressor with a type_spec; only searches over plain numbers can be "
            "seeded. Leave type_spec at None."
        )


def operators_by_arity(regressor: Any) -> dict[int, list[str]]:
    """Operators of a regressor as it was given them, custom ones included."""
    if regressor.operators is not None:
        return regressor.operators
    binary = regressor.binary_operators
    return {
        1: regressor.unary_operators or [],
        2: ["+", "-", "/", "*"] if binary is None else binary,  # PySR's default
    }


def _all_operators(regressor: Any) -> list[str]:
    return [name for names in operators_by_arity(regressor).values() for name in names]


def known_operators(regressor: Any) -> frozenset[str]:
    """Operators of a user's regressor that are known here; its custom ones are left to PySR."""
    return frozenset(
        name
        for arity, names in operators_by_arity(regressor).items()
        for name in names
        if ARITHMETIC.arity.get(name) == arity
    )


def custom_functions(regressor: Any) -> frozenset[str]:
    """Names of the operators that a regressor's user defined."""
    functions = {re.split("[(=]", name)[0].strip() for name in _all_operators(regressor)}
    return frozenset(functions | set(regressor.extra_sympy_mappings or {}))


def guess_rules(regressor: Any, **others: Any) -> GuessRules:
    """What the search of a regressor accepts as a guess; ``others`` are further rules."""
    settings = {
        name: value
        for name in GUESS_SETTINGS
        if (value := getattr(regressor, name)) is not None  # None is PySR's "no such limit"
    }
    if getattr(regressor, "complexity_mapping", None) is not None:
        # A Julia function says how complex a formula is, so that nothing here can.
        for name in ("maxsize", "constraints"):
            settings.pop(name, None)
    return GuessRules(operators=_all_operators(regressor), **settings, **others)
