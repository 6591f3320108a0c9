"""Counts of what stands below what in the prior's formulas: what a usual form is.

``python -m sr_transformer.prior.frequencies`` writes them anew for
:mod:`sr_transformer.front.form_cost`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

from sr_transformer.expression.language import ARITHMETIC, CONSTANT
from sr_transformer.front import form_cost
from sr_transformer.prior.formulas import FormulaSampler, FormulaShape

N_FORMULAS = 20_000
_MAX_VARIABLES = 3


def count_forms(n_formulas: int = N_FORMULAS) -> dict[str, dict[str, int]]:
    """How often each symbol stands below each argument of each operator.

    Returns
    -------
    dict of str to dict of str to int
        By ``"operator argument"``, ``""`` for the first symbol of a formula; the symbols that
        stand there, most frequent first. All variables are ``"x"``.
    """
    sampler = FormulaSampler(Random(0), FormulaShape(max_variables=_MAX_VARIABLES))
    counts: dict[str, Counter[str]] = {}
    arity = ARITHMETIC.arity
    for _ in range(n_formulas):
        formula = sampler.draw().simplify()
        if not formula.variables:
            continue
        waiting = [""]
        for symbol in formula.symbols:
            place, n_arguments = waiting.pop(), arity.get(symbol, 0)
            leaf = CONSTANT if symbol == CONSTANT else form_cost.VARIABLE
            counts.setdefault(place, Counter())[symbol if n_arguments else leaf] += 1
            waiting += [f"{symbol} {i}" for i in range(n_arguments - 1, -1, -1)]
    return {
        place: dict(sorted(below.items(), key=lambda entry: (-entry[1], entry[0])))
        for place, below in sorted(counts.items())
    }


if __name__ == "__main__":
    lines = [f"{json.dumps(place)}: {json.dumps(below)}" for place, below in count_forms().items()]
    path = Path(form_cost.__file__).with_name("form_frequencies.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
