"""Who calls a fit: that decides what Ctrl-C does."""

from __future__ import annotations

import sys

# scikit-learn's modules from which a fit is one of many only where joblib stands between: a
# pipeline fits one model, and a search fits its best one again at the end.
_ONE_FIT = (
    "sklearn.base",
    "sklearn.pipeline",
    "sklearn.compose._target",
    "sklearn.model_selection._search",
    "sklearn.model_selection._search_successive_halving",
    "sklearn.utils",
)


def is_one_of_many() -> bool:
    """Whether joblib or one of scikit-learn's tools that fit again and again called this fit.

    What such a tool is given back is one result of many, and it would go on with the next.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        root = name.partition(".")[0]
        one = any(name == module or name.startswith(f"{module}.") for module in _ONE_FIT)
        if root == "joblib" or (root == "sklearn" and not one):
            return True
        frame = frame.f_back
    return False
