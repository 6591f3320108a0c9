"""The search by Operon, a genetic programming in C++ that needs no Julia.

It runs in a process of its own. An assertion that fails within Operon aborts its whole process,
nothing in Python can stop a run of its C++ that hangs, and Ctrl-C would only be seen after the
run. Apart from the caller, each of them costs the search and not the fit: the other process
reports its front every few seconds, and the last one reported is what comes back. The price is
about a second for the other process to start, which is not counted as search time.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from queue import Empty, Queue
from tempfile import TemporaryFile
from threading import TIMEOUT_MAX, Thread
from time import monotonic
from typing import IO, Any

from sr_transformer.engines.base import KEYBOARD, SearchResult, SearchTask, describe
from sr_transformer.expression import Expression
from sr_transformer.table.loss import Loss

# Versions whose Python classes, node names and warm start were tried; 0.7 renames them.
_VERSIONS = re.compile(r"0\.6\.([2-9]|\d\d)")
_REMEDY = 'pip install "pyoperon>=0.6.2,<0.7"'

_START_SECONDS = 60.0  # for the other process to import what it needs, on a busy machine
_GRACE_SECONDS = 2.0  # Operon looks at the clock between its evaluations


@lru_cache(maxsize=1)
def _import_failure() -> str | None:
    """Why pyoperon cannot be used and what to do; tried once a process."""
    if "pyoperon" not in sys.modules and find_spec("pyoperon") is None:
        return f"Operon is not installed. Install it with: {_REMEDY}."
    version = metadata.version("pyoperon")
    if not _VERSIONS.match(version):
        return (
            f"pyoperon {version} is installed, but Operon is used from 0.6.2 on and before 0.7. "
            f"Install that with: {_REMEDY}."
        )
    try:
        import pyoperon  # noqa: F401
    except Exception as error:
        return f"importing pyoperon failed with {describe(error)}. Reinstall it with: {_REMEDY}."
    return None


class OperonEngine:
    """The search by Operon, started from the task's formulas.

    The formulas enter the initial population itself; at least half of it is what Operon makes at
    random. Operon computes in 32 bits, so that its constants want a refit.
    """

    name = "operon"
    scaled = True
    operators: frozenset[str] | None = None
    maxsize: int | None = None
    loss: Loss | None = None
    is_judge = False

    def unusable_reason(self) -> str | None:
        """Why Operon cannot run here and what helps; ``None`` where it can."""
        return _import_failure()

    def admits(self, expression: Expression) -> bool:
        """Always: it has no settings of its own."""
        return True

    def search(self, task: SearchTask) -> SearchResult:
        """Run the search; a crash, a hang or Ctrl-C returns what was reported until then.

        A formula that comes back uses the task's operators only. Its complexity may exceed
        ``task.maxsize``, as Operon counts a weighted variable as one.
        """
        last = SearchResult()
        interruption = None
        begun = searching = monotonic()
        with TemporaryFile() as complaints:
            process = _started(complaints)
            try:
                for kind, content in _messages(process, task):
                    if kind == "started":
                        searching = monotonic()
                    elif kind == "front":
                        last = content
                    elif kind == "ended":
                        interruption = _last_words(process, complaints)
                    else:
                        interruption = content  # None where it is finished
            except KeyboardInterrupt:
                interruption = KEYBOARD
            finally:
                process.kill()
                process.wait()
                with suppress(OSError):  # what it did not read
                    process.stdin.close()
        return replace(last, interruption=interruption, start_seconds=searching - begun)


def _started(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    """The other process.

    Not one of multiprocessing: those import the caller's main script once more, which runs it
    again where it does not guard against that.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        "from sr_transformer.engines.operon.worker import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the other
    )


def _messages(process: subprocess.Popen[bytes], task: SearchTask) -> Iterator[tuple[str, Any]]:
    """Hand over the task, and pass on what the other process reports until it is over or late."""
    messages: Queue[tuple[str, Any]] = Queue()
    Thread(target=_receive, args=(process.stdout, messages), daemon=True).start()
    # In a thread: nobody reads the task where the other process hangs in its imports.
    Thread(target=_hand_over, args=(process.stdin, task), daemon=True).start()
    deadline = monotonic() + _START_SECONDS
    late = f"it did not start within {_START_SECONDS:g} s"
    kind = ""
    while kind in ("", "started", "front"):
        try:
            kind, content = messages.get(timeout=min(max(deadline - monotonic(), 0), TIMEOUT_MAX))
        except Empty:
            kind, content = "late", late
        yield kind, content
        if kind == "started":
            deadline = float("inf")
            if task.timeout_in_seconds is not None:
                deadline = monotonic() + task.timeout_in_seconds + _GRACE_SECONDS
                late = f"it went on after its {task.timeout_in_seconds:.3g} s and was stopped"


def _hand_over(stream: IO[bytes], task: SearchTask) -> None:
    # It stays open: the other process ends when it is closed, as it is where this one is killed.
    with suppress(OSError, ValueError):  # it ended: what it said until then is received
        pickle.dump(task, stream)
        stream.flush()


def _receive(stream: IO[bytes], messages: Queue[tuple[str, Any]]) -> None:
    """Pass on what the other process writes until it ends or is stopped in the middle."""
    with stream:
        try:
            while True:
                messages.put(pickle.load(stream))
        except Exception:
            messages.put(("ended", None))


def _last_words(process: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    try:
        code: int | None = process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        code = None
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    said = f": {lines[-1][:300].rstrip('.')}" if lines else ""
    return f"its process ended with exit code {code}{said}"
