"""Both dialects, other writers, and a Redis that lost what it had."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import redis as redis_client

from circuit import services, watching, wire
from circuit.models import Kind, Source, State, Transition
from circuit.selectors import newest_transition, read_breaker
from opsportal.accounts.actors import Actor
from opsportal.audit.models import Entry
from tests.desk import DESK, WHY


def text(value: object) -> str:
    assert isinstance(value, str)
    return value


def test_json_dialect__trip_and_reset__a_json_reader_sees_them(
    open_breaker: None, redis: redis_client.Redis, settings: Any
) -> None:
    """CB-3: the object keeps its other fields, the history is written and capped."""
    settings.CIRCUIT_DIALECT = "json"
    redis.set("circuit_breaker:state", json.dumps({"state": "OPEN", "trip_count_today": 0, "own": {"kept": []}}))
    services.trip_breaker(by=DESK, reason="limit")
    tripped = json.loads(redis.get("circuit_breaker:state") or "")
    assert (tripped["state"], tripped["trip_reason"], tripped["trip_count_today"]) == ("TRIPPED", "limit", 1)
    assert tripped["own"] == {"kept": []} and wire.parse_instant(tripped["tripped_at"])
    assert json.loads(text(redis.zrange("circuit_breaker:trip_history", 0, -1)[0]))["reason"] == "limit"
    assert read_breaker().state == State.TRIPPED
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    opened = json.loads(redis.get("circuit_breaker:state") or "")
    assert (opened["state"], opened["reset_by"]) == ("OPEN", "desk") and opened["reset_at"]


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ("OPEN", State.OPEN),
        ("TRIPPED", State.TRIPPED),
        ("QUIET_PERIOD", State.QUIET_PERIOD),
        ("open", State.UNKNOWN),
        ("", State.UNKNOWN),
        ('{"state": "TRIPPED", "trip_reason": "r"}', State.TRIPPED),
        ('{"state": "QUIET_PERIOD"}', State.QUIET_PERIOD),
        ('{"state": null}', State.UNKNOWN),
        ('{"state": ["OPEN"]}', State.UNKNOWN),
        ("{broken", State.UNKNOWN),
        ("[1]", State.UNKNOWN),
        (None, State.UNKNOWN),
    ],
)
def test_decode__both_dialects_and_nonsense(raw: str | None, state: State) -> None:
    """CB-2, CB-3: both forms always; anything else is UNKNOWN."""
    decoded = wire.decode(wire.Snapshot(raw, None, None, None))
    assert decoded.state == state
    assert bool(decoded.problem) == (state == State.UNKNOWN)


def test_external_trip__is_recorded_once(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-9: another writer's change is noticed and recorded as external."""
    at = wire.instant_text(datetime.now(UTC))
    redis.mset(
        {
            "circuit_breaker:state": "TRIPPED",
            "circuit_breaker:last_trip_reason": "broker gone",
            "circuit_breaker:last_trip_at": at,
        }
    )
    assert watching.notice_external_change() is not None
    assert watching.notice_external_change() is None
    row = Transition.objects.get(kind=Kind.TRIP)
    assert (row.source, row.category, row.reason, row.from_state) == (
        Source.EXTERNAL,
        "external",
        "broker gone",
        "OPEN",
    )
    assert Entry.objects.filter(event="circuit_external_change").count() == 1


def test_external_reset_and_retrip_between_looks__both_trips_are_known(
    open_breaker: None, redis: redis_client.Redis
) -> None:
    """CB-9: a new trip time tells a new trip, even when the reset in between was missed."""
    services.trip_breaker(by=DESK, reason="first")
    redis.set("circuit_breaker:last_trip_at", "2030-01-01T00:00:00+00:00")
    assert watching.notice_external_change() is not None
    assert Transition.objects.filter(kind=Kind.TRIP).count() == 2


def test_external_trip__time_in_whole_seconds__keeps_the_order(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-9: a platform that cuts its times to the second does not put the history out of order."""
    began = datetime.now(UTC)
    redis.mset(
        {
            "circuit_breaker:state": "TRIPPED",
            "circuit_breaker:last_trip_at": began.replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    watching.notice_external_change()
    assert list(Transition.objects.order_by("at").values_list("kind", flat=True)) == ["init", "trip"]


def test_external_detail_change__is_no_transition(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-9: the platform's own counters may change without a new row."""
    redis.set("circuit_breaker:state", json.dumps({"state": "OPEN", "trip_count_today": 3}))
    assert watching.notice_external_change() is None
    assert Transition.objects.count() == 1


def test_data_lost__is_recorded_and_can_be_restored(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-2: after Redis has lost its data the state is UNKNOWN until somebody restores it."""
    services.trip_breaker(by=Actor.system("alice"), reason="limit")
    redis.flushall()
    assert read_breaker().state == State.UNKNOWN
    watching.notice_external_change()
    assert Transition.objects.first().kind == Kind.LOST  # type: ignore[union-attr]
    assert watching.notice_external_change() is None
    services.restore_breaker(by=DESK, reason=WHY, acknowledged=True)
    reading = read_breaker()
    assert reading.state == State.TRIPPED
    assert reading.decoded.reason == "limit" and reading.decoded.note.trip_by == "alice"  # type: ignore[union-attr]
    assert Entry.objects.filter(event="circuit_restore").count() == 1


def test_redis_lost_its_latest_writes__is_noticed_and_recorded(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-2, CB-9: a Redis that comes back without the trip of a second ago must not undo it."""
    before = redis.mget(wire.STATE_KEY, wire.NOTE_KEY)
    services.trip_breaker(by=DESK, reason="lost in the crash")
    redis.mset({wire.STATE_KEY: text(before[0]), wire.NOTE_KEY: text(before[1])})
    redis.delete(wire.AT_KEY, wire.REASON_KEY)
    assert watching.notice_external_change() is not None
    assert watching.notice_external_change() is None
    lost, again = Transition.objects.order_by("-recorded_at")[1], newest_transition()
    assert (lost.kind, lost.source, lost.from_state, lost.reason) == (
        "reset",
        "external",
        "TRIPPED",
        watching.WENT_BACK,
    )
    assert again and (again.kind, again.source, again.actor_label) == ("trip", "portal", "opsportal")
    assert "lost the trip of desk" in again.reason
    assert read_breaker().state == State.TRIPPED


def test_note_lost__who_and_since_come_from_the_history(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-1: the portal's own note can be rebuilt; that is no transition."""
    done = services.trip_breaker(by=Actor.system("alice"), reason="limit")
    redis.delete(wire.NOTE_KEY)
    assert watching.notice_external_change() is None
    note = read_breaker().decoded.note
    assert note and (note.id, note.trip_by, note.trip_source) == (str(done.id), "alice", "portal")
    assert Transition.objects.count() == 2


def test_restore_of_open__brings_the_last_trip_back_too(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-1, CB-2: reason, time and name of the last trip come from the history."""
    services.trip_breaker(by=Actor.system("alice"), reason="limit")
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    redis.flushall()
    services.restore_breaker(by=DESK, reason=WHY, acknowledged=True)
    decoded = read_breaker().decoded
    assert (decoded.state, decoded.reason) == (State.OPEN, "limit")
    assert decoded.at == Transition.objects.get(kind="trip").at
    assert decoded.note and decoded.note.trip_by == "alice"


def test_first_start__nothing_anywhere__nothing_is_recorded(db: None) -> None:
    """CB-2: an uninitialised breaker is no change."""
    assert watching.notice_external_change() is None
    assert not Transition.objects.exists()
