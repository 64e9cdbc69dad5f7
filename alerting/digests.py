"""What a recipient's limit held back is told in one message when the limit's hour has ended (AD-7)."""

from __future__ import annotations

import uuid

from alerting.claiming import (
    CLAIMED_COLUMNS,
    LEASE_SECONDS,
    OPEN,
    WITH_EVENT,
    Claimed,
    Connection,
    load_members,
    select_claimed,
)

#: So many are told in one digest; the rest in the next one.
MOST_IN_DIGEST = 500
#: "opsd" in ASCII: the first half of an advisory lock of the database; the second is the recipient.
_LOCK_CLASS = int.from_bytes(b"opsd", "big")

_DUE = f"""
SELECT DISTINCT due.kind, due.recipient_hash
FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
CROSS JOIN LATERAL (
    SELECT kind, recipient_hash FROM alerting_delivery q
    WHERE q.priority = p.priority AND q.{OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
        AND q.waits_for = 'recipient' AND q.kind <> ALL(%s)
    ORDER BY q.due_at, q.id LIMIT 1000
) AS due LIMIT %s
"""  # noqa: S608 - our own constants
#: Everything that waits for this recipient, and the recoveries that wait for one of those.
_HELD = f"""
WITH held AS MATERIALIZED (
    SELECT id, hour_bucket, event_id, priority FROM alerting_delivery
    WHERE recipient_hash = %(hash)s AND kind = %(kind)s AND {OPEN} AND merged_into IS NULL
        AND waits_for = 'recipient' AND due_at <= statement_timestamp()
    ORDER BY priority, id LIMIT {MOST_IN_DIGEST} FOR UPDATE SKIP LOCKED
), recoveries AS MATERIALIZED (
    SELECT r.id, r.hour_bucket, r.priority FROM alerting_delivery r
    WHERE r.recipient_hash = %(hash)s AND r.kind = %(kind)s AND r.{OPEN} AND r.merged_into IS NULL
        AND r.notice = 'resolved' AND r.lease IS NULL AND r.event_id IN (SELECT event_id FROM held)
        AND r.id NOT IN (SELECT id FROM held)
    FOR UPDATE SKIP LOCKED
)
SELECT id, hour_bucket FROM (
    SELECT id, hour_bucket, priority, 0 AS late FROM held UNION ALL SELECT id, hour_bucket, priority, 1 FROM recoveries
) AS every ORDER BY late, priority, id
"""  # noqa: S608
_MERGE = f"""
UPDATE alerting_delivery AS t SET merged_into = %(leader)s, lease = NULL
WHERE t.{OPEN} AND (t.id = ANY(%(ids)s) OR t.merged_into = ANY(%(ids)s))
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
    """Up to `most` recipients whose hour has ended: of each the one delivery that carries all others, claimed.

    The most urgent one carries: it is the digest. Raises `psycopg.Error`.
    """
    found: list[Claimed] = []
    for kind, recipient_hash in connection.execute(_DUE, [full, most]).fetchall():
        with connection.transaction():
            found += _claim_digest(connection, kind, recipient_hash)
    return found


def _claim_digest(connection: Connection, kind: str, recipient_hash: str) -> list[Claimed]:
    # One dispatcher merges for a recipient: of two that did it at once, each would lead a digest of its own.
    locked = connection.execute(
        "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, f"{kind}:{recipient_hash}"]
    ).fetchone()
    if not locked or not locked[0]:
        return []
    held = connection.execute(_HELD, {"kind": kind, "hash": recipient_hash}).fetchall()
    if not held:
        return []
    (leader, hour_bucket), *others = held
    if others:
        connection.execute(_MERGE, {"leader": leader, "ids": [row[0] for row in others]})
    given = {"leader": leader, "hour_bucket": hour_bucket, "lease": uuid.uuid4()}
    claimed = select_claimed(connection.execute(_LEAD, given))
    load_members(connection, claimed)
    return claimed
