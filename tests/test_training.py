"""Training: data, schedule, the loop, and what a kill leaves behind."""

from __future__ import annotations

import csv
import errno
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sr_transformer.errors import CheckpointError, DamagedStateWarning
from sr_transformer.model.checkpoint import load_model, save_model
from sr_transformer.model.transformer import PRESETS, Transformer
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.prior.stream import ExampleStream
from sr_transformer.training import loop
from sr_transformer.training.config import TrainingConfig
from sr_transformer.training.data import DataConfig, collate, feed, make_chunk, validation_batches
from sr_transformer.training.loop import export, train
from sr_transformer.training.objective import Objective, to_tensors, validate
from sr_transformer.training.schedule import Schedule
from sr_transformer.training.speed import measure_speed
from sr_transformer.training.state import read_state

VOCABULARY = Vocabulary.of()
DATA = DataConfig(
    batch_size=16, row_counts=(8, 12), row_weights=(0.5, 0.5), group_size=32, groups=2
)
QUICK = {
    "preset": "tiny", "data": DATA, "device": "cpu", "warm_up": 64, "log_every": 2,
    "validate_every": 8, "validation_examples": 32,
}  # fmt: skip


def same(a, b):
    return all(
        np.array_equal(x, y)
        for x, y in zip((*a.prompt, a.tokens), (*b.prompt, b.tokens), strict=True)
    )


