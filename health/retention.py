"""Parts of the tables kept by time: made before they are needed, dropped when too old (HM-9).

Samples lie in parts of an hour, minutes in parts of a day, hours and transitions in parts of a month. The application's
database role may neither make nor drop a table: functions of the owner do, and hold to the retention themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

log = logging.getLogger(__name__)

HOURS_AHEAD, DAYS_AHEAD, MONTHS_AHEAD = 3, 2, 1
#: Parts dropped in one run, at most. A clock that jumped ahead, PostgreSQL's and ours, takes history away at this pace
#: and no faster, so that somebody can notice; run every ten minutes, a week's arrears of minutes are gone in 70.
MOST_DROPPED = {"health_sample": 6, "health_minute": 1, "health_hour": 1, "health_transition": 1}


@dataclass(frozen=True)
class Kept:
    """What one run did. `dropped`: names of tables. `trimmed`: rows removed from the default parts."""

    created: int
    dropped: tuple[str, ...]
    trimmed: int


def keep_partitions(now: datetime) -> Kept:
    """Make the parts of the coming hours, days and months; drop those of which every row is older than its retention.

    New parts follow PostgreSQL's clock, which stamps the rows. Too old is judged by that clock or `now`, whichever is
    earlier. What is locked by a reader for more than 0.25 s is left for the next run, as is what exceeds
    `MOST_DROPPED`. A row that found no part lies in the default one and is removed from there when too old.
    Safe to call from several processes at once. Raises `django.db.Error`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        stamped_by = cursor.fetchone()[0]
    created = sum(bool(_try("health_ensure_partition", parent, at)) for parent, at in parts_needed(stamped_by))
    dropped = [name for parent, most in MOST_DROPPED.items() for name in _drop(parent, now, most)]
    trimmed = sum(_try("health_trim_default", parent, now) or 0 for parent in MOST_DROPPED)
    if created or dropped or trimmed:
        log.info("health_partitions_kept", extra={"made": created, "dropped": dropped, "trimmed": trimmed})
    return Kept(created, tuple(dropped), trimmed)


def parts_needed(now: datetime) -> Iterator[tuple[str, datetime]]:
    """A table and a moment in it, for every part that should exist at `now`."""
    now = now.astimezone(UTC)
    for hours in range(HOURS_AHEAD + 1):
        yield "health_sample", now + timedelta(hours=hours)
    for days in range(DAYS_AHEAD + 1):
        yield "health_minute", now + timedelta(days=days)
    for months in range(MONTHS_AHEAD + 1):
        year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
        yield "health_hour", datetime(year, month + 1, 1, tzinfo=UTC)
        yield "health_transition", datetime(year, month + 1, 1, tzinfo=UTC)


def _drop(parent: str, now: datetime, most: int) -> Iterator[str]:
    for _ in range(most):
        name = _try("health_drop_expired", parent, now)
        if not name:
            return
        yield name


def _try(function: str, parent: str, at: datetime) -> Any:
    """One transaction each, so that no lock is held while the next is waited for; None when a lock was not had."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s, %s)", [parent, at])
            return cursor.fetchone()[0]
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        log.warning("health_partition_busy", extra={"table": parent, "step": function})
        return None
