"""What the two embedded servers have in common: one child process that can be stopped and started."""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from opsportal.embedded import processes
from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.ports import free_port

PORT_TRIES = 5
POLL_SECONDS = 0.03


class EmbeddedServer(ABC):
    """A server that lives as our child. `start` and `stop` may be called again and again."""

    title: str
    stop_signals: tuple[tuple[signal.Signals, float], ...]
    """Signals to send in turn, each with the seconds to wait before the next."""
    start_seconds = 60.0

    def __init__(self) -> None:
        self.port: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def log(self) -> Path:
        """Where the server's own words go."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the folders and end what an earlier crash left."""

    @abstractmethod
    def _spawn(self, port: int) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client with the right password is served."""

    def _settle(self) -> None:  # noqa: B027 - an empty answer is a good one
        """What is to be done as soon as it answers; nothing, unless a server says otherwise."""

    def start(self) -> None:
        """Start and wait until it serves; on the port of the last start if that is free.

        Raises EmbeddedServerError, with the tail of the log.
        """
        if self.is_running:
            return
        self._prepare()
        for _ in range(PORT_TRIES):
            try:
                self.port = free_port(self.port)
            except OSError as error:
                raise EmbeddedServerError(f"{self.title} could not start: {error}.") from error
            mark = self.log.stat().st_size if self.log.exists() else 0
            self._child = self._spawn(self.port)
            if self._wait_until_it_answers():
                self._settle()
                return
            if not self._lost_the_port(mark):
                break
        self.kill()
        raise EmbeddedServerError(
            f"{self.title} did not start: its log says why ({self.log}); "
            f"`make clean` throws its data away and starts afresh.",
            log=self.log,
        )

    def stop(self) -> None:
        """End it cleanly, by force if it does not go; no error if it is not running."""
        if self._child is None:
            return
        for which, seconds in self.stop_signals:
            self._child.send_signal(which)
            try:
                self._child.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            self.kill()
        self._child = None

    def kill(self) -> None:
        """kill -9 it and all its children, as a crash or the kernel's memory killer would."""
        if self._child is None:
            return
        family = self._family()
        processes.send(family, signal.SIGKILL)
        self._child.wait()
        processes.wait_until_gone(family, seconds=5)
        self._child = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Not running inside the block; running again, on the same port with its data, after it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Like `stopped`, but it is ended by kill -9."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Alive but silent inside the block (SIGSTOP): connections hang instead of being refused."""
        family = self._family()
        processes.send(family, signal.SIGSTOP)
        try:
            yield
        finally:
            processes.send(family, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """Whether our child is alive."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the server, or None when it is not running."""
        return self._child.pid if self._child is not None and self.is_running else None

    def _family(self) -> list[psutil.Process]:
        if self.pid is None:
            return []
        leader = psutil.Process(self.pid)
        return [leader, *leader.children(recursive=True)]

    def _wait_until_it_answers(self) -> bool:
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline and self.is_running:
            if self._answers():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _lost_the_port(self, mark: int) -> bool:
        """Whether somebody took the port between our look and the server's."""
        if self.is_running:
            return False
        with self.log.open("rb") as stream:
            stream.seek(mark)
            said = stream.read().lower()
        return b"address already in use" in said or b"could not bind" in said
