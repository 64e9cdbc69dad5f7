"""Every change of the breaker, whoever asks: portal, API, command line, alert rule (CB-4).

A trip must work when nothing else does: it goes to Redis first, in one step with its own record, which waits there in a
spool until PostgreSQL has it. A reset needs PostgreSQL first: the record is written and chained, then Redis is changed,
then the transaction commits; if that fails the breaker is tripped again (CB-8).
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db import Error, transaction

from circuit import metrics, spool, store, wire
from circuit.changes import change_of, note_of, record_of
from circuit.errors import CannotReach, InvalidInput, Refused, StaleForm, TooSoon, WrongState
from circuit.models import Category, Kind, Source, State, Transition
from circuit.policy import read_policy
from circuit.records import Record, archive
from circuit.selectors import last_recorded, last_trip
from circuit.wire import Decoded, Snapshot
from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason, step_up
from opsportal.audit import recorder

log = logging.getLogger(__name__)

#: What the tick of a reset stands for.
CONFIRM = (
    "Confirm that you have checked why trading was halted: tick the box, pass --acknowledge, or send "
    '"acknowledged": true.'
)
COOLDOWN_SECONDS = 60
#: How often a lost race is run again before giving up; every round somebody else has won.
_ROUNDS = 10


@dataclass(frozen=True)
class Done:
    """A change that was made. `recorded` is False while its record waits for PostgreSQL in the spool."""

    id: uuid.UUID
    state: State
    recorded: bool


def trip_breaker(
    *,
    by: Actor,
    reason: str,
    category: str = Category.MANUAL,
    source: Source = Source.PORTAL,
    now: datetime | None = None,
) -> Done:
    """Halt trading. Works with PostgreSQL down.

    Raises `PermissionRefused`, `InvalidInput`, `WrongState` (already tripped; or a rule asks, and the configuration
    has automatic trips switched off) and `CannotReach` (Redis is away).
    """
    by.require("circuit.trip_breaker")
    text = clean_reason(reason)
    if category not in Category.values:
        raise InvalidInput("category", f"The category must be one of {', '.join(Category.values)}.")
    if source == Source.RULE and (off := read_policy().switched_off):
        _note_failure("circuit_trip", by, text, source, off)
        raise WrongState(f"The breaker is {off}, so the rule did not trip it. Trip it by hand if trading must stop.")
    record = record_of(Kind.TRIP, State.TRIPPED, text, by=by, source=source, category=Category(category), now=now)
    for _ in range(_ROUNDS):
        seen = read_or_refuse("The breaker could not be tripped from here. Halt trading on the platform itself.")
        decoded = wire.decode(seen)
        if decoded.state == State.TRIPPED:
            _note_failure("circuit_trip", by, text, source, "already tripped")
            raise _already_tripped(decoded)
        try:
            store.write(seen, change_of(record.left(decoded.state), seen, decoded))
        except store.BreakerChanged:
            continue
        except store.BreakerUnreachable as error:
            raise CannotReach(
                "Redis stopped answering during the trip. It may or may not have taken effect: look at the state "
                "before you rely on it, and halt trading on the platform itself."
            ) from error
        break
    else:
        raise CannotReach("The breaker is being changed too often to be tripped from here. Try again now.")
    metrics.TRIPS.labels(record.category.value).inc()
    log.warning("circuit_tripped", extra={"category": record.category.value, "action": "circuit_trip"})
    return Done(record.id, State.TRIPPED, recorded=spool.settle())


def reset_breaker(
    *,
    by: Actor,
    reason: str,
    acknowledged: bool,
    expected_version: str = "",
    source: Source = Source.PORTAL,
    now: datetime | None = None,
) -> Done:
    """Allow trading again.

    `expected_version` is the version of the state that the person decided on; empty skips that check.
    Raises `PermissionRefused`, `InvalidInput`, `WrongState`, `StaleForm`, `TooSoon` and `CannotReach`.
    """
    by.require("circuit.reset_breaker")
    text = step_up(by, reason=reason, acknowledged=acknowledged, confirm=CONFIRM)
    seen = read_or_refuse("The breaker could not be reset from here.")
    decoded = wire.decode(seen)
    try:
        if decoded.state != State.TRIPPED:
            raise _not_tripped(decoded)
        _require_version(seen, expected_version)
        record = record_of(Kind.RESET, State.OPEN, text, by=by, source=source, now=now).left(decoded.state)
        change = replace(change_of(record, seen, decoded), cooldown_seconds=COOLDOWN_SECONDS)
        _record_then_write(record, seen, change)
    except Refused as refusal:
        _note_failure("circuit_reset", by, text, source, refusal.sentence)
        raise
    metrics.RESETS.inc()
    log.warning("circuit_reset", extra={"action": "circuit_reset"})
    return Done(record.id, State.OPEN, recorded=True)


def init_breaker(
    *, by: Actor, reason: str = "First start", acknowledged: bool = False, now: datetime | None = None
) -> Done:
    """Create the state OPEN where there is none. The only way to OPEN without a trip before it (CB-2).

    Where a state was recorded before, Redis has lost it: then `acknowledged` must say that OPEN is really meant.

    Raises `PermissionRefused`, `InvalidInput`, `WrongState` and `CannotReach`.
    """
    by.require("circuit.reset_breaker")
    text = clean_reason(reason)
    seen = read_or_refuse("The breaker could not be initialised.")
    if seen.state is not None:
        raise WrongState(f"Redis already holds a breaker state. {_how_to_leave(wire.decode(seen))}")
    recorded = _recorded_or_refuse()
    if recorded and not acknowledged:
        raise WrongState(
            f"The breaker was {recorded.to_state} when it was last recorded ({recorded.at:%Y-%m-%d %H:%M:%S} UTC); "
            "Redis has lost that. Restore it on the breaker page. If OPEN is really meant, say so: --acknowledge."
        )
    record = record_of(Kind.INIT, State.OPEN, text, by=by, source=Source.CLI, now=now).left(State.UNKNOWN)
    _record_then_write(record, seen, change_of(record, seen, wire.decode(seen)))
    log.warning("circuit_initialised", extra={"action": "circuit_init"})
    return Done(record.id, State.OPEN, recorded=True)


def restore_breaker(
    *,
    by: Actor,
    reason: str,
    acknowledged: bool,
    expected_version: str = "",
    source: Source = Source.PORTAL,
    now: datetime | None = None,
) -> Done:
    """Put back the last recorded state after Redis has lost its data (CB-2).

    Raises `PermissionRefused`, `InvalidInput`, `WrongState`, `StaleForm` and `CannotReach`.
    """
    by.require("circuit.reset_breaker")
    text = step_up(by, reason=reason, acknowledged=acknowledged, confirm=CONFIRM)
    seen = read_or_refuse("The state could not be restored.")
    if seen.state is not None:
        raise WrongState(f"The breaker has a state again: {wire.decode(seen).state}. Nothing was changed.")
    _require_version(seen, expected_version)
    recorded = _recorded_or_refuse()
    if recorded is None:
        raise WrongState("No state was ever recorded, so there is none to restore. Use `manage.py circuit init`.")
    target = State(recorded.to_state)
    record = record_of(Kind.RESTORE, target, text, by=by, source=source, now=now).left(State.UNKNOWN)
    change = _with_last_trip(record, seen, change_of(record, seen, wire.decode(seen)))
    _record_then_write(record, seen, change)
    log.warning("circuit_restored", extra={"action": "circuit_restore"})
    return Done(record.id, target, recorded=True)


def _recorded_or_refuse() -> Transition | None:
    try:
        return last_recorded()
    except Error as error:
        raise _no_database() from error


def _with_last_trip(record: Record, seen: Snapshot, change: store.Change) -> store.Change:
    """The change of a restoration with the reason and time of the last trip, which Redis has lost as well."""
    trip = last_trip()
    if trip is None:
        return change
    change = replace(change, reason=trip.reason, at=wire.instant_text(trip.at), history=None)
    if record.to_state == State.TRIPPED:
        state = wire.encode_state(
            settings.CIRCUIT_DIALECT, seen, State.TRIPPED, reason=trip.reason, by=trip.actor_label, now=trip.at
        )
        change = replace(change, state=state)
    note = note_of(record, change, None)
    return replace(change, note=replace(note, trip_by=trip.actor_label, trip_source=trip.source).dump())


def _record_then_write(record: Record, seen: Snapshot, change: store.Change) -> None:
    """PostgreSQL first, then Redis, then the commit; a commit that fails trips the breaker again."""
    spool_id = None
    try:
        spool.drain("+")  # what was spooled while PostgreSQL was away comes first
        with transaction.atomic():
            archive(record)
            spool_id = store.write(seen, change)
    except store.CooldownActive as error:
        raise TooSoon(error.seconds) from error
    except store.BreakerChanged as error:
        raise StaleForm("Somebody changed the breaker at the same moment. Look again, then decide.") from error
    except store.BreakerUnreachable as error:
        raise CannotReach("Redis stopped answering. Look at the state before you rely on it.") from error
    except Error as error:
        log.error("circuit_record_not_written", extra={"cause": type(error).__name__})
        if spool_id is not None and record.to_state == State.OPEN:
            _trip_again(record)
        raise _no_database() from error
    try:
        if spool_id:
            store.forget_spooled(spool_id)
    except store.BreakerUnreachable:
        log.warning("circuit_spool_entry_left")  # harmless: it is recognised as written when it is drained


def _trip_again(failed: Record) -> None:
    """Undo a reset whose record may not have been kept: fail closed."""
    try:
        trip_breaker(
            by=Actor.system("opsportal"),
            reason="The reset was undone: PostgreSQL failed before its audit record was confirmed.",
            category=Category.OTHER,
            source=Source(failed.source),
        )
        store.end_cooldown()
    except WrongState:
        pass  # somebody tripped it in the meantime
    except (Refused, store.BreakerUnreachable):
        log.critical("circuit_reset_could_not_be_undone")


def _require_version(seen: Snapshot, expected: str) -> None:
    if expected and expected != wire.version_of(seen):
        raise StaleForm(
            "The breaker changed after this form was drawn. Nothing was changed now. Look at the present state, "
            "then decide again."
        )


def read_or_refuse(consequence: str) -> Snapshot:
    """The breaker's raw texts. Raises `CannotReach` with what that means."""
    try:
        return store.read()
    except store.BreakerUnreachable as error:
        raise CannotReach(f"Redis does not answer. {consequence}") from error


