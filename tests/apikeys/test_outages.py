"""Redis or PostgreSQL really stopped: what keys still open."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys import recognising, services, wire
from apikeys.models import ApiKey
from circuit import services as circuit_services
from circuit.selectors import forget_readings, read_breaker
from opsportal.accounts.roles import Role
from opsportal.accounts.services import disable_user, set_role
from opsportal.audit.models import Entry
from tests.apikeys.conftest import REASON, bearer, signed_in
from tests.desk import DESK

SELF = "/api/v1/apikeys/self"


@pytest.fixture(autouse=True)
def _open(transactional_db: None) -> None:
    forget_readings()
    circuit_services.init_breaker(by=DESK)


def status(key: str, path: str = SELF) -> int:
    return int(Client(raise_request_exception=False).get(path, **bearer(key)).status_code)


def trip(key: str) -> int:
    client = Client(raise_request_exception=False)
    body = {"reason": "limit", "category": "drawdown"}
    return int(client.post("/api/v1/circuit/trip", body, "application/json", **bearer(key)).status_code)


def test_redis_stopped__keys_work_and_one_use_is_written_a_minute(made: Any, redis_server: Any) -> None:
    """AK-5, AK-7: slower, as every call reads the row; the note of the use stays one UPDATE."""
    key, text = made("read:circuit")
    with redis_server.stopped():
        with CaptureQueriesContext(connections["default"]) as queries:
            assert [status(text) for _ in range(3)] == [200, 200, 200]
        assert sum("UPDATE" in query["sql"] for query in queries.captured_queries) == 1
        recognising.forget_rows()  # another process, which knows nothing of the first: the row itself decides
        key.refresh_from_db()
        first = key.last_used_at
        assert first is not None and status(text) == 200
        key.refresh_from_db()
        assert key.last_used_at == first
        assert status(wire.draw_key().text) == 401


def test_redis_stopped__revoked_key_is_dead_and_audited_once_a_minute(made: Any, redis_server: Any) -> None:
    """AK-5, AU-2: the database alone decides; the page says so."""
    key, text = made()
    assert status(text) == 200
    with redis_server.stopped():
        assert not services.revoke_key(key, by=DESK, reason=REASON).announced
        assert [status(text) for _ in range(3)] == [401, 401, 401]
    assert Entry.objects.filter(event="api_key_refused").count() == 1


def test_page__redis_stopped__says_that_the_key_dies_all_the_same(made: Any, users: Any, redis_server: Any) -> None:
    """AK-5."""
    key, _ = made()
    client = signed_in(users.admin)
    with redis_server.stopped():
        answer = client.post(f"/admin/apikeys/{key.pk}/revoke/", {"reason": REASON}, follow=True)
    assert "is revoked. Redis does not answer" in answer.content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_postgresql_stopped__key_used_just_before_can_still_trip(made: Any, postgres_server: Any) -> None:
    """CB-8, AK-4: a machine can halt trading; what this process has not seen lately is 503, not a wrong 401."""
    _, text = made("write:circuit")
    _, other = made("write:circuit")
    assert status(text) == 200
    with postgres_server.stopped():
        connections.close_all()
        assert status(other) == 503
        assert trip(text) == 200
        assert read_breaker().state == "TRIPPED"
        assert status(text[:16] + wire.draw_key().text[16:]) != 200


def test_postgresql_stopped__long_after_the_last_use__opens_nothing(
    made: Any, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AK-5: what is remembered serves no longer than Redis remembers a revocation."""
    _, text = made("write:circuit")
    assert status(text) == 200 and recognising.OUTAGE_SECONDS < recognising.REVOKED_SECONDS
    monkeypatch.setattr(recognising, "ROW_SECONDS", 0)
    monkeypatch.setattr(recognising, "OUTAGE_SECONDS", 0)
    with postgres_server.stopped():
        connections.close_all()
        assert trip(text) == 503


def _revoked(key: ApiKey) -> None:
    services.revoke_key(key, by=DESK, reason=REASON)


def _owner_disabled(key: ApiKey) -> None:
    disable_user(key.owner, by=DESK, reason="Has left the desk.")


def _owner_viewer(key: ApiKey) -> None:
    set_role(key.owner, Role.VIEWER, by=DESK)


@pytest.mark.parametrize("spoil", [_revoked, _owner_disabled, _owner_viewer])
def test_postgresql_stopped__key_that_was_spoiled_before__cannot_trip(
    made: Any, postgres_server: Any, spoil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AK-3, AK-5: what was taken away just before the outage does not come back with it."""
    key, text = made("write:circuit")
    assert status(text) == 200
    spoil(key)
    monkeypatch.setattr(recognising, "ROW_SECONDS", 0)
    with postgres_server.stopped():
        connections.close_all()
        assert trip(text) in (401, 403, 503)
        assert read_breaker().state == "OPEN"


def test_both_stopped__key_opens_nothing(made: Any, postgres_server: Any, redis_server: Any) -> None:
    """AK-5: nobody can say that it is not revoked."""
    _, text = made("write:circuit")
    assert status(text) == 200
    with postgres_server.stopped(), redis_server.stopped():
        connections.close_all()
        assert status(text) == 503


def test_overview__postgresql_stopped__is_there_without_the_keys(users: Any, postgres_server: Any) -> None:
    """AK-8, CB-8: the warning about keys must not take the page away."""
    client = signed_in(users.admin)
    client.get("/admin/circuit/")
    with postgres_server.stopped():
        connections.close_all()
        assert client.get("/admin/").status_code == 200
