"""Deliveries that are held back: by a limit to its next window (AD-7), by a provider for as long as it asks (AD-5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from alerting import limits, metrics
from alerting.claiming import OPEN, Claimed, Connection

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
    columns: list[list[Any]] = [[], [], [], [], []]
    for row, reason in refused:
        end = limits.window_end(row.at, reason)
        until = end + (row.priority * LEAD_SECONDS if reason != "recipient" else 0.0)
        for column, value in zip(columns, (row.id, row.hour_bucket, row.lease, reason, until), strict=True):
            column.append(value)
    connection.execute(_PUT_OFF, columns)
    counted = Counter((row.kind, reason) for row, reason in refused)
    for kind, reason, at in _closed(refused):
        given = {"reason": reason, "until": limits.window_end(at, reason), "kind": kind or None}
        rest = connection.execute(_PUT_OFF_REST, {**given, "unlimited": list(limits.UNLIMITED)})
        counted.update((found, reason) for (found,) in rest)
    for (kind, reason), number in counted.items():
        metrics.THROTTLED.labels(kind, reason).inc(number)


def let_channel_rest(connection: Connection, channel_id: int, kind: str, seconds: float) -> None:
    """Put off what is due for a channel whose provider asks to wait: not an attempt. Raises `psycopg.Error`."""
    rested = connection.execute(_REST, {"channel_id": channel_id, "kind": kind, "seconds": seconds}).rowcount
    metrics.THROTTLED.labels(kind, "provider").inc(rested)


def _closed(refused: Sequence[tuple[Claimed, str]]) -> list[tuple[str, str, float]]:
    """The kinds for which nothing more goes out in this minute; with the global limit reached, all ("")."""
    for row, reason in refused:
        if reason == "global":
            return [("", "global", row.at)]
    kinds = {row.kind: row.at for row, reason in refused if reason == "channel"}
    return [(kind, "channel", at) for kind, at in kinds.items()]
