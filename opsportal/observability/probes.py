"""Asks PostgreSQL and Redis whether they answer, for the health pages."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import redis
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from opsportal.observability.postgres import connect_apart
from opsportal.observability.redis_client import redis_client

# Probes are open to anybody: however often they are asked, the servers are asked once in this time.
REUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """One answer: whether the part works, and how many milliseconds it took to find out."""

    ok: bool
    latency_ms: float

    def as_json(self) -> dict[str, object]:
        """For a reply's `details`: no host, URL or error text, which may name either."""
        return {"status": "healthy" if self.ok else "unhealthy", "latency_ms": self.latency_ms}


class CachedProbe:
    """A probe that is run at most once a second a process, by one thread while the others wait for it."""

    def __init__(self, ask: Callable[[], None], errors: tuple[type[Exception], ...]) -> None:
        self._ask = ask
        self._errors = errors
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._last = Probe(ok=False, latency_ms=0.0)

    def __call__(self) -> Probe:
        """The answer, at most a second old."""
        with self._lock:
            if time.monotonic() - self._asked_at >= REUSE_SECONDS:
                self._last = self._run()
                self._asked_at = time.monotonic()
            return self._last

    def forget(self) -> None:
        """Ask again at the next call, whatever the age of the answer."""
        with self._lock:
            self._asked_at = float("-inf")

    def _run(self) -> Probe:
        started = time.perf_counter()
        try:
            self._ask()
        except self._errors:
            return Probe(ok=False, latency_ms=_ms_since(started))
        return Probe(ok=True, latency_ms=_ms_since(started))


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


def _ask_postgresql() -> None:
    # A connection of its own: Django's may hang on a server that is stopped, and belongs to the request.
    with connect_apart(application_name="opsportal-probe") as connection:
        connection.execute("SELECT 1")


def _ask_redis() -> None:
    redis_client().ping()


probe_postgresql = CachedProbe(_ask_postgresql, (psycopg.Error, OSError))
probe_redis = CachedProbe(_ask_redis, (redis.RedisError, OSError))

#: What other packages add to the portal's own health: a name, and who knows; None for what is switched off.
_parts: dict[str, Callable[[], Probe | None]] = {}

_migrated = threading.Event()


def register_part(name: str, ask: Callable[[], Probe | None]) -> None:
    """Have `/health` tell of this part, too; the same name again takes its place. `ask` must never raise."""
    _parts[name] = ask


def probe_parts() -> dict[str, Probe]:
    """What was registered, as it is now."""
    asked = {name: ask() for name, ask in _parts.items()}
    return {name: probe for name, probe in asked.items() if probe is not None}


def migrations_applied() -> bool:
    """True when the database has every migration of this code. Asked until it is so, then remembered.

    With the database away the answer is False; `probe_postgresql` says why.
    """
    if _migrated.is_set():
        return True
    try:
        executor = MigrationExecutor(connections["default"])
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False
    if not waiting:
        _migrated.set()
    return not waiting
