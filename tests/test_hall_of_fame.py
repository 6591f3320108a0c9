"""The pool of formulas: duplicates, the front, scores, selection, the table and the guesses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from pysr_guess_oracle import validate_guess

from sr_transformer.expression import Expression
from sr_transformer.front.hall_of_fame import Candidate, HallOfFame

ARITHMETIC = frozenset("+-*/")


def candidate(text: str, loss: float, source: str = "transformer") -> Candidate:
    return Candidate(Expression.parse(text), loss, source)


def hall_of(*entries: tuple[str, float], **settings: object) -> HallOfFame:
    hall = HallOfFame(**settings)
    hall.extend(candidate(text, loss) for text, loss in entries)
    return hall


@pytest.fixture
def hall() -> HallOfFame:
    # Losses chosen so that each rule picks another row.
    return hall_of(
        ("3.0", 10.0),  # complexity 1
        ("x0 * x1", 0.5),  # 3: the steepest fall
        ("2.5 * x0 * x1", 0.02),  # 5
        ("2.5 * x0 * x1 + 1.5", 0.018),  # 7: the smallest loss
        ("x0 + x1", 4.0),  # no better than x0 * x1
        ("x0 * x0 * x1", 3.0),  # worse than a simpler one
    )


def test_front_is_strictly_better_with_every_step_of_complexity(hall):
    assert [c.complexity for c in hall] == [1, 3, 5, 7]
    assert [c.loss for c in hall] == [10.0, 0.5, 0.02, 0.018]


def test_scores_are_the_fall_of_log_loss_per_complexity(hall):
    expected = [0.0, np.log(10 / 0.5) / 2, np.log(0.5 / 0.02) / 2, np.log(0.02 / 0.018) / 2]
    assert hall.scores == pytest.approx(expected)


@pytest.mark.parametrize(("rule", "row"), [("best", 2), ("accuracy", 3), ("score", 2)])
def test_rules_select_as_pysr_does(hall, rule, row):
    assert hall.select(rule) == row


def test_best_ignores_high_scores_of_bad_formulas():
    hall = hall_of(
        ("3.0", 100.0), ("x0 * x1", 1.0), ("x0 * x1 + 1.5", 0.5), ("2.5 * x0 * x1 + 1.5", 0.45)
    )  # fmt: skip
    assert hall.select("score") == 1
    assert hall.select("best") == 2


def test_unknown_rule_is_named_with_the_allowed_ones(hall):
    with pytest.raises(ValueError, match=r"'nicest'.*'best', 'accuracy', 'score'"):
        hall.select("nicest")
    with pytest.raises(ValueError, match="model_selection"):
        HallOfFame(model_selection="nicest")


def test_selecting_from_an_empty_hall_says_so():
    with pytest.raises(ValueError, match="empty"):
        HallOfFame().select()
    assert repr(HallOfFame()) == "HallOfFame(empty)"
    assert len(HallOfFame()) == 0


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_non_finite_losses_stay_out(loss):
    hall = HallOfFame()
    assert not hall.add(candidate("x0", loss))
    assert hall.candidates == []


def test_same_formula_is_kept_once_and_the_first_finder_is_credited():
    hall = HallOfFame()
    assert hall.add(candidate("x0 + 2.0", 1.0, "transformer"))
    assert not hall.add(candidate("2.0 + x0", 1.0 - 1e-9, "pysr"))
    assert [c.source for c in hall] == ["transformer"]


def test_better_constants_of_the_same_formula_replace_the_worse():
    hall = HallOfFame()
    hall.add(candidate("x0 + 2.0", 1.0, "transformer"))
    assert hall.add(candidate("x0 + 2.5", 0.5, "pysr"))
    assert not hall.add(candidate("x0 + 3.0", 0.9, "pysr"))
    assert [(c.source, c.loss) for c in hall] == [("pysr", 0.5)]


def test_shorter_spelling_of_an_equally_good_formula_wins():
    hall = HallOfFame()
    hall.add(Candidate(Expression(["+", "x0", "*", "c", "x0"], [1.0]), 0.5, "pysr"))
    assert hall.add(Candidate(Expression(["*", "c", "x0"], [2.0]), 0.5, "pysr"))
    assert [c.complexity for c in hall.candidates] == [3]


def test_rounding_noise_never_wins_a_longer_formula():
    exact = [("x0 * x1", 3e-31), ("x0 * x1 + 1e-17", 0.0)]
    assert len(hall_of(*exact)) == 2
    assert len(hall_of(*exact, loss_floor=1e-30)) == 1


def test_score_of_a_zero_loss_is_infinite_without_a_floor():
    hall = hall_of(("1.0", 2.0), ("x0 * x1", 0.0))
    assert hall.scores == [0.0, np.inf]
    assert hall.select() == 1


def test_frame_has_a_row_for_each_formula_of_the_front(hall):
    frame = hall.to_frame()
    assert list(frame.columns) == [
        "complexity", "loss", "score", "equation", "sympy_format", "source",
    ]  # fmt: skip
    assert list(frame["loss"]) == [10.0, 0.5, 0.02, 0.018]
    for row, equation in zip(hall, frame["equation"], strict=True):
        assert Expression.parse(equation) == row.expression
    assert str(frame["sympy_format"][1]) == "x0*x1"


def test_frame_is_a_copy_and_follows_the_pool(hall):
    frame = hall.to_frame()
    frame.loc[0, "loss"] = -1.0
    assert hall.to_frame()["loss"][0] == 10.0
    hall.add(candidate("x1", 0.001))
    assert list(hall.to_frame()["complexity"]) == [1]


def test_very_long_formulas_get_no_sympy_form():
    symbols = ["sinh"] * 61 + ["x0"]
    hall = HallOfFame()
    hall.add(Candidate(Expression(symbols), 1.0, "pysr"))
    assert hall.to_frame()["sympy_format"][0] is None


def test_names_of_columns_are_used_everywhere():
    hall = hall_of(("x0 * x1", 1.0), variable_names=("mass", "speed of light"))
    assert "mass" in hall.to_frame()["equation"][0]
    assert "speed of light" in hall.to_frame()["equation"][0]
    assert "speed of light" in repr(hall)


def test_repr_marks_the_selected_row(hall):
    lines = [line for line in repr(hall).splitlines() if line.startswith(">>>>")]
    assert len(lines) == 1
    assert "0.02" in lines[0]


def test_hall_survives_pickle_and_copy(hall):
    hall.to_frame()
    for other in (pickle.loads(pickle.dumps(hall)), copy.deepcopy(hall)):
        assert other.front == hall.front
        assert repr(other) == repr(hall)


# --- guesses --------------------------------------------------------------------------------------
def test_ladder_takes_the_best_of_each_size_before_any_second_best(hall):
    texts = [c.expression.to_text() for c in hall.ladder(5)]
    assert texts[:4] == [c.expression.to_text() for c in hall]  # complexities 1, 3, 5, 7
    assert texts[4] == "x0 + x1"


def test_guesses_are_different_valid_and_in_the_operators_of_the_search(hall):
    hall.add(candidate("square(x0) * x1", 0.3))
    hall.add(candidate("sin(x1)", 0.2))
    guesses = hall.guesses(50, operators=ARITHMETIC)
    assert len(set(guesses)) == len(guesses) >= 4
    for guess in guesses:
        validate_guess(guess, operators=ARITHMETIC, variable_names=("x0", "x1"))
        assert "square" not in guess
        assert "sin" not in guess


def test_guesses_are_at_most_as_many_and_as_long_as_asked(hall):
    assert len(hall.guesses(2)) == 2
    assert all(len(Expression.parse(g).symbols) <= 3 for g in hall.guesses(maxsize=3))


@pytest.mark.parametrize("text", ["x0 / -inf", "cos(x0 + nan)", "inf"])
def test_non_finite_constants_stay_out(hall, text):
    before = hall.candidates
    assert not hall.add(candidate(text, 1e-9))
    hall.replace(hall.front[0], candidate(text, 1e-9))  # a fit that ran away
    assert hall.candidates == before


def test_guesses_use_the_names_that_pysr_will_see():
    hall = hall_of(("x0 * x1", 1.0), variable_names=("mass", "a"), operators=ARITHMETIC)
    for names in (None, ("p", "q")):
        (guess,) = hall.guesses(variable_names=names)
        assert Expression.parse(guess, names or ("mass", "a")) == hall[0].expression
