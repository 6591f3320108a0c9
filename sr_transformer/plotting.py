"""Pictures of a fit: the data with the formula, and the front of formulas.

matplotlib is an optional dependency; it is imported when the first picture is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_transformer.errors import SRTransformerError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sr_transformer.expression import Expression
    from sr_transformer.front.hall_of_fame import HallOfFame

Array = np.ndarray

DATA_COLOUR = "#4d4d4d"
FORMULA_COLOUR = "#c0392b"
FRONT_COLOUR = "#5b7fa6"

# An axis is logarithmic where its positive values span more than the first factor, and both are
# where x and y each span more than the second: a power law then is a straight line.
LOGARITHMIC_FROM = 100.0
BOTH_LOGARITHMIC_FROM = 30.0
LONGEST_LABEL = 52
LONGEST_TITLE = 180


class PlottingUnavailableError(SRTransformerError, ImportError):
    """matplotlib is not installed."""


def plot_front(
    hall_of_fame: HallOfFame, *, selected: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the front: one line a formula, simplest on top, its loss as a dot.

    Parameters
    ----------
    hall_of_fame : HallOfFame
        What a fit or :func:`sr_transformer.propose` found.
    selected : int, optional
        Row of the front to highlight, as in ``equations_``.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, one of pyplot's where that is in use.

    Returns
    -------
    matplotlib Axes
    """
    front = list(hall_of_fame.front)
    if ax is None:
        ax = _shown_figure(8.0, 1.2 + 0.32 * len(front)).add_subplot()
    from matplotlib.ticker import NullFormatter

    names = hall_of_fame.variable_names
    shown = [hall_of_fame.shown_loss(candidate) for candidate in front]
    losses, floor, ceiling = _drawable(np.array(shown))
    rows = np.arange(len(front))
    colours = [FORMULA_COLOUR if row == selected else FRONT_COLOUR for row in rows]
    ax.hlines(rows, floor, losses, colors=colours, linewidth=1.2, alpha=0.5)
    ax.scatter(losses, rows, c=colours, s=36, zorder=3)
    ax.set(xscale="log", xlim=(floor, ceiling), xlabel="mean squared error", ylabel="complexity")
    ax.xaxis.set_minor_formatter(NullFormatter())
    for row in np.flatnonzero(np.array(shown) == 0):
        ax.annotate(
            "0", (losses[row], row), (7, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.set_yticks(rows, [str(candidate.complexity) for candidate in front])
    ax.set(ylim=(len(front) - 0.4, -0.6), axisbelow=True)
    ax.grid(axis="x", color="0.9")

    equations = ax.secondary_yaxis("right")
    texts = [_label(candidate.expression.to_text(names, 4), LONGEST_LABEL) for candidate in front]
    equations.set_yticks(rows, texts)
    equations.tick_params(axis="y", length=0, labelsize="small")
    if selected is not None:
        label = equations.get_yticklabels()[selected]
        label.set_color(FORMULA_COLOUR)
        label.set_fontweight("bold")
    equations.spines["right"].set_visible(False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_fit(
    expression: Expression,
    X: Array,
    y: Array,
    *,
    variable_names: Sequence[str] | None = None,
    target_name: str = "y",
    ax: Axes | None = None,
) -> Axes:
    """Draw the data and the formula.

    A table of one column is drawn as points with the formula as a curve; with more columns, the
    formula's values are drawn against the measured ones.

    Parameters
    ----------
    expression : Expression
        Formula of the table's columns.
    X : array-like of shape (n_rows, n_columns)
    y : array-like of shape (n_rows,)
    variable_names : sequence of str, optional
        Names of the columns; ``x0, x1, ...`` by default.
    target_name : str
        Name of y.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, one of pyplot's where that is in use.

    Returns
    -------
    matplotlib Axes
    """
    X = np.asarray(X, dtype=float)
    y = np.asarray(y, dtype=float)
    if ax is None:
        ax = _shown_figure(6.0, 4.2).add_subplot()
    target = _label(target_name, LONGEST_LABEL)
    if X.shape[1] == 1:
        _draw_curve(ax, expression, X[:, 0], y)
        name = variable_names[0] if variable_names else "x0"
        ax.set(xlabel=_label(name, LONGEST_LABEL), ylabel=target)
    else:
        _draw_agreement(ax, expression.evaluate(X), y)
        ax.set(xlabel=f"{target}, measured", ylabel=f"{target}, formula")
    text = _label(f"{target_name} = {expression.to_text(variable_names, 4)}", LONGEST_TITLE)
    ax.set_title("\n".join(wrap(text, 62)), fontsize="medium", color=FORMULA_COLOUR)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_summary(
    hall_of_fame: HallOfFame, X: Array, y: Array, *, selected: int, target_name: str = "y"
) -> Figure:
    """Draw the data with the selected formula, and the front beside it.

    Parameters
    ----------
    hall_of_fame : HallOfFame
    X : array-like of shape (n_rows, n_columns)
    y : array-like of shape (n_rows,)
    selected : int
        Row of the front.
    target_name : str
        Name of y.

    Returns
    -------
    matplotlib Figure
        Save it with ``figure.savefig(path)``.
    """
    front = list(hall_of_fame.front)
    figure = _new_figure(12.0, max(4.2, 1.2 + 0.32 * len(front)))
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    names = hall_of_fame.variable_names
    chosen = front[selected].expression
    plot_fit(chosen, X, y, variable_names=names, target_name=target_name, ax=left)
    plot_front(hall_of_fame, selected=selected, ax=right)
    right.set_title("front", fontsize="medium")
    return figure


def plot_training(log: str | Path) -> Figure:
    """Draw the curves of a training run.

    Parameters
    ----------
    log : path
        ``log.csv`` of the run.

    Returns
    -------
    matplotlib Figure
        The loss, the share of right tokens and formulas, and the learning rate against the number
        of examples seen.
    """
    import pandas as pd

    rows = pd.read_csv(log)
    figure = _new_figure(12.0, 3.6)
    loss, share, rate = figure.subplots(1, 3)
    examples = rows["examples"] / 1e6
    for ax, column, label, colour in (
        (loss, "loss", "training", FRONT_COLOUR),
        (loss, "validation_loss", "validation", FORMULA_COLOUR),
        (share, "token_accuracy", "tokens, training", FRONT_COLOUR),
        (share, "validation_token_accuracy", "tokens, validation", DATA_COLOUR),
        (share, "validation_formula_accuracy", "whole formulas, validation", FORMULA_COLOUR),
        (rate, "learning_rate", None, FRONT_COLOUR),
    ):
        known = rows[column].notna()
        marker = "o" if known.sum() < 60 and column.startswith("validation") else None
        ax.plot(
            examples[known], rows.loc[known, column], color=colour, label=label, marker=marker,
            markersize=3, linewidth=1.2,
        )  # fmt: skip
    titles = {loss: "loss a token (nats)", share: "share right", rate: "learning rate"}
    for ax, title in titles.items():
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel="million examples", axisbelow=True)
        ax.grid(color="0.92")
        ax.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    share.legend(frameon=False)
    return figure


def picture_formats() -> list[str]:
    """Endings of the files that pictures can be saved to, such as ``"png"``."""
    return sorted(_new_figure(1.0, 1.0).canvas.get_supported_filetypes())


_FIGURE: dict[str, Any] = {"layout": "constrained", "dpi": 130}


def _new_figure(width: float, height: float) -> Figure:
    # A bare Figure belongs to no window and no global state, so many can be drawn in a loop.
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise PlottingUnavailableError(
            "plotting needs matplotlib, which is not installed; install it with "
            'pip install "sr-transformer[plot]"'
        ) from missing
    return Figure(figsize=(width, height), **_FIGURE)


def _shown_figure(width: float, height: float) -> Figure:
    """A figure that a notebook shows below its cell, and ``pyplot.show`` in a window.

    Those are pyplot's, which it keeps until they are closed. So it is one only where pyplot is in
    use, or will be: in a notebook, in IPython or at Python's own prompt.
    """
    bare = _new_figure(width, height)
    if "matplotlib.pyplot" not in sys.modules and not hasattr(sys, "ps1"):
        return bare
    try:
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, height), **_FIGURE)
    except Exception:  # its windows need a display, and not every thread may open one
        return bare


