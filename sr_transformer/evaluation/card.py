"""The evaluation as tables, and the model card that is written around them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill

from rich.table import Table

from sr_transformer.evaluation.measuring import table_of_numbers
from sr_transformer.evaluation.recovery import COLUMNS, Evaluation, Row
from sr_transformer.expression.language import ARITHMETIC, DEFAULT_BINARY, DEFAULT_UNARY
from sr_transformer.files import write_atomically
from sr_transformer.model.checkpoint import LoadedModel
from sr_transformer.model.statistics import statistics_sizes
from sr_transformer.prior.holdout import held_out_suites

BY_HAND = "<!-- What follows is not overwritten by sr-transformer train --evaluate --card. -->"
"""The last line of a card that is made; what stands below it is kept when the card is made anew."""

_ENOUGH = 20  # problems of a kind from which on its share is called weak
_WORST = 3
_WIDTH = 100
_REPAIRED = COLUMNS.index("model, repaired")
_WITHOUT_MODEL = COLUMNS.index("no model, repaired")

# What the metadata mean by a version of the prior.
_PRIOR = {
    "1": (
        "Formulas of complexity 2 to 30 (operators, constants and variables counted as PySR does) "
        "and 1 to 10 variables, simplified before they are taught; inputs that are uniform, "
        "log-uniform, normal, clustered, on grids or ordered; a fifth of the tables with columns "
        "that the formula does not use. Half of the tables have normal noise of 0.1 % to 20 % of "
        "the spread of y, a tenth of those outliers too."
    )
}


def rich_table(evaluation: Evaluation) -> Table:
    """The evaluation for a terminal."""
    table = table_of_numbers(_title(evaluation), ["problems"], ["number", *COLUMNS])
    for row in evaluation.rows:
        table.add_row(*_cells(row))
    table.caption = _validation_text(evaluation)
    return table


def markdown_table(evaluation: Evaluation) -> str:
    """The evaluation as a table in Markdown."""
    heads = ("problems", "number", *COLUMNS)
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in evaluation.rows]
    return f"{_title(evaluation)}:\n\n" + "\n".join(lines)


def write_card(path: Path, model: LoadedModel, evaluation: Evaluation) -> None:
    """Write the model card; what stands below the line :data:`BY_HAND` of an old one is kept.

    Every number comes from the metadata of the model or from the evaluation.
    """
    kept = ""
    if path.is_file():
        kept = path.read_text(encoding="utf-8").partition(BY_HAND)[2]
    text = f"{_card(model, evaluation)}\n{BY_HAND}{kept or chr(10)}"
    write_atomically(path, text.encode())


def _card(model: LoadedModel, evaluation: Evaluation) -> str:
    metadata = model.metadata
    sizes, columns = metadata["config"], metadata["columns"]
    of_column, of_table = statistics_sizes(columns)
    described = "The prior is described in the release that had this version of it."
    prior = _PRIOR.get(metadata["prior_version"], described)
    by_default = DEFAULT_BINARY + DEFAULT_UNARY
    n_parameters = sum(p.numel() for p in model.network.parameters())
    return f"""# {model.path.name}

Written by `sr-transformer train --evaluate --card`.

## What it is

A Transformer of {n_parameters / 1e6:.2f} million parameters. It reads a table of numbers,
up to {columns} columns and the target, row by row and through statistics of its columns
({of_column} numbers for each, {of_table} for the table), and writes formulas in
prefix notation that could have produced it. Its formulas are drafts: their constants are fitted
afterwards, and the accurate ones are kept.

## What it is for

- Proposing formulas for `sr_transformer`: `SymbolicTransformerRegressor`, `propose`, and the first
  guesses of a PySR search.
- Tables whose columns were scaled to magnitudes around one, as the package does before it asks.
- Operators: {_code(DEFAULT_BINARY)},
  {_code(DEFAULT_UNARY)};
  it also knows {_code(name for name in ARITHMETIC.operators if name not in by_default)}.

## What it is not for

- Evidence that a formula is a law of nature. It proposes what fits; whether it holds is for data
  that it has not seen, and for whoever knows the subject.
- Tables with missing values, text, or several targets; time series whose next value depends on the
  last one; formulas with integrals, sums over an index or piecewise definitions.
