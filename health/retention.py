"""Parts of the tables kept by time: made before they are needed, dropped when too old (HM-9).

Samples lie in parts of an hour, minutes in parts of a day, hours and transitions in parts of a month. The application's
database role may neither make nor drop a table: functions of the owner do, and hold to the retention themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opsportal.observability.partitions import drop_expired, months_from, postgresql_clock, step

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
    stamped_by = postgresql_clock()
    created = sum(bool(step("health", "ensure_partition", parent, at)) for parent, at in parts_needed(stamped_by))
    dropped = drop_expired("health", MOST_DROPPED, now)
    trimmed = sum(step("health", "trim_default", parent, now) or 0 for parent in MOST_DROPPED)
    if created or dropped or trimmed:
        log.info("health_partitions_kept", extra={"made": created, "dropped": list(dropped), "trimmed": trimmed})
    return Kept(created, dropped, trimmed)


def parts_needed(now: datetime) -> Iterator[tuple[str, datetime]]:
    """A table and a moment in it, for every part that should exist at `now`."""
    now = now.astimezone(UTC)
    for hours in range(HOURS_AHEAD + 1):
        yield "health_sample", now + timedelta(hours=hours)
    for days in range(DAYS_AHEAD + 1):
        yield "health_minute", now + timedelta(days=days)
    for month in months_from(now, MONTHS_AHEAD):
        yield "health_hour", month
        yield "health_transition", month
