"""What the sweeper writes into PostgreSQL, and what is read back from there when Redis is away.

Times are PostgreSQL's clock minus an age: no jump of the sweeper's clock can move a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from health import rollups
from health.models import Status
from health.store import Record, Stamped

#: Older than this when written, a sample may belong to a minute that has been rolled up already. Seconds.
LATE_SECONDS = 15.0
#: A parent's failure found this long after its child's still explains it. Seconds.
ATTRIBUTE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Sample:
    """One result. `at`: seconds on the sweeper's monotonic clock. `latency_us` None: no reply came."""

    service_id: int
    at: float
    status: int
    latency_us: int | None
    planned: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One recorded change of status. `at` and `began`: seconds on the sweeper's monotonic clock."""

    service_id: int
    service_name: str
    at: float
    began: float
    from_status: int
    to_status: int
    cause: str
    field: str
    sentence: str
    caused_by: int | None
    planned: bool
    #: Services whose own change of a moment ago this one explains.
    explains: tuple[int, ...] = ()


def write(
    samples: Sequence[Sample], changes: Sequence[Change], states: Sequence[tuple[int, Record]], now: float
) -> None:
    """Write all of it in one transaction; `now` is the monotonic clock's reading of this moment.

    Raises `django.db.Error`; then nothing was written.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if samples:
            _write_samples(cursor, samples, now)
        for change in changes:
            _write_change(cursor, change, now)
        if states:
            _write_states(cursor, states)


def _write_samples(cursor: Any, samples: Sequence[Sample], now: float) -> None:
    cursor.execute(
        """
        INSERT INTO health_sample (service_id, at, status, latency_us, planned)
        SELECT service_id, clock.now - age * interval '1 microsecond', status, latency_us, planned
        FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::int[], %s::boolean[])
            AS sample (service_id, age, status, latency_us, planned), (SELECT clock_timestamp() AS now) AS clock
        """,
        [
            [sample.service_id for sample in samples],
            [int((now - sample.at) * 1e6) for sample in samples],
            [sample.status for sample in samples],
            [sample.latency_us for sample in samples],
            [sample.planned for sample in samples],
        ],
    )
    oldest = now - min(sample.at for sample in samples)
    if oldest > LATE_SECONDS:
        cursor.execute("SELECT clock_timestamp() - %s * interval '1 second'", [oldest])
        rollups.reopen(cursor.fetchone()[0])


def _write_change(cursor: Any, change: Change, now: float) -> None:
    cursor.execute(
        """
        INSERT INTO health_transition (service_id, service_name, at, began_at, from_status, to_status,
            cause, field, sentence, caused_by_id, planned)
        VALUES (%s, %s, clock_timestamp() - %s * interval '1 second', clock_timestamp() - %s * interval '1 second',
            %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            change.service_id,
            change.service_name,
            now - change.at,
            now - change.began,
            change.from_status,
            change.to_status,
            change.cause,
            change.field,
            change.sentence,
            change.caused_by,
            change.planned,
        ],
    )
    if change.explains:
        cursor.execute(
            """
            UPDATE health_transition SET caused_by_id = %s
            WHERE service_id = ANY(%s) AND caused_by_id IS NULL AND to_status = ANY(%s)
                AND at > clock_timestamp() - %s * interval '1 second'
            """,
            [
                change.caused_by or change.service_id,
                list(change.explains),
                [Status.DEGRADED.value, Status.UNHEALTHY.value, Status.UNREACHABLE.value],
                now - change.at + ATTRIBUTE_SECONDS,
            ],
        )


_STATE_COLUMNS = (
    ("status", "smallint"),
    ("since_age", "bigint"),
    ("reply_status", "smallint"),
    ("reply_age", "bigint"),
    ("probe_age", "bigint"),
    ("latency_us", "int"),
    ("cause", "text"),
    ("field", "text"),
    ("sentence", "text"),
    ("version", "text"),
    ("last_operation_at", "text"),
    ("last_operation", "text"),
)


