"""Tripping and resetting through the service that every door uses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_client
from django.db import connection

from circuit import services, store, wire
from circuit.changes import change_of, record_of
from circuit.errors import InvalidInput, StaleForm, TooSoon, WrongState
from circuit.models import Kind, Source, State, Transition
from circuit.selectors import read_breaker
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.desk import DESK, WHY


def text(value: object) -> str:
    assert isinstance(value, str)
    return value


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


def test_answer_lost_on_the_way__the_change_counts_as_made(open_breaker: None, redis: redis_client.Redis) -> None:
    """CB-5: a repeated command recognises its own work."""
    seen = store.read()
    decoded = wire.decode(seen)
    record = record_of(Kind.TRIP, State.TRIPPED, "x", by=DESK, source=Source.PORTAL, now=None).left(decoded.state)
    change = change_of(record, seen, decoded)
    assert store.write(seen, change) != ""
    assert store.write(seen, change) == ""
    assert redis.xlen(wire.SPOOL_KEY) == 1
