"""What a recipient's limit held back is told in one message when the limit's hour has ended (AD-7)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from alerting.claiming import (
    CLAIMED_COLUMNS,
    LEASE_SECONDS,
    OPEN,
    SINGLE,
    WITH_EVENT,
    Claimed,
    Connection,
    load_members,
    select_claimed,
)

#: "opsd" in ASCII: the first half of an advisory lock of the database; the second is the recipient.
_LOCK_CLASS = int.from_bytes(b"opsd", "big")

_DUE = f"""
SELECT DISTINCT due.kind, due.recipient_hash, due.channel_id
FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
CROSS JOIN LATERAL (
    SELECT kind, recipient_hash, channel_id FROM alerting_delivery q
    WHERE q.priority = p.priority AND q.{OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
        AND q.waits_for = 'recipient' AND q.kind <> ALL(%s)
    ORDER BY q.due_at, q.id LIMIT 1000
) AS due LIMIT %s
"""  # noqa: S608 - our own constants
#: Everything that waits for this recipient and channel, the recoveries that wait for one of those, and what any of
#: them carries: merged into the most urgent one, however many they are.
_MERGE = f"""
WITH held AS MATERIALIZED (
    SELECT id, hour_bucket, event_id, priority FROM alerting_delivery
    WHERE recipient_hash = %(hash)s AND kind = %(kind)s AND channel_id = %(channel)s AND {OPEN}
        AND merged_into IS NULL AND waits_for = 'recipient' AND due_at <= statement_timestamp()
    ORDER BY priority, id FOR UPDATE SKIP LOCKED
), leader AS MATERIALIZED (
    SELECT id, hour_bucket FROM held ORDER BY priority, id LIMIT 1
), recoveries AS MATERIALIZED (
    -- "IS TRUE": looked up for each row, where a join would compare each with each.
    SELECT r.id, r.hour_bucket FROM alerting_delivery r
    WHERE r.recipient_hash = %(hash)s AND r.kind = %(kind)s AND r.channel_id = %(channel)s AND r.{OPEN}
        AND r.merged_into IS NULL AND r.notice = 'resolved' AND r.lease IS NULL
        AND (r.event_id IN (SELECT event_id FROM held)) IS TRUE AND r.id NOT IN (SELECT id FROM held)
    FOR UPDATE SKIP LOCKED
), others AS MATERIALIZED (
    SELECT id, hour_bucket FROM held WHERE id NOT IN (SELECT id FROM leader)
    UNION ALL SELECT id, hour_bucket FROM recoveries
), merged AS (
    UPDATE alerting_delivery AS t SET merged_into = (SELECT id FROM leader), lease = NULL
    FROM others WHERE t.id = others.id AND t.hour_bucket = others.hour_bucket
), carried AS (
    UPDATE alerting_delivery AS t SET merged_into = (SELECT id FROM leader)
    FROM (
        SELECT c.id, c.hour_bucket FROM others CROSS JOIN LATERAL (
            SELECT id, hour_bucket FROM alerting_delivery m WHERE m.merged_into = others.id AND m.{OPEN} OFFSET 0
        ) AS c
    ) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket
)
SELECT id, hour_bucket FROM leader
"""  # noqa: S608
_LEAD = f"""
WITH d AS (
    UPDATE alerting_delivery AS t SET lease = %(lease)s, waits_for = '',
        due_at = statement_timestamp() + make_interval(secs => {LEASE_SECONDS})
    WHERE t.id = %(leader)s AND t.hour_bucket = %(hour_bucket)s::timestamptz RETURNING t.*, false AS was_taken
)
SELECT {CLAIMED_COLUMNS} FROM d {WITH_EVENT}
"""  # noqa: S608


def claim_digests(connection: Connection, most: int, *, full: list[str]) -> list[Claimed]:
    """Up to `most` times what was held for a recipient over a channel and whose hour has ended, claimed: of each the
    one delivery that carries all others.

    The most urgent one carries: it is the digest. Raises `psycopg.Error`.
    """
    found: list[Claimed] = []
    for kind, recipient_hash, channel_id in connection.execute(_DUE, [[*full, *SINGLE], most]).fetchall():
        with connection.transaction():
            found += _claim_digest(connection, {"kind": kind, "hash": recipient_hash, "channel": channel_id})
    return found


def _claim_digest(connection: Connection, whose: Mapping[str, Any]) -> list[Claimed]:
    # One dispatcher merges for a recipient: of two that did it at once, each would lead a digest of its own.
    name = f"{whose['kind']}:{whose['hash']}:{whose['channel']}"
    locked = connection.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, name]).fetchone()
    if not locked or not locked[0]:
        return []
    led = connection.execute(_MERGE, whose).fetchone()
    if led is None:
        return []
    given = {"leader": led[0], "hour_bucket": led[1], "lease": uuid.uuid4()}
    claimed = select_claimed(connection.execute(_LEAD, given))
    load_members(connection, claimed)
    return claimed