def _already_tripped(decoded: Decoded) -> WrongState:
    by = decoded.note.by if decoded.note else "an external writer"
    when = f" at {decoded.at:%H:%M:%S} UTC" if decoded.at else ""
    why = f": {decoded.reason}" if decoded.reason else ""
    return WrongState(
        f"Already tripped by {by}{when}{why}. Trading is halted; nothing was changed.", by=by, at=decoded.at
    )


def _not_tripped(decoded: Decoded) -> WrongState:
    if decoded.state == State.OPEN:
        by = decoded.note.by if decoded.note else ""
        when = f" at {decoded.since:%H:%M:%S} UTC" if decoded.since else ""
        who = f" It was opened by {by}{when}." if by else ""
        return WrongState(f"The breaker is already open.{who} Nothing was changed.", by=by, at=decoded.since)
    if decoded.state == State.QUIET_PERIOD:
        return WrongState("The breaker is in its quiet period; the platform ends that itself. Nothing was changed.")
    return WrongState(f"The state of the breaker is unknown, so it cannot be reset. {_how_to_leave(decoded)}")


def _how_to_leave(decoded: Decoded) -> str:
    """What to do in a state that refuses what was asked."""
    if decoded.state != State.UNKNOWN:
        return f"It is {decoded.state} · {decoded.state.label}. Nothing was changed."
    if decoded.dialect:  # something is there, and it makes no sense
        return f"{decoded.problem} Trip the breaker: that writes a clean state. Then reset it."
    return f"{decoded.problem} Restore the last recorded state, or have it initialised with `manage.py circuit init`."


def _no_database() -> CannotReach:
    return CannotReach(
        "PostgreSQL does not take the audit record, which must be written first. Trading stays halted. "
        "Try again when the database is back."
    )


def _note_failure(event: str, by: Actor, reason: str, source: Source, why: str) -> None:
    """Audit an attempt that was refused, where that is possible; the refusal itself stands either way."""
    try:
        recorder.record(
            event,
            outcome="failed",
            actor=by.user,
            actor_label=by.label,
            resource_type="circuit_breaker",
            resource_id="circuit_breaker",
            details={"refused": why},
            reason=reason,
            source=source,
        )
    except Error:
        log.warning("refused_attempt_not_audited", extra={"action": event})