def read_log(directory):
    with open(directory / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- data -----------------------------------------------------------------------------------------
def test_a_batch_holds_its_examples():
    examples = ExampleStream(1).batch(20, 9)
    batch = collate(examples, VOCABULARY)
    assert batch.prompt.rows.shape == (20, 9, 11)
    for rows, present, tokens, (X, y, formula) in zip(
        *batch.prompt, batch.tokens, examples, strict=True
    ):
        assert np.allclose(rows[:, present.nonzero()[0]], X)
        assert np.allclose(rows[:, 10], y)
        assert VOCABULARY.decode(tokens).symbols == formula.symbols


def test_a_chunk_depends_on_its_seed_and_number_alone():
    first = make_chunk(3, 5, DATA, VOCABULARY)
    assert len(first) == DATA.batches_per_chunk
    assert all(same(a, b) for a, b in zip(first, make_chunk(3, 5, DATA, VOCABULARY), strict=True))
    for other in (make_chunk(3, 6, DATA, VOCABULARY), make_chunk(4, 5, DATA, VOCABULARY)):
        assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_batches_of_a_group_are_sorted_so_that_little_is_padding():
    config = replace(DATA, group_size=256, groups=1)
    filled = [(batch.tokens > 0).mean() for batch in make_chunk(0, 0, config, VOCABULARY)]
    assert np.mean(filled) > 0.85


@pytest.mark.parametrize(("n_workers", "first_batch"), [(1, 0), (2, 6)])
def test_workers_give_the_batches_in_order_from_any_place(n_workers, first_batch):
    expected = [batch for k in range(4) for batch in make_chunk(0, k, DATA, VOCABULARY)]
    with closing(feed(0, DATA, VOCABULARY, first_batch=first_batch, n_workers=n_workers)) as feeder:
        for batch in expected[first_batch:]:
            assert same(next(feeder), batch)


def test_ranks_have_chunks_of_their_own():
    with closing(feed(0, DATA, VOCABULARY, rank=1, n_ranks=3)) as feeder:
        for chunk in (1, 4):
            for batch in make_chunk(0, chunk, DATA, VOCABULARY, 3):
                assert same(next(feeder), batch)


def test_ranks_do_not_wait_for_each_other_because_of_longer_tables():
    config = replace(DATA, groups=8)
    ranks = [make_chunk(0, k, config, VOCABULARY, 3) for k in (3, 4, 5)]
    n_rows = [[batch.prompt.rows.shape[1] for batch in batches] for batches in ranks]
    assert n_rows[0] == n_rows[1] == n_rows[2]
    assert len(set(n_rows[0])) > 1
    assert not same(ranks[0][0], ranks[1][0])


def test_a_killed_worker_is_replaced_and_nothing_is_lost():
    expected = [batch for k in range(6) for batch in make_chunk(0, k, DATA, VOCABULARY)]
    others = set(multiprocessing.active_children())
    with closing(feed(0, DATA, VOCABULARY)) as feeder:
        for i, batch in enumerate(expected):
            if i in (3, 9):
                (worker,) = set(multiprocessing.active_children()) - others
                worker.kill()
                worker.join()
            assert same(next(feeder), batch)
    assert set(multiprocessing.active_children()) <= others


def test_an_error_in_a_worker_is_shown():
    impossible = replace(DATA, row_counts=(-1, -1))
    with (
        closing(feed(0, impossible, VOCABULARY)) as feeder,
        pytest.raises(RuntimeError, match=r"failed on chunk 0(.|\n)*Traceback"),
    ):
        next(feeder)


# --- objective ------------------------------------------------------------------------------------
def test_figures_of_the_objective_are_those_of_a_validation():
    network = Transformer(PRESETS["tiny"])
    batches = validation_batches(32, 32, VOCABULARY)
    prompt, read, targets = to_tensors(batches[0], torch.device("cpu"))
    _, figures = Objective(VOCABULARY, torch.device("cpu"))(network(prompt, read), targets)
    loss, right, n_symbols, _ = figures.tolist()
    found = validate(network, VOCABULARY, batches, torch.device("cpu"))
    assert loss / n_symbols == pytest.approx(found["loss"], rel=1e-5)
    assert right / n_symbols == pytest.approx(found["token_accuracy"], rel=1e-5)


def test_the_objective_forgives_a_neighbouring_constant_more_than_a_distant_one():
    target = VOCABULARY.encode_constant(2.1)
    logits = torch.zeros(3, 1, len(VOCABULARY))
    for row, place in enumerate((target, target + 1, target + 40)):
        logits[row, 0, place] = 5.0
    objective = Objective(VOCABULARY, torch.device("cpu"))
    exact, near, far = (float(objective(row[None], torch.tensor([[target]]))[0]) for row in logits)
    assert exact < near < far


# --- schedule -------------------------------------------------------------------------------------
def test_the_rate_rises_stays_and_falls():
    schedule = Schedule(peak=1.0, warm_up=100, end=1000, cool_down_share=0.2)
    assert schedule.rate(0, 0) == pytest.approx(0.01)
    assert schedule.rate(100, 100) == schedule.rate(700, 700) == 1.0
    assert not schedule.is_due(799)
    assert schedule.is_due(800)
    schedule.begin_cool_down(800)
    rates = [schedule.rate(x, x) for x in range(800, 1001, 20)]
    assert rates[0] == 1.0
    assert rates[-1] == 0.0
    assert all(np.diff(rates) < 0)
    assert schedule.is_finished(1000)
    assert not schedule.is_finished(999)


def test_a_cool_down_may_begin_early_and_keeps_its_share_of_the_run():
    schedule = Schedule(peak=1.0, warm_up=1, end=1000, cool_down_share=0.2)
    schedule.begin_cool_down(400)
    assert schedule.cool_down_until == pytest.approx(500)
    restored = Schedule(1.0, 1, 1000, 0.2, **schedule.state())
    assert restored.rate(450, 450) == schedule.rate(450, 450)


# --- the loop -------------------------------------------------------------------------------------
def test_training_lowers_the_loss_and_leaves_a_model_and_a_log(tmp_path):
    seen = []
    path = train(
        tmp_path, **QUICK, max_examples=1280, learning_rate=4e-3, report=lambda p: seen.append(p)
    )
    rows = read_log(tmp_path)
    assert [int(row["step"]) for row in rows] == [*range(2, 81, 2), 80]
    assert float(rows[-1]["validation_loss"]) < float(rows[3]["validation_loss"]) - 1.0
    assert float(rows[0]["learning_rate"]) < float(rows[10]["learning_rate"])
    assert float(rows[-1]["learning_rate"]) == 0.0
    waits = [float(row["data_wait"]) for row in rows]
    assert all(0.0 <= wait <= 1.0 for wait in waits)
    assert waits[0] > 0.0  # the worker had to start
    assert seen[-1].finished
    assert seen[-1].fraction == 1.0
    model = load_model(path, "cpu")
    assert model.metadata["examples_seen"] == 1280
    assert model.metadata["preset"] == "tiny"
    figures = validate(
        model.network, VOCABULARY, validation_batches(32, 16, VOCABULARY), torch.device("cpu")
    )
    assert figures["loss"] == pytest.approx(model.metadata["validation"]["loss"], abs=0.01)
    copy = load_model(export(tmp_path, tmp_path / "copy.safetensors"), "cpu")
    assert copy.metadata == model.metadata


def test_a_run_leaves_torchs_threads_and_random_state_as_they_were(tmp_path):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    train(tmp_path, **QUICK, max_examples=32, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_finished_run_given_more_goes_on_from_before_its_cool_down(tmp_path):
    train(tmp_path / "a", **QUICK, max_examples=160)
    train(tmp_path / "a", **QUICK, max_examples=320)
    train(tmp_path / "b", **QUICK, max_examples=320)
    a, b = (load_file(tmp_path / run / "model.safetensors") for run in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert [row["loss"] for row in read_log(tmp_path / "a")] == [
        row["loss"] for row in read_log(tmp_path / "b")
    ]


def test_a_finished_run_given_no_more_stays_as_it_is(tmp_path, monkeypatch):
    path = train(tmp_path, **QUICK, max_examples=160)
    before = load_file(path)
    # The precision is that of the run, whatever a measurement would say now.
    monkeypatch.setattr(loop, "fastest_precision", lambda accelerator: "64-true")
    after = load_file(train(tmp_path, **QUICK, max_examples=160))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_file_named_cool_down_ends_a_run_soon(tmp_path):
    def ask(progress):
        if progress.row["step"] == 20:
            (tmp_path / "cool-down").touch()

    train(tmp_path, **QUICK, max_examples=100_000, report=ask)
    last = read_log(tmp_path)[-1]
    assert 20 < int(last["step"]) < 30
    assert float(last["learning_rate"]) == 0.0
    assert not (tmp_path / "cool-down").exists()


def test_a_run_of_minutes_ends_in_time_and_cooled_down(tmp_path):
    train(tmp_path, **QUICK, minutes=0.02)
    last = read_log(tmp_path)[-1]
    assert 1.2 <= float(last["seconds"]) < 4.2
    assert float(last["learning_rate"]) == 0.0


def test_a_directory_with_another_run_is_refused(tmp_path):
    train(tmp_path, **QUICK, max_examples=32)
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(tmp_path, **QUICK, max_examples=32, resume=False)
    with pytest.raises(CheckpointError, match="preset 'tiny', not 'small'"):
        train(tmp_path, **(QUICK | {"preset": "small"}), max_examples=32)
    (tmp_path / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(tmp_path, **QUICK, max_examples=32)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no preset 'huge'"):
        train(tmp_path, "huge")
    with pytest.raises(CheckpointError, match="'auto', 'cpu' and 'cuda'"):
        train(tmp_path, "tiny", device="abacus")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"minutes": math.nan}, "minutes is nan; it must be above 0 and finite"),
        ({"minutes": -1}, "minutes is -1; it must be above 0"),
        ({"minutes": 0.0}, "minutes is 0.0; it must be above 0"),
        ({"minutes": math.inf}, "minutes is inf; it must be above 0 and finite"),
        ({"max_examples": 0}, "max_examples is 0; it must be at least 1"),
        ({"workers": 0}, "workers is 0; it must be at least 1"),
        ({"workers": -1}, "workers is -1; it must be at least 1"),
        ({"processes": 0}, "processes is 0; it must be at least 1"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296; it must be from 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"warm_up": -1}, "warm_up is -1; it must be at least 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"validate_every": 0}, "validate_every is 0"),
        ({"validation_examples": 0}, "validation_examples is 0"),
        ({"checkpoint_seconds": math.nan}, "checkpoint_seconds is nan"),
        ({"processes": 99, "device": "cuda"}, "99 processes need as many GPUs"),
    ],
)
def test_numbers_that_are_not_allowed_are_refused_before_anything_starts(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        train(tmp_path / "run", **(QUICK | settings))
    assert not (tmp_path / "run").exists()


# --- what happens to a run's folder ---------------------------------------------------------------
@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 320 examples with its last two states."""
    directory = tmp_path_factory.mktemp("finished")
    train(directory, **QUICK, max_examples=160)
    train(directory, **QUICK, max_examples=320)
    return directory


@pytest.fixture
def torn(finished, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def zeroed(content, place, n_bytes):
    begin = int(place * (len(content) - n_bytes))
    return content[:begin] + bytes(n_bytes) + content[begin + n_bytes :]


def test_a_state_with_bytes_zeroed_or_cut_is_refused_or_the_same(finished, tmp_path):
    content, path = (finished / "checkpoint.pt").read_bytes(), tmp_path / "checkpoint.pt"
    sound = read_state(finished / "checkpoint.pt")
    rng = np.random.default_rng(0)
    n_refused = 0
    for n_bytes in (1, 16, 512, 4096, 65_536):
        for place in rng.uniform(size=4):
            path.write_bytes(zeroed(content, place, n_bytes))
            try:
                found = read_state(path)
            except CheckpointError:
                n_refused += 1
                continue
            for part in ("model", "average"):  # the bytes were zero already, or padding
                assert all(torch.equal(found[part][k], sound[part][k]) for k in sound[part])
    assert n_refused > 12
    for share in (0.0, 0.001, 0.5, 0.999999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_state(path)


def test_a_state_with_weights_that_are_not_finite_is_refused(finished, tmp_path):
    for part in ("model", "average"):
        state = read_state(finished / "checkpoint.pt")
        next(iter(state[part].values())).view(-1)[0] = torch.nan
        torch.save(state, tmp_path / "nan.pt")
        with pytest.raises(CheckpointError, match="nan or infinite"):
            read_state(tmp_path / "nan.pt")


def test_after_a_damaged_newest_state_the_one_before_it_is_used(torn):
    newest, before = torn / "checkpoint.pt", torn / "checkpoint-before.pt"
    step = read_state(before)["step"]
    assert 0 < step < read_state(newest)["step"]
    newest.write_bytes(zeroed(newest.read_bytes(), 0.5, 1000))
    with pytest.warns(DamagedStateWarning, match=rf"checkpoint\.pt.*of step {step:,}"):
        export(torn, torn / "copy.safetensors")
    sound = before.read_bytes()
    with pytest.warns(DamagedStateWarning):
        path = train(torn, **QUICK, max_examples=320)
    assert before.read_bytes() == sound  # the damaged one took no sound one's place
    assert load_model(path, "cpu").metadata["examples_seen"] == 320
    assert read_state(newest)["examples"] == 320


def test_a_kill_between_the_two_steps_of_keeping_a_state_loses_no_run(torn):
    (torn / "checkpoint.pt").rename(torn / "checkpoint-before.pt")
    (torn / ".checkpoint.pt.1234").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="already holds a run"):
        train(torn, **QUICK, resume=False)
    assert train(torn, **QUICK, max_examples=320).name == "model.safetensors"
    assert not (torn / ".checkpoint.pt.1234").exists()


def test_two_damaged_states_or_a_damaged_one_from_before_the_cool_down_are_said(torn):
    (torn / "before-cool-down.pt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be given more without it"):
        train(torn, **QUICK, max_examples=640)
    for name in ("checkpoint.pt", "checkpoint-before.pt"):
        (torn / name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be read.*begin again"):
        train(torn, **QUICK, max_examples=640)


def test_a_second_run_in_a_folder_is_refused_and_harms_nothing(tmp_path):
    refused = []

    def try_another(progress):
        with pytest.raises(CheckpointError) as caught:
            train(tmp_path, **QUICK, max_examples=32)
        refused.append(str(caught.value))

    path = train(tmp_path, **QUICK, max_examples=160, report=try_another)
    assert len(refused) > 1
    assert all(f"process {os.getpid()} on " in text for text in refused)
    assert all(str(tmp_path) in text for text in refused)
    assert load_model(path, "cpu").metadata["examples_seen"] == 160
    assert [int(row["step"]) for row in read_log(tmp_path)] == [2, 4, 6, 8, 10, 10]


def fail_from(monkeypatch, function, n_calls):
    """Let the disk be full once a function of the system was called so many times."""
    real, calls = getattr(os, function), []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) > n_calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, function, full)


@pytest.mark.parametrize("n_writes", [0, 1, 3, 8])
def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(torn, monkeypatch, n_writes):
    before = torn / "before-cool-down.pt"
    with monkeypatch.context() as context:
        fail_from(context, "fsync", n_writes)
        with pytest.raises(OSError, match=r"No space left on device; .*(as it was|complete)"):
            train(torn, **QUICK, max_examples=480, checkpoint_seconds=0.0)
    assert not [path.name for path in torn.iterdir() if path.name.startswith(".")]
    # More time begins from before the cool-down.
    assert read_state(torn / "checkpoint.pt")["step"] >= read_state(before)["step"]
    load_model(torn / "model.safetensors", "cpu")
    assert all(None not in row.values() for row in read_log(torn))
    path = train(torn, **QUICK, max_examples=480)
    assert load_model(path, "cpu").metadata["examples_seen"] == 480


def test_exporting_where_there_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no run"):
        export(tmp_path, tmp_path / "model.safetensors")


def test_a_checkpoint_that_names_its_configuration_as_the_first_runs_did_is_read(
    tmp_path, monkeypatch
):
    train(tmp_path, **QUICK, max_examples=32)
    state = read_state(tmp_path / "checkpoint.pt")
    torch.save(state | {"vocabulary_hash": "another"}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="made for vocabulary another"):
        read_state(tmp_path / "other.pt")
    del vars(state["config"])["tokens"]  # which are those of the present version
    monkeypatch.setattr(TrainingConfig, "__module__", "sr_transformer.training.loop")
    torch.save(state, tmp_path / "old.pt")
    monkeypatch.undo()
    assert read_state(tmp_path / "old.pt")["config"] == state["config"]


# --- starting from a model ------------------------------------------------------------------------
def test_a_new_run_may_start_from_a_model(tmp_path):
    first = train(tmp_path / "first", **QUICK, max_examples=320)
    settings = QUICK | {"start_from": first, "learning_rate": 1e-9}
    second = train(tmp_path / "second", **settings, max_examples=160)
    before, after = load_file(first), load_file(second)
    for name in before:  # half precision on disk, and next to nothing learnt
        torch.testing.assert_close(after[name], before[name], rtol=1e-3, atol=1e-6)
    assert load_model(second, "cpu").metadata["examples_seen"] == 480
    rows = read_log(tmp_path / "second")
    assert [int(row["examples"]) for row in rows][:2] == [352, 384]
    assert float(rows[0]["learning_rate"]) < float(rows[1]["learning_rate"])  # a warm-up again
    config = read_state(tmp_path / "second" / "checkpoint.pt")["config"]
    assert config.examples_before == 320
    assert config.data_seed != config.seed  # other examples than those that the model has seen
    # It goes on as any run does, without the model, and never begins twice.
    with pytest.raises(CheckpointError, match="already holds a run, which goes on without"):
        train(tmp_path / "second", **settings, max_examples=320)
    third = train(tmp_path / "second", **QUICK, max_examples=320)
    assert load_model(third, "cpu").metadata["examples_seen"] == 640


def test_a_run_keeps_the_tokens_of_the_model_that_it_started_from(tmp_path):
    vocabulary = Vocabulary((*VOCABULARY.tokens, "erf"))  # of another language
    network = Transformer(replace(PRESETS["tiny"], n_tokens=len(vocabulary)))
    path = tmp_path / "other.safetensors"
    save_model(
        network, path, vocabulary=vocabulary, rows=8, preset="tiny", examples_seen=0,
        prior_version="1", validation={},
    )  # fmt: skip
    train(tmp_path / "run", **QUICK, start_from=path, max_examples=32)
    model = load_model(train(tmp_path / "run", **QUICK, max_examples=64), "cpu")
    assert model.vocabulary.tokens == vocabulary.tokens
    assert model.metadata["rows"] == max(DATA.row_counts)


def test_a_model_that_does_not_fit_the_new_run_is_refused(tmp_path):
    path = train(tmp_path / "run", **QUICK, max_examples=32)
    with pytest.raises(CheckpointError, match="is of preset 'tiny', the new run of 'small'"):
        train(tmp_path / "new", **(QUICK | {"preset": "small"}), start_from=path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    other = tmp_path / "other.safetensors"
    save_file(load_file(path), other, metadata | {"format_version": '"another"'})
    with pytest.raises(CheckpointError, match="made for file format 'another'"):
        train(tmp_path / "new", **QUICK, start_from=other)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        train(tmp_path / "new", **QUICK, start_from=tmp_path / "missing.safetensors")
    assert not (tmp_path / "new").exists()


# --- speed ----------------------------------------------------------------------------------------
def test_the_speed_of_making_and_learning_is_measured():
    speed = measure_speed("tiny", 0.3, device="cpu", data=DATA)
    assert speed.generated > 10
    assert speed.trained > 10
    assert 0.0 <= speed.data_wait <= 1.0
    with pytest.raises(ValueError, match="must be above 0"):
        measure_speed("tiny", 0.0)


# --- other processes ------------------------------------------------------------------------------
# The workers, which import the script again, need nothing of what it imports.
SCRIPT = """
import sys

if __name__ == "__main__":
    from sr_transformer.training.data import DataConfig
    from sr_transformer.training.loop import train

    directory, n_examples, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data = DataConfig(
        batch_size=16 // processes, row_counts=(8, 12), row_weights=(0.5, 0.5), group_size=32,
        groups=2,
    )
    train(
        directory, "tiny", max_examples=n_examples, data=data, device="cpu", warm_up=64,
        log_every=2, validate_every=8, validation_examples=32, checkpoint_seconds=0.2,
        processes=processes, threads=1,
    )
"""


def start(tmp_path, directory, n_examples, processes=1):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, script, directory, str(n_examples), str(processes)],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def last_step(directory):
    rows = read_log(directory) if (directory / "log.csv").exists() else []
    return int(rows[-1]["step"]) if rows and rows[-1]["step"].isdecimal() else 0


def lost_if_killed(directory):
    """Whether the log is ahead of the last checkpoint."""
    log, checkpoint = directory / "log.csv", directory / "checkpoint.pt"
    return checkpoint.exists() and log.stat().st_mtime_ns > checkpoint.stat().st_mtime_ns


def assert_ends_like_one_that_was_not(torn, n_examples, monkeypatch):
    settings = {**QUICK, "max_examples": n_examples, "threads": 1}
    # Both compute in what was the faster precision when the first began.
    precision = read_state(torn / "checkpoint.pt")["precision"]["cpu"]
    monkeypatch.setattr(loop, "fastest_precision", lambda accelerator: precision)
    whole = torn.with_name("whole")
    train(torn, **settings)
    train(whole, **settings)
    a, b = (load_file(run / "model.safetensors") for run in (whole, torn))
    assert all(torch.equal(a[name], b[name]) for name in a)
    changing = ("examples_per_second", "data_wait", "seconds")
    logs = [[{**row, **dict.fromkeys(changing)} for row in read_log(run)] for run in (whole, torn)]
    assert logs[0] == logs[1]


def test_a_run_that_was_killed_ends_like_one_that_was_not(tmp_path, monkeypatch):
    torn = tmp_path / "torn"
    process = start(tmp_path, torn, 960)
    while process.poll() is None and (last_step(torn) < 16 or not lost_if_killed(torn)):
        time.sleep(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert not (torn / "model.safetensors").exists()

    def ask(progress):
        if progress.row["step"] >= 40:
            signal.raise_signal(signal.SIGTERM)

    # Asked politely it saves itself and ends well.
    path = train(torn, **QUICK, max_examples=960, threads=1, report=ask)
    assert path == torn / "checkpoint.pt"
    assert 40 <= read_state(path)["step"] == last_step(torn) < 60
    assert not (torn / "model.safetensors").exists()
    assert_ends_like_one_that_was_not(torn, 960, monkeypatch)


def test_ctrl_c_saves_a_run_and_ends_what_started_it(tmp_path):
    def press(progress):
        if progress.row["step"] == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="is saved after 96 examples and goes on"):
        train(tmp_path, **QUICK, max_examples=960, report=press)
    assert read_state(tmp_path / "checkpoint.pt")["step"] == 6
    assert not (tmp_path / "model.safetensors").exists()
    with pytest.raises(KeyboardInterrupt):  # it has measured nothing, and shows nothing
        measure_speed("tiny", 60.0, device="cpu", data=pressed(DATA))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def pressed(data):
    """Press Ctrl-C as soon as there are examples."""
    threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
    return data


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path, monkeypatch):
    def press_twice(self, batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the step went on")

    train(tmp_path, **QUICK, max_examples=32)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(loop._Run, "learn", press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, **QUICK, max_examples=320)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def children_of(pid):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            parent = (folder / "stat").read_text().rpartition(") ")[2].split()[1]
            found += [int(folder.name)] * (parent == str(pid))
    return found


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_data_workers_end_in_the_middle_of_a_chunk_when_their_trainer_is_killed():
    code = """
from sr_transformer.model.vocabulary import Vocabulary
from sr_transformer.training.data import DataConfig, feed
config = DataConfig(row_counts=(8,), row_weights=(1.0,), group_size=10**7, groups=1)
next(feed(0, config, Vocabulary.of(), n_workers=2))  # takes hours
"""
    root = Path(__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root) as process:
        while process.poll() is None and len(children_of(process.pid)) < 3:  # and a helper of them
            time.sleep(0.05)
        time.sleep(3.0)
        workers = children_of(process.pid)
        process.kill()
    assert workers
    killed_at = time.monotonic()
    while any(map(is_running, workers)) and time.monotonic() - killed_at < 60.0:
        time.sleep(0.01)
    assert not any(map(is_running, workers))


@pytest.mark.slow
def test_a_run_that_was_killed_again_and_again_ends_like_one_that_was_not(tmp_path, monkeypatch):
    torn = tmp_path / "torn"
    rng = random.Random(0)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = start(tmp_path, torn, 2000)
        target = last_step(torn) + rng.randint(6, 24)
        while process.poll() is None and last_step(torn) < target:
            time.sleep(0.01)
        process.send_signal(number)
        # Asked politely it saves itself and ends well.
        assert process.wait(60) == (0 if number == signal.SIGTERM else -number)
        assert not (torn / "model.safetensors").exists()
    assert_ends_like_one_that_was_not(torn, 2000, monkeypatch)


def test_two_processes_share_a_run_and_one_goes_on_alone(tmp_path):
    directory = tmp_path / "run"
    assert start(tmp_path, directory, 320, processes=2).wait(120) == 0
    rows = read_log(directory)
    assert int(rows[-1]["step"]) == 20
    assert int(rows[-1]["examples"]) == 320
    train(directory, **QUICK, max_examples=480)
    assert int(read_log(directory)[-1]["step"]) == 30  # sixteen examples a step, as before
    assert load_model(directory / "model.safetensors", "cpu").metadata["examples_seen"] == 480