def _write_states(cursor: Any, states: Sequence[tuple[int, Record]]) -> None:
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in _STATE_COLUMNS)
    names = ", ".join(name for name, _ in _STATE_COLUMNS)
    cursor.execute(
        # The names are those of the tuple above. A service removed meanwhile is left out by the join.
        f"""
        INSERT INTO health_servicestate (service_id, status, since, reply_status, replied_at, probed_at, latency_us,
            cause, field, sentence, version, last_operation_at, last_operation)
        SELECT s.id, status, clock.now - since_age * interval '1 millisecond', reply_status,
            clock.now - reply_age * interval '1 millisecond', clock.now - probe_age * interval '1 millisecond',
            latency_us, cause, field, sentence, version, nullif(last_operation_at, '')::timestamptz, last_operation
        FROM unnest(%s::bigint[], {arrays}) AS state (service_id, {names})
        JOIN health_service s ON s.id = state.service_id, (SELECT clock_timestamp() AS now) AS clock
        ON CONFLICT (service_id) DO UPDATE SET status = excluded.status, since = excluded.since,
            reply_status = excluded.reply_status, replied_at = excluded.replied_at, probed_at = excluded.probed_at,
            latency_us = excluded.latency_us, cause = excluded.cause, field = excluded.field,
            sentence = excluded.sentence, version = excluded.version, last_operation_at = excluded.last_operation_at,
            last_operation = excluded.last_operation
        """,  # noqa: S608
        [
            [service_id for service_id, _ in states],
            *([getattr(record, name) for _, record in states] for name, _ in _STATE_COLUMNS),
        ],
    )


def read_records() -> tuple[datetime, dict[int, Stamped]]:
    """PostgreSQL's time, and what it knows of each enabled service: its recorded state and its newest sample.

    Raises `django.db.Error`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        cursor.execute(
            """
            SELECT s.id, coalesce(st.status, 0), st.since, coalesce(st.reply_status, 0), st.replied_at, st.probed_at,
                st.latency_us, st.cause, st.field, st.sentence, st.version, st.last_operation_at, st.last_operation,
                newest.at, newest.status, newest.latency_us
            FROM health_service s
            LEFT JOIN health_servicestate st ON st.service_id = s.id
            LEFT JOIN LATERAL (
                SELECT at, status, latency_us FROM health_sample
                WHERE service_id = s.id AND at > %s - interval '2 hours' ORDER BY at DESC LIMIT 1
            ) newest ON true
            WHERE s.enabled
            """,
            [now],
        )
        rows = cursor.fetchall()
    return now, {row[0]: Stamped(_record(row, now), 0) for row in rows if row[1] or row[13]}


def _record(row: Sequence[Any], now: datetime) -> Record:
    (_, status, since, reply_status, replied_at, probed_at, latency_us, *texts, operation_at, operation) = row[:13]
    at, newest, newest_latency = row[13:]
    cause, field, sentence, version = (text or "" for text in texts)
    record = Record(
        status=status,
        since_age=_age(since, now),
        reply_status=reply_status,
        reply_age=_age(replied_at, now),
        probe_age=_age(probed_at, now),
        latency_us=latency_us,
        cause=cause,
        field=field,
        sentence=sentence,
        version=version,
        last_operation_at=operation_at.isoformat() if operation_at else "",
        last_operation=operation or "",
    )
    if at is not None and (probed_at is None or at > probed_at):
        record.probe_age = _age(at, now)
        if newest != Status.UNREACHABLE:
            record.reply_age, record.reply_status, record.latency_us = record.probe_age, newest, newest_latency
        if newest != status:
            record.unconfirmed, record.seen, record.needed = newest, 1, 1
    return record


def _age(at: datetime | None, now: datetime) -> int | None:
    return None if at is None else int((now - at).total_seconds() * 1000)
