"""Parts make and drop themselves, and nobody can take away what is still to be kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, ProgrammingError, connection, transaction

from health import retention
from tests.servers import superuser_url

TABLES = ("health_sample", "health_minute", "health_hour", "health_transition")
KEPT = {
    "health_sample": timedelta(hours=24),
    "health_minute": timedelta(days=90),
    "health_hour": timedelta(days=90),
    "health_transition": timedelta(days=90),
}


def ask(statement: str, *given: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return cursor.fetchone()[0]


def ensure(table: str, at: datetime) -> bool:
    return bool(ask("SELECT health_ensure_partition(%s, %s)", table, at))


def parts() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM unnest(%s::text[]) AS parent, pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = parent::regclass AND c.relname NOT LIKE '%%default'",
            [list(TABLES)],
        )
        return {row[0] for row in cursor.fetchall()}


def add_sample(at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO health_sample VALUES (1, %s, 1000, 1, false)", [at])


@pytest.fixture
def now(db: None) -> datetime:
    """PostgreSQL's clock, with the parts of the present made."""
    at: datetime = ask("SELECT clock_timestamp()")
    retention.keep_partitions(at)
    return at


@pytest.fixture
def other(db: None) -> Iterator[psycopg.Connection]:
    """Somebody else's open transaction."""
    with psycopg.connect(superuser_url()) as connected:
        yield connected
        connected.rollback()


@pytest.mark.parametrize(
    ("table", "first", "last", "name"),
    [
        ("health_sample", "2031-12-31 23:00:00", "2031-12-31 23:59:59.999999", "health_sample_2031123123"),
        ("health_minute", "2032-02-29 00:00:00", "2032-02-29 23:59:59.999999", "health_minute_20320229"),
        ("health_hour", "2031-12-01 00:00:00", "2031-12-31 23:59:59.999999", "health_hour_203112"),
        ("health_transition", "2032-02-01 00:00:00", "2032-02-29 23:59:59.999999", "health_transition_203202"),
    ],
)
def test_part__at_its_edges__holds_exactly_its_time(db: None, table: str, first: str, last: str, name: str) -> None:
    """HM-9: hours, days (leap days too), months (the turn of the year too), in UTC whatever the session's zone."""
    begins, ends = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (first, last))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    assert ensure(table, ends)
    assert not ensure(table, begins), "made twice"
    assert name in parts()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    assert ask("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", name) == (
        f"FOR VALUES FROM ('{begins:%Y-%m-%d %H:%M:%S}+00') TO ('{ends + timedelta(microseconds=1):%Y-%m-%d %H:%M:%S}+00')"
    )


def test_parts_needed__at_the_end_of_a_year__reach_into_the_next() -> None:
    """HM-9."""
    needed = list(retention.parts_needed(datetime(2031, 12, 31, 22, 30, tzinfo=UTC)))
    assert [f"{at:%d %H}" for table, at in needed if table == "health_sample"] == ["31 22", "31 23", "01 00", "01 01"]
    assert [f"{at:%m-%d}" for table, at in needed if table == "health_minute"] == ["12-31", "01-01", "01-02"]
    for table in ("health_hour", "health_transition"):
        assert [f"{at:%Y-%m}" for name, at in needed if name == table] == ["2031-12", "2032-01"]


def test_keep__run_by_run__makes_what_is_missing_and_then_nothing(db: None) -> None:
    """HM-9: retention runs by itself, and again does no harm."""
    at = ask("SELECT clock_timestamp()")
    retention.keep_partitions(at)
    assert len(parts()) >= 4 + 3 + 2 + 2
    add_sample(at + timedelta(hours=3))
    assert ask("SELECT tableoid::regclass::text FROM health_sample") != "health_sample_default"
    assert retention.keep_partitions(at) == retention.Kept(0, (), 0)


def test_keep__parts_too_old__are_dropped_and_younger_ones_kept(now: datetime) -> None:
    """HM-9: raw 24 h, roll-ups and changes 90 days."""
    before = parts()
    for table, kept in KEPT.items():
        ensure(table, now - kept + timedelta(hours=1))
    young = parts()
    for table, kept in KEPT.items():
        ensure(table, now - kept - timedelta(days=32))
    old = parts() - young
    assert len(old) == 4
    kept_by_this_run = retention.keep_partitions(now)
    assert set(kept_by_this_run.dropped) == old
    assert parts() == young >= before


