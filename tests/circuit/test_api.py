"""The breaker's API."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_client
from django.test import Client

from circuit import services
from circuit.selectors import forget_readings, read_breaker
from opsportal.audit.models import Entry
from tests.desk import DESK, WHY

JSON = "application/json"


@pytest.fixture(autouse=True)
def _open(db: None) -> None:
    forget_readings()
    services.init_breaker(by=DESK)


def signed_in(user: Any, **kwargs: Any) -> Client:
    client = Client(**kwargs)
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def test_status__has_the_promised_fields(users: Any) -> None:
    """CB-4: the exact shape."""
    services.trip_breaker(by=DESK, reason="limit")
    answer = signed_in(users.viewer).get("/api/v1/circuit")
    body = answer.json()
    assert set(body) == {"state", "label", "last_trip_reason", "last_trip_at", "read_at", "stale"}
    assert (body["state"], body["label"], body["last_trip_reason"], body["stale"]) == (
        "TRIPPED",
        "halted",
        "limit",
        False,
    )
    assert body["last_trip_at"].endswith("+00:00")


def test_trip_and_reset__operator(users: Any) -> None:
    """CB-4: the same service, marked as API."""
    client = signed_in(users.operator)
    answer = client.post("/api/v1/circuit/trip", {"reason": "limit", "category": "drawdown"}, JSON)
    assert (answer.status_code, answer.json()["state"]) == (200, "TRIPPED")
    answer = client.post("/api/v1/circuit/reset", {"reason": WHY, "acknowledged": True}, JSON)
    assert (answer.status_code, answer.json()["state"]) == (200, "OPEN")
    assert set(Entry.objects.filter(event__in=["circuit_trip", "circuit_reset"]).values_list("source", flat=True)) == {
        "api"
    }


def refusal(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["detail"].endswith((".", "?"))
    return body


def test_refusals__are_problem_documents(users: Any) -> None:
    """CB-4, Q-5: 409 says who and when, 422 names the field, 429 has Retry-After."""
    client = signed_in(users.operator)
    body = refusal(client.post("/api/v1/circuit/reset", {"reason": WHY, "acknowledged": True}, JSON), 409)
    assert body["by"] == "desk" and body["at"]
    client.post("/api/v1/circuit/trip", {"reason": "limit"}, JSON)
    body = refusal(client.post("/api/v1/circuit/trip", {"reason": "again"}, JSON), 409)
    assert body["by"] == users.operator.username and body["at"]
    assert (
        "reason"
        in refusal(client.post("/api/v1/circuit/reset", {"reason": "short", "acknowledged": True}, JSON), 422)["errors"]
    )
    assert "acknowledged" in refusal(client.post("/api/v1/circuit/reset", {"reason": WHY}, JSON), 422)["errors"]
    assert "reason" in refusal(client.post("/api/v1/circuit/trip", {}, JSON), 422)["errors"]
    assert (
        "category"
        in refusal(client.post("/api/v1/circuit/trip", {"reason": "x", "category": "rage"}, JSON), 422)["errors"]
    )
    client.post("/api/v1/circuit/reset", {"reason": WHY, "acknowledged": True}, JSON)
    client.post("/api/v1/circuit/trip", {"reason": "limit"}, JSON)
    answer = client.post("/api/v1/circuit/reset", {"reason": WHY, "acknowledged": True}, JSON)
    refusal(answer, 429)
    assert 50 < int(answer["Retry-After"]) <= 60


@pytest.mark.parametrize("body", ["", "[]", "null", "1", '"x"', "{", '{"reason": 5}', '{"reason": ["x"]}', '{"reason": true}', '{"reason": null}',
                                  '{"reason": "a\\u0000b"}', '{"reason": "' + "x" * 10_240 + '"}'])  # fmt: skip
def test_trip__bad_bodies__are_4xx(users: Any, body: str) -> None:
    """Q-5: never a 500, nothing changes by accident."""
    answer = signed_in(users.operator).post("/api/v1/circuit/trip", body, JSON)
    assert 400 <= answer.status_code < 500
    refusal(answer, answer.status_code)
    assert read_breaker().state == "OPEN"


def test_nobody__is_401(db: None) -> None:
    """CB-4: one same answer, with a challenge."""
    for answer in (Client().get("/api/v1/circuit"), Client().post("/api/v1/circuit/trip", {"reason": "x"}, JSON)):
        refusal(answer, 401)
        assert answer["WWW-Authenticate"]


def test_viewer__is_403_and_audited(users: Any) -> None:
    """RBAC-1, CB-4."""
    answer = signed_in(users.viewer).post("/api/v1/circuit/trip", {"reason": "x"}, JSON)
    assert refusal(answer, 403)["missing"] == "circuit.trip_breaker"
    assert Entry.objects.get(event="admin_page_access_denied").resource_id == "/api/v1/circuit/trip"


def test_session_without_csrf_token__is_403(users: Any) -> None:
    """AUTH-4: a session is not enough to write."""
    client = signed_in(users.operator, enforce_csrf_checks=True)
    refusal(client.post("/api/v1/circuit/trip", {"reason": "x"}, JSON), 403)
    assert read_breaker().state == "OPEN"


def test_wrong_methods_types_and_addresses__are_problem_documents(users: Any) -> None:
    """Q-5."""
    client = signed_in(users.operator)
    refusal(client.get("/api/v1/circuit/trip"), 405)
    refusal(client.post("/api/v1/circuit/trip", {"reason": "x"}), 415)
    refusal(client.get("/api/v1/nothing"), 404)


def test_schema__describes_every_endpoint(users: Any) -> None:
    """Q-5."""
    schema = signed_in(users.viewer).get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()
    described = {path for path in schema["paths"] if path.startswith("/api/v1/circuit")}
    assert described == {"/api/v1/circuit", "/api/v1/circuit/trip", "/api/v1/circuit/reset"}
    assert {"401", "403", "409", "422", "429", "503"} <= set(
        schema["paths"]["/api/v1/circuit/reset"]["post"]["responses"]
    )
    assert Client().get("/api/schema/").status_code == 401


def test_last_trip_at__unreadable__is_null(users: Any, redis: redis_client.Redis) -> None:
    """CB-2: nonsense in Redis does not become nonsense in the API."""
    redis.set("circuit_breaker:last_trip_at", "yesterday-ish")
    assert signed_in(users.viewer).get("/api/v1/circuit").json()["last_trip_at"] is None
