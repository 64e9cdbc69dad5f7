"""Raw samples into one row per service and minute, and those into one per hour: counts and a latency sketch
(HM-6, HM-9).

How far this has come is in `Progress.rolled_until`: earlier minutes are read from health_minute, later ones from the
samples; hours that ended before it are in health_hour. A minute is always computed from all its samples anew, and an
hour from all its minutes, so doing it twice changes nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from health.models import Progress, Status
from health.sketch import BIN_SQL, MOST_IN_PAIR

log = logging.getLogger(__name__)

#: A minute is rolled up this long after its end: samples come up to a second late, and transactions take their time.
SETTLE = timedelta(seconds=20)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
#: What minutes, hours and all steps are counted from, in SQL as here.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
#: Minutes caught up in one transaction.
CHUNK = timedelta(minutes=60)

_UP = f"status IN ({Status.HEALTHY.value}, {Status.DEGRADED.value})"
_MINUTE = "date_bin('1 minute', {}, '2000-01-01 00:00+00')"
#: The columns of health_minute beside its key, in the order of `minutes_of_samples`.
COUNTS = ("probes", "up", "planned_down", "replies", "degraded", "unhealthy", "violation", "unreachable")
#: Of a minute, the share it was down and not planned to be.
DOWN_SQL = "(probes - up - planned_down)::float8 / probes"
# More of one bin than a pair can count takes several pairs.
_PAIRS = f"""CASE WHEN replies <= {MOST_IN_PAIR} THEN int2send(bin::int2) || int2send(replies::int2) ELSE (
                SELECT string_agg(int2send(bin::int2)
                    || int2send(least(replies - part * {MOST_IN_PAIR}, {MOST_IN_PAIR})::int2), ''::bytea)
                FROM generate_series(0, (replies - 1) / {MOST_IN_PAIR}) AS part) END"""  # noqa: S608


def minutes_of_samples(condition: str) -> str:
    """A SELECT of health_minute's columns (service_id, minute, COUNTS, sketch) computed from the raw samples.

    `condition` is SQL over health_sample with placeholders, never anybody's input. A count above 32,767 a minute,
    five hundred a second, reads 32,767.
    """
    limited = ", ".join(f"least(sum({name}), {MOST_IN_PAIR})::int2 AS {name}" for name in COUNTS)
    by_status = ", ".join(
        f"count(*) FILTER (WHERE status = {status.value}) AS {status.word}"
        for status in (Status.DEGRADED, Status.UNHEALTHY, Status.VIOLATION, Status.UNREACHABLE)
    )
    # Every part is a constant of this module or of health.sketch.
    return f"""
        SELECT service_id, minute, {limited},
            coalesce(string_agg({_PAIRS}, ''::bytea ORDER BY bin) FILTER (WHERE replies > 0), ''::bytea) AS sketch
        FROM (
            SELECT service_id, {_MINUTE.format("at")} AS minute, {BIN_SQL} AS bin, count(*) AS probes,
                count(*) FILTER (WHERE {_UP}) AS up, count(*) FILTER (WHERE planned AND NOT {_UP}) AS planned_down,
                count(latency_us) AS replies, {by_status}
            FROM health_sample WHERE {condition} GROUP BY 1, 2, 3
        ) AS binned
        GROUP BY service_id, minute"""  # noqa: S608


def roll_up(now: datetime) -> int:
    """Roll up every minute that ended `SETTLE` ago or earlier and is not rolled up; returns how many minutes.

    "Ago" is by PostgreSQL's clock or `now`, whichever is earlier. Safe to call from several processes at once: one
    works, the others return 0. Minutes whose samples are gone already are skipped, with a line in the log.
    Raises `django.db.Error`; what was done until then stays.
    """
    done = 0
    while minutes := _roll_up_chunk(now):
        done += minutes
    return done


def reopen(since: datetime) -> None:
    """Samples as old as `since` have come late: their minutes are read from the samples again until rolled up anew.

    Call it in the transaction that adds them, or after. Never opens what the samples no longer cover whole.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE health_progress SET rolled_until = reopened.at
            FROM (SELECT greatest({_MINUTE.format("%s")}, health_expiry('health_sample', clock_timestamp())) AS at)
                AS reopened
            WHERE rolled_until > reopened.at
            """,  # noqa: S608  (a constant of this module)
            [since],
        )


def floor(at: datetime, step: timedelta) -> datetime:
    """The beginning of the step that `at` lies in."""
    return at - (at - EPOCH) % step


def rolled_until() -> datetime | None:
    """The first minute that is to be read from the samples; None when nothing was ever rolled up."""
    return Progress.objects.values_list("rolled_until", flat=True).first()


def _roll_up_chunk(now: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        settled = "least(%s, clock_timestamp()) - %s * interval '1 second'"
        cursor.execute(
            f"""
            SELECT health_expiry('health_sample', %s), {_MINUTE.format(settled)}, {_MINUTE.format("clock_timestamp()")}
            """,
            [now, now, SETTLE.total_seconds()],
        )
        oldest, until, present = cursor.fetchone()
        progress = Progress.objects.select_for_update(skip_locked=True).first()
        if progress is None:
            # Nobody was here before, or somebody is at this moment: then the insert changes nothing.
            Progress.objects.bulk_create([Progress(rolled_until=oldest)], ignore_conflicts=True)
            progress = Progress.objects.select_for_update(skip_locked=True).first()
        if progress is None:
            return 0
        begun = _begin(progress.rolled_until, oldest, present)
        ended = min(begun + CHUNK, until)
        if ended <= begun:
            return 0
        _write_minutes(cursor, begun, ended)
        if begun > progress.rolled_until:
            _write_hours(cursor, floor(progress.rolled_until, HOUR), floor(progress.rolled_until, HOUR) + HOUR)
        _write_hours(cursor, floor(begun, HOUR), floor(ended, HOUR))
        progress.rolled_until = ended
        progress.save(update_fields=["rolled_until"])
        return int((ended - begun) / MINUTE)


def _begin(rolled: datetime, oldest: datetime, present: datetime) -> datetime:
    if rolled > present:
        # PostgreSQL's clock was ahead and went back: what the samples cover is computed anew.
        log.warning("health_roll_up_was_ahead", extra={"seconds": int((rolled - present).total_seconds())})
        return oldest
    if rolled < oldest:
        log.warning("health_roll_up_skipped", extra={"minutes": int((oldest - rolled) / MINUTE)})
        return oldest
    return rolled


def _write_minutes(cursor: Any, begun: datetime, ended: datetime) -> None:
    source = minutes_of_samples("at >= %s AND at < %s")
    cursor.execute(_upsert("health_minute", "minute", (*COUNTS, "sketch"), source), [begun, ended])


def _write_hours(cursor: Any, begun: datetime, ended: datetime) -> None:
    if begun >= ended:
        return
    sums = ", ".join(f"sum({name})::int AS {name}" for name in COUNTS)
    # Bytes are decoded here once an hour, so that whoever reads a week does not decode ten thousand minutes.
    source = f"""
        WITH minutes AS (
            SELECT *, date_bin('1 hour', minute, '2000-01-01 00:00+00') AS hour FROM health_minute
            WHERE minute >= %s AND minute < %s
        ), counted AS (
            SELECT service_id, hour, {sums}, sum({DOWN_SQL})::real AS down, count(*)::int2 AS minutes
            FROM minutes GROUP BY service_id, hour
        ), binned AS (
            SELECT service_id, hour, (get_byte(sketch, pair) << 8) + get_byte(sketch, pair + 1) AS bin,
                sum((get_byte(sketch, pair + 2) << 8) + get_byte(sketch, pair + 3)) AS replies
            FROM minutes, generate_series(0, length(sketch) - 1, 4) AS pair GROUP BY 1, 2, 3
        ), merged AS (
            SELECT service_id, hour, string_agg({_PAIRS}, ''::bytea ORDER BY bin) AS sketch
            FROM binned GROUP BY service_id, hour
        )
        SELECT service_id, hour, {", ".join(COUNTS)}, down, minutes, coalesce(sketch, ''::bytea)
        FROM counted LEFT JOIN merged USING (service_id, hour)"""  # noqa: S608  (constants of this module)
    cursor.execute(_upsert("health_hour", "hour", (*COUNTS, "down", "minutes", "sketch"), source), [begun, ended])


def _upsert(table: str, grain: str, columns: tuple[str, ...], source: str) -> str:
    """Rows of `source` into the table; rows that stay as they are, are not written again."""
    fresh = ", ".join(f"excluded.{name}" for name in columns)
    return f"""
        INSERT INTO {table} AS known (service_id, {grain}, {", ".join(columns)}) {source}
        ON CONFLICT (service_id, {grain}) DO UPDATE SET ({", ".join(columns)}) = ROW ({fresh})
        WHERE ({", ".join(f"known.{name}" for name in columns)}) IS DISTINCT FROM ({fresh})
    """
