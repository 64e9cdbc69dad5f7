"""Samples become minutes and hours: once or twice, late or early, by one or by several at once."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from health import rollups, sketch
from health.models import Progress, Status
from health.rollups import HOUR, MINUTE, floor
from tests.health.history_rows import add_samples, latencies, past_hour, rows_of
from tests.servers import superuser_url


def roll_up_from(start: datetime, now: datetime) -> int:
    Progress.objects.update_or_create(id=1, defaults={"rolled_until": start})
    return rollups.roll_up(now)


def minutes_of(service_id: int) -> dict[datetime, dict[str, Any]]:
    names = (*rollups.COUNTS, "sketch")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT minute, {', '.join(names)} FROM health_minute WHERE service_id = %s", [service_id])
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def test_roll_up__samples_of_all_kinds__are_counted_by_kind(db: None) -> None:
    """HM-6, HM-8, HM-11."""
    start = past_hour()
    add_samples(1, start, [1000, 2000, 3000])
    add_samples(1, start, [4000], status=Status.DEGRADED)
    add_samples(1, start, [5000, 6000], status=Status.UNHEALTHY, planned=True)
    add_samples(1, start, [7000], status=Status.VIOLATION)
    add_samples(1, start, [None], status=Status.UNREACHABLE)
    add_samples(1, start, [1000], status=Status.HEALTHY, planned=True)
    roll_up_from(start, start + HOUR)
    (minute,) = minutes_of(1).values()
    assert sketch.bins(minute.pop("sketch")).total() == 8
    assert minute == {
        "probes": 9,
        "up": 5,
        "planned_down": 2,
        "replies": 8,
        "degraded": 1,
        "unhealthy": 2,
        "violation": 1,
        "unreachable": 1,
    }


def test_roll_up__minute_that_is_not_over_or_not_settled__waits(db: None) -> None:
    """HM-6: a minute is rolled up 20 s after its end, when its last samples have come."""
    start = past_hour()
    add_samples(1, start, latencies(36, seed=1))
    assert roll_up_from(start, start + timedelta(minutes=2, seconds=19)) == 1
    assert sorted(minutes_of(1)) == [start]
    assert rollups.roll_up(start + timedelta(minutes=2, seconds=20)) == 1
    assert rollups.rolled_until() == start + 2 * MINUTE
    assert sorted(minutes_of(1)) == [start, start + MINUTE]


def test_roll_up__clock_of_the_caller_ahead__goes_by_postgresql(db: None) -> None:
    """Q-4: a clock that jumped does not close minutes that are still being filled."""
    rollups.roll_up(datetime.now(UTC) + timedelta(days=3))
    rolled = rollups.rolled_until()
    assert rolled is not None
    assert rolled <= datetime.now(UTC)


def test_roll_up__again_from_the_same_place__changes_nothing(db: None) -> None:
    """HM-9: idempotent, down to rows that are not even written again."""
    start = past_hour()
    for service_id in (1, 2):
        add_samples(service_id, start, latencies(1000, seed=service_id))
    roll_up_from(start, start + 2 * HOUR)
    before = rows_of("health_minute"), rows_of("health_hour"), _versions()
    roll_up_from(start, start + 2 * HOUR)
    assert (rows_of("health_minute"), rows_of("health_hour"), _versions()) == before


def _versions() -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT ctid::text FROM health_minute UNION ALL SELECT ctid::text FROM health_hour ORDER BY 1")
        return list(cursor.fetchall())


def test_roll_up__for_the_first_time__takes_all_that_is_kept(db: None) -> None:
    """HM-9."""
    start = past_hour()
    add_samples(1, start, latencies(24, seed=3))
    Progress.objects.all().delete()
    assert rollups.roll_up(start + 10 * MINUTE) > 60
    assert sorted(minutes_of(1)) == [start, start + MINUTE]


def test_roll_up__late_samples__are_in_after_reopening(db: None) -> None:
    """HM-6, Q-4: PostgreSQL was away; nothing of what was measured is lost."""
    start = past_hour()
    add_samples(1, start, latencies(720, seed=4))
    roll_up_from(start, start + 2 * HOUR)
    rolled = rollups.rolled_until()
    add_samples(1, start + timedelta(minutes=30, seconds=2), [90_000, 90_000])
    rollups.reopen(start + timedelta(minutes=30, seconds=2))
    assert rollups.rolled_until() == start + 30 * MINUTE
    rollups.roll_up(start + 2 * HOUR)
    assert rollups.rolled_until() == rolled
    assert minutes_of(1)[start + 30 * MINUTE]["probes"] == 14
    (hour,) = rows_of("health_hour")
    assert hour[2] == 722


def test_reopen__younger_than_what_is_rolled__changes_nothing(db: None) -> None:
    """HM-9."""
    start = past_hour()
    roll_up_from(start, start + 10 * MINUTE)
    rolled = rollups.rolled_until()
    rollups.reopen(start + 10 * MINUTE)
    assert rollups.rolled_until() == rolled


def test_reopen__older_than_the_samples_kept__stops_at_them(db: None) -> None:
    """HM-9: a minute whose samples are gone is never computed from nothing."""
    roll_up_from(past_hour(), past_hour() + 10 * MINUTE)
    rollups.reopen(datetime(2020, 1, 1, tzinfo=UTC))
    rolled = rollups.rolled_until()
    assert rolled is not None
    assert timedelta(hours=24) <= datetime.now(UTC) - rolled < timedelta(hours=25)


def test_roll_up__after_days_of_standing_still__skips_what_is_gone_and_says_so(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    """HM-9: it catches up with what is there; the hour that it stopped in keeps what was rolled."""
    stopped = floor(datetime.now(UTC), HOUR) - 50 * HOUR + 30 * MINUTE
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO health_minute VALUES (1, %s, 12, 12, 0, 12, 0, 0, 0, 0, '\\x0064000c')", [stopped - MINUTE]
        )
    add_samples(1, past_hour(), latencies(12, seed=5))
    with caplog.at_level(logging.WARNING):
        roll_up_from(stopped, past_hour() + HOUR)
    assert "health_roll_up_skipped" in caplog.text
    assert [(row[1], row[2]) for row in rows_of("health_hour")] == [(floor(stopped, HOUR), 12)]
    assert past_hour() in minutes_of(1)


def test_roll_up__clock_of_postgresql_had_been_ahead__begins_again(db: None, caplog: pytest.LogCaptureFixture) -> None:
    """Q-4: after a jump back nothing waits for the time that was jumped to."""
    start = past_hour()
    add_samples(1, start, latencies(12, seed=6))
    with caplog.at_level(logging.WARNING):
        roll_up_from(datetime.now(UTC) + timedelta(days=1), start + HOUR)
    assert "health_roll_up_was_ahead" in caplog.text
    assert rollups.rolled_until() == start + 59 * MINUTE
    assert start in minutes_of(1)


def test_roll_up__hours__are_their_minutes_merged(db: None) -> None:
    """HM-6: of an hour that is over there is one row, with the same bins as its minutes."""
    start = past_hour()
    given = latencies(900, seed=8)
    add_samples(1, start, given)
    add_samples(1, start + timedelta(seconds=2), [None] * 60, every=20, status=Status.UNREACHABLE)
    roll_up_from(start, start + timedelta(minutes=75, seconds=30))
    (hour,) = rows_of("health_hour")
    minutes = [minute for at, minute in minutes_of(1).items() if at < start + HOUR]
    counts = tuple(sum(minute[name] for minute in minutes) for name in rollups.COUNTS)
    assert hour[:10] == (1, start, *counts)
    assert hour[10] == pytest.approx(20 * 3 / 15, abs=0.01)
    assert hour[11] == 60
    merged: Counter[int] = sketch.bins(*(minute["sketch"] for minute in minutes))
    assert sketch.bins(bytes(hour[12])) == merged
    assert len(bytes(hour[12])) == 4 * len(merged)


def test_roll_up__more_than_a_pair_can_count__takes_several(db: None) -> None:
    """HM-9: a flood neither stops the roll-up nor falsifies its percentiles."""
    start = past_hour()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO health_sample SELECT 1, %s, 1000, 1, false FROM generate_series(1, 70000)", [start])
    roll_up_from(start, start + 2 * HOUR)
    (minute,) = minutes_of(1).values()
    assert minute["probes"] == 32_767
    assert sketch.bins(minute["sketch"]).total() == 70_000
    (hour,) = rows_of("health_hour")
    assert sketch.bins(bytes(hour[12])).total() == 70_000


def test_roll_up__by_several_at_once__is_done_once(transactional_db: None) -> None:
    """HM-9: two workers, two beats: each minute is rolled up by one of them."""
    start = past_hour()
    add_samples(1, start, latencies(1440, seed=9))
    Progress.objects.create(rolled_until=start)
    done: list[int] = []
    together = threading.Barrier(4)

    def roll_up() -> None:
        together.wait()
        try:
            done.append(rollups.roll_up(start + 2 * HOUR + 20 * MINUTE))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=roll_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 139
    assert sum(minute["probes"] for minute in minutes_of(1).values()) == 1440


def test_roll_up__another_is_at_it__leaves_it_alone(transactional_db: None) -> None:
    """HM-9: nobody waits in a queue for work that is being done."""
    start = past_hour()
    Progress.objects.create(rolled_until=start)
    with psycopg.connect(superuser_url()) as other:
        other.execute("SELECT * FROM health_progress FOR UPDATE")
        assert rollups.roll_up(start + HOUR) == 0
    assert rollups.roll_up(start + HOUR) == 59
