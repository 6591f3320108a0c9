"""A signal to a search that does not end in time."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from types import TracebackType


class Watchdog:
    """Interrupt the block as Ctrl-C would, once its time is over.

    A search that runs in this process can only be stopped as the keyboard would stop it. Outside
    of the main thread, where no signal is delivered, and where Ctrl-C does not interrupt Python,
    nothing happens.

    Parameters
    ----------
    seconds : float or None
        Time for the block; ``None`` is no limit.

    Attributes
    ----------
    barked : bool
        Whether the block was interrupted.
    """

    def __init__(self, seconds: float | None) -> None:
        self.barked = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        in_main_thread = threading.current_thread() is threading.main_thread()
        if seconds is not None and in_main_thread and seconds < threading.TIMEOUT_MAX:
            self._timer = threading.Timer(seconds, self._bark)
            self._timer.daemon = True

    def __enter__(self) -> Watchdog:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            with self._lock:  # whoever comes second does nothing
                self._timer = None

    def _bark(self) -> None:
        with self._lock:
            # Without a handler in Python the signal would end the process, or do nothing.
            if self._timer is None or not callable(signal.getsignal(signal.SIGINT)):
                return
            self.barked = True
            if os.name == "posix":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                _thread.interrupt_main()
