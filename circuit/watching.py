"""Notices what happened to the breaker past the portal: other writers, and a Redis that lost what it had (CB-9)."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from django.db import Error
from django.utils import timezone

from circuit import metrics, spool, store, wire
from circuit.changes import external_record, note_of
from circuit.errors import CannotReach, WrongState
from circuit.models import Category, Kind, State, Transition
from circuit.records import Record
from circuit.selectors import last_trip, newest_transition
from circuit.services import Done, read_or_refuse, trip_breaker
from circuit.wire import Decoded, Note, Snapshot
from opsportal.accounts.actors import Actor

log = logging.getLogger(__name__)

WENT_BACK = "Redis went back to an earlier state: it has lost its latest writes."


def notice_external_change(now: datetime | None = None) -> Done | None:
    """Record what changed in Redis without the portal. None when nothing did.

    A trip that Redis has lost, with no reset after it, is made again.

    Meant to run every second. Raises `CannotReach` and, only where Redis alone cannot tell what was there before,
    `django.db.Error`.
    """
    seen = read_or_refuse("External changes of the breaker go unnoticed until it is back.")
    decoded = wire.decode(seen)
    went_back = decoded.note is not None and _history_is_ahead_of(decoded.note)
    if decoded.note and not went_back:
        return None
    before = None if went_back else Note.parse(seen.note)
    before = before or _remembered_by_history()
    if before is None and seen.state is None:
        return None  # nobody has initialised it yet
    if before and _is_the_same(decoded, before):
        _write(seen, store.Change(note=replace(before, state=seen.state, at=seen.at).dump()))
        return None  # only details of the platform's own have changed
    record = external_record(decoded, before, now or timezone.now())
    if went_back:
        record = replace(record, reason=WENT_BACK)
    change = store.Change(note="", spool=record.dump())
    note = note_of(record, replace(change, state=seen.state, at=seen.at), before)
    if not _write(seen, replace(change, note=note.dump())):
        return None
    _count(record)
    done = Done(record.id, decoded.state, recorded=spool.settle())
    if went_back and before and before.to_state == State.TRIPPED and decoded.state == State.OPEN:
        return _trip_again(before)
    return done


def _trip_again(before: Note) -> Done | None:
    """Redis has lost a trip that nobody has reset: trading stays halted until somebody does."""
    try:
        return trip_breaker(
            by=Actor.system("opsportal"),
            reason=f"Redis has lost the trip of {before.by} at {before.since}. Halted again until somebody resets it.",
            category=Category.OTHER,
        )
    except WrongState:
        return None  # somebody else has tripped it in the meantime


def _history_is_ahead_of(note: Note) -> bool:
    """Whether PostgreSQL has recorded a change after the one that Redis remembers: Redis has lost writes."""
    try:
        newest = newest_transition()
        if newest is None or str(newest.pk) == note.id:
            return False
        known = Transition.objects.filter(pk=note.id).first()
    except Error:
        return False  # without the history there is nothing to compare with; the next look will
    return known is not None and newest.recorded_at > known.recorded_at


def _remembered_by_history() -> Note | None:
    """What the portal would remember, had Redis not lost it."""
    newest = newest_transition()
    if newest is None:
        return None
    trip = last_trip()
    return Note(
        id=str(newest.pk),
        state=None,
        at=wire.instant_text(trip.at) if trip else None,
        to_state=State(newest.to_state),
        by=newest.actor_label,
        source=newest.source,
        since=wire.instant_text(newest.at),
        trip_by=trip.actor_label if trip else "",
        trip_source=trip.source if trip else "",
    )


def _is_the_same(decoded: Decoded, before: Note) -> bool:
    """Whether it still is what the portal remembers; a trip is the same one only at the same time."""
    if decoded.state != before.to_state:
        return False
    return decoded.state != State.TRIPPED or decoded.at == wire.decode(Snapshot(before.state, None, before.at, None)).at


def _write(seen: Snapshot, change: store.Change) -> bool:
    """False when somebody was faster; the next look sees what there is then. Raises `CannotReach`."""
    try:
        store.write(seen, change)
    except store.BreakerChanged:
        return False
    except store.BreakerUnreachable as error:
        raise CannotReach("Redis stopped answering.") from error
    return True


def _count(record: Record) -> None:
    if record.kind == Kind.TRIP:
        metrics.TRIPS.labels(Category.EXTERNAL.value).inc()
    elif record.kind == Kind.RESET:
        metrics.RESETS.inc()
    log.warning(
        "circuit_changed_externally",
        extra={"from_state": record.from_state.value, "to_state": record.to_state.value},
    )