- Predicting y without a formula: it has no such output.
- More than {columns} columns. The package then shows it those that matter most.

## How it was made

| | |
| --- | --- |
| preset | {metadata["preset"]} |
| sizes | {", ".join(f"{name} {size}" for name, size in sizes.items())} |
| examples seen | {metadata["examples_seen"]:,} |
| version of the prior | {metadata["prior_version"]} |
| vocabulary | {metadata["vocabulary_hash"]}, {len(model.vocabulary)} tokens |
| date | {metadata["date"]} |
| licence | {metadata["licence"]} |

It was trained with `sr-transformer train`, on random formulas and tables alone; no measured data
went into it. The weights are an exponential average over the last steps, in half precision.

{fill(prior, _WIDTH)}

Laws of these suites are held out of training, compared by their skeletons (the names of variables
and the values of constants do not count):
{fill("; ".join(held_out_suites()), _WIDTH)}.

## How good it is

{_measured(evaluation)}

{markdown_table(evaluation)}

{fill(_validation_text(evaluation), _WIDTH)}

*Recovered* within so many draws means: among the candidates made of so many drawn formulas is one
that leaves at most 2^-23 of the variance of 256 unseen noise-free rows unexplained. On problems
with noise the constants are fitted to the noise-free values before the comparison, so that the form
of the formula counts. It does not mean that the formula would be picked from the front: on noisy
tables that is a further difficulty. *No model* is the same pipeline with formulas drawn from the
prior in the place of the model's; *repaired* adds the small changes by which the package improves
good formulas, whoever drew them. The package's closed forms take no part. Short formulas of this
set occur in training, too, with other tables and constants.

## Where it fails

{_failures(evaluation)}

## Licence

{metadata["licence"]}, the weights as well as the code.
"""


def _measured(evaluation: Evaluation) -> str:
    n, asked = len(evaluation.outcomes), evaluation.n_asked
    limit = "" if n == asked else f" A time limit left out the\nrest of {asked:,}."
    return (
        f"Measured on {n:,} problems drawn from the prior with seeds of their own, half of them "
        f"without noise:\n8 to 1024 rows, all operators allowed, complexity up to 30.{limit}"
    )


def _failures(evaluation: Evaluation) -> str:
    """The kinds of problems with the smallest shares."""
    average, *kinds = (
        (row.shares[_REPAIRED][-1], row.shares[_WITHOUT_MODEL][-1], row) for row in evaluation.rows
    )
    weak = [kind for kind in kinds if kind[0] < average[0] and kind[2].n_problems >= _ENOUGH]
    weak.sort(key=lambda kind: kind[0])
    if not weak:
        return f"Too few problems to say: no kind below the average has {_ENOUGH} of them."
    lines = [
        f"The kinds with the smallest share recovered within {evaluation.draws[-1]:,} draws, with "
        "repair:\n"
    ]
    lines += [
        f"- {row.label}: {1 - repaired:.0%} of {row.n_problems} problems are not recovered "
        f"({without_model:.0%} are recovered without a model)."
        for repaired, without_model, row in weak[:_WORST]
    ]
    behind = [row.label for repaired, without_model, row in weak if repaired <= without_model]
    if behind:
        lines.append(f"\nNo better than without a model: {'; '.join(behind)}.")
    return "\n".join(lines)


def _validation_text(evaluation: Evaluation) -> str:
    figures = evaluation.validation
    return (
        f"Validation loss {figures['loss']:.3f} nats a token; {figures['token_accuracy']:.1%} of "
        f"the tokens and {figures['formula_accuracy']:.1%} of the whole formulas are right when "
        f"the symbols before are given ({figures['examples']:,.0f} examples of 64 rows)."
    )


def _title(evaluation: Evaluation) -> str:
    draws = "/".join(f"{n:,}" for n in evaluation.draws)
    return f"Per cent of the problems recovered within {draws} draws"


def _cells(row: Row) -> list[str]:
    # Of 1,000 problems a share is known to 1.5 points, so that no decimals are shown.
    shares = ("/".join(f"{100.0 * share:.0f}" for share in each) for each in row.shares)
    return [row.label, f"{row.n_problems:,}", *shares]


def _code(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)
