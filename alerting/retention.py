"""Keeps the tables of alerting as long as they are wanted: events 90 days, observations 7 days (AL-9)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

log = logging.getLogger(__name__)

DAYS_AHEAD, MONTHS_AHEAD = 2, 1
#: Parts dropped in one run, at most: a clock that jumped ahead takes history away at this pace and no faster.
MOST_DROPPED = {"alerting_observation": 1, "alerting_event": 1, "alerting_delivery": 1, "alerting_attempt": 1}
#: A series without a value for so long has no observation left, and goes; so many in one run.
SERIES_KEPT = timedelta(days=8)
MOST_SERIES = 5_000


@dataclass(frozen=True)
class Kept:
    """What one run did. `dropped`: names of tables. `trimmed`: rows removed from the default parts. `series`: gone."""

    created: int
    dropped: tuple[str, ...]
    trimmed: int
    series: int


def keep_partitions(now: datetime) -> Kept:
    """Make the parts of the coming days and months; drop those of which every row is older than its retention.

    New parts follow PostgreSQL's clock. Too old is judged by that clock or `now`, whichever is earlier. What is locked
    by a reader for more than 0.25 s is left for the next run, as is what exceeds `MOST_DROPPED`. A row that found no
    part lies in the default one and is removed from there when too old. Safe to call from several processes at once.
    Raises `django.db.Error`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        stamped_by = cursor.fetchone()[0]
    created = sum(bool(_try("alerting_ensure_partition", parent, at)) for parent, at in parts_needed(stamped_by))
    dropped = [name for parent, most in MOST_DROPPED.items() for name in _drop(parent, now, most)]
    trimmed = sum(_try("alerting_trim_default", parent, now) or 0 for parent in MOST_DROPPED)
    series = _forget_series(min(now, stamped_by))
    if created or dropped or trimmed or series:
        log.info(
            "alerting_partitions_kept",
            extra={"made": created, "dropped": dropped, "trimmed": trimmed, "series": series},
        )
    return Kept(created, tuple(dropped), trimmed, series)


def parts_needed(now: datetime) -> Iterator[tuple[str, datetime]]:
    """A table and a moment in it, for every part that should exist at `now`."""
    now = now.astimezone(UTC)
    for days in range(DAYS_AHEAD + 1):
        yield "alerting_observation", now + timedelta(days=days)
    for months in range(MONTHS_AHEAD + 1):
        year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
        for parent in ("alerting_event", "alerting_delivery", "alerting_attempt"):
            yield parent, datetime(year, month + 1, 1, tzinfo=UTC)


def _drop(parent: str, now: datetime, most: int) -> Iterator[str]:
    for _ in range(most):
        name = _try("alerting_drop_expired", parent, now)
        if not name:
            return
        yield name


def _forget_series(now: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM alerting_series WHERE id = ANY (ARRAY(SELECT id FROM alerting_series WHERE last_at < %s "
            "ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))",
            [now - SERIES_KEPT, MOST_SERIES],
        )
        return int(cursor.rowcount)


def _try(function: str, parent: str, at: datetime) -> Any:
    """One transaction each, so that no lock is held while the next is waited for; None when a lock was not had."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s, %s)", [parent, at])
            return cursor.fetchone()[0]
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        log.warning("alerting_partition_busy", extra={"table": parent, "step": function})
        return None
