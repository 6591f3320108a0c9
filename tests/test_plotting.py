"""Pictures: what they show, and what happens without matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.plotting import (
    PlottingUnavailableError,
    plot_fit,
    plot_front,
    plot_summary,
    plot_training,
)

X = np.linspace(1.0, 30.0, 12)[:, None]
Y = X[:, 0] ** 1.5


def a_hall(losses=(9.0, 0.5, 1e-12)) -> HallOfFame:
    hall = HallOfFame(["axis_au"])
    formulas = (
        Expression(["c"], [40.0]),
        Expression(["*", "c", "x0"], [5.0]),
        Expression(["*", "x0", "sqrt", "x0"]),
    )
    for formula, loss in zip(formulas, losses, strict=True):
        hall.add(Candidate(formula, loss, "transformer"))
    return hall


def texts(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_the_front_shows_each_formula_with_its_complexity():
    hall = a_hall()
    ax = plot_front(hall, selected=2)
    assert texts(ax.yaxis) == [str(c.complexity) for c in hall.front]
    equations = texts(ax.child_axes[0].yaxis)
    assert equations == [c.expression.to_text(["axis_au"], 4) for c in hall.front]


def test_the_front_can_show_perfect_fits(tmp_path):
    figure = plot_summary(a_hall((9.0, 0.5, 0.0)), X, Y, selected=2)
    figure.savefig(tmp_path / "front.png")
    low, high = figure.axes[1].get_xlim()
    assert 0 < low < high < np.inf


def test_a_front_of_one_perfect_formula_can_be_drawn(tmp_path):
    hall = HallOfFame()
    hall.add(Candidate(Expression(["x0"]), 0.0, "transformer"))
    plot_front(hall, selected=0).figure.savefig(tmp_path / "one.png")


def test_long_formulas_are_shortened():
    hall = HallOfFame()
    hall.add(Candidate(Expression(["+", *["x0", "+"] * 40, "x0", "x1"]), 1.0, "transformer"))
    ax = plot_front(hall)
    (text,) = texts(ax.child_axes[0].yaxis)
    assert text.endswith("…")
    assert len(text) < 60


def test_one_column_is_drawn_as_a_curve_through_the_data():
    ax = plot_fit(Expression(["*", "x0", "sqrt", "x0"]), X, Y, target_name="period_years")
    (curve,) = ax.get_lines()
    drawn_x, drawn_y = curve.get_data()
    assert drawn_x.min() <= 1.0
    assert drawn_x.max() >= 30.0
    shown = np.isfinite(drawn_y)
    np.testing.assert_allclose(drawn_y[shown], drawn_x[shown] ** 1.5)
    assert ax.get_ylabel() == "period_years"


def test_a_pole_between_the_points_does_not_flatten_the_data():
    # 1 / (x - 10.01): far beyond the data close to its pole.
    formula = Expression(["inv", "-", "x0", "c"], [10.01])
    ax = plot_fit(formula, X, formula.evaluate(X))
    drawn = ax.get_lines()[0].get_ydata()
    assert np.nanmax(np.abs(drawn)) < 10


def test_decades_get_logarithmic_axes():
    wide = np.geomspace(1e-2, 1e3, 9)[:, None]
    ax = plot_fit(Expression(["square", "x0"]), wide, wide[:, 0] ** 2)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_several_columns_are_drawn_as_agreement():
    table = np.random.default_rng(0).uniform(1, 2, (30, 2))
    formula = Expression(["*", "x0", "x1"])
    ax = plot_fit(formula, table, formula.evaluate(table), target_name="z")
    assert ax.get_xlabel() == "z, measured"
    np.testing.assert_allclose(*ax.collections[0].get_offsets().T)


@pytest.fixture
def pyplot(monkeypatch):
    """pyplot without windows and figures; what a test opens is closed."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


def test_a_picture_is_one_of_pyplots_where_that_is_in_use_and_the_users_own_stay(pyplot):
    own = pyplot.figure()
    for draw in (lambda: plot_front(a_hall()), lambda: plot_fit(Expression(["x0"]), X, Y)):
        assert draw().figure is pyplot.gcf()  # so that a notebook and pyplot.show() show it
    assert len(pyplot.get_fignums()) == 3
    assert own.number in pyplot.get_fignums()
    mine = own.add_subplot()
    assert plot_front(a_hall(), ax=mine) is mine
    assert len(pyplot.get_fignums()) == 3
    plot_summary(a_hall(), X, Y, selected=0)  # is a value, which a notebook shows by itself
    assert len(pyplot.get_fignums()) == 3


def test_a_picture_is_drawn_where_pyplot_can_open_no_window(pyplot, monkeypatch, tmp_path):
    def without_display(**_):
        raise ImportError("Cannot load backend 'TkAgg', as 'headless' is currently running")

    monkeypatch.setattr(pyplot, "figure", without_display)
    plot_front(a_hall()).figure.savefig(tmp_path / "front.png")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(("prompt", "in_use"), [("", False), ("sys.ps1 = '>>> '", True)])
def test_a_script_keeps_no_picture_and_a_prompt_shows_it(prompt, in_use):
    code = f"""
import sys
{prompt}
from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame
from sr_transformer.plotting import plot_front
hall = HallOfFame()
hall.add(Candidate(Expression(["x0"]), 1.0, "transformer"))
figure = plot_front(hall).figure
assert ("matplotlib.pyplot" in sys.modules) is {in_use}
if {in_use}:
    from matplotlib import pyplot
    assert pyplot.gcf() is figure
"""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlottingUnavailableError, match=r"sr-transformer\[plot\]"):
        plot_front(a_hall())


def test_the_curves_of_a_training_run_are_drawn_with_gaps_where_nothing_was_validated(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(
        "step,examples,loss,token_accuracy,learning_rate,validation_loss,"
        "validation_token_accuracy,validation_formula_accuracy\n"
        "50,3200,5.1,0.02,0.0001,,,\n"
        "100,6400,4.2,0.10,0.0002,4.3,0.09,0.01\n"
    )
    loss, share, rate = plot_training(log).axes
    training, validation = loss.get_lines()
    np.testing.assert_allclose(training.get_ydata(), [5.1, 4.2])
    np.testing.assert_allclose(validation.get_xydata(), [[0.0064, 4.3]])
    assert [len(share.get_lines()), len(rate.get_lines())] == [3, 1]
