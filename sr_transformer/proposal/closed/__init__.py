"""Formulas that need no network: one module a family, whose constants least squares give at once.

A further family is a function of a :class:`~sr_transformer.proposal.closed.bench.Bench` in a module
of its own, and a row of :data:`FAMILIES`. Together they take a fraction of the time of the
Transformer's draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sr_transformer.front.pool import Candidate
from sr_transformer.proposal.closed import curves, links, power_laws, products, ratios, sums
from sr_transformer.proposal.closed.bench import Bench, Fitted
from sr_transformer.table.table import Table

FAMILIES: dict[str, Callable[[Bench], Iterator[Fitted]]] = {
    "power-law": power_laws.power_laws,
    "linear": sums.linear,
    "polynomial": sums.polynomials,
    "rational": ratios.ratios,
    "curve": curves.curves,
    "additive": sums.additive,
    "link": links.links,
    "product": products.products,
}
"""What writes the formulas, by the proposers' names and in their order."""

_SHORT = 9  # complexity up to which an exact formula ends the search for others


def closed_form_candidates(
    table: Table,
    columns: Sequence[int],
    *,
    proposers: Sequence[str],
    operators: frozenset[str],
    maxsize: int,
    deadline: float = np.inf,
) -> Iterator[Candidate]:
    """Let the closed-form proposers among ``proposers`` write formulas for a table.

    Parameters
    ----------
    table : Table
    columns : sequence of int
        Columns that matter, for all proposers but the linear one, which looks at all.
    proposers : sequence of str
        Names of proposers; each is the source of its candidates.
    operators, maxsize
        What the candidates may use, and how long they may be.
    deadline : float
        Value of ``time.perf_counter()`` at which they end, once there is a formula.

    Yields
    ------
    Candidate
        With a finite loss; none twice from the same proposer. What a proposer has found when it is
        interrupted from the keyboard comes before the interruption.
    """
    bench = Bench(table, columns, operators, maxsize, deadline)
    found = False
    for name, family in FAMILIES.items():
        if name not in proposers or (found and bench.is_out_of_time()):
            continue
        best: dict[tuple[str, ...], Candidate] = {}
        try:
            with np.errstate(all="ignore"):
                for formula, loss in family(bench):
                    if formula.symbols not in best or loss < best[formula.symbols].loss:
                        best[formula.symbols] = Candidate(formula, loss, name)
                    if bench.is_out_of_time():
                        break
        except KeyboardInterrupt:
            yield from best.values()
            raise
        found = found or bool(best)
        yield from best.values()
        if any(is_settled(candidate, table) for candidate in best.values()):
            break


def is_settled(candidate: Candidate, table: Table) -> bool:
    """Whether a candidate explains everything and is short, so that no better one need be sought.

    A long one may be the expansion of a shorter law, such as ``(a + b) ^ 3``.
    """
    short = candidate.complexity <= _SHORT
    return short and table.is_explained_by(candidate.expression, candidate.loss)
