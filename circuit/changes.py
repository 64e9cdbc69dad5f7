"""What a change of the breaker will say: to Redis, to the spool, to the history. Nothing here does anything."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from circuit import store, wire
from circuit.models import Category, Kind, Source, State
from circuit.records import Record
from circuit.wire import Decoded, Note, Snapshot
from opsportal.accounts.actors import Actor
from opsportal.observability.context import current


def record_of(
    kind: Kind,
    to_state: State,
    reason: str,
    *,
    by: Actor,
    source: Source,
    category: Category = Category.MANUAL,
    now: datetime | None,
) -> Record:
    """The record of a change that the portal makes; where it comes from, `Record.left` says."""
    context = current()
    return Record(
        id=uuid.uuid4(),
        kind=kind,
        from_state=State.UNKNOWN,
        to_state=to_state,
        reason=reason,
        category=category,
        source=source,
        actor_id=by.user.pk if by.user else None,
        actor_label=by.label,
        at=now or timezone.now(),
        ip=context.ip,
        request_id=context.request_id,
    )


def external_record(decoded: Decoded, before: Note | None, now: datetime) -> Record:
    """The record of somebody else's change; `before` is what the portal remembered until then."""
    after = wire.parse_instant(before.since) if before else None
    kind = {
        State.TRIPPED: Kind.TRIP,
        State.OPEN: Kind.RESET,
        State.QUIET_PERIOD: Kind.QUIET,
        State.UNKNOWN: Kind.LOST,
    }[decoded.state]
    at, reason = now, ""
    if kind == Kind.TRIP:
        reason = decoded.reason
        plausible = decoded.at is not None and timedelta(0) <= now - decoded.at < timedelta(minutes=10)
        if decoded.at and plausible and not (after and decoded.at <= after):
            at = decoded.at  # the platform's own time, unless that would put the history out of order
    return Record(
        id=uuid.uuid4(),
        kind=kind,
        from_state=before.to_state if before else State.UNKNOWN,
        to_state=decoded.state,
        reason=reason or decoded.problem,
        category=Category.EXTERNAL,
        source=Source.EXTERNAL,
        actor_id=None,
        actor_label="external writer",
        at=at,
        ip=None,
        request_id=None,
    )


def change_of(record: Record, seen: Snapshot, decoded: Decoded) -> store.Change:
    """The new texts for a change made by the portal."""
    trip = record.to_state == State.TRIPPED
    change = store.Change(
        note="",
        spool=record.dump(),
        state=wire.encode_state(
            settings.CIRCUIT_DIALECT,
            seen,
            record.to_state,
            reason=record.reason,
            by=record.actor_label,
            now=record.at,
        ),
        reason=record.reason if trip else None,
        at=wire.instant_text(record.at) if trip else None,
    )
    if trip and settings.CIRCUIT_DIALECT == "json":
        member = wire.history_member(
            transition_id=str(record.id), reason=record.reason, by=record.actor_label, now=record.at
        )
        change = replace(change, history=member, history_score=record.at.timestamp())
    note = note_of(record, replace(change, at=change.at or seen.at), decoded.note)
    return replace(change, note=note.dump())


def note_of(record: Record, change: store.Change, before: Note | None) -> Note:
    """What the portal will remember of this change; `before` is what it remembered until now."""
    trip = record.kind == Kind.TRIP
    return Note(
        id=str(record.id),
        state=change.state,
        at=change.at,
        to_state=record.to_state,
        by=record.actor_label,
        source=record.source.value,
        since=wire.instant_text(record.at),
        trip_by=record.actor_label if trip else before.trip_by if before else "",
        trip_source=record.source.value if trip else before.trip_source if before else "",
    )
