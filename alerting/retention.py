"""Keeps the tables of alerting as long as they are wanted: events 90 days, observations 7 days (AL-9)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from opsportal.observability.partitions import drop_expired, months_from, postgresql_clock, step

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

    Of events and deliveries a part stays while an episode is open that it holds a row of.
    New parts follow PostgreSQL's clock. Too old is judged by that clock or `now`, whichever is earlier. What is locked
    by a reader for more than 0.25 s is left for the next run, as is what exceeds `MOST_DROPPED`. A row that found no
    part lies in the default one and is removed from there when too old. Safe to call from several processes at once.
    Raises `django.db.Error`.
    """
    stamped_by = postgresql_clock()
    created = sum(bool(step("alerting", "ensure_partition", parent, at)) for parent, at in parts_needed(stamped_by))
    dropped = drop_expired("alerting", MOST_DROPPED, now)
    trimmed = sum(step("alerting", "trim_default", parent, now) or 0 for parent in MOST_DROPPED)
    series = _forget_series(min(now, stamped_by))
    if created or dropped or trimmed or series:
        log.info(
            "alerting_partitions_kept",
            extra={"made": created, "dropped": list(dropped), "trimmed": trimmed, "series": series},
        )
    return Kept(created, dropped, trimmed, series)


def parts_needed(now: datetime) -> Iterator[tuple[str, datetime]]:
    """A table and a moment in it, for every part that should exist at `now`."""
    now = now.astimezone(UTC)
    for days in range(DAYS_AHEAD + 1):
        yield "alerting_observation", now + timedelta(days=days)
    for month in months_from(now, MONTHS_AHEAD):
        for parent in ("alerting_event", "alerting_delivery", "alerting_attempt"):
            yield parent, month


def _forget_series(now: datetime) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM alerting_series WHERE id = ANY (ARRAY(SELECT id FROM alerting_series WHERE last_at < %s "
            "ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED))",
            [now - SERIES_KEPT, MOST_SERIES],
        )
        return int(cursor.rowcount)
