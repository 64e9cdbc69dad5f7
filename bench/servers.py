"""The private PostgreSQL, Redis and web servers of one run, all on 127.0.0.1, gone when it ends."""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis, processes, procfile, roles
from opsportal.embedded.environment import without_options
from opsportal.embedded.places import postgres_place
from opsportal.embedded.ports import LOOPBACK, free_port

ROOT = Path(__file__).resolve().parents[1]
PROCFILE = ROOT / "Procfile"
PREFIX = "opsportal-bench-"
ORDINARY_SETTINGS = "bench.ordinary.settings"
KEYED_SETTINGS = "bench.ordinary.keyed"
PORTAL_SETTINGS = "opsportal.settings"
READY_SECONDS = 60.0
_SECRETS = ("SECRET_KEY", "AUDIT_CHAIN_KEY", "FIELD_ENCRYPTION_KEYS", "ALERT_RECIPIENT_HASH_SECRET")


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


@dataclass(frozen=True)
class Servers:
    """The running database servers and the folder that holds all that a run writes."""

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    secrets: dict[str, str]

    def environment(self, settings: str, *, database: str | None = None) -> dict[str, str]:
        """The environment of a process of the portal under these Django settings."""
        return {
            **without_options(os.environ),
            **self.secrets,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "ENVIRONMENT": "development",
            "LOG_FORMAT": "json",
            "DJANGO_SETTINGS_MODULE": settings,
            "DATABASE_URL": self.postgres.url(roles.APPLICATION, database),
            "DATABASE_OWNER_URL": self.postgres.url(roles.OWNER, database),
            "REDIS_URL": self.redis.url,
            "AUDIT_CHECKPOINT_FILE": "",
            "STATIC_ROOT": str(self.folder / "static"),
        }

    def copy_database(self, name: str) -> None:
        """A copy of the prepared database. Nobody may be connected to the original."""
        with psycopg.connect(self.postgres.url(roles.SUPERUSER, "postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(self.postgres.database), sql.Identifier(roles.OWNER)
                )
            )

    def cpu_seconds(self) -> dict[str, float]:
        """What PostgreSQL and Redis have used so far, in seconds of one core."""
        return {"postgres": family_cpu(self.postgres.pid), "redis": family_cpu(self.redis.pid)}


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Start both servers in a folder of their own; everything is stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    # As root the binaries are shared with `make run` of this checkout; the data is this run's own.
    place = postgres_place(ROOT / ".run" if os.geteuid() == 0 else folder, folder.name)
    servers = Servers(
        folder=folder,
        postgres=EmbeddedPostgres(place),
        redis=EmbeddedRedis(folder / "redis"),
        secrets={name: secrets.token_hex(32) for name in _SECRETS},
    )
    with ExitStack() as stack:
        for path in (folder, place.state):
            stack.callback(shutil.rmtree, path, ignore_errors=True)
        stack.callback(servers.postgres.kill)  # nothing is to be kept: no need for a shutdown checkpoint
        stack.callback(servers.redis.stop)
        servers.postgres.start()
        servers.redis.start()
        yield servers


def manage(servers: Servers, settings: str, *arguments: str) -> None:
    """Run a management command. Raises BenchError with what it said when it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=servers.environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


@dataclass(frozen=True)
class WebServer:
    """A granian with the Procfile's arguments."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    def cpu_seconds(self) -> float:
        """What its processes have used so far, in seconds of one core."""
        return family_cpu(self.process.pid)


@contextmanager
def web_server(servers: Servers, settings: str, more: Mapping[str, str] | None = None) -> Iterator[WebServer]:
    """The portal under these settings, served exactly as the Procfile's `web` line says; `more`: its environment."""
    port = free_port()
    metrics = Path(tempfile.mkdtemp(prefix="metrics-", dir=servers.folder))
    log = servers.folder / f"web-{port}.log"
    environment = servers.environment(settings) | {"PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    environment |= more or {}
    with log.open("wb") as output:
        process = subprocess.Popen(
            procfile.arguments(PROCFILE, "web", port=port),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=processes.die_with_parent(signal.SIGTERM),
        )
    try:
        _wait_until_ready(process, port, log)
        yield WebServer(port, process)
    finally:
        family = _family(process.pid)
        processes.end(family, polite=signal.SIGTERM, grace=10)
        process.wait()


@dataclass(frozen=True)
class Process:
    """A process of the Procfile that has no port."""

    pid: int
    log: Path

    def said(self) -> str:
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def procfile_process(servers: Servers, settings: str, name: str, more: Mapping[str, str]) -> Iterator[Process]:
    """One process of the portal, run exactly as this line of the Procfile says, with `more` in its environment.

    Raises BenchError if it has ended by itself when the block ends.
    """
    metrics = Path(tempfile.mkdtemp(prefix="metrics-", dir=servers.folder))
    log = metrics.with_suffix(f".{name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            procfile.arguments(PROCFILE, name),
            cwd=ROOT,
            env=servers.environment(settings) | {"PROMETHEUS_MULTIPROC_DIR": str(metrics), **more},
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=processes.die_with_parent(signal.SIGTERM),
        )
    running = Process(process.pid, log)
    try:
        yield running
        if process.poll() is not None:
            raise BenchError(f"the {name} process ended by itself:\n{running.said()}")
    finally:
        processes.end(_family(process.pid), polite=signal.SIGTERM, grace=15)
        process.wait()


def fetch(port: int, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """One GET on a connection of its own: status, headers by lower-case name, body."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
    finally:
        connection.close()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until all its workers take requests: one that is still starting leaves everything to the others."""
    workers = procfile.web_workers(PROCFILE)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if processes.listening(process.pid, port) >= workers and fetch(port, "/readyz", {})[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise BenchError(f"the web server did not answer:\n{log.read_text(errors='replace')[-4000:]}")


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None or not psutil.pid_exists(pid):
        return []
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def family_cpu(pid: int | None) -> float:
    """What a process and its descendants have used so far, in seconds of one core; 0.0 if it is gone."""
    return sum(_cpu(process) for process in _family(pid))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    # Of a leader also what its ended children have used: PostgreSQL's backends come and go.
    return float(times.user + times.system + times.children_user + times.children_system)
