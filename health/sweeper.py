"""The one sweeper of this process."""

from __future__ import annotations

import os
import threading

from health.sweeping import Sweeper

_lock = threading.Lock()
_running: tuple[int, Sweeper] | None = None


def ensure() -> Sweeper:
    """The sweeper of this process, started when there is none or it has died. A fork has its own."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid() or not _running[1].alive:
            sweeper = Sweeper()
            sweeper.start()
            _running = (os.getpid(), sweeper)
        return _running[1]


def end() -> None:
    """Stop it, if there is one; another worker takes over."""
    global _running
    with _lock:
        if _running is not None and _running[0] == os.getpid():
            _running[1].stop()
        _running = None
