"""What the tests share: tables, a quick estimator, and the rule for tests that need Julia."""

from __future__ import annotations

import os
import signal
import sys

# A shell starts what runs in the background with Ctrl-C ignored, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before numpy and torch are imported: the tests run side by side, each on its own core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

JULIA = ("pysr", "juliacall", "juliapkg")
COLLECTED = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[COLLECTED] = [name for name in JULIA if name in sys.modules]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Find out whether Julia starts when the first test asks, never before."""
    with_pysr, without = (item.get_closest_marker(name) for name in ("pysr", "no_pysr"))
    if not (with_pysr or without):
        return
    from sr_transformer.engines.pysr.engine import PySREngine

    reason = PySREngine().unusable_reason()  # tried once a process
    if with_pysr and reason is not None:
        pytest.skip(reason)
    if without and reason is None:
        pytest.skip("PySR runs here, so nothing has to fall back")


@pytest.fixture
def julia_at_collection(pytestconfig: pytest.Config) -> list[str]:
    """Those of the packages that start or install Julia which collecting the tests imported."""
    return pytestconfig.stash[COLLECTED]


@pytest.fixture
def product_table() -> tuple[np.ndarray, np.ndarray]:
    """y = 2 x0 x1 + 3 on 60 rows."""
    X = np.random.default_rng(0).uniform(1.0, 5.0, (60, 2))
    return X, 2.0 * X[:, 0] * X[:, 1] + 3.0


@pytest.fixture
def noisy_table() -> tuple[np.ndarray, np.ndarray]:
    """y = 2 x0 x1 + 3 on 60 rows with noise, so that no formula explains it and a search runs."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 5.0, (60, 2))
    return X, 2.0 * X[:, 0] * X[:, 1] + 3.0 + rng.normal(size=60)


@pytest.fixture
def quick():
    """Make estimators that draw few formulas and search with nothing, unless told otherwise."""
    from sr_transformer import SymbolicTransformerRegressor

    def make(**parameters: object) -> SymbolicTransformerRegressor:
        settings = {"search": "none", "n_candidates": 16, "random_state": 0, **parameters}
        return SymbolicTransformerRegressor(**settings)

    return make
