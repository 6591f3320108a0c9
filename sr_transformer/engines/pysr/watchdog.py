"""A signal to a search that does not end in time."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def watchdog(seconds: float | None, barked: threading.Event) -> Iterator[None]:
    """Interrupt the block as Ctrl-C would, once its time is over.

    A search that runs in this process can only be stopped as the keyboard would stop it. Outside
    of the main thread, where no signal is delivered, and where Ctrl-C does not interrupt Python,
    nothing happens.

    Parameters
    ----------
    seconds : float or None
        Time for the block; ``None`` is no limit.
    barked : threading.Event
        Is set where the block is interrupted.
    """
    ended, lock = threading.Event(), threading.Lock()

    def bark() -> None:
        with lock:  # whoever comes second, this or the end of the block, does nothing
            # Without a handler in Python the signal would end the process, or do nothing.
            if ended.is_set() or not callable(signal.getsignal(signal.SIGINT)):
                return
            barked.set()
            if os.name == "posix":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                _thread.interrupt_main()

    in_main_thread = threading.current_thread() is threading.main_thread()
    if seconds is None or seconds >= threading.TIMEOUT_MAX or not in_main_thread:
        yield
        return
    timer = threading.Timer(seconds, bark)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            ended.set()
