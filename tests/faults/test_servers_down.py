"""Redis or PostgreSQL really stopped: what still works, what says why not, and that nothing is lost (CB-8, CB-10, Q-4)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerting.ticks import probe_ticks
from circuit import services, spool, store, tasks, watching, wire
from circuit.changes import change_of, record_of
from circuit.errors import CannotReach
from circuit.models import Kind, Source, State, Transition
from circuit.selectors import forget_readings, read_breaker
from opsportal.audit import chain
from opsportal.audit.models import Entry
from opsportal.observability.probes import probe_postgresql, probe_redis
from tests.desk import DESK, WHY

LATER = timedelta(seconds=10)


@pytest.fixture(autouse=True)
def _open(transactional_db: None) -> None:
    forget_readings()
    probe_postgresql.forget()
    probe_redis.forget()
    probe_ticks.forget()
    services.init_breaker(by=DESK)


def signed_in(user: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    client.get(reverse("admin:circuit"))
    return client


def reconnect() -> None:
    connections.close_all()


def test_trip__postgresql_down__lands_in_redis_and_is_recorded_when_it_returns(
    users: Any, postgres_server: Any, redis: redis_client.Redis
) -> None:
    """CB-8: from the page, with the session and user of the cache; the record follows, in order, chained."""
    client = signed_in(users.operator)
    with postgres_server.stopped():
        reconnect()
        answer = client.post(reverse("admin:circuit_trip"), {"category": "drawdown", "reason": "limit"})
        assert answer.status_code == 302
        assert redis.get("circuit_breaker:state") == "TRIPPED"
        assert redis.xlen(wire.SPOOL_KEY) == 1
        page = client.get(reverse("admin:circuit"))
        assert page.status_code == 200
        assert "TRIPPED" in page.content.decode() and "history cannot be shown" in page.content.decode()
        tasks.drain()  # must only log
    reconnect()
    spool.drain_spool(now=timezone.now() + LATER)
    row = Transition.objects.get(kind=Kind.TRIP)
    entry = Entry.objects.get(event="circuit_trip")
    assert (row.reason, row.actor_id) == ("limit", users.operator.pk)
    assert (entry.event_id, entry.actor_id, entry.remote_addr, entry.timestamp) == (
        row.pk,
        users.operator.pk,
        "127.0.0.1",
        row.at,
    )
    assert redis.xlen(wire.SPOOL_KEY) == 0
    assert watching.notice_external_change() is None
    assert chain.verify().ok


def test_reset__postgresql_down__is_refused_and_stays_tripped(
    users: Any, postgres_server: Any, redis: redis_client.Redis
) -> None:
    """CB-8: no database, no reset; the cooldown is not used up."""
    client = signed_in(users.operator)
    services.trip_breaker(by=DESK, reason="limit")
    form = {"reason": WHY, "acknowledged": "on", "expected_version": read_breaker().version}
    with postgres_server.stopped():
        reconnect()
        answer = client.post(reverse("admin:circuit_reset"), form)
        assert answer.status_code == 503 and "stays halted" in answer.content.decode()
        assert redis.get("circuit_breaker:state") == "TRIPPED"
        assert not redis.exists(wire.COOLDOWN_KEY)
        api = client.post("/api/v1/circuit/reset", {"reason": WHY, "acknowledged": True}, "application/json")
        assert api.status_code == 503 and api["Content-Type"] == "application/problem+json"
        with pytest.raises(CannotReach):
            services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    reconnect()
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    assert redis.get("circuit_breaker:state") == "OPEN"


def test_several_changes__postgresql_down__are_recorded_in_order(
    postgres_server: Any, redis: redis_client.Redis
) -> None:
    """CB-8, CB-9: trips by the portal and changes by others, none lost, in the order in which they happened."""
    with postgres_server.stopped():
        reconnect()
        services.trip_breaker(by=DESK, reason="first")
        redis.set("circuit_breaker:state", "OPEN")
        assert watching.notice_external_change() is not None
        services.trip_breaker(by=DESK, reason="second")
        redis.xadd(wire.SPOOL_KEY, {"transition": "{torn"})
    reconnect()
    # The next change writes what waited before itself, and the torn entry is set aside.
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    history = list(Transition.objects.order_by("at").values_list("kind", "reason", "source"))[1:]
    assert [(kind, source) for kind, _, source in history] == [
        ("trip", "portal"), ("reset", "external"), ("trip", "portal"), ("reset", "portal"),
    ]  # fmt: skip
    entries = Entry.objects.filter(resource_type="circuit_breaker").order_by("id")
    assert [entry.event for entry in entries] == [
        "circuit_init", "circuit_trip", "circuit_external_change", "circuit_trip", "circuit_reset",
    ]  # fmt: skip
    assert redis.xlen(wire.SPOOL_REFUSED_KEY) == 1 and redis.xlen(wire.SPOOL_KEY) == 0
    assert chain.verify().ok


def test_portal_killed_between_redis_and_postgresql__record_is_written_by_the_task(redis: redis_client.Redis) -> None:
    """CB-8, AU-3: the trip and its record enter Redis in one step, so a dead process loses neither."""
    record = record_of(Kind.TRIP, State.TRIPPED, "kill -9 right after", by=DESK, source=Source.PORTAL, now=None)
    seen = store.read()
    store.write(seen, change_of(record, seen, wire.decode(seen)))
    assert not Transition.objects.filter(kind="trip").exists()
    assert watching.notice_external_change() is None  # not mistaken for somebody else's change
    assert spool.drain_spool() == 0  # left alone while it may still be in hand
    assert spool.drain_spool(now=timezone.now() + LATER) == 1
    assert Entry.objects.get(event="circuit_trip").reason == "kill -9 right after"
    assert spool.drain_spool(now=timezone.now() + LATER) == 0


def test_spooled_record_that_postgresql_refuses__is_set_aside_and_blocks_nothing(redis: redis_client.Redis) -> None:
    """CB-8, Q-4: one bad record never stops the others, nor a reset."""
    services.trip_breaker(by=DESK, reason="limit")
    bad = replace(record_of(Kind.TRIP, State.TRIPPED, "x", by=DESK, source=Source.PORTAL, now=None), actor_id=987654321)
    redis.xadd(wire.SPOOL_KEY, {"transition": bad.dump()})
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    assert redis.get("circuit_breaker:state") == "OPEN"
    assert (redis.xlen(wire.SPOOL_KEY), redis.xlen(wire.SPOOL_REFUSED_KEY)) == (0, 1)
    assert chain.verify().ok


def test_staleness_metric__one_failed_scrape__is_the_age_of_the_newest_reading(redis_server: Any) -> None:
    """CB-12, SLA-2: whoever read it last, not whoever was scraped last."""
    from circuit.collector import BreakerCollector

    read_breaker()
    with redis_server.stopped():
        values = {metric.name: metric.samples[0].value for metric in BreakerCollector().collect()}
    assert 0 <= values["cb_staleness_seconds"] < 5


def test_commands__postgresql_down__one_sentence(postgres_server: Any) -> None:
    """RUN-5: no traceback for a tired operator."""
    with postgres_server.stopped():
        reconnect()
        with pytest.raises(CommandError, match="PostgreSQL does not answer"):
            call_command("audit", "verify")
        with pytest.raises(CommandError, match="PostgreSQL does not answer"):
            call_command("circuit", "trip", "--reason", "x", "--as", "somebody")
    reconnect()


def test_reset__commit_fails_after_redis__is_tripped_again(
    redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CB-8: a reset whose record was not kept is undone; the cooldown is freed, and the history tells both."""
    services.trip_breaker(by=DESK, reason="limit")
    write = store.write

    def then_lose_the_database(*args: Any) -> str:
        spool_id = write(*args)
        if redis.get("circuit_breaker:state") == "OPEN":
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            terminate(pid)
        return spool_id

    monkeypatch.setattr(store, "write", then_lose_the_database)
    with pytest.raises(CannotReach):
        services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    monkeypatch.undo()
    reconnect()
    assert redis.get("circuit_breaker:state") == "TRIPPED"
    assert not redis.exists(wire.COOLDOWN_KEY)
    spool.drain_spool(now=timezone.now() + LATER)
    kinds = list(Transition.objects.order_by("at").values_list("kind", flat=True))
    assert kinds == ["init", "trip", "reset", "trip"]
    assert chain.verify().ok


