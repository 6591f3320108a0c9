"""What every example does: read its table, fit it, print the front, save a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from sr_transformer import SymbolicTransformerRegressor
from sr_transformer.plotting import plot_summary


def study(name: str, *, known: str, **settings: object) -> SymbolicTransformerRegressor:
    """Fit the last column of ``NAME.csv``, which lies beside this file, from the others.

    Parameters
    ----------
    name : str
        Of the table.
    known : str
        The law as the textbooks have it, printed for comparison.
    **settings
        Parameters of the estimator that differ from its defaults.
    """
    parser = argparse.ArgumentParser(description=f"Find the law behind {name}.csv.")
    parser.add_argument("--search", default="auto", help="auto, pysr, operon or none")
    parser.add_argument("--seed", type=int, default=0, help="for a repeatable result")
    parser.add_argument("--output", type=Path, default=Path(f"{name}.png"), help="the picture")
    arguments = parser.parse_args()

    table = pd.read_csv(Path(__file__).with_name(f"{name}.csv"), comment="#")
    X, y = table.iloc[:, :-1], table.iloc[:, -1]
    model = SymbolicTransformerRegressor(
        arguments.search, random_state=arguments.seed, **settings
    ).fit(X, y)

    print(model.hall_of_fame_)
    print(f"\nselected:  {y.name} = {model.get_best().equation}")
    print(f"textbook:  {known}")
    print(f"R2 = {model.score(X, y):.6f}, found in {model.timings_['total']:.1f} s")
    figure = plot_summary(
        model.hall_of_fame_,
        X.to_numpy(float),
        y.to_numpy(float),
        selected=model.hall_of_fame_.select(),
        target_name=str(y.name),
    )
    figure.savefig(arguments.output)
    print(f"picture:   {arguments.output}")
    return model
