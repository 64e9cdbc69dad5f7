"""The rows of episodes and events: reading what is open, and writing what a batch makes of it, in few statements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import connection

from alerting import outbox
from alerting.happenings import Happening


@dataclass(slots=True)
class Open:
    """An open episode, as its row says."""

    key: str
    event_id: UUID
    started_at: datetime
    rule_id: int | None
    firing: bool
    expires_at: datetime | None


_OPEN = "SELECT key, event_id, event_started_at, rule_id, firing, expires_at FROM alerting_episode WHERE key = ANY(%s)"

_FIRE = """
WITH fires AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS f (id uuid, started_at timestamptz, key text, value float8, summary text,
        triggered_at timestamptz, muted_by text, notified_at timestamptz)
), marked AS (
    UPDATE alerting_episode e SET firing = true, muted = f.muted_by <> '' FROM fires f WHERE e.key = f.key
)
UPDATE alerting_event e SET state = CASE e.state WHEN 'pending' THEN 'firing' ELSE e.state END,
    value = coalesce(f.value, e.value), summary = coalesce(f.summary, e.summary), triggered_at = f.triggered_at,
    muted_by = f.muted_by, notified_at = f.notified_at
FROM fires f WHERE e.id = f.id AND e.started_at = f.started_at
"""
_RESOLVE = """
WITH locked AS MATERIALIZED (
    SELECT key FROM alerting_episode WHERE event_id = ANY(%(ids)s) ORDER BY key FOR UPDATE
), gone AS (
    DELETE FROM alerting_episode p USING locked l WHERE p.key = l.key
)
UPDATE alerting_event e SET state = 'resolved', resolved_at = %(now)s, resolved_by = %(by)s
FROM unnest(%(ids)s::uuid[], %(starts)s::timestamptz[]) AS o (id, started_at)
WHERE e.id = o.id AND e.started_at = o.started_at AND e.state <> 'resolved'
RETURNING e.id, e.started_at, e.rule_id, e.severity, e.triggered_at, e.alert_id
"""
# In one order, as everybody locks episodes: two Prometheus tell of the same alerts at the same time. All are locked
# before the first is changed: who adds the same one waits for a change, and not for a lock.
_PROLONG = """
WITH told AS (
    SELECT * FROM unnest(%s::text[], %s::timestamptz[]) AS t (key, at)
), locked AS MATERIALIZED (
    SELECT key, t.at FROM alerting_episode JOIN told t USING (key) ORDER BY key FOR UPDATE OF alerting_episode
), them AS MATERIALIZED (
    SELECT array_agg(key) AS keys, array_agg(at) AS ats FROM locked
)
UPDATE alerting_episode e SET expires_at = l.at FROM them, unnest(them.keys, them.ats) AS l (key, at)
WHERE e.key = l.key
"""


def opened(rows: Iterable[Sequence[Any]]) -> dict[str, Open]:
    """The open episodes out of `catalogue.look`."""
    return {
        key: Open(
            key=key,
            event_id=UUID(event_id),
            started_at=datetime.fromisoformat(started_at),
            rule_id=rule_id,
            firing=firing,
            expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        )
        for key, event_id, started_at, rule_id, firing, expires_at in rows
    }


def read_open(keys: Iterable[str]) -> dict[str, Open]:
    """The open episodes of these keys. Raises `django.db.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [list(keys)])
        return {row[0]: Open(*row) for row in cursor.fetchall()}


def begin(events: Sequence[Happening], rows: Sequence[outbox.Row]) -> dict[UUID, int]:
    """Write new events with their episodes and deliveries: event to the number of deliveries that were new.

    An event is missing from the answer whose episode somebody else has begun meanwhile: nothing of it is kept.
    Raises `django.db.Error`.
    """
    if not events:
        return {}
    with connection.cursor() as cursor:
        told = json.dumps([_fresh(event) for event in events])
        cursor.execute("SELECT id, made FROM alerting_begin(%s, %s)", [told, json.dumps(rows)])
        return dict(cursor.fetchall())


def fire(events: Sequence[Happening]) -> None:
    """Pending episodes fire. Raises `django.db.Error`."""
    if not events:
        return
    told = [
        {
            "id": str(event.event_id),
            "started_at": event.started_at.isoformat(),
            "key": event.key,
            "value": event.value,
            "summary": event.summary or None,
            "triggered_at": _text(event.triggered_at),
            "muted_by": event.muted_by,
            "notified_at": _text(event.notified_at),
        }
        for event in events
    ]
    with connection.cursor() as cursor:
        cursor.execute(_FIRE, [json.dumps(told)])


@dataclass(frozen=True, slots=True)
class Resolved:
    """An event that was just resolved."""

    event_id: UUID
    started_at: datetime
    rule_id: int | None
    severity: int
    triggered_at: datetime | None
    alert_id: str

    @property
    def name(self) -> tuple[UUID, datetime]:
        """Its id and start."""
        return self.event_id, self.started_at

    @classmethod
    def of(cls, event: Happening) -> Self:
        """One that is over before it was written."""
        return cls(event.event_id, event.started_at, event.rule_id, event.severity, event.triggered_at, event.alert_id)


def resolve(events: Sequence[tuple[UUID, datetime]], now: datetime, *, by: str = "") -> list[Resolved]:
    """Close the episodes of these events, given by id and start, and resolve them; those that were not yet.

    `by` says who or what did it, empty for a recovery. Raises `django.db.Error`.
    """
    if not events:
        return []
    told: dict[str, Any] = {
        "ids": [event[0] for event in events],
        "starts": [event[1] for event in events],
        "now": now,
        "by": by,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RESOLVE, told)
        return [Resolved(*row) for row in cursor.fetchall()]


def wait_from(moment: datetime, events: Sequence[UUID]) -> None:
    """The pending episodes of these events, just begun, wait from this moment. Raises `django.db.Error`."""
    if not events:
        return
    with connection.cursor() as cursor:
        cursor.execute("UPDATE alerting_episode SET waits_from = %s WHERE event_id = ANY(%s)", [moment, list(events)])


def prolong(expiries: Mapping[str, datetime]) -> None:
    """Episodes by key that were told again, and when each resolves by itself now. Raises `django.db.Error`."""
    if not expiries:
        return
    with connection.cursor() as cursor:
        cursor.execute(_PROLONG, [list(expiries), list(expiries.values())])


def annotate(events: Iterable[UUID], name: str, text: str) -> None:
    """Put a line to the annotations of these events, which tells of what was not told. Raises `django.db.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE alerting_event SET notified_at = NULL, annotations = annotations || %s::jsonb WHERE id = ANY(%s)",
            [json.dumps({name: text}), list(events)],
        )


