"""The estimator among its like: scikit-learn's own checks, pipelines, searches, copies, pickles."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from sr_transformer import SymbolicTransformerRegressor


# Short formulas: closed forms, draws and repair all take part, and repair takes little time.
@parametrize_with_checks([SymbolicTransformerRegressor(search="none", n_candidates=8, maxsize=7)])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([SymbolicTransformerRegressor(search="none", n_candidates=8)])
def test_scikit_learns_checks_pass_with_long_formulas(estimator, check):
    check(estimator)


def test_clone_copies_parameters_only(quick, product_table):
    model = quick(maxsize=17).fit(*product_table)
    other = clone(model)
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "hall_of_fame_")


@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_copies_predict_the_same_and_show_the_same(quick, product_table, copied):
    model = quick().fit(*product_table)
    model.equations_  # noqa: B018  the cached table must not get in the way
    other = copied(model)
    np.testing.assert_array_equal(other.predict(product_table[0]), model.predict(product_table[0]))
    pd.testing.assert_frame_equal(other.equations_, model.equations_)


def test_pickle_is_small_and_needs_no_torch(quick, product_table, tmp_path):
    X, _ = product_table
    model = quick().fit(*product_table)
    joblib.dump(model, tmp_path / "model.joblib")
    assert (tmp_path / "model.joblib").stat().st_size < 100_000
    code = (
        "import sys, joblib, numpy as np\n"
        f"model = joblib.load({str(tmp_path / 'model.joblib')!r})\n"
        f"print(model.predict(np.array({X[:2].tolist()!r})).tolist())\n"
        "print('torch' in sys.modules)"
    )
    predictions, torch_loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert predictions == str(model.predict(X[:2]).tolist())
    assert torch_loaded == "False"


def test_pipeline_and_grid_search(quick, product_table):
    X, y = product_table
    pipeline = make_pipeline(FunctionTransformer(np.square), quick(n_candidates=8))
    search = GridSearchCV(
        pipeline, {"symbolictransformerregressor__maxsize": [5, 20]}, cv=2, error_score="raise"
    ).fit(X, y)
    assert search.best_score_ > 0.5
    assert search.predict(X).shape == y.shape


def test_worker_processes_can_fit(quick, product_table):
    scores = cross_val_score(quick(n_candidates=8), *product_table, cv=2, n_jobs=2)
    assert np.isfinite(scores).all()


def test_meta_estimators_may_pass_weights(quick, product_table):
    bagging = BaggingRegressor(quick(n_candidates=8), n_estimators=2, random_state=0)
    assert bagging.fit(*product_table).score(*product_table) > 0.5


def test_reordered_or_renamed_columns_are_refused(quick, product_table):
    X, y = product_table
    table = pd.DataFrame(X, columns=["first", "second"])
    model = quick().fit(table, y)
    assert list(model.feature_names_in_) == ["first", "second"]
    with pytest.raises(ValueError, match="same order"):
        model.predict(table[["second", "first"]])
    with pytest.raises(ValueError, match="third"):
        model.predict(table.rename(columns={"second": "third"}))
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :1])


def test_own_pysr_configuration_is_a_nested_estimator():
    # Any estimator stands for it here: the parameters of nested ones are reached by double names.
    model = SymbolicTransformerRegressor(search=SymbolicTransformerRegressor(maxsize=7))
    assert model.get_params()["search__maxsize"] == 7
    assert clone(model).search is not model.search
