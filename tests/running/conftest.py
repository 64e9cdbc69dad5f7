"""A checkout of its own that `make run` can be tried in."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from opsportal.embedded import processes
from opsportal.embedded.places import remove_root_area, root_area
from opsportal.embedded.ports import free_port
from opsportal.embedded.run import MARK
from tests.servers import ROOT

READY_SECONDS = 60.0
NOT_COPIED = (
    ".git",
    ".venv",
    ".run",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
)
# What the test run put into the environment must not reach the portal under test.
OF_THE_TESTS = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "AUDIT_CHAIN_KEY",
    "FIELD_ENCRYPTION_KEYS",
    "ALERT_RECIPIENT_HASH_SECRET",
    "AUDIT_CHECKPOINT_FILE",
    "ENVIRONMENT",
    "DJANGO_SETTINGS_MODULE",
    "STATIC_ROOT",
    "PROMETHEUS_MULTIPROC_DIR",
    "DJANGO_ALLOW_ASYNC_UNSAFE",
)


@dataclass
class Run:
    """One `make run` and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _arriving: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._arriving.put(line.rstrip("\n"))
        self._arriving.put(None)

    def wait_for(self, start: str, *, seconds: float = READY_SECONDS) -> str:
        """The first line from here on that starts so; fails with all that was printed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._arriving.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            self.lines.append(line)
            if line.startswith(start):
                return line
        raise AssertionError(f"no line starts with {start!r}:\n" + "\n".join(self.lines))

    def end(self, which: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status; fails if it has not ended after 30 s."""
        self.process.send_signal(which)
        return self.process.wait(30)


@dataclass
class Checkout:
    """A copy of the checkout under a 0700 folder, and a port of its own."""

    root: Path
    port: int
    runs: list[Run] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        """Its `.run`."""
        return self.root / ".run"

    def environment(self, **more: str) -> dict[str, str]:
        """A shell's environment, without what the tests put into theirs."""
        kept = {name: value for name, value in os.environ.items() if name not in OF_THE_TESTS}
        # The demo platform trips by chance, which a test cannot wait for, nor bear.
        return {**kept, "PORT": str(self.port), "DEMO_TRIP_EVERY": "0", "DEMO_MISHAPS": "false", **more}

    def start(self, **more: str) -> Run:
        """What `make run` does once set-up is done."""
        process = subprocess.Popen(
            [sys.executable, "-m", "opsportal.embedded.run"],
            cwd=self.root,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.runs.append(Run(process))
        return self.runs[-1]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`manage.py` beside the running portal, in a shell that knows nothing of it."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """All that runs for this checkout: runner, portal, PostgreSQL, Redis."""
        area = root_area(self.run_folder) if os.geteuid() == 0 else self.run_folder
        return [
            *processes.marked_processes(MARK, str(self.run_folder)),
            *processes.processes_in(area / "postgres" / "data", name="postgres"),
            *processes.processes_in(self.run_folder / "redis", name="redis-server"),
        ]

    def variable(self, name: str) -> str:
        """A value of `.run/env`."""
        for line in (self.run_folder / "env").read_text().splitlines():
            if line.startswith(f"{name}="):
                return line.partition("=")[2].strip("'")
        raise AssertionError(f"{name} is not in .run/env")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A fresh copy; everything it started is ended and everything it wrote is removed afterwards."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    root = home / "opsportal"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_COPIED))
    copy = Checkout(root, free_port())
    yield copy
    processes.end(copy.processes(), polite=signal.SIGKILL, grace=5)
    for run in copy.runs:
        run.process.wait(10)
    remove_root_area(copy.run_folder)
