"""Numbers that are allowed, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest

from sr_transformer.limits import check_positive, check_seed, check_whole


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_whole_numbers_in_range_pass(value):
    check_whole("n", value)
    check_whole("n", value, 1, 7)


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (8, ValueError), (1.0, TypeError), (True, TypeError),
     ("1", TypeError), (None, TypeError), (float("nan"), TypeError)],
)  # fmt: skip
def test_others_are_refused_with_what_is_allowed(value, error):
    with pytest.raises(error, match=r"^n is .*from 1 to 7"):
        check_whole("n", value, 1, 7)


def test_a_seed_is_one_that_every_generator_takes():
    for seed in (0, 2**32 - 1):
        check_seed(seed)
        np.random.RandomState(seed)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="from 0 to 4294967295"):
            check_seed(seed)


@pytest.mark.parametrize(
    ("value", "keywords", "allowed"),
    [
        (1e-9, {}, True), (3, {}, True), (np.float32(2), {}, True), (0.0, {}, False),
        (-1.0, {}, False), (float("nan"), {}, False), (float("inf"), {}, False),
        (0.0, {"or_zero": True}, True), (-1e-9, {"or_zero": True}, False),
        (float("inf"), {"or_infinite": True}, True),
        (float("nan"), {"or_zero": True, "or_infinite": True}, False),
    ],
)  # fmt: skip
def test_positive_numbers_are_finite_unless_said(value, keywords, allowed):
    if allowed:
        check_positive("x", value, **keywords)
    else:
        with pytest.raises(ValueError, match=r"^x is .*it must be (above|at least) 0"):
            check_positive("x", value, **keywords)


@pytest.mark.parametrize("value", ["1", None, True, 1j])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="must be a number"):
        check_positive("x", value)
