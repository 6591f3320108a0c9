"""The names of all that writes formulas before any search: the choice is the user's."""

from __future__ import annotations

from collections.abc import Iterable

from sr_transformer.proposal.closed import FAMILIES

TRANSFORMER = "transformer"
CLOSED_FORMS = tuple(FAMILIES)
REPAIR = "repair"
"""Makes new formulas out of those of the others."""

PROPOSERS = (TRANSFORMER, *CLOSED_FORMS, REPAIR)


def check_proposers(proposers: Iterable[str]) -> tuple[str, ...]:
    """Return the names if there are proposers of all of them.

    Raises
    ------
    ValueError
        If a name is unknown, or none is given.
    """
    chosen = tuple(proposers)
    for name in chosen:
        if name not in PROPOSERS:
            raise ValueError(
                f"proposers holds {name!r}; allowed are {', '.join(map(repr, PROPOSERS))}."
            )
    if not chosen:
        raise ValueError(f"proposers is empty; name some of {', '.join(map(repr, PROPOSERS))}.")
    return chosen
