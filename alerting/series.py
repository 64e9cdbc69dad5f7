"""What is kept of values: one row a series, one an observation, in the order in which they were so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerting.errors import InvalidInput
from alerting.intake import AHEAD
from alerting.signals import Signal

#: More series of one metric than this are a mistake: a label with an order's number in it, or the like.
MOST_SERIES = 20_000
#: The portal reads itself every second; of a value that stays the same it keeps one in so long.
KEPT_EVERY = timedelta(seconds=60)

Name = tuple[str, str]
#: A series' number with a value of it, and with a time.
_Numbered = tuple[int, Signal]
_Moment = tuple[int, datetime]

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
# What is put in is `_OLD` or nothing.
_KEEP = """
WITH kept AS (
    INSERT INTO alerting_observation (series_id, at, value)
    SELECT * FROM unnest(%(ids)s::bigint[], %(ats)s::timestamptz[], %(values)s::float8[])
    {old}
)
UPDATE alerting_series s SET last_at = o.at, last_value = o.value
FROM unnest(%(newest)s::bigint[], %(newest_at)s::timestamptz[], %(newest_value)s::float8[]) AS o (id, at, value)
WHERE s.id = o.id
"""

# By the index, however many values there are: no join that might read all of them.
_IS_THERE = "(SELECT true FROM alerting_observation k WHERE k.series_id = o.id AND k.at = o.at LIMIT 1)"
# What is no news may be there already: told again with its time it is kept once.
_OLD = f"""UNION ALL
    SELECT * FROM unnest(%(old_ids)s::bigint[], %(old_ats)s::timestamptz[], %(old_values)s::float8[]) AS o (id, at, v)
    WHERE {_IS_THERE} IS NULL"""  # noqa: S608  (constants of this module)
_THERE = f"""
SELECT o.id, o.at FROM unnest(%s::bigint[], %s::timestamptz[]) AS o (id, at) WHERE {_IS_THERE}
"""  # noqa: S608  (constants of this module)


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

    `named` comes in the order of the times that were `told`. A value that is told again with its time is the same: it
    is kept once and judged once. A newest one of a moment that is still to come hides nothing, for a sender's clock
    ran ahead, or ours was set back. Raises `django.db.Error`.
    """
    numbered = [(known[name].id, signal) for name, signal in named]
    latest = {series.id: _latest(series, now) for series in known.values()}
    hidden = _hidden([(number, signal.told) for number, signal in numbered], latest, now)
    news: list[_Numbered] = []
    old: list[_Numbered] = []
    newest: dict[int, Signal] = {}
    judged = []
    for number, signal in numbered:
        last_at = latest[number]
        is_newer = last_at is None or signal.told > last_at
        if is_newer:
            latest[number] = signal.told
        (news if is_newer else old).append((number, signal))
        judged.append(is_newer or (number, signal.told) in hidden)
        if judged[-1]:
            newest[number] = signal
    _write(news, old, {number: (latest[number], signal.value) for number, signal in newest.items()})
    return judged


def _latest(series: Known, now: datetime) -> datetime | None:
    """The newest time that counts: none where only a clock that was set back since explains it."""
    return None if series.last_at is not None and series.last_at > now + AHEAD else series.last_at


def _hidden(told: Sequence[_Moment], latest: Mapping[int, datetime | None], now: datetime) -> set[_Moment]:
    """Those that only a time hides which is still to come, and that were not told before."""
    found = []
    for number, at in told:
        last_at = latest[number]
        if last_at is not None and last_at > now and last_at - AHEAD <= at <= last_at:
            found.append((number, at))
    if not found:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_THERE, [[number for number, _ in found], [at for _, at in found]])
        return set(found).difference(cursor.fetchall())


def _write(
    news: Sequence[_Numbered], old: Sequence[_Numbered], newest: Mapping[int, tuple[datetime | None, float]]
) -> None:
    if not news and not old:
        return
    told: dict[str, Any] = {
        "newest": list(newest),
        "newest_at": [at for at, _ in newest.values()],
        "newest_value": [value for _, value in newest.values()],
    }
    for prefix, rows in (("", news), ("old_", old)):
        told[f"{prefix}ids"] = [number for number, _ in rows]
        told[f"{prefix}ats"] = [signal.told for _, signal in rows]
        told[f"{prefix}values"] = [signal.value for _, signal in rows]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP.format(old=_OLD if old else ""), told)


def worth_keeping(series: Known | None, signal: Signal) -> bool:
    """Whether a reading of the portal itself says something new, or is the one of its minute."""
    if series is None or series.last_at is None:
        return True
    return signal.value != series.last_value or not series.last_at <= signal.at < series.last_at + KEPT_EVERY
