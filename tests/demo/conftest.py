"""A running demo platform of a test's own: real processes, the tests' Redis, ports in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_client

from opsportal.demo.addresses import Addresses
from opsportal.demo.control import Answer, request
from opsportal.demo.roster import LISTENERS
from opsportal.embedded import processes
from opsportal.embedded.ports import is_free
from tests.servers import ROOT, servers
from tests.waiting import until

#: Loopback: never through a proxy that the environment names.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(port: int) -> tuple[int, bytes] | None:
    """The health reply of whatever listens on a port: HTTP status and body; None when nothing does."""
    try:
        with OPENER.open(f"http://127.0.0.1:{port}/health", timeout=10) as reply:
            return int(reply.status), bytes(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, bytes(error.read())
    except OSError:
        return None


@dataclass
class Demo:
    """One demo platform. `addresses`: the file with its ports."""

    addresses: Path
    client: redis_client.Redis
    process: subprocess.Popen[bytes] | None = None
    family: list[psutil.Process] = field(default_factory=list)

    def start(self, *options: str) -> None:
        """Start it, its ports chosen and registered as `demo_platform` would have, and wait until all listen."""
        Addresses(self.addresses).choose(LISTENERS)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "opsportal.demo", f"--addresses={self.addresses}", "--registered", *options],
            cwd=ROOT,
            # As `make run` gives it: what the platform starts may tell the portal of channels on this machine.
            env={**os.environ, "REDIS_URL": servers().redis.url, "ALERT_ALLOWED_NETWORKS": "127.0.0.0/8"},
        )
        until(lambda: not any(is_free(port) for port in self.ports.values()), what="every service listens")
        self.family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]

    @property
    def ports(self) -> dict[str, int]:
        """Where each service is."""
        known: dict[str, int] = json.loads(self.addresses.read_text())["ports"]
        return known

    def reply(self, name: str) -> tuple[int, dict[str, Any]] | None:
        """A service's health reply, None while it is down."""
        found = fetch(self.ports[name])
        return (found[0], json.loads(found[1])) if found else None

    def status(self, name: str) -> str:
        """What a service calls itself; `down` when it does not answer."""
        found = self.reply(name)
        return str(found[1]["status"]) if found else "down"

    def ask(self, verb: str, subject: str = "") -> Answer:
        """As `manage.py demo` does."""
        return request(self.client, verb, subject)

    def end(self, which: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        assert self.process is not None
        self.process.send_signal(which)
        return self.process.wait(10)


@pytest.fixture
def demo(tmp_path: Path, redis: redis_client.Redis) -> Iterator[Demo]:
    """Not yet started; whatever is left of it is ended afterwards."""
    running = Demo(tmp_path / "demo.json", redis)
    yield running
    if running.process is not None and running.process.poll() is None:
        running.end()
    processes.end(running.family, polite=signal.SIGKILL, grace=1)


@pytest.fixture
def quiet_demo(demo: Demo) -> Demo:
    """Running, with nothing that happens by itself."""
    demo.start("--pace=0")
    return demo


@pytest.fixture
def listening(redis: redis_client.Redis) -> Callable[[], int]:
    """How many demo platforms listen for requests."""
    return lambda: int(redis.pubsub_numsub("demo:commands")[0][1])  # type: ignore[no-untyped-call]
