"""Deliveries that are held back: by a limit to its next window (AD-7), by a provider for as long as it asks (AD-5).

None of it is an attempt, or takes anything from a limit.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from alerting import limits, metrics
from alerting.claiming import OPEN, Claimed, Connection

log = logging.getLogger(__name__)

#: In a new window the urgent ones are due first, by this much, so that they take from the limit first.
LEAD_SECONDS = 0.05
#: So many are put off in one statement; the rest when they are claimed.
MOST_AT_ONCE = 5_000

_PUT_OFF = f"""
UPDATE alerting_delivery AS t SET lease = NULL, waits = t.waits + 1, waits_for = r.reason,
    due_at = to_timestamp(r.until)
FROM unnest(%s::bigint[], %s::timestamptz[], %s::uuid[], %s::text[], %s::float8[])
    AS r (id, hour_bucket, lease, reason, until)
WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease = r.lease AND t.{OPEN}
"""  # noqa: S608 - our own constants
#: What else is due and would be refused like them: in one statement, instead of being claimed in vain.
_PUT_OFF_REST = f"""
UPDATE alerting_delivery AS t SET waits = t.waits + 1, waits_for = %(reason)s,
    due_at = to_timestamp(%(until)s + t.priority * {LEAD_SECONDS})
FROM (
    SELECT due.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, hour_bucket FROM alerting_delivery q
        WHERE q.priority = p.priority AND q.{OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
            AND q.lease IS NULL AND q.waits_for <> 'recipient'
            AND q.kind <> ALL(%(unlimited)s) AND (q.kind = %(kind)s OR %(kind)s::text IS NULL)
        ORDER BY q.due_at, q.id LIMIT {MOST_AT_ONCE} FOR UPDATE SKIP LOCKED
    ) AS due LIMIT {MOST_AT_ONCE}
) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket
RETURNING t.kind
"""  # noqa: S608
#: What waits because its provider asks for it comes back over so much longer, the urgent ones first: all at once, they
#: would only be told to wait again.
SPREAD = 0.5
_REST = f"""
UPDATE alerting_delivery AS t SET waits = t.waits + 1, waits_for = 'provider',
    due_at = statement_timestamp()
        + make_interval(secs => %(seconds)s * (1 + {SPREAD} * (t.priority + random()) / 4))
FROM (
    SELECT due.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, hour_bucket FROM alerting_delivery q
        WHERE q.priority = p.priority AND q.{OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
            AND q.lease IS NULL AND q.waits_for <> 'recipient' AND q.channel_id = %(channel_id)s AND q.kind = %(kind)s
        ORDER BY q.due_at, q.id LIMIT {MOST_AT_ONCE} FOR UPDATE SKIP LOCKED
    ) AS due LIMIT {MOST_AT_ONCE}
) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket
"""  # noqa: S608
#: Recoveries that are due, but whose alarm is not for a while: they wait as long, instead of being passed over by
#: every claim until then.
_PUT_OFF_RECOVERIES = f"""
UPDATE alerting_delivery AS t SET due_at = r.until
FROM (
    SELECT q.id, q.hour_bucket, min(f.due_at) AS until
    FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, hour_bucket, event_id, kind, recipient_hash FROM alerting_delivery
        WHERE priority = p.priority AND {OPEN} AND merged_into IS NULL AND due_at <= statement_timestamp()
            AND notice = 'resolved' AND lease IS NULL
        ORDER BY due_at, id LIMIT 1000
    ) AS q JOIN alerting_delivery f ON f.event_id = q.event_id AND f.kind = q.kind
        AND f.recipient_hash = q.recipient_hash AND f.notice = 'firing' AND f.{OPEN} AND f.lease IS NULL
        AND f.due_at > statement_timestamp() + interval '5 s'
    GROUP BY q.id, q.hour_bucket
) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease IS NULL AND t.{OPEN}
"""  # noqa: S608
#: The longest time that a provider has asked for since the channel was edited.
_NOTE_REST = """
INSERT INTO alerting_rest AS t (channel_id, version, until)
VALUES (%s, %s, statement_timestamp() + make_interval(secs => %s))
ON CONFLICT (channel_id) DO UPDATE SET version = EXCLUDED.version,
    until = CASE WHEN t.version = EXCLUDED.version THEN greatest(t.until, EXCLUDED.until) ELSE EXCLUDED.until END
    WHERE t.version <= EXCLUDED.version
