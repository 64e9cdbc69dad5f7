"""Notices what others did to the breaker directly in Redis (CB-9)."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from django.utils import timezone

from circuit import metrics, spool, store, wire
from circuit.changes import external_record, note_of
from circuit.errors import CannotReach
from circuit.models import Category, Kind, State
from circuit.selectors import newest_transition
from circuit.services import Done, read_or_refuse
from circuit.wire import Note, Snapshot

log = logging.getLogger(__name__)


def notice_external_change(now: datetime | None = None) -> Done | None:
    """Record what somebody else did to the breaker directly in Redis (CB-9). None when nobody did.

    Meant to run every second. Raises `CannotReach` and, only where Redis alone cannot tell what was there before,
    `django.db.Error`.
    """
    seen = read_or_refuse("External changes of the breaker go unnoticed until it is back.")
    decoded = wire.decode(seen)
    if decoded.note:
        return None
    before = Note.parse(seen.note)
    if before:
        from_state = before.to_state
        previous_at = wire.decode(Snapshot(before.state, None, before.at, None)).at
    else:
        newest = newest_transition()
        if newest is None and seen.state is None:
            return None  # nobody has initialised it yet
        from_state = State(newest.to_state) if newest else State.UNKNOWN
        previous_at = decoded.at  # without a note only the state itself can be compared
    record = external_record(
        decoded, from_state, now or timezone.now(), after=wire.parse_instant(before.since) if before else None
    )
    change = store.Change(note="", spool=record.dump())
    same = from_state == decoded.state and (decoded.state != State.TRIPPED or decoded.at == previous_at)
    if same:
        change = replace(change, spool=None)  # only details of the platform's own have changed
    change = replace(
        change, note=note_of(record, replace(change, state=seen.state, at=seen.at), decoded, before=before).dump()
    )
    try:
        store.write(seen, change)
    except store.BreakerChanged:
        return None  # somebody was faster; the next round sees what there is then
    except store.BreakerUnreachable as error:
        raise CannotReach("Redis stopped answering.") from error
    if same:
        return None
    if record.kind == Kind.TRIP:
        metrics.TRIPS.labels(Category.EXTERNAL.value).inc()
    elif record.kind == Kind.RESET:
        metrics.RESETS.inc()
    log.warning("circuit_changed_externally", extra={"from_state": from_state.value, "to_state": decoded.state.value})
    return Done(record.id, decoded.state, recorded=spool.settle())
