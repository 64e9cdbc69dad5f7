"""What is kept of values: one row a series, one an observation, in the order in which they were so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerting.errors import InvalidInput
from alerting.signals import Signal

#: More series of one metric than this are a mistake: a label with an order's number in it, or the like.
MOST_SERIES = 20_000
#: The portal reads itself every second; of a value that stays the same it keeps one in so long.
KEPT_EVERY = timedelta(seconds=60)

Name = tuple[str, str]

# What is put in is " FOR UPDATE" or nothing.
_LOCK = """
SELECT s.metric, s.fingerprint, s.id, s.last_at, s.last_value FROM alerting_series s
JOIN unnest(%s::text[], %s::text[]) AS o (metric, fingerprint) ON s.metric = o.metric AND s.fingerprint = o.fingerprint
ORDER BY s.id {lock}
"""
# Sorted, so that two that add the same series wait for each other in one order.
_ADD = """
INSERT INTO alerting_series (metric, labels, fingerprint)
SELECT metric, labels, fingerprint
FROM json_to_recordset(%s) AS f (metric text, labels jsonb, fingerprint text)
ORDER BY metric, fingerprint ON CONFLICT (metric, fingerprint) DO NOTHING
"""
_KEEP = """
WITH kept AS (
    INSERT INTO alerting_observation (series_id, at, value)
    SELECT * FROM unnest(%(ids)s::bigint[], %(ats)s::timestamptz[], %(values)s::float8[])
)
UPDATE alerting_series s SET last_at = o.at, last_value = o.value
FROM unnest(%(newest)s::bigint[], %(newest_at)s::timestamptz[], %(newest_value)s::float8[]) AS o (id, at, value)
WHERE s.id = o.id
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A series as its row says."""

    id: int
    last_at: datetime | None
    last_value: float | None


def read_series(names: Iterable[Name], *, lock: bool) -> dict[Name, Known]:
    """Those that there are, locked in one order if asked. Raises `django.db.Error`."""
    wanted = list(names)
    with connection.cursor() as cursor:
        cursor.execute(
            _LOCK.format(lock="FOR UPDATE OF s" if lock else ""), [[n[0] for n in wanted], [n[1] for n in wanted]]
        )
        return {(row[0], row[1]): Known(*row[2:]) for row in cursor.fetchall()}


def add_series(missing: Mapping[Name, Mapping[str, str]]) -> None:
    """Add series by name and labels. Raises `InvalidInput` when a metric has too many, and `django.db.Error`."""
    metrics = {metric for metric, _ in missing}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT metric, count(*) FROM alerting_series WHERE metric = ANY(%s) GROUP BY metric", [list(metrics)]
        )
        counted = dict(cursor.fetchall())
        for metric in sorted(metrics):
            if counted.get(metric, 0) + sum(name[0] == metric for name in missing) > MOST_SERIES:
                raise InvalidInput(
                    "labels",
                    f"There would be more than {MOST_SERIES:,} different label sets of “{metric}”. Leave out labels "
                    "that differ with every value, such as numbers of orders. Nothing of this request was kept.",
                )
        rows = [
            {"metric": metric, "fingerprint": mark, "labels": dict(labels)}
            for (metric, mark), labels in missing.items()
        ]
        cursor.execute(_ADD, [json.dumps(rows)])


def keep(known: Mapping[Name, Known], named: Sequence[tuple[Name, Signal]], now: datetime) -> list[bool]:
    """Keep the values; for each whether it is newer than all before it of its series, and so to be judged.

    `named` comes in the order of time. A value of the very moment of the newest one is the same, told again. One of a
    moment that is still to come was kept before the clock was set back, and hides nothing. Raises `django.db.Error`.
    """
    ids, ats, values = [], [], []
    newest: dict[int, Signal] = {}
    latest = {
        series.id: None if series.last_at is not None and series.last_at > now else series.last_at
        for series in known.values()
    }
    judged = []
    for name, signal in named:
        series = known[name]
        last_at = latest[series.id]
        is_newer = last_at is None or signal.at > last_at
        judged.append(is_newer)
        if is_newer:
            latest[series.id], newest[series.id] = signal.at, signal
        if signal.at != last_at:
            ids.append(series.id)
            ats.append(signal.at)
            values.append(signal.value)
    if ids:
        told: dict[str, Any] = {
            "ids": ids,
            "ats": ats,
            "values": values,
            "newest": list(newest),
            "newest_at": [signal.at for signal in newest.values()],
            "newest_value": [signal.value for signal in newest.values()],
        }
        with connection.cursor() as cursor:
            cursor.execute(_KEEP, told)
    return judged


def worth_keeping(series: Known | None, signal: Signal) -> bool:
    """Whether a reading of the portal itself says something new, or is the one of its minute."""
    if series is None or series.last_at is None:
        return True
    return signal.value != series.last_value or not series.last_at <= signal.at < series.last_at + KEPT_EVERY