_READ = (
    "SELECT p.key, e.id, e.started_at, e.rule_id, e.alert_id, e.severity, e.metric, e.labels::text, e.origin, "
    "p.firing, e.state, e.rule_name, e.fingerprint, e.comparison, e.threshold, e.value, e.muted_by, e.triggered_at, "
    "p.due_at FROM alerting_episode p JOIN alerting_event e ON e.id = p.event_id AND e.started_at = p.event_started_at "
    "WHERE p.key = ANY(%s) ORDER BY p.key"
)


def read_happenings(keys: Iterable[str], *, lock: bool = True) -> list[Happening]:
    """Open episodes with their events, the episodes locked. Raises `django.db.Error`."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_READ} FOR UPDATE OF p" if lock else _READ, [list(keys)])
        return [
            Happening(
                key=row[0], event_id=row[1], started_at=row[2], rule_id=row[3], alert_id=row[4], severity=row[5],
                metric=row[6], labels=json.loads(row[7]), origin=row[8], firing=row[9], state=row[10],
                rule_name=row[11], fingerprint=row[12], comparison=row[13], threshold=row[14], value=row[15],
                muted_by=row[16], triggered_at=row[17], due_at=row[18],
            )
            for row in cursor.fetchall()
        ]  # fmt: skip


def _fresh(event: Happening) -> dict[str, Any]:
    return {
        "id": str(event.event_id),
        "started_at": event.started_at.isoformat(),
        "rule_id": event.rule_id,
        "rule_name": event.rule_name,
        "severity": event.severity,
        "state": event.state,
        "origin": event.origin,
        "alert_id": event.alert_id,
        "metric": event.metric,
        "labels": dict(event.labels),
        "fingerprint": event.fingerprint,
        "comparison": event.comparison,
        "threshold": event.threshold,
        "value": event.value,
        "summary": event.summary,
        "annotations": event.annotations,
        "owner": event.owner,
        "runbook_url": event.runbook_url,
        "generator_url": event.generator_url,
        "triggered_at": _text(event.triggered_at),
        "muted_by": event.muted_by,
        "notified_at": _text(event.notified_at),
        "resolved_at": _text(event.resolved_at),
        "key": event.key,
        "firing": event.firing,
        "due_at": _text(event.due_at),
        "expires_at": _text(event.expires_at),
        "open": not event.over,
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