def terminate(pid: int) -> None:
    import psycopg

    from tests.servers import superuser_url

    with psycopg.connect(superuser_url(), autocommit=True) as outside:
        outside.execute("SELECT pg_terminate_backend(%s)", [pid])


def test_redis_down__pages_answer_with_the_last_known_state(users: Any, redis_server: Any) -> None:
    """CB-10: loud, stale, controls off with the reason; nothing is a 500."""
    client = signed_in(users.operator)
    services.trip_breaker(by=DESK, reason="limit")
    forget_readings()
    read_breaker()
    with redis_server.stopped():
        page = client.get(reverse("admin:circuit"))
        text = page.content.decode()
        assert page.status_code == 200 and "TRIPPED" in text
        assert "tale since" in text and "Off while Redis does not answer" in text
        fragment = client.get(reverse("admin:circuit_fragment"))
        assert fragment.status_code == 200 and "Redis does not answer" in fragment.content.decode()
        assert client.get(reverse("admin:index")).status_code == 200
        answer = client.post(reverse("admin:circuit_trip"), {"category": "manual", "reason": "x"})
        assert answer.status_code == 503 and "Halt trading on the platform itself" in answer.content.decode()
        api = client.get("/api/v1/circuit").json()
        assert (api["state"], api["stale"]) == ("TRIPPED", True)
        tasks.watch()
        tasks.drain()
    assert read_breaker().stale is False


