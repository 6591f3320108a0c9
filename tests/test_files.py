"""Files: what a full disk, a kill and a second process leave of them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from sr_transformer import files
from sr_transformer.files import (
    append_line,
    held_by_this_process,
    remove_temporaries,
    write_atomically,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals are those of POSIX")


@pytest.fixture
def small_disk(monkeypatch):
    """Let no file grow beyond a number of bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_replaced_and_the_one_before_may_be_kept(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"second", b"third"):
        write_atomically(path, content, tmp_path / "before")
    assert contents(tmp_path) == {"file": b"third", "before": b"second"}


@posix
def test_a_full_disk_leaves_the_old_file_and_says_which(tmp_path, small_disk):
    path, before = tmp_path / "file", tmp_path / "before"
    write_atomically(path, b"older", before)
    write_atomically(path, b"old", before)
    small_disk(1000)
    with pytest.raises(OSError, match=r"is as it was.*/file'") as caught:
        write_atomically(path, bytes(100_000), before)
    assert caught.value.filename == str(path)
    assert contents(tmp_path) == {"file": b"old", "before": b"older"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_whatever_ends_a_write_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert contents(tmp_path) == {"file": b"old"}


@posix
def test_a_line_is_there_as_a_whole_or_not_at_all(tmp_path, small_disk):
    path = tmp_path / "log"
    append_line(path, "a first line")
    append_line(path, "ä second one")
    small_disk(40)  # where the third line begins to fit
    with pytest.raises(OSError, match="the lines before are complete") as caught:
        append_line(path, "a third one that is longer than what is left")
    assert caught.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "a first line\nä second one\n"
    small_disk(1000)
    append_line(path, "after")
    assert path.read_text(encoding="utf-8").splitlines()[2:] == ["after"]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    for name in (".file.123", ".file.99999", ".file.txt", ".other.123", "file", "file.7"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path / "file")
    assert set(contents(tmp_path)) == {".file.txt", ".other.123", "file", "file.7"}


def test_a_lock_is_held_by_one_and_free_again_after_it(tmp_path):
    path = tmp_path / "lock"
    with held_by_this_process(path) as holder:
        assert holder is None
        with held_by_this_process(path) as second:
            assert f"process {os.getpid()} on " in second
    with held_by_this_process(path) as holder:
        assert holder is None


@posix
def test_a_killed_process_holds_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from sr_transformer.files import *\n"
        "with held_by_this_process(Path(sys.argv[1])) as holder:\n"
        "    print(holder, flush=True); time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, tmp_path / "lock"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "None\n"
        with held_by_this_process(tmp_path / "lock") as holder:
            assert f"process {process.pid} on " in holder
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held_by_this_process(tmp_path / "lock") as holder:
            assert holder is None


@posix
def test_where_the_file_system_knows_no_locks_nothing_is_refused(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(files, "_lock", no_locks)
    with held_by_this_process(tmp_path / "lock") as holder:
        assert holder is None
