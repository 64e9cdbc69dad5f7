"""Tripping and resetting through the service that every door uses."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import redis as redis_client
from django.db import connection

from circuit import services, store, watching, wire
from circuit.changes import change_of, record_of
from circuit.errors import InvalidInput, StaleForm, TooSoon, WrongState
from circuit.models import Kind, Source, State, Transition
from circuit.selectors import newest_transition, read_breaker
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry

WHY = "Checked positions and limits; all clear."
DESK = Actor.system("desk")


def text(value: object) -> str:
    assert isinstance(value, str)
    return value


@pytest.fixture
def open_breaker(db: None) -> None:
    services.init_breaker(by=DESK)


def test_init__nothing_there__opens_and_is_recorded(db: None, redis: redis_client.Redis) -> None:
    """CB-2: only an explicit init creates OPEN."""
    assert read_breaker().state == State.UNKNOWN
    services.init_breaker(by=DESK)
    assert redis.get("circuit_breaker:state") == "OPEN"
    assert Transition.objects.get().kind == Kind.INIT
    assert Entry.objects.get(event="circuit_init").actor_label == "desk"


def test_init__state_exists__is_refused(open_breaker: None) -> None:
    """CB-2: init never overwrites a state."""
    with pytest.raises(WrongState):
        services.init_breaker(by=DESK)


def test_init__a_state_was_recorded_before__wants_to_be_told_twice(
    open_breaker: None, redis: redis_client.Redis
) -> None:
    """CB-2: after data loss init must not quietly turn TRIPPED into OPEN."""
    services.trip_breaker(by=DESK, reason="limit")
    redis.flushall()
    with pytest.raises(WrongState, match="was TRIPPED when it was last recorded"):
        services.init_breaker(by=DESK)
    assert read_breaker().state == State.UNKNOWN
    services.init_breaker(by=DESK, acknowledged=True)
    assert read_breaker().state == State.OPEN


def test_reset__state_makes_no_sense__says_the_way_that_works(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-2: the advice of a refusal can be followed."""
    redis.set("circuit_breaker:state", "banana")
    for refused in (
        lambda: services.reset_breaker(by=DESK, reason=WHY, acknowledged=True),
        lambda: services.init_breaker(by=DESK, acknowledged=True),
    ):
        with pytest.raises(WrongState, match=r"banana.*Trip the breaker: that writes a clean state"):
            refused()
    services.trip_breaker(by=DESK, reason="as advised")
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    assert read_breaker().state == State.OPEN