def _drawable(losses: Array) -> tuple[Array, float, float]:
    """Losses that a logarithmic axis can show, and the ends of the axis.

    A perfect fit has loss 0, and stands a thousandth below the smallest other loss.
    """
    usable = losses[np.isfinite(losses) & (losses > 0)]
    lowest, highest = (usable.min(), usable.max()) if usable.size else (1.0, 1.0)
    if np.any(losses == 0):
        lowest /= 1000.0
    return np.clip(losses, lowest, highest), lowest / 5.0, highest * 5.0


def _draw_curve(ax: Axes, expression: Expression, x: Array, y: Array) -> None:
    low, high = x.min(), x.max()
    both = min(_span(x), _span(y)) > BOTH_LOGARITHMIC_FROM
    if both or _span(x) > LOGARITHMIC_FROM:
        ax.set_xscale("log")
        grid = np.geomspace(low / 1.1, high * 1.1, 500)
    else:
        margin = 0.03 * ((high - low) or 1.0)
        grid = np.linspace(low - margin, high + margin, 500)
    values = expression.evaluate(grid[:, None])
    # Poles and overflow between the measured points must not squeeze the data flat.
    reach = 0.5 * ((y.max() - y.min()) or 1.0)
    values[(values < y.min() - reach) | (values > y.max() + reach)] = np.nan
    if both or _span(y) > LOGARITHMIC_FROM:
        ax.set_yscale("log")
        values[values < y.min() / 2] = np.nan
    ax.plot(grid, values, color=FORMULA_COLOUR, linewidth=1.8, label="formula", zorder=2)
    ax.scatter(x, y, s=26, color=DATA_COLOUR, label="data", zorder=3)


def _draw_agreement(ax: Axes, predicted: Array, y: Array) -> None:
    if _span(y) > LOGARITHMIC_FROM and np.all(predicted[np.isfinite(predicted)] > 0):
        ax.set(xscale="log", yscale="log")
    ends = [y.min(), y.max()]
    ax.plot(ends, ends, color=FORMULA_COLOUR, linewidth=1.2, label="perfect agreement", zorder=2)
    ax.scatter(y, predicted, s=18, color=DATA_COLOUR, alpha=0.7, label="data", zorder=3)


def _span(values: Array) -> float:
    """Largest value over the smallest; 1 where they are not all positive."""
    return float(values.max() / values.min()) if values.min() > 0 else 1.0


def _label(text: str, longest: int) -> str:
    # "$" would switch matplotlib to its formula mode.
    text = str(text) if len(text) <= longest else f"{text[: longest - 1]}…"
    return text.replace("$", r"\$")
