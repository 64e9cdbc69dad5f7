"""GET /api/v1/health/services and the metrics."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from prometheus_client.core import Metric

from health import store
from health.collector import HealthCollector
from health.models import Service, Status
from health.store import Record
from opsportal.embedded import EmbeddedRedis

URL = "/api/v1/health/services"


@pytest.fixture
def viewer(users: Any) -> Client:
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


@pytest.fixture
def services(db: None) -> list[Service]:
    """`orders` healthy, `risk` silent for a minute, `gateway` unreachable and `signals` degraded because of it."""
    rows = {name: Service.objects.create(name=name, base_url="http://127.0.0.1:9") for name in ("orders", "risk")}
    rows["gateway"] = Service.objects.create(name="gateway", base_url="http://127.0.0.1:9", owner="Connectivity")
    rows["signals"] = Service.objects.create(name="signals", base_url="http://127.0.0.1:9")
    rows["signals"].depends_on.add(rows["gateway"])
    store.publish_registry()
    good: dict[str, Any] = {
        "reply_status": Status.HEALTHY,
        "reply_age": 1000,
        "probe_age": 1000,
        "latency_us": 2500,
        "since_age": 9000,
    }
    store.write_records(
        [
            (rows["orders"].pk, Record(status=Status.HEALTHY, last_operation_at="2026-11-21T06:00:00+00:00", **good)),
            (rows["risk"].pk, Record(status=Status.HEALTHY, **{**good, "reply_age": 60_000, "probe_age": 60_000})),
            (
                rows["gateway"].pk,
                Record(status=Status.UNREACHABLE, probe_age=500, cause="refused", sentence="Refused."),
            ),
            (rows["signals"].pk, Record(status=Status.DEGRADED, **{**good, "reply_status": Status.DEGRADED})),
        ],
        {"holder": "test"},
    )
    return list(rows.values())


def test_services__viewer__reads_what_the_grid_shows(viewer: Client, services: list[Service]) -> None:
    """HM-4, HM-7, HM-12: stale is not healthy, the cause is named, worst first."""
    body = viewer.get(URL).json()
    found = {row["name"]: row for row in body["services"]}
    assert [row["name"] for row in body["services"]] == ["gateway", "risk", "signals", "orders"]
    assert [found[name]["status"] for name in ("orders", "risk", "gateway", "signals")] == [
        "healthy",
        "stale",
        "unreachable",
        "degraded",
    ]
    assert found["risk"]["reply_status"] == "healthy" and 60 <= found["risk"]["age_seconds"] < 70
    assert found["signals"]["caused_by"] == "gateway"
    assert (found["gateway"]["cause"], found["gateway"]["owner"]) == ("refused", "Connectivity")
    assert found["orders"]["latency_ms"] == 2.5
    assert found["orders"]["last_operation_at"] == "2026-11-21T06:00:00Z"
    assert (body["source"], body["counts"]["healthy"]) == ("redis", 1)


def test_services__parent_failed_once__already_explains_its_child(viewer: Client, services: list[Service]) -> None:
    """HM-12: the child is not blamed for the second until the parent's failure is confirmed."""
    gateway = next(service for service in services if service.name == "gateway")
    doubtful = Record(
        status=Status.HEALTHY,
        reply_status=Status.HEALTHY,
        reply_age=6000,
        probe_age=100,
        unconfirmed=Status.UNREACHABLE,
        seen=1,
        needed=2,
    )
    store.write_records([(gateway.pk, doubtful)], {"holder": "test"})
    found = {row["name"]: row for row in viewer.get(URL).json()["services"]}
    assert found["gateway"]["status"] == "stale"
    assert found["signals"]["caused_by"] == "gateway"


def test_services__nobody__is_refused() -> None:
    """RBAC-1: a problem document, no data."""
    answer = Client().get(URL)
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")


@pytest.mark.django_db(transaction=True)
def test_services__redis_down__come_from_postgresql(
    users: Any, services: list[Service], redis_server: EmbeddedRedis
) -> None:
    """HM-4, Q-4: the source is named, and nothing is green that was not measured."""
    client = Client()
    client.force_login(users.viewer, backend="opsportal.accounts.backends.CachedUserBackend")
    with redis_server.stopped():
        body = client.get(URL).json()
    assert body["source"] == "postgresql"
    assert {row["status"] for row in body["services"]} == {"unknown"}


def test_snapshot__record_of_another_version__is_unknown_and_spares_the_others(
    viewer: Client, services: list[Service], redis: Any
) -> None:
    """HM-4: what cannot be understood is not shown as anything."""
    for broken in ("", "x", "5|not json", '5|{"status": 1}', "5|[1,2,3]x", "abc|[]"):
        redis.hset(store.SNAPSHOT_KEY, str(services[0].pk), broken)
        from health.selectors import forget_grid

        forget_grid()
        found = {row["name"]: row["status"] for row in viewer.get(URL).json()["services"]}
        assert (found["orders"], found["gateway"]) == ("unknown", "unreachable"), broken


def test_metrics__states_and_ages__are_collected_once(services: list[Service]) -> None:
    """HM-13, SLA-2: what the grid shows, at scrape time."""
    metrics: dict[str, Metric] = {metric.name: metric for metric in HealthCollector().collect()}
    states = {sample.labels["service"]: sample.labels["state"] for sample in metrics["health_service_state"].samples}
    assert states == {"orders": "healthy", "risk": "stale", "gateway": "unreachable", "signals": "degraded"}
    ages = {sample.labels["service"]: sample.value for sample in metrics["health_reply_age_seconds"].samples}
    assert 60 <= ages["risk"] < 70 and "gateway" not in ages


def test_contract__schema__is_served(viewer: Client) -> None:
    """HM-3: service teams read it where the portal is."""
    assert viewer.get("/api/v1/health/contract").json()["title"]


def test_schema__names_the_health_api(viewer: Client, tmp_path: Any) -> None:
    """Q-5: described by OpenAPI, without a warning."""
    path = tmp_path / "schema.yml"
    call_command("spectacular", "--file", str(path), "--fail-on-warn")
    assert {"/api/v1/health/services", "/api/v1/health/contract"} <= set(path.read_text().replace(":", "").split())
