"""Taking deliveries that are due: a lease for each, so that a dead worker gives them back by doing nothing (AD-2).

All times are PostgreSQL's. What is read here is kept as text until its own row is understood: one row that
cannot be is set aside, and the others go on.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from alerting import metrics
from alerting.channels import KINDS
from alerting.models import Delivery, Event, Notice, Priority
from opsportal.observability.postgres import connect_apart

log = logging.getLogger(__name__)

#: Longer than an attempt may take (`channels.base.SEND_SECONDS`), the wait for a thread, and the writing of its result.
LEASE_SECONDS = 30
#: So often a worker may die or hang over one delivery before it is set aside: it may be what kills them.
MOST_TAKEN_OVER = 10
STATEMENT_SECONDS = 10.0
#: A digest tells so many events and counts the others.
TOLD_MAX = 20
#: Kinds whose messages go out one by one when the recipient's hour has ended, too.
SINGLE = tuple(kind.name for kind in KINDS.values() if not kind.digests)
#: Ours alone in the connection: the queue is read by its index whatever the statistics of a minute ago say.
_PLANNING = (
    "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; "
    "SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan; SET jit = off; SET timezone = 'UTC'"
)

_DELIVERY = tuple(column.attname for column in Delivery._meta.concrete_fields)
_EVENT = tuple(column.attname for column in Event._meta.concrete_fields)
_TIMES = {
    model: tuple(
        place
        for place, column in enumerate(model._meta.concrete_fields)
        if column.get_internal_type() == "DateTimeField"
    )
    for model in (Delivery, Event)
}
_JSONS = tuple(
    place for place, column in enumerate(Event._meta.concrete_fields) if column.get_internal_type() == "JSONField"
)
_OPEN = "status IN ('pending', 'failed')"
_COLUMNS = ", ".join(
    [
        *(f"d.{name}" for name in _DELIVERY),
        *(f"e.{name}" for name in _EVENT),
        "EXISTS (SELECT FROM alerting_delivery m WHERE m.merged_into = d.id)",
        "extract(epoch FROM statement_timestamp())::float8",
        "was_taken",
        "c.xmin::text",
        "c.version",
        "extract(epoch FROM r.until)::float8",
    ]
)
_WITH_EVENT = "LEFT JOIN alerting_event e ON e.id = d.event_id AND e.started_at = d.event_started_at"
#: The channel as it is now, and until when its provider asked it to rest.
_WITH_CHANNEL = (
    "LEFT JOIN alerting_channel c ON c.id = d.channel_id "
    "LEFT JOIN alerting_rest r ON r.channel_id = c.id AND r.version = c.version"
)

#: Each priority has its own walk along the index `alerting_delivery_due`, and the next one begins where that ends.
#: A recovery waits until nothing of its alarm is open for the same recipient.
_CLAIM = f"""
WITH picked AS MATERIALIZED (
    SELECT due.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, hour_bucket, lease IS NOT NULL AS was_taken FROM alerting_delivery q
        WHERE q.priority = p.priority AND q.{_OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
            AND (q.waits_for <> 'recipient' OR q.kind = ANY(%(single)s))
            AND q.kind <> ALL(%(full)s)
            AND (q.notice <> 'resolved' OR NOT EXISTS (
                SELECT FROM alerting_delivery f WHERE f.event_id = q.event_id AND f.kind = q.kind
                    AND f.recipient_hash = q.recipient_hash AND f.notice = 'firing' AND f.{_OPEN}))
        ORDER BY q.due_at, q.id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ) AS due WHERE p.priority <= %(least_urgent)s LIMIT %(most)s
), d AS (
    UPDATE alerting_delivery AS t SET lease = %(lease)s,
        taken_over = least(t.taken_over + picked.was_taken::int, 32000),
        due_at = statement_timestamp() + make_interval(secs => {LEASE_SECONDS})
    FROM picked WHERE t.id = picked.id AND t.hour_bucket = picked.hour_bucket
    RETURNING t.*, picked.was_taken
)
SELECT {_COLUMNS} FROM d {_WITH_EVENT} {_WITH_CHANNEL} ORDER BY d.priority, d.id
"""  # noqa: S608 - our own constants
#: As `_urgency` has it: what fires before what is over, then the worst, then the newest.
_MEMBERS = f"""
SELECT {", ".join([f"d.{name}" for name in _DELIVERY] + [f"e.{name}" for name in _EVENT])}, d.merged_into
FROM unnest(%s::bigint[]) AS leader (id) CROSS JOIN LATERAL (
    SELECT * FROM alerting_delivery m WHERE m.merged_into = leader.id AND m.{_OPEN}
    ORDER BY m.notice = 'resolved', m.notice = 'test', m.priority, m.triggered_at DESC, m.id DESC LIMIT {TOLD_MAX}
) AS d {_WITH_EVENT}
"""  # noqa: S608
_CARRIED = f"""
SELECT merged_into, count(*), md5(string_agg(id::text, ',' ORDER BY id)) FROM alerting_delivery m
WHERE m.merged_into = ANY(%s) AND m.{_OPEN} GROUP BY merged_into
"""  # noqa: S608
_LEAVE_OUT = f"""
UPDATE alerting_delivery AS t SET status = 'poison', merged_into = NULL, waits_for = '', outcome = r.sentence,
    finished_at = statement_timestamp()
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS r (id, hour_bucket, sentence)
WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.merged_into = %s AND t.{_OPEN}
"""  # noqa: S608
_NEXT = f"""
SELECT extract(epoch FROM min(due.due_at) - statement_timestamp())::float8
FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
CROSS JOIN LATERAL (
    SELECT due_at FROM alerting_delivery q WHERE q.priority = p.priority AND q.{_OPEN} AND q.merged_into IS NULL
        AND q.due_at > statement_timestamp() ORDER BY q.due_at LIMIT 1
) AS due
"""  # noqa: S608
_ANY = f"""
SELECT EXISTS (
    SELECT FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT FROM alerting_delivery q WHERE q.priority = p.priority AND q.{_OPEN} AND q.merged_into IS NULL
            AND q.due_at <= statement_timestamp() LIMIT 1
    ) AS due
)
"""  # noqa: S608
_GIVE_BACK = f"""
UPDATE alerting_delivery AS t SET lease = NULL, due_at = statement_timestamp()
FROM unnest(%s::bigint[], %s::timestamptz[], %s::uuid[]) AS r (id, hour_bucket, lease)
WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease = r.lease AND t.{_OPEN}
"""  # noqa: S608

Connection = psycopg.Connection[Any]


class Malformed(Exception):
    """A row that cannot be understood; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a message tells: pairs of delivery and event, oldest first; how many more it counts, and its key.

    A digest has a key of its own: the plain one may be known to the receiver already, who would drop all of it.
    """

    delivery: Delivery
    pairs: Sequence[tuple[Delivery, Event]]
    key: str
    more: int = 0


@dataclass(slots=True)
class Claimed:
    """A delivery that is ours until its lease ends.

    The first fields are plain and always there; `delivery` and `told` are made by `read`, which may find them wrong.
    """

    id: int
    hour_bucket: str
    lease: uuid.UUID
    channel_id: int
    kind: str
    recipient_hash: str
    priority: int
    attempts: int
    was_taken: bool
    taken_over: int
    #: Whether it is a digest: others were merged into it.
    leads: bool
    #: PostgreSQL's time of the claim, in seconds of the epoch.
    at: float
    #: The request or task that made it.
    request_id: str
    values: tuple[Any, ...]
    event_values: tuple[Any, ...]
    #: Its channel's row at the claim: what tells it from any other (None: it is gone), and its version.
    channel_stamp: str | None
    channel_version: int | None
    #: Until when the provider asked the channel to rest, in seconds of the epoch; that may be over.
    rests_until: float | None
    #: The most urgent of what is merged into it, how many there are in all, and what tells this set from any other.
    members: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=list)
    carried: int = 0
    carried_hash: str = ""
    #: Members that `read` could not understand: number, hour and why.
    broken: list[tuple[int, str, str]] = field(default_factory=list)

    def read(self) -> Told:
        """The delivery, and what its message tells: itself and what is merged into it. Raises `Malformed`.

        A member that cannot be understood is left out, and then in `broken`.
        """
        delivery = _delivery(self.values)
        told = [(delivery, _event(self.event_values))]
        self.broken = []
        for values, event_values in self.members:
            try:
                told.append((_delivery(values), _event(event_values)))
            except Malformed as error:
                self.broken.append((values[_AT["id"]], values[_AT["hour_bucket"]], str(error)))
        return tell(delivery, told, carried=self.carried - len(self.broken), carried_hash=self.carried_hash)


def tell(
    delivery: Delivery, pairs: Sequence[tuple[Delivery, Event]], *, carried: int = 0, carried_hash: str = ""
) -> Told:
    """What the message of `delivery` tells of itself and the `carried` others, of which `pairs` has the most urgent."""
    chosen = sorted(pairs, key=_urgency)[:TOLD_MAX]
    chosen.sort(key=lambda pair: (pair[0].triggered_at, pair[0].pk))
    key = f"{delivery.dedup_key}:digest:{carried_hash[:16]}" if carried else delivery.dedup_key
    return Told(delivery, chosen, key=key, more=max(0, 1 + carried - len(chosen)))


def connect() -> Connection:
    """A connection for the dispatcher alone: in autocommit, planned for the queue. Raises `psycopg.Error`."""
    connection = connect_apart(application_name="opsportal-alerts", statement_seconds=STATEMENT_SECONDS)
    try:
        connection.row_factory = tuple_row
        connection.prepare_threshold = 2
        for name in ("timestamptz", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
        connection.execute(_PLANNING)
    except BaseException:
        connection.close()
        raise
    return connection


def claim(
    connection: Connection, most: int, *, full: Sequence[str] = (), least_urgent: Priority = Priority.INFO
) -> list[Claimed]:
    """Up to `most` deliveries that are due, the most urgent first, none of the kinds in `full`.

    Raises `psycopg.Error`.
    """
    arguments: Mapping[str, Any] = {
        "most": most,
        "full": list(full),
        "lease": uuid.uuid4(),
        "single": list(SINGLE),
        "least_urgent": int(least_urgent),
    }
    found = [_claimed(row) for row in connection.execute(_CLAIM, arguments)]
    load_members(connection, found)
    return found


def load_members(connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Read what is merged into those that lead. Raises `psycopg.Error`."""
    leaders = {row.id: row for row in claimed if row.leads}
    if leaders:
        for leading in leaders.values():
            leading.members, leading.carried, leading.carried_hash = [], 0, ""
        for row in connection.execute(_MEMBERS, [list(leaders)]):
            leaders[row[-1]].members.append((row[: len(_DELIVERY)], row[len(_DELIVERY) : -1]))
        for leader, count, carried_hash in connection.execute(_CARRIED, [list(leaders)]):
            leaders[leader].carried, leaders[leader].carried_hash = count, carried_hash