"""
#: With the recoveries that were put off for as long as their alarms.
_WAKE = f"""
UPDATE alerting_delivery AS t SET waits_for = '', due_at = statement_timestamp()
FROM (
    SELECT id, hour_bucket FROM alerting_delivery q WHERE q.channel_id = ANY(%(channels)s) AND q.{OPEN}
        AND (q.waits_for = 'provider' OR q.waits_for = '' AND q.notice = 'resolved' AND q.status = 'pending')
        AND q.lease IS NULL AND q.due_at > statement_timestamp() FOR UPDATE SKIP LOCKED
) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket
"""  # noqa: S608
_END_REST = "DELETE FROM alerting_rest WHERE channel_id = ANY(%(channels)s)"
#: What no key opens is looked at again after this.
KEY_SECONDS = 30.0
#: "opsrecov" in ASCII: an advisory lock of the database.
_RECOVERIES_LOCK = int.from_bytes(b"opsrecov", "big")


def put_off_recoveries(connection: Connection) -> None:
    """Let recoveries wait as long as their alarms, which are put off or tried again later. Raises `psycopg.Error`."""
    locked = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_RECOVERIES_LOCK]).fetchone()
    if locked and locked[0]:
        connection.execute(_PUT_OFF_RECOVERIES)


def put_off(connection: Connection, refused: Sequence[tuple[Claimed, str]]) -> None:
    """Let what is over a limit wait for the limit's next window: not an attempt, and each one counted (AD-7).

    Raises `psycopg.Error`.
    """
    _put_off(connection, [(row, reason, _window_end(row, reason)) for row, reason in refused])
    counted = Counter((row.kind, reason) for row, reason in refused)
    for kind, reason, at in _closed(refused):
        given = {"reason": reason, "until": limits.window_end(at, reason), "kind": kind or None}
        rest = connection.execute(_PUT_OFF_REST, {**given, "unlimited": list(limits.UNLIMITED)})
        counted.update((found, reason) for (found,) in rest)
    for (kind, reason), number in counted.items():
        metrics.THROTTLED.labels(kind, reason).inc(number)


def put_off_resting(connection: Connection, claimed: Sequence[Claimed]) -> list[Claimed]:
    """Let what was claimed for a channel that rests wait until that ends; gives the others. Raises `psycopg.Error`."""
    resting, awake = [], []
    for row in claimed:
        left = (row.rests_until or 0.0) - row.at
        if left > 0.0:
            resting.append((row, "provider", row.at + _spread(left, row.priority)))
        else:
            awake.append(row)
    if resting:
        _put_off(connection, resting)
        for row, *_ in resting:
            metrics.THROTTLED.labels(row.kind, "provider").inc()
        rests = {(row.channel_id, row.kind): (row.rests_until or 0.0) - row.at for row, *_ in resting}
        for (channel_id, kind), left in rests.items():
            _put_off_due(connection, channel_id, kind, left)
    return awake


def put_off_for_key(connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Let wait what no key of this process opens. Raises `psycopg.Error`."""
    _put_off(connection, [(row, "key", row.at + KEY_SECONDS) for row in claimed])
    log.error("alert_key_missing", extra={"deliveries": len(claimed), "first": claimed[0].id})


def let_channel_rest(connection: Connection, channel_id: int, version: int, kind: str, seconds: float) -> None:
    """Let a channel rest whose provider asks to wait, with what is due for it and what comes. Raises `psycopg.Error`.

    `version`: of the channel's settings that the provider answered to.
    """
    connection.execute(_NOTE_REST, [channel_id, version, seconds])
    _put_off_due(connection, channel_id, kind, seconds)


def end_rests(cursor: Any, channel_ids: Iterable[int]) -> None:
    """What waits for the providers of these channels is due now. Raises the cursor's database error."""
    given = {"channels": sorted(set(channel_ids))}
    cursor.execute(_WAKE, given)
    cursor.execute(_END_REST, given)


def _put_off(connection: Connection, rows: Sequence[tuple[Claimed, str, float]]) -> None:
    columns: list[list[Any]] = [[], [], [], [], []]
    for row, reason, until in rows:
        for column, value in zip(columns, (row.id, row.hour_bucket, row.lease, reason, until), strict=True):
            column.append(value)
    connection.execute(_PUT_OFF, columns)


def _put_off_due(connection: Connection, channel_id: int, kind: str, seconds: float) -> None:
    rested = connection.execute(_REST, {"channel_id": channel_id, "kind": kind, "seconds": seconds}).rowcount
    metrics.THROTTLED.labels(kind, "provider").inc(rested)


def _spread(seconds: float, priority: int) -> float:
    return seconds * (1 + SPREAD * (priority + random.random()) / 4)  # noqa: S311 - no secret


def _window_end(row: Claimed, reason: str) -> float:
    return limits.window_end(row.at, reason) + (row.priority * LEAD_SECONDS if reason != "recipient" else 0.0)


def _closed(refused: Sequence[tuple[Claimed, str]]) -> list[tuple[str, str, float]]:
    """The kinds for which nothing more goes out in this minute; with the global limit reached, all ("")."""
    for row, reason in refused:
        if reason == "global":
            return [("", "global", row.at)]
    kinds = {row.kind: row.at for row, reason in refused if reason == "channel"}
    return [(kind, "channel", at) for kind, at in kinds.items()]
