"""The processes of the Procfile under honcho, each tied to our life, and word when the portal answers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from honcho.manager import Manager  # type: ignore[import-untyped]
from honcho.process import Popen, Process  # type: ignore[import-untyped]

from opsportal.embedded import processes
from opsportal.embedded.procfile import commands

READY_SECONDS = 120
POLL_SECONDS = 0.2


class TiedProcess(Process):  # type: ignore[misc]
    """A honcho process that does not outlive the runner (where the kernel can see to it)."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Runs in a process of its own, between the runner and the program; ends with the program."""
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None:
            processes.die_with(parent.pid)
        self._child_ctor = _tied_popen
        super().run(events, ignore_signals)


def _tied_popen(command: str, **options: Any) -> Popen:
    # `exec`: the shell must not stand between us and the program, or it alone would get our signals.
    return Popen(f"exec {command}", preexec_fn=processes.die_with_parent(signal.SIGTERM), **options)


class LeaderFirst:
    """Asks only the leader of a process group to end (it ends its workers in good order); kills all."""

    def terminate(self, pid: int) -> None:
        """SIGTERM to the leader."""
        _quietly(os.kill, pid, signal.SIGTERM)

    def kill(self, pid: int) -> None:
        """SIGKILL to the group."""
        _quietly(os.killpg, pid, signal.SIGKILL)


def _quietly(send: Callable[[int, int], None], pid: int, which: signal.Signals) -> None:
    try:
        send(pid, which)
    except ProcessLookupError:
        return


class Portal(Manager):  # type: ignore[misc]
    """Starts the Procfile's processes; when one ends, all end. `loop()` blocks until then."""

    def __init__(self, procfile: Path, environment: Mapping[str, str], on_start: Callable[[], None]) -> None:
        super().__init__()
        self._process_ctor = TiedProcess
        self._procmgr = LeaderFirst()
        self._on_start = on_start
        self.signalled = False
        self.first_to_stop: str | None = None
        for name, command in commands(procfile).items():
            self.add_process(name, command, env=dict(environment), cwd=str(procfile.parent))

    def terminate(self) -> None:
        """As honcho's, remembering why: a signal to us, or the end of one of ours."""
        if not self._terminating:
            stopped = [name for name, known in self._processes.items() if "returncode" in known]
            self.first_to_stop = stopped[0] if stopped else None
            self.signalled = not stopped
        super().terminate()

    def _start(self) -> None:
        super()._start()
        self._on_start()  # only now: a thread must not exist while honcho forks


def when_ready(url: str, tell: Callable[[], None], complain: Callable[[], None]) -> None:
    """In the background: `tell` once `url` answers 200, `complain` if it has not within two minutes."""

    def watch() -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if answers(url):
                tell()
                return
            time.sleep(POLL_SECONDS)
        complain()

    threading.Thread(target=watch, name="when-ready", daemon=True).start()


def answers(url: str) -> bool:
    """Whether a GET of the URL is answered with 200 within 5 seconds."""
    # Loopback: never through a proxy that the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False
