"""What PySR is offered as a guess: nothing that was seen to break its fit, or to be of no use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysr_guess_oracle import GuessError, GuessRules, validate_guess
from strategies import BINARY, UNARY, formulas, random_table

from sr_transformer.errors import ExpressionError, SRTransformerError
from sr_transformer.expression import Expression, guess

# --- the oracle ----------------------------------------------------------------------------------
OPERATORS = (
    "+", "-", "*", "/", "^", "neg", "exp", "cos", "square", "abs", "max", "log", "sqrt",
)  # fmt: skip
NAMES = ("x0", "x1", "x2")
RULES = GuessRules(OPERATORS, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "1e-5", "1E-5", "1e-05", "1e+16", ".5", "3", "2x0", "2x0^2", "-0.4 + x0", "x0 + -0.4",
        "(-0.4)", "x0+x1+x2", "x0 - x1 - x2", "x0 ^ -0.5", "(-1.0 * x0)", "0.0 - x0", "neg(x0)",
        "exp(neg(x0))", "max(x0, 1.0)", "((x0))", "square(x0) / sqrt(abs(x1))", "0.0",
    ],
)  # fmt: skip
def test_what_pysr_was_seen_to_accept_passes(text):
    validate_guess(text, RULES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sin(x0)", "'sin' is not enabled"),
        ("cube(x0)", "'cube' is not enabled"),
        ("x0**2", r"use \^"),
        ("5.*x0", "ambiguous"),
        ("1e400", "overflows"),
        ("1e39", "overflows in 32 bits"),
        ("1e-400", "underflows"),
        ("x0.^2", "no operator"),
        ("3//2", "no operator"),
        ("pow(x0, 2)", r"use \^"),
        ("pi * x0", "3.14159"),
        ("E * x0", "2.71828"),
        ("Abs(x0)", "use abs"),
        ("Max(x0, x1)", "use max"),
        ("np.sin(x0)", "without a module"),
        ("-x0", "minus sign"),
        ("-(0.4)", "minus sign"),
        ("-cos(x0)", "minus sign"),
        ("exp(-x0)", "minus sign"),
        ("-x0^2", "minus sign"),
        ("-2.0^x0", "minus sign"),
        ("-2x0", "minus sign"),
        ("- 0.4", "minus sign"),
        ("3 - -x0", "minus sign"),
        ("x_0", "no variable"),
        ("x3", "no variable"),
        ("mass", "variables are: x0, x1, x2"),
        ("#1", "'#'"),
        ("+x0", "not expected"),
        ("2(x0)", "misses an operator"),
        ("x0 x1", "not expected"),
        ("1/2x0", r"write the \*"),
        ("0x0", "hexadecimal"),
        ("exp (x0)", "space"),
        ("max(x0, x1, x2)", "takes 2"),
        ("max(x0)", "takes 2"),
        ("x0(x1)", "called like a function"),
        ("x0 = 1", "not expected"),
        ("x0\n+ x1", "single line"),
        ("(x0", "missing"),
        ("x0)", "not expected"),
        ("", "ends"),
        ("x0 +", "ends"),
        ("9223372036854775808", "too long"),
        ("(" * 3000 + "x0" + ")" * 3000, "nested too deeply"),
    ],
)
def test_what_breaks_a_fit_is_refused(text, reason):
    with pytest.raises(GuessError, match=reason):
        validate_guess(text, RULES)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [("x0^2", "+ *"), ("x0 - x1", "+ *"), ("2x0", "+ ^"), ("x0 + -1.0", "*"), ("neg(x0)", "+ -")],
)
def test_each_operator_must_be_enabled(text, enabled):
    with pytest.raises(GuessError, match="is not enabled"):
        validate_guess(text, GuessRules(enabled.split(), NAMES))


def test_operators_defined_inline_are_refused():
    with pytest.raises(GuessError, match="inline"):
        validate_guess("inv(x0)", GuessRules(["+", "inv(x) = 1/x"], NAMES))
    validate_guess("inv(x0)", GuessRules(["+", "inv"], NAMES))


def test_operators_of_unknown_meaning_are_refused():
    with pytest.raises(GuessError, match="unknown"):
        validate_guess("gamma(x0)", GuessRules(["gamma"], NAMES))
    validate_guess("sign(x0) + floor(x1)", GuessRules(["+", "sign", "floor"], NAMES))


def test_variables_go_by_the_names_of_the_fit():
    rules = GuessRules(OPERATORS, ["mass", "x_0"])
    validate_guess("mass * x_0", rules)
    with pytest.raises(GuessError, match="mass, x_0"):
        validate_guess("x0", rules)


def test_a_guess_is_a_string():
    with pytest.raises(GuessError, match="got float"):
        validate_guess(1.0, RULES)


@pytest.mark.parametrize(
    ("text", "limits", "reason"),
    [
        ("x0 + x1 + x2", {"maxsize": 4}, "complexity is 5"),
        ("2x0", {"maxsize": 2}, "complexity is 3"),
        ("exp(x0)", {"maxsize": 2, "complexity_of_operators": {"exp": 2}}, "complexity is 3"),
        ("x0 + 1.0", {"maxsize": 3, "complexity_of_constants": 2}, "complexity is 4"),
        ("x0 + x1", {"maxsize": 3, "complexity_of_variables": [1, 2, 1]}, "complexity is 4"),
        ("exp(exp(x0))", {"maxdepth": 2}, "depth is 3"),
        ("exp(x0 + x1)", {"constraints": {"exp": 2}}, "allow 2"),
        ("x0 ^ (x0 + x1)", {"constraints": {"^": (-1, 1)}}, "allow 1"),
        ("x0 ^ (x0 + x1)", {"constraints": {"pow": (-1, 1)}}, "allow 1"),
        ("x0 * (x0 + x1)", {"constraints": {"*": (1, -1)}}, "allow 1"),
        ("exp(exp(x0))", {"nested_constraints": {"exp": {"exp": 0}}}, "nested 1 deep"),
        ("exp(1.0 + cos(x0))", {"nested_constraints": {"exp": {"cos": 0}}}, "'cos' is nested"),
    ],
)
def test_what_a_search_leaves_out_is_refused(text, limits, reason):
    validate_guess(text, RULES)
    with pytest.raises(GuessError, match=reason):
        validate_guess(text, GuessRules(OPERATORS, NAMES, **limits))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("exp(x0 + x1)", {"constraints": {"exp": 3}, "maxsize": 4, "maxdepth": 3}),
        ("(x0 + x1) ^ 2", {"constraints": {"^": (-1, 1)}}),
        ("exp(x0) + exp(x1)", {"nested_constraints": {"exp": {"exp": 0}}}),
        ("exp(cos(x0))", {"nested_constraints": {"exp": {"cos": 1}}}),
    ],
)
def test_what_keeps_the_limits_passes(text, limits):
    validate_guess(text, GuessRules(OPERATORS, NAMES, **limits))


X = np.array([[1.0, 2.0, 100.0], [-1.0, 3.0, 1.0]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("log(x0)", "not finite on 1 of 2"),
        ("1.0 / (x0 - 1.0)", "not finite on 1 of 2"),
        ("exp(x2)", "32 bits"),
        ("x0 ^ 2", "base of"),
        ("cos(x1) ^ 2.0", "base of"),
    ],
)
def test_guesses_that_are_useless_on_the_table_are_refused(text, reason):
    validate_guess(text, RULES)
    with pytest.raises(GuessError, match=reason):
        validate_guess(text, RULES, X)


def test_guesses_that_are_finite_on_the_table_pass():
    for text in ("x0 * x0", "x1 ^ 0.5", "exp(x1) / x0", "2.5"):
        validate_guess(text, RULES, X)
    validate_guess("exp(x2)", GuessRules(OPERATORS, NAMES, precision=64), X)


# One case for each way in which the real engine was seen to stumble over a guess, or to waste it.
BROKEN = {
    "operator that is not enabled": (["sin(x1)", "x1 ^ 2"], "operator not enabled", {}),
    "power as in Python": (["x1**2"], "malformed", {}),
    "Julia's dots, fractions and overflow": (["5.*x1", "x1.^2", "3//2"], "malformed", {}),
    "number that is too large": (["1e400", "1e39"], "number out of range", {}),
    "names from Python and SymPy": (
        ["pow(x1, 2)", "pi", "E", "Abs(x1)", "Max(x1, x2)", "np.sin(x1)"], "malformed", {},
    ),
    "minus before something else than a number": (
        ["-x1", "-(0.4)", "-cos(x1)", "exp(-x1)", "-x1^2", "-2.0^x1"], "malformed", {},
    ),
    "operator defined inline": (
        ["inv(x1)"], "operator not enabled", {"operators": ["+", "*", "inv(x) = 1/x"]},
    ),
    "x0 where columns have names": (
        ["x0"], "unknown variable", {"variable_names": ["a", "x1", "x2"]},
    ),
    "column that does not exist": (["x_0", "x3"], "unknown variable", {}),
    "argument of a template": (["#1"], "malformed", {}),
    "larger than maxsize": (["x1 + x1 + x1"], "larger than maxsize", {"maxsize": 4}),
    "against constraints": (["exp(x1 + x2)"], "against constraints", {"constraints": {"exp": 1}}),
    "against nested_constraints": (
        ["exp(exp(x1))"], "against nested_constraints",
        {"nested_constraints": {"exp": {"exp": 0}}},
    ),
    "deeper than maxdepth": (["exp(x1 * x2)"], "deeper than maxdepth", {"maxdepth": 2}),
    "not finite on the table": (["x1 / (x1 - x1)"], "not finite on the table", {}),
    "negative base of a power": (["(x1 * -1.0) ^ 2.0"], "negative base of ^", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_stumbles_has_its_reason(case):
    texts, reason, changes = BROKEN[case]
    operators = ("+", "-", "*", "/", "neg", "exp", "cos")
    if case == "negative base of a power":
        operators += ("^",)
    rules = GuessRules(**{"operators": operators, "variable_names": NAMES, **changes})
    for text in texts:
        with pytest.raises(GuessError) as refused:
            validate_guess(text, rules, X)
        assert refused.value.reason == reason


def test_settings_can_be_given_without_rules():
    validate_guess("x0", operators=["+"], variable_names=["x0"], maxsize=1)
    with pytest.raises(SRTransformerError):
        validate_guess("x0 + x0", operators=["+"], variable_names=["x0"], maxsize=1)


# --- the package's own check ----------------------------------------------------------------------
def written(formulas: list[str], X: np.ndarray | None = None, **rules: object) -> tuple:
    """Texts that are accepted, and reasons of the others."""
    expressions = [Expression.parse(text) for text in formulas]
    accepted, refused = guess.written_guesses(expressions, guess.GuessRules(**rules), X)
    return list(accepted), dict(refused)


@pytest.mark.parametrize(
    ("bad", "reason", "rules"),
    [
        ("sin(x1)", "operator not enabled", {"operators": "+*"}),
        ("inv(x1)", "operator not enabled", {"operators": ["+", "*", "inv(x) = 1/x"]}),
        ("inv(x1)", "operator not enabled", {"operators": ["+", "*", "inv", "inv(x) = 1/x"]}),
        ("x1 * x0", "column not among select_k_features", {"columns": (1, 2)}),
        ("x1 * 1e39", "number out of range", {}),
        ("x1 * 1e-46", "number out of range", {}),
        ("x1 * 7e4", "number out of range", {"precision": 16}),
        ("x1 * inf", "number out of range", {"precision": 64}),
        ("x1 + nan", "number out of range", {"precision": 64}),
        ("x1 + x1 + x1", "larger than maxsize", {"maxsize": 4}),
        ("x1 + 1.5", "larger than maxsize", {"maxsize": 4, "complexity_of_constants": 3}),
        ("x1 + x0", "larger than maxsize", {"maxsize": 4, "complexity_of_variables": [3, 1, 1]}),
        ("exp(x1)", "larger than maxsize", {"maxsize": 4, "complexity_of_operators": {"exp": 4}}),
        ("exp(x1 * x2)", "deeper than maxdepth", {"maxdepth": 2}),
        ("exp(x1 + x2)", "against constraints", {"constraints": {"exp": 1}}),
        ("x1 * (x1 + x2)", "against constraints", {"constraints": {"mult": (1, 1)}}),
        ("x1 * (x1 + x2)", "against constraints", {"constraints": {"*": (1, -1)}}),
        (
            "exp(x1 + exp(x1))", "against nested_constraints",
            {"nested_constraints": {"exp": {"exp": 0}}},
        ),
        ("x1 / (x1 - x1)", "not finite on the table", {}),
        ("exp(x0 * 100.0)", "not finite on the table", {}),
        ("(x1 * -1.0) ^ 2.0", "negative base of ^", {}),
        ("x1 + x2", "same as another", {}),
    ],
)  # fmt: skip
def test_what_stumbles_is_left_out_and_counted_and_the_rest_stays(bad, reason, rules):
    rules = {"operators": ["+", "-", "*", "/", "^", "exp"], "variable_names": NAMES, **rules}
    accepted, refused = written(["x1 + x2", bad, "x2 * x1"], X, **rules)
    assert accepted == ["(x1 + x2)", "(x2 * x1)"]
    assert refused == {reason: 1}


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("exp(x0 + x1)", {"constraints": {"exp": 3}, "maxsize": 4, "maxdepth": 3}),
        ("(x0 + x1) ^ 2.0", {"constraints": {"^": (-1, 1)}}),
        ("(x0 + x1) * x0", {"constraints": {"*": (1, -1)}}),
        ("exp(x0 + x1)", {"nested_constraints": {"exp": {"exp": 0}}}),
        ("exp(cos(x0))", {"nested_constraints": {"exp": {"cos": 1}}}),
    ],
)
def test_what_keeps_the_limits_is_written(text, limits):
    assert written([text], operators=OPERATORS, **limits)[1] == {}


def test_guesses_are_written_in_the_operators_and_names_of_the_search():
    accepted, refused = written(
        ["square(x0)", "x0 * x0", "2.0 * x1"], operators=["*", "clamp"], variable_names=["a", "b"]
    )
    assert accepted == ["(a * a)", "(2.0 * b)"]
    assert refused == {"same as another": 1}
    with pytest.raises(ExpressionError, match="names"):
        written(["x1"], operators=[], variable_names=["a"])


RAW_NAMES = ("mass", "semi-major axis", "sin", "N", "x0", "x1", "lambda", "end", "αβ", "1st", "a b",
             "a-b", "relu", "", "_", "é", "np", "e")  # fmt: skip
LIMITS = st.fixed_dictionaries(
    {
        "operators": st.sets(st.sampled_from(BINARY + UNARY), min_size=4),
        "variable_names": st.lists(st.sampled_from(RAW_NAMES), min_size=3, max_size=3, unique=True),
    },
    optional={
        "maxsize": st.integers(1, 15),
        "maxdepth": st.integers(1, 6),
        "constraints": st.fixed_dictionaries(
            {},
            optional={
                "exp": st.integers(-1, 4),
                **{
                    name: st.tuples(st.integers(-1, 4), st.integers(-1, 4))
                    for name in ("*", "plus", "^", "pow", "max")
                },
            },
        ),
        "nested_constraints": st.dictionaries(
            st.sampled_from(["exp", "+", "abs"]),
            st.dictionaries(st.sampled_from(["exp", "*", "cos"]), st.integers(0, 2)),
        ),
        "complexity_of_operators": st.dictionaries(
            st.sampled_from(BINARY + UNARY), st.sampled_from([0, 1, 2, 0.5, 3.25])
        ),
        "complexity_of_constants": st.sampled_from([0, 1, 2, 0.75]),
        "complexity_of_variables": st.sampled_from([2, 0.25, [1, 2, 3]]),
        "precision": st.sampled_from([16, 32, 64]),
    },
)


@settings(max_examples=500, deadline=None)
@given(formulas(constants=st.floats()), LIMITS, st.booleans())
def test_the_check_of_formulas_agrees_with_the_strict_reader_of_their_texts(formula, limits, tried):
    limits["variable_names"] = guess.pysr_names(limits["variable_names"])
    table = random_table(np.random.default_rng(0)) if tried else None
    rules = guess.GuessRules(**limits)
    formula = formula.lower(rules.operators) or formula
    reason = guess.refusal(formula, rules, table)
    if all(map(np.isfinite, formula.constants)):
        text = formula.to_pysr(rules.variable_names)
        found = None
        try:
            validate_guess(text, GuessRules(**limits), table)
        except GuessError as error:
            found = error.reason
        # The reader stops at the first thing that is wrong in the text.
        both = {"operator not enabled", "number out of range"}
        assert found == reason or {found, reason} == both, text
    else:
        assert reason in ("number out of range", "operator not enabled")
    # And so does whatever is written.
    accepted, refused = guess.written_guesses([formula], rules, table)
    assert len(accepted) + refused.total() == 1
    for text, meant in accepted.items():
        validate_guess(text, GuessRules(**limits), table)
        assert Expression.parse(text, rules.variable_names) == meant