def test_keep__more_than_may_go_in_one_run__catches_up_run_by_run(now: datetime) -> None:
    """HM-9, Q-4: a clock that jumped ahead takes history away slowly; a week of standing still is made up for."""
    for hours in range(30, 39):
        ensure("health_sample", now - timedelta(hours=hours))
    for days in (100, 101, 102):
        ensure("health_minute", now - timedelta(days=days))
    runs = [retention.keep_partitions(now).dropped for _ in range(4)]
    assert [len(dropped) for dropped in runs] == [6 + 1, 3 + 1, 1, 0]
    assert runs[0][0] < runs[0][1] < runs[1][0], "oldest first"


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=36_500)])
def test_drop__asked_with_a_clock_far_ahead__refuses_what_is_fresh(now: datetime, ahead: timedelta) -> None:
    """HM-9, Q-4: the cut-off is PostgreSQL's clock or the caller's, whichever is earlier."""
    add_sample(now)
    for table, kept in KEPT.items():
        ensure(table, now - kept + timedelta(hours=1))
    before = parts()
    assert retention.keep_partitions(now + ahead) == retention.Kept(0, (), 0)
    assert [ask("SELECT health_drop_expired(%s, %s)", table, now + ahead) for table in TABLES] == [None] * 4
    assert parts() == before


def test_drop__asked_with_a_clock_behind__drops_nothing(now: datetime) -> None:
    """Q-4."""
    for table, kept in KEPT.items():
        ensure(table, now - kept - timedelta(days=40))
    before = parts()
    assert retention.keep_partitions(now - timedelta(days=60)).dropped == ()
    assert parts() == before


def test_keep__a_reader_in_the_way__gives_up_and_comes_again(
    now: datetime, other: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """HM-9: dashboards are never made to wait behind the retention."""
    ensure("health_sample", now - timedelta(hours=30))
    ensure("health_minute", now - timedelta(days=100))
    other.execute("LOCK TABLE ONLY health_sample IN ACCESS SHARE MODE")
    with caplog.at_level(logging.WARNING):
        dropped = retention.keep_partitions(now).dropped
    assert [name.rsplit("_", 1)[0] for name in dropped] == ["health_minute"]
    assert "health_partition_busy" in caplog.text
    other.rollback()
    assert [name.rsplit("_", 1)[0] for name in retention.keep_partitions(now).dropped] == ["health_sample"]


def test_keep__another_is_at_it__leaves_it_alone(db: None, other: psycopg.Connection) -> None:
    """HM-9: two workers do not get in each other's way."""
    at = ask("SELECT clock_timestamp()")
    other.execute("SELECT pg_advisory_xact_lock(7218940116)")
    before = parts()
    assert not ensure("health_sample", at + timedelta(days=5))
    assert retention.keep_partitions(at) == retention.Kept(0, (), 0)
    assert parts() == before
    other.rollback()
    assert ensure("health_sample", at + timedelta(days=5))


def test_part__of_a_time_that_has_strays__is_not_made(now: datetime) -> None:
    """HM-9: rows that came before their part stay where they are, and are found."""
    at = now + timedelta(hours=12)
    add_sample(at)
    assert not ensure("health_sample", at)
    assert ask("SELECT count(*) FROM health_sample WHERE at = %s", at) == 1


def test_strays__too_old__are_removed(now: datetime) -> None:
    """HM-9: the default part does not grow without bound."""
    add_sample(now - timedelta(hours=26))
    add_sample(now - timedelta(hours=22))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO health_minute VALUES (1, %s, 1, 1, 0, 1, 0, 0, 0, 0, '')", [now - timedelta(days=91)]
        )
    assert retention.keep_partitions(now).trimmed == 2
    assert ask("SELECT count(*) FROM health_sample") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE health_sample_default",
        "DROP TABLE health_minute",
        "CREATE TABLE health_sample_1 PARTITION OF health_sample FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')",
        "ALTER TABLE health_minute DETACH PARTITION health_minute_default",
        "TRUNCATE health_transition",
        "DELETE FROM health_transition",
        "DELETE FROM health_transition_default",
        "UPDATE health_transition SET to_status = 1",
        "DELETE FROM health_sample",
        "UPDATE health_sample SET status = 1",
        "DELETE FROM health_minute",
        "SELECT health_restrict('opsportal_app')",
    ],
)
def test_application_role__by_itself__may_not(db: None, statement: str) -> None:
    """HM-9: what was measured is added and read; only the retention takes it away."""
    with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "function", ["health_ensure_partition", "health_drop_expired", "health_trim_default", "health_expiry"]
)
def test_any_other_table__is_refused(now: datetime, function: str) -> None:
    """HM-9: the owner's rights are lent for these tables only."""
    with pytest.raises(DatabaseError, match="is not a table of the health monitor"), transaction.atomic():
        ask(f"SELECT {function}('audit_entry', %s)", now)


def test_owners_functions__all__are_closed_and_never_wait_long(db: None) -> None:
    """HM-9: the owner's rights are lent with a fixed search path, to one role, and no reader waits longer than 0.25 s."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, proconfig, has_function_privilege('pg_monitor', oid, 'EXECUTE') FROM pg_proc"
            " WHERE proname LIKE 'health%%' AND prosecdef"
        )
        found = {name: (set(config), public) for name, config, public in cursor.fetchall()}
    assert found == dict.fromkeys(
        ("health_ensure_partition", "health_drop_expired", "health_trim_default"),
        ({"search_path=public, pg_temp", "lock_timeout=250ms"}, False),
    )
