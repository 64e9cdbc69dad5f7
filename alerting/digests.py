"""What a recipient's limit held back is told in one message when the limit's hour has ended (AD-7)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerting.channels import KINDS
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
from alerting.models import Priority

#: What was held is looked for as often as this, whatever else waits.
LOOK_SECONDS = 1.0
_KINDS = tuple(kind.name for kind in KINDS.values() if kind.digests)

#: "opsd" in ASCII: the first half of an advisory lock of the database; the second is the recipient.
_LOCK_CLASS = int.from_bytes(b"opsd", "big")

#: The most urgent first: of each its most urgent message says how urgent it is.
_DUE = f"""
SELECT due.kind, due.recipient_hash, due.channel_id, min(due.priority)
FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
CROSS JOIN LATERAL (
    SELECT kind, recipient_hash, channel_id, priority, due_at FROM alerting_delivery q
    WHERE q.priority = p.priority AND q.{OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
        AND q.waits_for = 'recipient' AND q.kind <> ALL(%(left_out)s)
    ORDER BY q.due_at, q.id LIMIT 1000
) AS due WHERE p.priority <= %(least_urgent)s
GROUP BY 1, 2, 3 ORDER BY 4, min(due.due_at) LIMIT %(most)s
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
SELECT id, hour_bucket, EXISTS (SELECT FROM others) FROM leader
"""  # noqa: S608
#: One that leads others is a new message, whatever was tried with it alone.
_LEAD = f"""
WITH d AS (
    UPDATE alerting_delivery AS t SET lease = %(lease)s, waits_for = '',
        attempts = CASE WHEN %(leads)s THEN 0 ELSE t.attempts END,
        taken_over = CASE WHEN %(leads)s THEN 0 ELSE t.taken_over END,
        due_at = statement_timestamp() + make_interval(secs => {LEASE_SECONDS})
    WHERE t.id = %(leader)s AND t.hour_bucket = %(hour_bucket)s::timestamptz RETURNING t.*, false AS was_taken
)
SELECT {CLAIMED_COLUMNS} FROM d {WITH_EVENT}
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Held:
    """What was held for a recipient over a channel, and how urgent the most urgent of it is."""

    kind: str
    recipient_hash: str
    channel_id: int
    priority: int


class Looks:
    """When to look for what was held: once a second, and before anything of a new hour is given from the limits.

    Else what comes fresh in that first second would take all that the recipients' new hour has. Of each kind by itself:
    one that has its share of the threads is left out, and must not be passed over each time.
    """

    def __init__(self) -> None:
        self._again_at = dict.fromkeys(_KINDS, 0.0)
        self._hours = dict.fromkeys(_KINDS, -1.0)

    def are_due(self, claimed: Sequence[Claimed], full: Sequence[str]) -> bool:
        """Whether to look now, with these just claimed and none to be sent of the kinds in `full`."""
        now = time.monotonic()
        hour = claimed[0].at // 3600 if claimed else None
        return any(
            now >= self._again_at[kind] or (hour is not None and hour != self._hours[kind])
            for kind in _KINDS
            if kind not in full
        )

    def looked(self, claimed: Sequence[Claimed], full: Sequence[str]) -> None:
        """It was done, for all kinds but those in `full`."""
        looked = [kind for kind in _KINDS if kind not in full]
        self._again_at.update(dict.fromkeys(looked, time.monotonic() + LOOK_SECONDS))
        if claimed:
            self._hours.update(dict.fromkeys(looked, claimed[0].at // 3600))


def find_due(connection: Connection, most: int, *, full: Sequence[str], least_urgent: Priority) -> list[Held]:
    """Up to `most` times what was held for a recipient over a channel and whose hour has ended, the most urgent first.

    Raises `psycopg.Error`.
    """
    given = {"left_out": [*full, *SINGLE], "most": most, "least_urgent": int(least_urgent)}
    return [Held(*row) for row in connection.execute(_DUE, given)]


def claim_digest(connection: Connection, held: Held) -> list[Claimed]:
    """What is held, claimed: the one delivery that carries all others, the most urgent of them; it is the digest.

    None if somebody else has it. Raises `psycopg.Error`.
    """
    with connection.transaction():
        return _claim_digest(connection, {"kind": held.kind, "hash": held.recipient_hash, "channel": held.channel_id})


def _claim_digest(connection: Connection, whose: Mapping[str, Any]) -> list[Claimed]:
    # One dispatcher merges for a recipient: of two that did it at once, each would lead a digest of its own.
    name = f"{whose['kind']}:{whose['hash']}:{whose['channel']}"
    locked = connection.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, name]).fetchone()
    if not locked or not locked[0]:
        return []
    led = connection.execute(_MERGE, whose).fetchone()
    if led is None:
        return []
    given = {"leader": led[0], "hour_bucket": led[1], "leads": led[2], "lease": uuid.uuid4()}
    claimed = select_claimed(connection.execute(_LEAD, given))
    load_members(connection, claimed)
    return claimed