def leave_out_broken(connection: Connection, claimed: Claimed) -> bool:
    """Set aside what cannot be told in this digest, each by itself, and read what is left of it; whether there was any.

    Raises `psycopg.Error`.
    """
    if not claimed.broken:
        return False
    columns = [list(column) for column in zip(*claimed.broken, strict=True)]
    connection.execute(_LEAVE_OUT, [*columns, claimed.id])
    metrics.SET_ASIDE.labels(claimed.kind).inc(len(claimed.broken))
    for number, _, sentence in claimed.broken:
        log.warning("alert_delivery_set_aside", extra={"delivery": number, "why": sentence})
    load_members(connection, [claimed])
    return True


def is_any_due(connection: Connection) -> bool:
    """Whether there is anything that might be claimed. Raises `psycopg.Error`."""
    row = connection.execute(_ANY).fetchone()
    return bool(row and row[0])


def next_due(connection: Connection) -> float | None:
    """Seconds until the next delivery becomes due that is not due now; None: there is none. Raises `psycopg.Error`."""
    row = connection.execute(_NEXT).fetchone()
    return None if row is None else row[0]


def give_back(connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Let others have at once what was not begun. Raises `psycopg.Error`."""
    if claimed:
        connection.execute(_GIVE_BACK, _identities(claimed))


def select_claimed(rows: Iterator[Any]) -> list[Claimed]:
    """Rows of `CLAIMED_COLUMNS` as claimed deliveries."""
    return [_claimed(row) for row in rows]


#: What `select_claimed` reads, from a set `d` with the column `was_taken`, joined by `WITH_EVENT`.
CLAIMED_COLUMNS = _COLUMNS
WITH_EVENT = f"{_WITH_EVENT} {_WITH_CHANNEL}"
OPEN = _OPEN


def _identities(claimed: Sequence[Claimed]) -> list[Any]:
    return [[row.id for row in claimed], [row.hour_bucket for row in claimed], [row.lease for row in claimed]]


_AT = {name: place for place, name in enumerate(_DELIVERY)}


def _claimed(row: tuple[Any, ...]) -> Claimed:
    values = row[: len(_DELIVERY)]
    event_values = row[len(_DELIVERY) : len(_DELIVERY) + len(_EVENT)]
    leads, at, was_taken, stamp, version, rests_until = row[len(_DELIVERY) + len(_EVENT) :]
    return Claimed(
        id=values[_AT["id"]],
        hour_bucket=values[_AT["hour_bucket"]],
        lease=values[_AT["lease"]],
        channel_id=values[_AT["channel_id"]],
        kind=values[_AT["kind"]],
        recipient_hash=values[_AT["recipient_hash"]],
        priority=values[_AT["priority"]],
        attempts=values[_AT["attempts"]],
        was_taken=was_taken,
        taken_over=values[_AT["taken_over"]],
        leads=leads,
        at=at,
        request_id=values[_AT["request_id"]],
        values=values,
        event_values=event_values,
        channel_stamp=stamp,
        channel_version=version,
        rests_until=rests_until,
    )


def _urgency(pair: tuple[Delivery, Event]) -> tuple[bool, bool, int, float, int]:
    delivery = pair[0]
    notice = delivery.notice
    newest = -delivery.triggered_at.timestamp()
    return (notice == Notice.RESOLVED, notice == Notice.TEST, delivery.priority, newest, -delivery.pk)


def _delivery(values: tuple[Any, ...]) -> Delivery:
    return Delivery.from_db("default", _DELIVERY, _with_times(Delivery, list(values)))


def _event(values: tuple[Any, ...]) -> Event:
    if values[0] is None:
        raise Malformed("The event that this message is about no longer exists.")
    changed = _with_times(Event, list(values))
    for place in _JSONS:
        try:
            changed[place] = json.loads(changed[place])
        except (ValueError, RecursionError):
            raise Malformed("The event's labels or annotations cannot be read.") from None
        if not isinstance(changed[place], dict):
            raise Malformed("The event's labels or annotations are not what they must be.")
    return Event.from_db("default", _EVENT, changed)


def _with_times(model: Any, values: list[Any]) -> list[Any]:
    for place in _TIMES[model]:
        if values[place] is not None:
            try:
                values[place] = datetime.fromisoformat(values[place])
            except ValueError:
                raise Malformed("A time of this delivery cannot be read.") from None
    return values
