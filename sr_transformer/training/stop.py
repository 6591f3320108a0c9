"""SIGTERM and Ctrl-C end the loop after the current step instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from typing import Any


class StopRequest:
    """While it is entered, remembers whether the process was asked to end.

    Attributes
    ----------
    wanted : bool
    """

    def __init__(self) -> None:
        self.wanted = False

    def _ask(self, *_: object) -> None:
        self.wanted = True

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
