"""The portal's real processes, on the tests' own servers, to be killed and started again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from opsportal.embedded import processes, procfile
from opsportal.embedded.environment import without_options
from opsportal.embedded.ports import free_port
from tests.servers import ROOT, servers
from tests.waiting import until

#: No limit stands in the way, and messages may go to this machine.
UNLIMITED = {
    "ALERT_LIMIT_GLOBAL": "1000000",
    "ALERT_LIMIT_RECIPIENT_WEBHOOK": "1000000",
    "ALERT_ALLOWED_NETWORKS": "127.0.0.0/8",
}


class Member:
    """One process of the Procfile; `name` is its line, `label` its own."""

    def __init__(self, name: str, label: str, environment: Mapping[str, str], folder: Path) -> None:
        self.label = label
        self.port = free_port() if name == "web" else 0
        self.log = folder / f"{label}.log"
        self.kills = 0
        self._environment = {**environment, "PORT": str(self.port)}
        self._command = procfile.arguments(ROOT / "Procfile", name, port=self.port, host=label)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; whoever asks finds out when it serves."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=processes.die_with_parent(signal.SIGTERM),
            )

    def kill(self) -> None:
        """kill -9 it and its children."""
        self._end(signal.SIGKILL)
        self.kills += 1

    def stop(self) -> None:
        """Ask it to end, as a restart of the host does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            parent = psutil.Process(self._process.pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            family = []
        # Politely the parent alone: it ends its children.
        polite = family if how == signal.SIGKILL else family[:1]
        processes.send(polite, how)
        if processes.wait_until_gone(family, seconds=20):
            processes.send(family, signal.SIGKILL)
        self._process.wait(10)
        self._process = None

    def listens(self) -> bool:
        """Whether all web workers take requests: one still starting leaves everything to the others."""
        if self._process is None:
            return False
        return processes.listening(self._process.pid, self.port) >= procfile.web_workers(ROOT / "Procfile")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class Fleet:
    """All that was started; `fleet.add("alerts")` starts one more."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        self.folder = folder
        metrics = folder / "metrics"
        metrics.mkdir()
        self._environment = {
            **without_options(os.environ),
            **servers().environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "LOG_FORMAT": "json",
            **UNLIMITED,
            **more,
        }
        self.members: list[Member] = []

    def add(self, name: str, label: str = "") -> Member:
        """Start a process of this line of the Procfile."""
        member = Member(name, label or f"{name}{len(self.members)}", self._environment, self.folder)
        member.start()
        self.members.append(member)
        return member

    def end(self) -> None:
        """Kill what is left."""
        for member in self.members:
            member.kill()


@contextmanager
def fleet(**more: str) -> Iterator[Fleet]:
    """A fleet that is gone after the block, with this environment besides."""
    with tempfile.TemporaryDirectory(prefix="opsportal-fleet-") as folder:
        running = Fleet(Path(folder), more)
        try:
            yield running
        except BaseException:
            for member in running.members:
                print(f"--- {member.label}\n{member.said()}")
            raise
        finally:
            running.end()


def until_served(web: Member) -> None:
    """Until all web processes answer."""
    until(
        lambda: web.listens() and ask(web.port, "GET", "/livez")[0] == 200, seconds=60, what="the web process to answer"
    )


def ask(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    """One request on a connection of its own: status, headers, body; status 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, {}, ""
    finally:
        connection.close()


def pause(seconds: float) -> None:
    """Let the processes of the fleet run: time is what such a test is made of."""
    time.sleep(seconds)
