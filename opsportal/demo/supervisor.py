"""The running demo platform: its services, its trading loop, its streams and its readings, in one loop."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis

from opsportal.demo.children import ROOT, Children
from opsportal.demo.control import Ear
from opsportal.demo.desk import Desk
from opsportal.demo.outside_child import Outside
from opsportal.demo.platform import Platform
from opsportal.demo.pushing import Pusher
from opsportal.demo.readings import Readings
from opsportal.demo.streams import Streams
from opsportal.embedded.processes import die_with_parent

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
STREAMS_SECONDS = 0.5
ORDER_SECONDS = 1.0
PUSH_SECONDS = 1.5
REGISTER_SECONDS = 5.0


class Registration:
    """Tells the portal, by its own command in a process of its own, where the services are: again until it has worked.

    `done`: the portal knows the addresses that stand in the file `addresses`.
    """

    def __init__(self, addresses: Path, *, done: bool) -> None:
        self._command = [sys.executable, "manage.py", "demo_register", f"--addresses={addresses}"]
        self._done = done
        self._next = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def renew(self) -> None:
        """A service has moved."""
        self._done = False

    def step(self, now: float) -> None:
        """See how far it is; never waits."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._process, self._next = None, now + REGISTER_SECONDS
            self._done &= status == 0
        if not self._done and now >= self._next:
            self._done = True  # unless it fails, or something moves meanwhile
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, cwd=ROOT, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL)
            )

    def stop(self) -> None:
        """Do not leave the command behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Supervisor:
    """Runs it all until `stop`."""

    def __init__(
        self,
        *,
        children: Children,
        outside: Outside,
        platform: Platform,
        streams: Streams,
        readings: Readings,
        pusher: Pusher | None,
        ear: Ear,
        registration: Registration,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = children
        self._outside = outside
        self._platform = platform
        self._streams = streams
        self._readings = readings
        self._pusher = pusher
        self._ear = ear
        self._registration = registration
        self._now = now
        self._desk = Desk(children, outside, streams, readings, now)
        self._due = {"streams": 0.0, "order": 0.0, "push": 0.0}
        self._halted = False
        self._without_redis = False
        self._stopping = False

    def run(self) -> None:
        """Until `stop` was called; then every service is ended."""
        try:
            while not self._stopping:
                self.step()
        finally:
            self._registration.stop()
            self._children.stop()
            self._outside.stop()
            self._ear.close()

    def stop(self) -> None:
        """End within about half a second. Safe in a signal handler."""
        self._stopping = True

    def step(self) -> None:
        """One turn of a quarter of a second, spent waiting for a request of an operator."""
        now = self._now()
        moved = self._children.step(now)
        if self._outside.step(now) or moved:
            self._registration.renew()
        self._registration.step(now)
        self._measure(now)
        try:
            self._trade(now)
            self._ear.listen(TICK_SECONDS, self._desk.obey)
        except redis.RedisError:
            if not self._without_redis:
                log.warning("demo_platform_without_redis")
            self._without_redis = True
            time.sleep(TICK_SECONDS)
        else:
            self._without_redis = False

    def _trade(self, now: float) -> None:
        running = self._children.running()
        if "orders" in running and self._is_due("order", now, ORDER_SECONDS):
            self._halted = self._platform.step() == "refused"
            self._children.set_halted(self._halted)
        if self._is_due("streams", now, STREAMS_SECONDS):
            self._streams.step(now, running)

    def _measure(self, now: float) -> None:
        if self._pusher is not None and self._is_due("push", now, PUSH_SECONDS):
            self._pusher.push(self._readings.batch(now, halted=self._halted, running=self._children.running()))

    def _is_due(self, what: str, now: float, every: float) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True
