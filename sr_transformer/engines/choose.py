"""Which search engines there are, which of them can run here, and which one runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sr_transformer.engines.base import SearchEngine, warn_user
from sr_transformer.engines.operon.engine import OperonEngine
from sr_transformer.engines.pysr.engine import PySREngine, is_pysr_regressor
from sr_transformer.errors import EngineFallbackWarning, EngineUnavailableError, shown

ENGINES: dict[str, Callable[[], SearchEngine]] = {
    "pysr": partial(PySREngine, downloads=False),
    "operon": OperonEngine,
}
"""Every engine by name, none of which downloads anything; ``"auto"`` takes the first one that can
run."""


def unusable_reasons() -> dict[str, str | None]:
    """Why each engine cannot run here and what helps; ``None`` for one that can.

    This starts Julia, where PySR and that are installed.
    """
    return {name: make().unusable_reason() for name, make in ENGINES.items()}


def resolve_engine(search: Any) -> SearchEngine | None:
    """Return the engine that the parameter ``search`` asks for.

    Parameters
    ----------
    search : {"auto", "pysr", "operon", "none"} or pysr.PySRRegressor
        ``"auto"`` takes PySR where it can run, else Operon, else none; it never waits for Julia
        to be downloaded, as ``"pysr"`` does where that is needed.

    Returns
    -------
    SearchEngine or None
        ``None`` for a fit by the Transformer alone.

    Raises
    ------
    EngineUnavailableError
        If an engine was asked for by name and cannot run here.
    ValueError
        If ``search`` is something else.

    Warns
    -----
    EngineFallbackWarning
        If ``"auto"`` finds no usable PySR.
    """
    if is_pysr_regressor(search):
        return _usable(PySREngine(search), "search is a PySRRegressor that")
    if not isinstance(search, str) or search not in ("auto", *ENGINES, "none"):
        raise ValueError(
            f"search is {shown(search)}; allowed are 'auto', 'pysr', 'operon', 'none' or a "
            "configured pysr.PySRRegressor instance."
        )
    if search == "none":
        return None
    if search != "auto":
        asked = PySREngine() if search == "pysr" else ENGINES[search]()
        return _usable(asked, f"search={search!r}")
    reasons = []
    for name, make in ENGINES.items():
        engine = make()
        reason = engine.unusable_reason()
        if reason is not None:
            reasons.append(reason)
            continue
        if reasons:
            warn_user(
                f"PySR is not usable, so {name.capitalize()} searches: {reasons[0]} Or pass "
                f"search={name!r} to have this without the warning.",
                EngineFallbackWarning,
            )
        return engine
    warn_user(
        f"No search engine is usable, so the Transformer answers alone: {' '.join(reasons)} Or "
        "pass search='none' to do without an engine and without this warning.",
        EngineFallbackWarning,
    )
    return None


def _usable(engine: SearchEngine, asked: str) -> SearchEngine:
    reason = engine.unusable_reason()
    if reason is not None:
        raise EngineUnavailableError(f"{asked} cannot run: {reason}")
    return engine