def test_trip__open__writes_the_canonical_keys(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-2, CB-9, AU-3: state, reason and time for the platform; history row and audit entry for people."""
    done = services.trip_breaker(by=DESK, reason="  drawdown   limit ", category="drawdown")
    assert redis.mget("circuit_breaker:state", "circuit_breaker:last_trip_reason") == ["TRIPPED", "drawdown limit"]
    at = wire.parse_instant(text(redis.get("circuit_breaker:last_trip_at")))
    row = Transition.objects.get(kind=Kind.TRIP)
    assert (row.pk, row.at, row.from_state, row.category) == (done.id, at, "OPEN", "drawdown")
    entry = Entry.objects.get(event="circuit_trip")
    assert (entry.event_id, entry.reason, entry.outcome) == (done.id, "drawdown limit", "success")
    assert redis.xlen(wire.SPOOL_KEY) == 0
    assert not redis.exists("cb:state")


def test_trip__tripped_already__says_who_and_changes_nothing(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-5: tripping a tripped breaker changes nothing."""
    services.trip_breaker(by=Actor.system("alice"), reason="first")
    before = {key: redis.dump(key) for key in redis.keys("circuit_breaker:*")}
    with pytest.raises(WrongState, match=r"Already tripped by alice at .* UTC: first"):
        services.trip_breaker(by=Actor.system("bob"), reason="second")
    assert {key: redis.dump(key) for key in redis.keys("circuit_breaker:*")} == before
    assert Transition.objects.filter(kind=Kind.TRIP).count() == 1
    assert Entry.objects.get(event="circuit_trip", outcome="failed").actor_label == "bob"


def test_trip__unknown_state__halts(db: None, redis: redis_client.Redis) -> None:
    """CB-2: an unknown state can always be made an explicit halt."""
    redis.set("circuit_breaker:state", "banana")
    services.trip_breaker(by=DESK, reason="state is nonsense")
    assert redis.get("circuit_breaker:state") == "TRIPPED"
    assert Transition.objects.get().from_state == "UNKNOWN"


def test_trip__state_key_of_another_type__halts(db: None, redis: redis_client.Redis) -> None:
    """CB-2: a key that somebody spoilt reads as UNKNOWN and can still be tripped."""
    redis.lpush("circuit_breaker:state", "x")
    assert read_breaker().state == State.UNKNOWN
    services.trip_breaker(by=DESK, reason="key is a list")
    assert redis.get("circuit_breaker:state") == "TRIPPED"


def test_reset__tripped__opens_with_halt_duration(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-4, CB-9."""
    services.trip_breaker(by=DESK, reason="limit")
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    assert redis.get("circuit_breaker:state") == "OPEN"
    reset, trip = Transition.objects.get(kind=Kind.RESET), Transition.objects.get(kind=Kind.TRIP)
    assert reset.halted_for == reset.at - trip.at
    assert redis.get("circuit_breaker:last_trip_reason") == "limit"


def test_reset__open__changes_nothing(open_breaker: None) -> None:
    """CB-5."""
    with pytest.raises(WrongState, match="already open"):
        services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    assert not Transition.objects.filter(kind=Kind.RESET).exists()


@pytest.mark.parametrize("reason", ["", "   \n\t ", "too short", "x" * 19, " " * 30 + "x" * 19])
def test_reset__reason_too_short__is_refused(open_breaker: None, reason: str) -> None:
    """CB-6: at least 20 characters after trimming."""
    services.trip_breaker(by=DESK, reason="limit")
    with pytest.raises(InvalidInput) as refusal:
        services.reset_breaker(by=DESK, reason=reason, acknowledged=True)
    assert refusal.value.field == "reason"
    assert read_breaker().state == State.TRIPPED


def test_reset__not_acknowledged__is_refused(open_breaker: None) -> None:
    """CB-6."""
    services.trip_breaker(by=DESK, reason="limit")
    with pytest.raises(InvalidInput) as refusal:
        services.reset_breaker(by=DESK, reason=WHY, acknowledged=False)
    assert refusal.value.field == "acknowledged"


@pytest.mark.parametrize("reason", ["", "  \t ", "x" * 10_240, "nul \x00 character"])
def test_trip__bad_reason__is_refused(open_breaker: None, reason: str) -> None:
    """CB-6: a reason of spaces, of 10 kB, or with a NUL."""
    with pytest.raises(InvalidInput):
        services.trip_breaker(by=DESK, reason=reason)
    assert read_breaker().state == State.OPEN


def test_trip__reason_with_address_and_key__is_masked_everywhere(open_breaker: None, redis: redis_client.Redis) -> None:
    """AC-5, AK-9, AU-3: no address, phone number or key reaches Redis, history or audit log."""
    services.trip_breaker(by=DESK, reason="ask joe@example.com, +441234567890, tp_live_" + "A" * 43)
    texts = [redis.get("circuit_breaker:last_trip_reason") or "", Transition.objects.get(kind="trip").reason]
    texts.append(Entry.objects.get(event="circuit_trip").reason)
    for text in texts:
        assert "joe@" not in text and "1234567" not in text and "A" * 20 not in text


def test_second_reset_within_a_minute__is_refused_with_seconds(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-7: one reset a minute over all users; the refusal says how long to wait."""
    for reason in ("first", "second"):
        services.trip_breaker(by=DESK, reason=reason)
        if reason == "first":
            services.reset_breaker(by=DESK, reason=WHY, acknowledged=True)
    with pytest.raises(TooSoon) as refusal:
        services.reset_breaker(by=Actor.system("other"), reason=WHY, acknowledged=True)
    assert 55 <= refusal.value.seconds <= 60
    assert read_breaker().state == State.TRIPPED
    assert Transition.objects.filter(kind=Kind.RESET).count() == 1


def test_reset__state_changed_since_the_form__is_refused(open_breaker: None) -> None:
    """CB-6: an answer to an old page does not reset a newer trip."""
    services.trip_breaker(by=DESK, reason="first")
    seen = read_breaker().version
    services.reset_breaker(by=DESK, reason=WHY, acknowledged=True, expected_version=seen)
    services.trip_breaker(by=DESK, reason="second")
    with pytest.raises(StaleForm):
        services.reset_breaker(by=DESK, reason=WHY, acknowledged=True, expected_version=seen)
    assert read_breaker().state == State.TRIPPED


def test_trip_and_reset__viewer__is_refused(open_breaker: None, users: Any) -> None:
    """RBAC-1: the service itself refuses, whatever the door."""
    viewer = Actor.of(users.viewer)
    with pytest.raises(PermissionRefused, match="trip_breaker"):
        services.trip_breaker(by=viewer, reason="x")
    with pytest.raises(PermissionRefused, match="reset_breaker"):
        services.reset_breaker(by=viewer, reason=WHY, acknowledged=True)


def test_trip__fifty_at_once__one_transition(transactional_db: None) -> None:
    """CB-5: fifty operators press at once: one trip, forty-nine clear answers."""
    services.init_breaker(by=DESK)

    def press(number: int) -> str:
        try:
            services.trip_breaker(by=Actor.system(f"operator{number}"), reason=f"reason {number}")
            return "tripped"
        except WrongState as refusal:
            return refusal.sentence
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(press, range(50)))
    assert answers.count("tripped") == 1
    winner = Transition.objects.get(kind=Kind.TRIP).actor_label
    assert all(f"Already tripped by {winner} " in answer for answer in answers if answer != "tripped")


def test_reset__ten_at_once__one_transition(transactional_db: None) -> None:
    """CB-5, CB-7."""
    services.init_breaker(by=DESK)
    services.trip_breaker(by=DESK, reason="limit")

    def press(number: int) -> bool:
        try:
            services.reset_breaker(by=Actor.system(f"operator{number}"), reason=WHY, acknowledged=True)
            return True
        except (WrongState, TooSoon, StaleForm):
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(press, range(10))) == 1
    assert Transition.objects.filter(kind=Kind.RESET).count() == 1


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


def test_answer_lost_on_the_way__the_change_counts_as_made(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-5: a repeated command recognises its own work."""
    seen = store.read()
    decoded = wire.decode(seen)
    record = record_of(Kind.TRIP, State.TRIPPED, "x", by=DESK, source=Source.PORTAL, now=None).left(decoded.state)
    change = change_of(record, seen, decoded)
    assert store.write(seen, change) != ""
    assert store.write(seen, change) == ""
    assert redis.xlen(wire.SPOOL_KEY) == 1


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
