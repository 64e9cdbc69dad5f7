"""The one dispatcher of this process."""

from __future__ import annotations

import os
import threading

from alerting.dispatching import Dispatcher

_lock = threading.Lock()
_running: tuple[int, Dispatcher] | None = None
_ended_in = 0


def ensure() -> Dispatcher | None:
    """The dispatcher of this process, started when there is none or it has died; None once this process is ending.

    A fork has its own.
    """
    global _running
    with _lock:
        if _ended_in == os.getpid():
            return None
        if _running is None or _running[0] != os.getpid() or not _running[1].alive:
            dispatcher = Dispatcher()
            dispatcher.start()
            _running = (os.getpid(), dispatcher)
        return _running[1]


def end() -> None:
    """Stop it, if there is one, for good; what it has not begun is free for others at once."""
    global _running, _ended_in
    with _lock:
        _ended_in = os.getpid()
        running, _running = _running, None
    if running is not None and running[0] == os.getpid():
        running[1].stop()


def begin_anew() -> None:
    """Let this process dispatch again after `end`: for tests."""
    global _ended_in
    with _lock:
        _ended_in = 0
