"""The vocabulary, the network and its checkpoints."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from sr_transformer.errors import CheckpointError, ExpressionError
from sr_transformer.expression import Expression, Operator
from sr_transformer.expression.language import ARITHMETIC
from sr_transformer.model.checkpoint import (
    WEIGHTS,
    embedded_checkpoints,
    load_model,
    save_model,
)
from sr_transformer.model.prompt import Prompt
from sr_transformer.model.transformer import PRESETS, Transformer, _SquaredReLU, attend
from sr_transformer.model.vocabulary import N_VARIABLES, Vocabulary
from sr_transformer.proposal.draw import NetworkSampler
from sr_transformer.proposal.grammar import Grammar

VOCABULARY = Vocabulary.of()
NUMBERS = np.flatnonzero(VOCABULARY.kind == Vocabulary.NUMBER)


# --- vocabulary -----------------------------------------------------------------------------------
def test_a_formula_reads_back_from_its_tokens():
    formula = Expression(["+", "*", "c", "sin", "x0", "^", "x9", "c"], [-3.0, 10.0])
    ids = VOCABULARY.encode(formula)
    assert ids[-1] == Vocabulary.EOS
    assert VOCABULARY.decode(ids) == formula
    assert VOCABULARY.decode([*ids, Vocabulary.PAD]) == formula


def test_every_operator_and_every_constant_token_reads_back():
    for name, operator in ARITHMETIC.operators.items():
        formula = Expression([name] + ["x1"] * operator.arity)
        assert VOCABULARY.decode(VOCABULARY.encode(formula)) == formula
    for token in NUMBERS:
        assert VOCABULARY.encode_constant(VOCABULARY.values[token]) == token


@pytest.mark.parametrize("value", [1.0, -1.0, 10.0, 100.0, 2.0, -9.0, 0.001])
def test_exact_constants_have_exact_tokens(value):
    token = VOCABULARY.encode_constant(value)
    assert VOCABULARY.values[token] == pytest.approx(value, rel=1e-12)


def test_a_constant_takes_the_nearest_bin_and_keeps_its_sign():
    rng = np.random.default_rng(0)
    for value in np.exp(rng.uniform(np.log(1e-3), np.log(1e3), 500)) * rng.choice([-1, 1], 500):
        nearest = VOCABULARY.values[VOCABULARY.encode_constant(value)]
        assert nearest * value > 0
        assert abs(np.log10(nearest / value)) <= 0.5 / 16 + 1e-9


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, 1e-3),
        (1e9, 1e3),
        (-1e9, -1e3),
        (1e-9, 1e-3),
        (float("inf"), 1e3),
        (2.0001, 10**0.3125),
    ],
)
def test_constants_out_of_range_take_the_end_bins(value, expected):
    assert VOCABULARY.values[VOCABULARY.encode_constant(value)] == pytest.approx(expected)


def test_the_arrays_describe_each_token():
    kind, arity, values = VOCABULARY.kind, VOCABULARY.arity, VOCABULARY.values
    assert len(kind) == len(arity) == len(values) == len(VOCABULARY) == len(set(VOCABULARY.tokens))
    assert len(NUMBERS) == 2 * (97 + 8)
    assert np.isfinite(values[kind == Vocabulary.NUMBER]).all()
    assert np.isnan(values[kind != Vocabulary.NUMBER]).all()
    for token, name in enumerate(VOCABULARY.tokens):
        if kind[token] == Vocabulary.OPERATOR:
            assert arity[token] == ARITHMETIC.operators[name].arity
        else:
            assert arity[token] == (-1 if kind[token] == Vocabulary.SPECIAL else 0)


def test_an_eleventh_variable_is_refused():
    with pytest.raises(ExpressionError, match=r"no token for 'x10'.* x8, x9\."):
        VOCABULARY.encode(Expression(["x10"]))


LOG10 = Operator(
    "log10", 1, np.log10, lambda v, a: (1.0 / (a * np.log(10.0)),), "log({0}, 10)", "np.log10({0})"
)
EVERY = frozenset(ARITHMETIC.operators)
EXTENDED = ARITHMETIC.extended("with log10", LOG10)


def test_a_list_of_tokens_tells_what_each_of_them_is():
    few = Vocabulary(("<pad>", "<bos>", "<eos>", "x0", "erf", "log10", "*", "2", "-0.00115478"))
    assert few.kind.tolist() == [0, 0, 0, 2, 4, 4, 1, 3, 3]
    assert few.values[8] == -(10.0 ** (-47 / 16))  # the bin, of which the token has six digits
    assert Vocabulary(few.tokens, EXTENDED).kind.tolist() == [0, 0, 0, 2, 4, 1, 1, 3, 3]
    formula = Expression(["*", "c", "log10", "x0"], [2.0], EXTENDED)
    assert Vocabulary(few.tokens, EXTENDED).decode([6, 7, 5, 3, 2]) == formula
    with pytest.raises(ExpressionError, match=r"no token for 'log10': the network knows x0, \*\."):
        few.encode(formula)


@pytest.mark.parametrize("tokens", [("x0", "+"), ("<pad>", "<bos>", "<eos>", "x0", "x0")])
def test_a_list_that_is_none_of_tokens_is_refused(tokens):
    with pytest.raises(CheckpointError, match="no token may occur twice"):
        Vocabulary(tokens)


def test_tokens_that_are_no_formula_are_refused():
    with pytest.raises(ExpressionError):
        VOCABULARY.decode([VOCABULARY.encode(Expression(["x0"]))[0]] * 2)


def test_soft_targets_spread_constants_over_their_neighbours_only():
    table = VOCABULARY.soft_targets(1.0)
    assert np.allclose(table.sum(axis=1), 1.0)
    moved = table != np.eye(len(VOCABULARY))
    assert not moved[: NUMBERS[0]].any()
    row = table[VOCABULARY.encode_constant(0.5)]
    assert 0.3 < row.max() < 0.6
    assert np.sign(VOCABULARY.values[row > 0]).min() == 1
    assert table[VOCABULARY.encode_constant(1.0)].max() == 1.0


# --- prompt ---------------------------------------------------------------------------------------
def test_a_prompt_holds_tables_of_different_widths():
    rng = np.random.default_rng(0)
    tables = [(rng.normal(size=(6, width)), rng.normal(size=6)) for width in (1, 3)]
    tables[1][0][2, 1] = 1e300
    prompt = Prompt.of(tables, 3)
    for rows, present, (X, y) in zip(*prompt, tables, strict=True):
        width = X.shape[1]
        with np.errstate(over="ignore"):
            assert np.array_equal(rows[:, :width], X.astype(np.float32))
        assert not rows[:, width:3].any()
        assert np.array_equal(rows[:, 3], y.astype(np.float32))
        assert present.tolist() == [k < width for k in range(3)]
    tensors = prompt.to("cpu")
    assert torch.equal(tensors.rows, torch.from_numpy(prompt.rows))
    assert tensors.present.dtype == torch.bool


# --- network --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Transformer(PRESETS["tiny"]).eval().requires_grad_(False)


def random_inputs(n_tables, n_rows, n_columns=3, n_tokens=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    table = torch.zeros(n_tables, n_rows, 11)
    table[:, :, :n_columns] = torch.randn(n_tables, n_rows, n_columns, generator=g)
    table[:, :, -1] = torch.randn(n_tables, n_rows, generator=g)
    mask = torch.zeros(n_tables, 10, dtype=torch.bool)
    mask[:, :n_columns] = True
    tokens = torch.randint(3, len(VOCABULARY), (n_tables, n_tokens), generator=g)
    tokens[:, 0] = Vocabulary.BOS
    return Prompt(table, mask), tokens


def test_presets_have_the_sizes_that_their_names_promise():
    sizes = {
        name: sum(p.numel() for p in Transformer(config).parameters()) / 1e6
        for name, config in PRESETS.items()
    }
    assert sizes["tiny"] < 0.3
    assert 2.5 < sizes["small"] < 4.5
    assert 9 < sizes["base"] < 16


@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_step_by_step_logits_equal_teacher_forced_ones_for_samples_of_one_table(preset):
    torch.manual_seed(1)
    network = Transformer(PRESETS[preset]).eval().requires_grad_(False)
    prompt, _ = random_inputs(1, 20)
    tokens = random_inputs(7, 1)[1]
    memory = network.encode(prompt)
    expected = network.decode(memory.expand(7, -1, -1), tokens)
    cache = network.start(memory, 7, max_length=tokens.shape[1])
    steps = [network.step(tokens[:, t], cache) for t in range(tokens.shape[1])]
    assert torch.allclose(torch.stack(steps, 1), expected, atol=1e-5)


def test_samples_can_be_dropped_and_doubled_while_the_others_go_on(network):
    prompt, tokens = random_inputs(5, 12)
    memory = network.encode(prompt)[:1]
    expected = network.decode(memory.expand(5, -1, -1), tokens)
    cache = network.start(memory, 5)
    alive = torch.arange(5)
    for t in range(tokens.shape[1]):
        for at, index in ((3, [4, 1]), (5, [0, 1, 0, 0, 1]), (6, [1, 2])):
            if t == at:
                alive = alive[index]
                cache.keep(torch.tensor(index))
        logits = network.step(tokens[alive, t], cache)
        if t < 5:
            assert torch.allclose(logits, expected[alive, t], atol=1e-5)
    assert torch.allclose(logits, expected[torch.tensor([1, 4]), -1], atol=1e-5)


def test_samples_of_several_tables_at_once_are_refused(network):
    memory = network.encode(random_inputs(2, 8)[0])
    with pytest.raises(ValueError, match="memory of 2 tables"):
        network.start(memory, 2)


def test_a_token_does_not_see_those_after_it(network):
    prompt, tokens = random_inputs(1, 8)
    changed = tokens.clone()
    changed[:, 5:] = 4
    a, b = network(prompt, tokens), network(prompt, changed)
    assert torch.equal(a[:, :5], b[:, :5])
    assert not torch.allclose(a[:, 5:], b[:, 5:])


def test_the_order_of_rows_does_not_matter(network):
    prompt, _ = random_inputs(2, 30)
    shuffled = prompt._replace(rows=prompt.rows[:, torch.randperm(30)])
    assert torch.allclose(network.encode(prompt), network.encode(shuffled), atol=1e-4)


@pytest.mark.parametrize("n_rows", [1, 2, 1000])
def test_any_number_of_rows_is_accepted(network, n_rows):
    memory = network.encode(random_inputs(1, n_rows)[0])
    config = PRESETS["tiny"]
    hints = N_VARIABLES + 1
    assert memory.shape == (1, config.n_latents + hints, config.encoder_width)
    assert memory.isfinite().all()


def test_what_stands_in_an_absent_column_does_not_matter(network):
    prompt, _ = random_inputs(1, 10, n_columns=2)
    other = prompt.rows.clone()
    other[:, :, 2:10] = 5.0
    assert torch.equal(network.encode(prompt), network.encode(prompt._replace(rows=other)))
    wider = prompt.present.clone()
    wider[:, 2] = True  # a column of zeros is not an absent one
    assert not torch.allclose(
        network.encode(prompt), network.encode(prompt._replace(present=wider))
    )


@pytest.mark.parametrize("value", [0.0, -0.0, 1e30, -1e30, 1e-45, float("inf"), float("nan"), 3e38])
def test_extreme_numbers_give_finite_logits_and_gradients(value):
    torch.manual_seed(0)
    network = Transformer(PRESETS["tiny"])
    prompt, tokens = random_inputs(1, 6)
    prompt.rows[:, :3] = value
    logits = network(prompt, tokens)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_the_bits_are_those_of_ieee_754(network):
    mask = torch.ones(1, 10, dtype=torch.bool)
    table = torch.full((1, 1, 11), 1.5)
    bits = network.encoder.features(Prompt(table, mask))[0, 0, 0, :32].flip(0)
    assert "".join("1" if b > 0 else "0" for b in bits) == f"{0x3FC00000:032b}"


def test_rows_are_read_as_by_cell_then_by_column(network):
    encoder = network.encoder
    features = encoder.features(random_inputs(3, 5)[0])
    expected = encoder.row(encoder.cell(features).flatten(2))
    assert torch.allclose(encoder.read_rows(features), expected, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_on_the_cpu_equals_the_fused_call(causal):
    q, k, v = torch.randn(3, 2, 4, 6, 8)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert torch.allclose(attend(q, k, v, causal=causal), expected, atol=1e-6)


def test_the_squared_relu_has_the_right_gradient():
    x = torch.randn(50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_SquaredReLU.apply, x)


# --- checkpoints ----------------------------------------------------------------------------------
@pytest.fixture
def saved(network, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(
        network, path, vocabulary=VOCABULARY, rows=64, preset="tiny", examples_seen=7,
        prior_version="1", validation={"loss": 2.0},
    )  # fmt: skip
    return path


def rewrite(path, **changes):
    """The same checkpoint with other metadata."""
    model = load_model(path, "cpu")
    text = {k: json.dumps(v) for k, v in (model.metadata | changes).items() if v is not None}
    save_file(load_file(path), path, metadata=text)


def test_a_saved_model_loads_with_its_metadata(network, saved):
    model = load_model(saved, "cpu")
    assert not model.network.training
    assert model.network.config == network.config
    assert model.metadata["examples_seen"] == 7
    assert model.metadata["validation"] == {"loss": 2.0}
    assert model.metadata["licence"] == "Apache-2.0"
    assert model.vocabulary.tokens == VOCABULARY.tokens
    assert (model.metadata["columns"], model.metadata["rows"]) == (10, 64)
    inputs = random_inputs(2, 8)
    assert torch.allclose(model.network(*inputs), network(*inputs), atol=0.02)
    assert next(model.network.parameters()).dtype == torch.float32


def test_loading_again_comes_from_memory_until_the_file_changes(network, saved):
    first = load_model(saved, "cpu")
    assert load_model(str(saved), "cpu") is first
    rewrite(saved, examples_seen=8)
    assert load_model(saved, "cpu").metadata["examples_seen"] == 8


def test_models_that_threads_load_at_once_leave_torchs_random_state(saved, monkeypatch):
    make, drawn = Transformer.__init__, threading.Event()
    paths = [saved.with_name(f"{i}.safetensors") for i in range(2)]

    def make_slowly(network, config):
        make(network, config)
        drawn.set()
        time.sleep(0.2)  # while the other thread begins

    for path in paths:
        path.write_bytes(saved.read_bytes())
    monkeypatch.setattr(Transformer, "__init__", make_slowly)
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(load_model, paths[0])
        assert drawn.wait(20)
        assert threads.submit(load_model, paths[1]).result() is not first.result()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere"):
        load_model(tmp_path / "nowhere.safetensors")


def test_a_damaged_checkpoint_is_named(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(saved, "cpu")


def test_a_file_of_others_is_refused(saved):
    save_file(load_file(saved), saved, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not written by `sr-transformer train`"):
        load_model(saved, "cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(saved, value):
    tensors = load_file(saved)
    tensors["layers.1.feed.out.weight"][2, 3] = value
    with safe_open(saved, framework="pt") as file:
        save_file(tensors, saved, metadata=file.metadata())
    with pytest.raises(CheckpointError, match=r"weights in layers\.1\.feed\.out\.weight"):
        load_model(saved, "cpu")


def test_the_index_names_the_embedded_files_and_says_what_they_are():
    index = embedded_checkpoints()
    assert "default" in index
    assert {entry["file"] for entry in index.values()} == {
        path.name for path in WEIGHTS.glob("*.safetensors")
    }
    for name, entry in index.items():
        content = (WEIGHTS / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert load_model(name, "cpu").metadata["examples_seen"] == entry["examples"]
        assert entry["for"]


def test_a_second_checkpoint_is_loaded_by_its_name(saved, monkeypatch):
    entry = {"file": saved.name, "for": "this test", "examples": 7}
    entry["sha256"] = hashlib.sha256(saved.read_bytes()).hexdigest()
    index = {**embedded_checkpoints(), "second": entry}
    (saved.parent / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr("sr_transformer.model.checkpoint.WEIGHTS", saved.parent)
    model = load_model("second", "cpu")
    assert model.path == saved
    assert model.metadata["examples_seen"] == 7
    with pytest.raises(CheckpointError, match=r"no checkpoint at third.*: default, second\."):
        load_model("third", "cpu")
    rewrite(saved, examples_seen=8)
    with pytest.raises(CheckpointError, match=f"sha256 of .* not {entry['sha256']}"):
        load_model("second", "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": "99"}, "file format '99'"),
        ({"config": None, "tokens": None}, "no config, tokens in its metadata"),
        ({"tokens": ["+", "x0"]}, "no token may occur twice"),
        ({"tokens": VOCABULARY.tokens[:-1]}, "do not fit"),
        ({"columns": 9}, "do not fit"),
        ({"config": {"width": 32}}, "do not fit"),
        ({"config": {"breadth": 32}}, "do not fit"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_model(saved, "cpu")


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_zeroed_or_cut_weights_are_refused(saved, place):
    content = saved.read_bytes()
    begin = int(place * len(content))
    for damaged in (content[:begin], content[:begin] + bytes(64) + content[begin + 64 :]):
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_model(saved, "cpu")


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(saved, device):
    with pytest.raises(ValueError, match=f"device is '{device}', which cannot be used"):
        load_model(saved, device)


def test_sizes_and_tokens_are_part_of_the_checkpoint(tmp_path):
    vocabulary = Vocabulary((*VOCABULARY.tokens[:20], "erf", *VOCABULARY.tokens[26:]))
    config = replace(
        PRESETS["tiny"], decoder_layers=1, n_latents=4, n_columns=3, n_tokens=len(vocabulary)
    )
    path = tmp_path / "other.safetensors"
    save_model(
        Transformer(config), path, vocabulary=vocabulary, rows=32, preset="tiny", examples_seen=0,
        prior_version="1", validation={},
    )  # fmt: skip
    model = load_model(path, "cpu")
    assert model.network.config == config
    assert model.vocabulary.tokens == vocabulary.tokens
    sampler = NetworkSampler(model)
    assert (sampler.n_columns, sampler.n_rows) == (3, 32)
    sampler.read(np.ones((5, 3)), np.ones(5))
    drawn = sampler.draw(64, EVERY | {"erf"}, 9, 1.0, np.random.RandomState(0))
    assert drawn.total() == 64  # of an untrained network, and none with "erf"


def test_an_operator_that_came_after_a_checkpoint_is_not_drawn_and_harms_nothing():
    model = load_model("default", "cpu")
    assert len(Vocabulary.of(EXTENDED)) == len(model.vocabulary) + 1
    X = np.random.default_rng(0).uniform(1.0, 5.0, (40, 2))
    drawn = []
    for vocabulary in (model.vocabulary, Vocabulary(model.vocabulary.tokens, EXTENDED)):
        sampler = NetworkSampler(replace(model, vocabulary=vocabulary))
        sampler.read(X, X[:, 0] * np.log10(X[:, 1]))
        drawn.append(sampler.draw(256, EVERY | {"log10"}, 20, 1.5, np.random.RandomState(0)))
    before, after = drawn
    assert {(e.symbols, e.constants): n for e, n in before.items()} == {
        (e.symbols, e.constants): n for e, n in after.items()
    }
    assert {e.language for e in after} == {EXTENDED}
    # One of the new language's own operators can be written where there is a token for it.
    grammar = Grammar(Vocabulary.of(EXTENDED), EVERY | {"log10"}, 2, 20, 1)
    assert grammar.allowed()[0, Vocabulary.of(EXTENDED).tokens.index("log10")]
