"""Taking deliveries that are due: a lease for each, so that a dead worker gives them back by doing nothing (AD-2).

All times are PostgreSQL's. What is read here is kept as text until its own row is understood: one row that
cannot be is set aside, and the others go on.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from alerting.models import Delivery, Event
from opsportal.observability.postgres import connect_apart

#: Longer than an attempt may take (`channels.base.SEND_SECONDS`), the wait for a thread, and the writing of its result.
LEASE_SECONDS = 30
#: So often a worker may die or hang over one delivery before it is set aside: it may be what kills them.
MOST_TAKEN_OVER = 10
STATEMENT_SECONDS = 10.0
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
    ]
)
_WITH_EVENT = "LEFT JOIN alerting_event e ON e.id = d.event_id AND e.started_at = d.event_started_at"

#: Each priority has its own walk along the index `alerting_delivery_due`, and the next one begins where that ends.
#: A recovery waits until nothing of its alarm is open for the same recipient.
_CLAIM = f"""
WITH picked AS MATERIALIZED (
    SELECT due.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, hour_bucket, lease IS NOT NULL AS was_taken FROM alerting_delivery q
        WHERE q.priority = p.priority AND q.{_OPEN} AND q.merged_into IS NULL AND q.due_at <= statement_timestamp()
            AND q.waits_for <> 'recipient' AND q.kind <> ALL(%(full)s)
            AND (q.notice <> 'resolved' OR NOT EXISTS (
                SELECT FROM alerting_delivery f WHERE f.event_id = q.event_id AND f.kind = q.kind
                    AND f.recipient_hash = q.recipient_hash AND f.notice = 'firing' AND f.{_OPEN}))
        ORDER BY q.due_at, q.id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    ) AS due LIMIT %(most)s
), d AS (
    UPDATE alerting_delivery AS t SET lease = %(lease)s,
        taken_over = least(t.taken_over + picked.was_taken::int, 32000),
        due_at = statement_timestamp() + make_interval(secs => {LEASE_SECONDS})
    FROM picked WHERE t.id = picked.id AND t.hour_bucket = picked.hour_bucket
    RETURNING t.*, picked.was_taken
)
SELECT {_COLUMNS} FROM d {_WITH_EVENT} ORDER BY d.priority, d.id
"""  # noqa: S608 - our own constants
_MEMBERS = f"""
SELECT {", ".join([f"d.{name}" for name in _DELIVERY] + [f"e.{name}" for name in _EVENT])}, d.merged_into
FROM alerting_delivery d {_WITH_EVENT} WHERE d.merged_into = ANY(%s) AND d.{_OPEN} ORDER BY d.triggered_at, d.id
"""  # noqa: S608
_NEXT = f"""
SELECT extract(epoch FROM min(due.due_at) - statement_timestamp())::float8
FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS p (priority)
CROSS JOIN LATERAL (
    SELECT due_at FROM alerting_delivery q WHERE q.priority = p.priority AND q.{_OPEN} AND q.merged_into IS NULL
        AND q.due_at > statement_timestamp() ORDER BY q.due_at LIMIT 1
) AS due
"""  # noqa: S608
_GIVE_BACK = f"""
UPDATE alerting_delivery AS t SET lease = NULL, due_at = statement_timestamp()
FROM unnest(%s::bigint[], %s::timestamptz[], %s::uuid[]) AS r (id, hour_bucket, lease)
WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease = r.lease AND t.{_OPEN}
"""  # noqa: S608

Connection = psycopg.Connection[Any]


class Malformed(Exception):
    """A row that cannot be understood; the text says why, for people."""


@dataclass(slots=True)
class Claimed:
    """A delivery that is ours until its lease ends.

    The first fields are plain and always there; `delivery` and `told` are made by `read`, which may find them wrong.
    """

    id: int
    hour_bucket: str
    lease: uuid.UUID
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
    values: tuple[Any, ...]
    event_values: tuple[Any, ...]
    members: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = field(default_factory=list)

    def read(self) -> tuple[Delivery, list[tuple[Delivery, Event]]]:
        """The delivery, and all that its message tells: itself and what is merged into it. Raises `Malformed`."""
        delivery = _delivery(self.values)
        told = [(delivery, _event(self.event_values))]
        for values, event_values in self.members:
            told.append((_delivery(values), _event(event_values)))
        if len(told) > 1:
            told.sort(key=lambda pair: (pair[0].triggered_at, pair[0].pk))
        return delivery, told


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


def claim(connection: Connection, most: int, *, full: Sequence[str] = ()) -> list[Claimed]:
    """Up to `most` deliveries that are due, the most urgent first, none of the kinds in `full`.

    Raises `psycopg.Error`.
    """
    arguments: Mapping[str, Any] = {"most": most, "full": list(full), "lease": uuid.uuid4()}
    found = [_claimed(row) for row in connection.execute(_CLAIM, arguments)]
    load_members(connection, found)
    return found


def load_members(connection: Connection, claimed: Sequence[Claimed]) -> None:
    """Read what is merged into those that lead. Raises `psycopg.Error`."""
    leaders = {row.id: row for row in claimed if row.leads}
    if leaders:
        for row in connection.execute(_MEMBERS, [list(leaders)]):
            leaders[row[-1]].members.append((row[: len(_DELIVERY)], row[len(_DELIVERY) : -1]))


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
WITH_EVENT = _WITH_EVENT
OPEN = _OPEN


def _identities(claimed: Sequence[Claimed]) -> list[Any]:
    return [[row.id for row in claimed], [row.hour_bucket for row in claimed], [row.lease for row in claimed]]


_AT = {name: place for place, name in enumerate(_DELIVERY)}


def _claimed(row: tuple[Any, ...]) -> Claimed:
    values = row[: len(_DELIVERY)]
    event_values = row[len(_DELIVERY) : len(_DELIVERY) + len(_EVENT)]
    leads, at, was_taken = row[len(_DELIVERY) + len(_EVENT) :]
    return Claimed(
        id=values[_AT["id"]],
        hour_bucket=values[_AT["hour_bucket"]],
        lease=values[_AT["lease"]],
        kind=values[_AT["kind"]],
        recipient_hash=values[_AT["recipient_hash"]],
        priority=values[_AT["priority"]],
        attempts=values[_AT["attempts"]],
        was_taken=was_taken,
        taken_over=values[_AT["taken_over"]],
        leads=leads,
        at=at,
        values=values,
        event_values=event_values,
    )


def _delivery(values: tuple[Any, ...]) -> Delivery:
    return Delivery.from_db("default", _DELIVERY, _with_times(Delivery, list(values)))


def _event(values: tuple[Any, ...]) -> Event:
    if values[0] is None:
        raise Malformed("The event that this message is about no longer exists.")
    changed = _with_times(Event, list(values))
    for place in _JSONS:
        try:
            changed[place] = json.loads(changed[place])
        except ValueError:
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
