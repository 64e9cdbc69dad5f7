"""/livez, /readyz, /health: what each says when a part is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from alerting.ticks import probe_ticks
from opsportal.embedded import EmbeddedPostgres, EmbeddedRedis
from opsportal.observability import probes
from opsportal.observability.health import check_components


def forget() -> None:
    """As after a second."""
    probes.probe_postgresql.forget()
    probes.probe_redis.forget()
    probe_ticks.forget()


@pytest.fixture(autouse=True)
def _fresh_probes() -> Iterator[None]:
    forget()
    yield
    forget()


def assert_discreet(body: str) -> None:
    """No secret, host or URL."""
    for secret in (
        settings.REDIS_URL,
        settings.SECRET_KEY,
        str(settings.DATABASES["default"]["PASSWORD"]),
        "127.0.0.1",
        "://",
    ):
        assert secret not in body


@pytest.mark.django_db
def test_probes__all_up__say_so(client: Client) -> None:
    """RUN-6, HM-3: the portal's own health obeys the contract it asks of others."""
    live, ready, health = client.get("/livez"), client.get("/readyz"), client.get("/health")
    assert (live.status_code, live.content) == (200, b"ok")
    assert (ready.status_code, ready.json()) == (
        200,
        {"ready": True, "parts": {"postgresql": "ok", "migrations": "ok", "redis": "ok"}},
    )
    body = health.json()
    assert health.status_code == 200
    assert (body["status"], body["service"]) == ("healthy", "opsportal")
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
    assert set(body["details"]) == {"postgresql", "redis", "alerting"}
    for part in body["details"].values():
        assert part["status"] == "healthy"
        assert part["latency_ms"] > 0
    assert health["Cache-Control"].startswith("max-age=0")
    assert_discreet(ready.content.decode() + health.content.decode())


def test_probes__redis_down__is_ready_but_degraded(client: Client, redis_server: EmbeddedRedis, db: None) -> None:
    """HM-3: pages work without Redis, so the process stays in service, and says what is missing."""
    with redis_server.stopped():
        ready, health = client.get("/readyz"), client.get("/health")
        assert client.get("/livez").status_code == 200
        assert [c.name for c in check_components() if not c.ok] == ["redis"]
    assert ready.status_code == 200
    assert ready.json()["parts"]["redis"] == "unavailable"
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["details"]["redis"]["status"] == "unhealthy"
    assert_discreet(ready.content.decode() + health.content.decode())


def test_probes__postgresql_down_then_back__is_unready_then_ready(
    client: Client, postgres_server: EmbeddedPostgres
) -> None:
    """HM-3: without the database a process takes no work; it comes back by itself."""
    with postgres_server.stopped():
        ready, health = client.get("/readyz"), client.get("/health")
        assert client.get("/livez").status_code == 200
    assert ready.status_code == 503
    assert ready.json()["parts"]["postgresql"] == "unavailable"
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert_discreet(ready.content.decode() + health.content.decode())
    forget()
    connection.close()
    assert client.get("/readyz").status_code == 200


def test_probes__both_down__is_unhealthy(
    client: Client, postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    """HM-3: with nothing to stand on, unhealthy and 503."""
    with postgres_server.stopped(), redis_server.stopped():
        health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")


def test_probes__postgresql_hangs__answer_in_bounded_time(client: Client, postgres_server: EmbeddedPostgres) -> None:
    """A probe that hangs is worse than one that says no."""
    with postgres_server.paused():
        started = time.monotonic()
        assert client.get("/readyz").status_code == 503
        assert time.monotonic() - started < 5


@pytest.mark.django_db
def test_readyz__migration_missing__is_unready_until_it_is_there(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version must not take work before its migrations ran."""
    probes._migrated.clear()
    executor = MigrationExecutor(connection)
    real = dict(executor.loader.disk_migrations)
    key = next(key for key in real if key[0] == "circuit")
    monkeypatch.setattr(
        MigrationExecutor, "migration_plan", lambda self, targets: [(self.loader.disk_migrations[key], False)]
    )
    assert client.get("/readyz").json()["parts"]["migrations"] == "missing"
    assert client.get("/readyz").status_code == 503
    monkeypatch.undo()
    assert client.get("/readyz").status_code == 200


def test_probe__asked_many_times__asks_the_server_once_a_second(client: Client, db: None) -> None:
    """Anybody may call these pages; they must not be a way to load the servers."""
    asked: list[None] = []
    probe = probes.CachedProbe(lambda: asked.append(None), ())
    for _ in range(100):
        assert probe().ok
    assert len(asked) == 1
    probe.forget()
    probe()
    assert len(asked) == 2