def test_redis_down_from_the_start__last_recorded_state_is_shown(users: Any, redis_server: Any) -> None:
    """CB-10: a process that never read Redis shows what the history knows, marked stale."""
    client = signed_in(users.viewer)
    services.trip_breaker(by=DESK, reason="limit")
    forget_readings()
    with redis_server.stopped():
        reading = read_breaker()
        assert (reading.state, reading.stale) == ("TRIPPED", True)
        assert client.get(reverse("admin:circuit")).status_code == 200


def test_sign_in__redis_down__works(users: Any, redis_server: Any) -> None:
    """AUTH-3: sessions live in PostgreSQL; Redis only makes them fast."""
    with redis_server.stopped():
        client = Client()
        values = {"username": users.viewer.username, "password": users.password}
        assert client.post(reverse("admin:login"), values).status_code == 302
        assert client.get(reverse("admin:circuit")).status_code == 200


def test_both_down__503_with_words(users: Any, postgres_server: Any, redis_server: Any) -> None:
    """Q-4: nothing can be known, and the page says so instead of failing."""
    client = signed_in(users.operator)
    with redis_server.stopped(), postgres_server.stopped():
        reconnect()
        page = client.get(reverse("admin:circuit"))
        assert page.status_code == 503 and page["Retry-After"]
        api = client.get("/api/v1/circuit")
        assert api.status_code == 503 and json.loads(api.content)["detail"]
    reconnect()


def test_session_ended_while_redis_was_down__does_not_come_back(users: Any, redis_server: Any, settings: Any) -> None:
    """AUTH-3: the copy in Redis is checked against PostgreSQL."""
    from freezegun import freeze_time

    client = signed_in(users.viewer)
    with redis_server.stopped():
        users.viewer.sessions.all().delete()
    with freeze_time(timezone.now() + timedelta(seconds=31)):
        assert client.get(reverse("admin:circuit")).status_code == 302


def test_status_command__redis_down__says_so(redis_server: Any, capsys: Any) -> None:
    """CB-10: exit code 3, and the words."""
    with redis_server.stopped(), pytest.raises(SystemExit) as code:
        call_command("circuit", "status")
    assert code.value.code == 3
    assert "not a reading" in capsys.readouterr().err
