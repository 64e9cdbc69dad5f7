"""The outbox: delivery rows, written in the transaction that moves their event (AD-2)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from alerting import keys
from alerting.catalogue import BREAKER, Catalogue, RuleSpec, Target
from alerting.happenings import NO_RULE, Happening
from alerting.metrics import DROPPED
from alerting.models import Notice, Priority, Status
from opsportal.observability.context import current

_COLUMNS = (
    "event_id, event_started_at, dedup_key, hour_bucket, channel_id, kind, recipient_hash, recipient_sealed, "
    "recipient_shown, notice, priority, status, due_at, triggered_at, finished_at, outcome, request_id"
)
# The recovery notice is an alert of its own, triggered by the recovery and named by the event: a sender's alert id may
# have several in an hour. Who gets it: whoever the firing notice was made for. A row without a recipient is one that
# stands for a channel that could not be used.
_RECOVERY = f"""
INSERT INTO alerting_delivery ({_COLUMNS})
SELECT d.event_id, d.event_started_at,
    e.id || '/resolved:' || d.kind || ':' || d.recipient_hash || ':'
        || to_char(date_trunc('hour', e.resolved_at, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"'),
    date_trunc('hour', e.resolved_at, 'UTC'),
    d.channel_id, d.kind, d.recipient_hash, d.recipient_sealed, d.recipient_shown, 'resolved', e.severity + 1,
    'pending', least(%(now)s, clock_timestamp()), e.resolved_at, NULL, '',
    left(%(request_id)s, 64)
FROM unnest(%(ids)s::uuid[], %(starts)s::timestamptz[]) AS o (id, started_at)
JOIN alerting_event e ON e.id = o.id AND e.started_at = o.started_at
JOIN alerting_delivery d ON d.event_id = o.id
WHERE (%(only)s::bigint[] IS NULL OR d.channel_id = ANY(%(only)s))
    AND d.notice = 'firing' AND d.kind <> '{BREAKER}' AND d.recipient_sealed <> ''
ORDER BY 3 ON CONFLICT (dedup_key, hour_bucket) DO NOTHING
"""  # noqa: S608  (constants of this module)

Row = dict[str, Any]


def firing_rows(catalogue: Catalogue, rule: RuleSpec, event: Happening, now: datetime) -> list[Row]:
    """What its firing brings: the trip, if the rule trips, and unless it is muted the messages.

    A trip is a protection and no message: nothing mutes it, and it is named by the event's own id, so that it is made
    for each event.
    """
    rows = []
    if rule.trips_breaker:
        name = str(event.event_id)
        rows.append(_row(event, catalogue.breaker, Notice.FIRING, Priority.ACTION, now, name=name))
    if not event.muted:
        rows += message_rows(catalogue, rule, event, now)
    return rows


def message_rows(catalogue: Catalogue, rule: RuleSpec, event: Happening, now: datetime) -> list[Row]:
    """A message to each recipient of the rule's channels, once over each kind of channel.

    A channel that cannot be used leaves a poisoned row, which a person sees.
    """
    rows: dict[tuple[str, str], Row] = {}
    for channel_id in rule.channel_ids:
        for target in catalogue.targets.get(channel_id, ()):
            if (target.kind, target.hash) not in rows:
                priority = Priority(event.severity + 1)
                rows[target.kind, target.hash] = _row(event, target, Notice.FIRING, priority, now)
        if channel_id in catalogue.unusable:
            _note_unusable(catalogue, event, channel_id, rows, now)
    return list(rows.values())


def count_dropped(catalogue: Catalogue, events: Iterable[Happening]) -> None:
    """Count what nobody gets of these events, over channels that are switched off or cannot be used (AD-7).

    For those that are written, and were to be told; what is counted is what is committed.
    """
    dropped = Counter(
        (catalogue.kinds.get(channel_id, "none"), channel_id in catalogue.disabled)
        for event in (events if catalogue.unusable else ())
        if not event.muted
        for channel_id in catalogue.rules.get(event.rule_id or 0, NO_RULE).channel_ids
        if channel_id in catalogue.unusable
    )
    if dropped:
        transaction.on_commit(lambda: _count(dropped))


def _count(dropped: Counter[tuple[str, bool]]) -> None:
    for (kind, disabled), number in dropped.items():
        DROPPED.labels(kind, "channel_disabled" if disabled else "channel_unusable").inc(number)


def rows_of_test(targets: Iterable[Target], event: Happening, now: datetime) -> list[Row]:
    """A test message to each of these recipients. Somebody waits for it: it goes before everything but the critical."""
    return [_row(event, target, Notice.TEST, Priority.CRITICAL, now) for target in targets]


def recovery_rows(event: Happening, fired: Iterable[Row], now: datetime) -> list[Row]:
    """The recovery notices of an event, to whom these firing notices go."""
    assert event.resolved_at is not None
    name, bucket = str(event.event_id), keys.hour_bucket(event.resolved_at)
    return [
        {
            **row,
            "dedup_key": keys.dedup_key(name, row["kind"], row["recipient_hash"], bucket, resolved=True),
            "earlier_key": None,
            "hour_bucket": bucket.isoformat(),
            "notice": Notice.RESOLVED,
            "triggered_at": event.resolved_at.isoformat(),
        }
        for row in fired
        if row["kind"] != BREAKER and row["recipient_sealed"]
    ]


def insert(rows: Sequence[Row]) -> Counter[UUID]:
    """Write the rows; event to the number of those that were new. Raises `django.db.Error`."""
    if not rows:
        return Counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM alerting_add_deliveries(%s)", [json.dumps(rows)])
        return Counter(row[0] for row in cursor.fetchall())


def insert_recoveries(
    events: Sequence[tuple[UUID, datetime]], now: datetime, *, only: Iterable[int] | None = None
) -> int:
    """Tell the recovery of these events, given by id and start and resolved already, to whoever was told that they
    fire, over `only` these channels if some are given; how many rows that made. Raises `django.db.Error`."""
    if not events:
        return 0
    told: dict[str, Any] = {
        "ids": [event[0] for event in events],
        "starts": [event[1] for event in events],
        "now": now,
        "request_id": current().request_id,
        "only": None if only is None else list(only),
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECOVERY, told)
        return int(cursor.rowcount)


def _row(event: Happening, target: Target, notice: Notice, priority: Priority, now: datetime, *, name: str = "") -> Row:
    assert event.triggered_at is not None
    bucket = keys.hour_bucket(event.triggered_at)
    alert_id = name or event.alert_id
    # Only under the sender's own name can there be an earlier delivery of the same key.
    earlier = target.earlier_hashes[0] if target.earlier_hashes and not name and event.named_by_sender else None
    return {
        "event_id": str(event.event_id),
        "event_started_at": event.started_at.isoformat(),
        "dedup_key": keys.dedup_key(alert_id, target.kind, target.hash, bucket),
        "earlier_key": earlier and keys.dedup_key(alert_id, target.kind, earlier, bucket),
        "hour_bucket": bucket.isoformat(),
        "channel_id": target.channel_id,
        "kind": target.kind,
        "recipient_hash": target.hash,
        "recipient_sealed": target.sealed,
        "recipient_shown": target.shown,
        "notice": notice,
        "priority": priority,
        "status": Status.PENDING,
        "due_at": now.isoformat(),
        "triggered_at": event.triggered_at.isoformat(),
        "finished_at": None,
        "outcome": "",
        "request_id": current().request_id,
    }


def _note_unusable(
    catalogue: Catalogue, event: Happening, channel_id: int, rows: dict[tuple[str, str], Row], now: datetime
) -> None:
    kind = catalogue.kinds.get(channel_id, "none")
    if channel_id in catalogue.disabled:
        return
    stand_in = Target(channel_id, kind, keys.recipient_hash(kind, f"channel {channel_id}"), "", "nobody")
    rows[kind, stand_in.hash] = _row(event, stand_in, Notice.FIRING, Priority(event.severity + 1), now) | {
        "status": Status.POISON,
        "finished_at": now.isoformat(),
        "outcome": catalogue.unusable[channel_id],
    }
