"""Reads of the breaker for pages and the API. Nothing here changes anything."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from django.conf import settings
from django.db import Error

from circuit import metrics, store, wire
from circuit.models import Kind, Source, State, Transition
from circuit.policy import Policy, read_policy
from circuit.wire import Decoded, Snapshot

#: One process reads Redis at most this often for pages, however many are watching. Part of the 2 s of CB-10.
SHARED_SECONDS = 0.25
ICONS = {
    State.OPEN: "breaker-open",
    State.TRIPPED: "breaker-tripped",
    State.QUIET_PERIOD: "breaker-quiet",
    State.UNKNOWN: "breaker-unknown",
}
REDIS_AWAY = (
    "Redis does not answer, so the breaker can be neither read nor changed from here. What is shown is the last known "
    "state; it may be wrong. If trading must stop now, halt it on the platform itself."
)


@dataclass(frozen=True)
class Reading:
    """One look at the breaker. `stale` means Redis did not answer and this is what was known before."""

    raw: Snapshot
    decoded: Decoded
    read_at: datetime
    stale: bool = False
    stale_since: datetime | None = None
    policy: Policy = field(default_factory=Policy)

    @property
    def state(self) -> State:
        """The state; UNKNOWN counts as halted."""
        return self.decoded.state

    @property
    def version(self) -> str:
        """What a form carries, so that an answer to an old page is recognised."""
        return wire.version_of(self.raw)

    def age(self, now: datetime | None = None) -> float:
        """Seconds since the values were read."""
        return max(0.0, ((now or datetime.now(UTC)) - self.read_at).total_seconds())


class _Shared:
    """The newest reading of this process, shared by its threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.reading: Reading | None = None
        self.taken = float("-inf")
        self.failed_since: datetime | None = None


_shared = _Shared()


def forget_readings() -> None:
    """Drop what this process remembers of the breaker; for tests and after a fork."""
    _shared.forget()


def read_breaker(*, max_age: float = 0.0) -> Reading:
    """The breaker as it is, or as it was last known when Redis does not answer. Never raises for either.

    `max_age` in seconds lets a reading of this process serve again.
    """
    if max_age and _shared.reading and time.monotonic() - _shared.taken < max_age:
        return _shared.reading
    with _shared.lock:
        if max_age and _shared.reading and time.monotonic() - _shared.taken < max_age:
            return _shared.reading
        reading = _take()
        _shared.reading, _shared.taken = reading, time.monotonic()
        return reading


def _take() -> Reading:
    now = datetime.now(UTC)
    try:
        raw = store.read()
    except store.BreakerUnreachable:
        metrics.STATUS_CHECKS.labels("unreachable").inc()
        return _last_known(now)
    metrics.STATUS_CHECKS.labels("ok").inc()
    _shared.failed_since = None
    return Reading(raw=raw, decoded=wire.decode(raw), read_at=now, policy=read_policy())


def _last_known(now: datetime) -> Reading:
    last = _shared.reading
    if last and last.decoded.dialect:
        since = last.stale_since or last.read_at
        return replace(last, stale=True, stale_since=since)  # with the settings it had: Redis costs time enough
    _shared.failed_since = _shared.failed_since or now
    nothing = Snapshot(None, None, None, None)
    try:
        recorded = last_recorded()
    except Error:
        recorded = None
    decoded = wire.decode(nothing)
    if recorded:
        nothing = Snapshot(recorded.to_state, None, None, None)
        decoded = _from_history(recorded)
    return Reading(
        raw=nothing,
        decoded=decoded,
        read_at=_shared.failed_since,
        stale=True,
        stale_since=_shared.failed_since,
        policy=read_policy(),
    )


def _from_history(recorded: Transition) -> Decoded:
    trip = last_trip()
    return Decoded(
        state=State(recorded.to_state),
        dialect=None,
        reason=trip.reason if trip else "",
        at=trip.at if trip else None,
        at_raw="",
        note=None,
        problem="",
    )


def newest_transition() -> Transition | None:
    """The change that was recorded last."""
    return Transition.objects.order_by("-recorded_at").first()


def last_recorded() -> Transition | None:
    """The newest change that led to OPEN or TRIPPED: what could be restored after Redis has lost its data."""
    return Transition.objects.filter(to_state__in=[State.OPEN, State.TRIPPED]).order_by("-recorded_at").first()


def last_trip() -> Transition | None:
    """The newest trip in the history."""
    return Transition.objects.filter(kind=Kind.TRIP).order_by("-recorded_at").first()


@dataclass(frozen=True)
class Restorable:
    """What the page offers to restore."""

    state: str
    label: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Status:
    """The status card, ready to show (see templates/circuit/_status.html)."""

    state: str
    label: str
    tone: str
    icon: str
    version: str
    last_trip_reason: str
    last_trip_at: datetime | None
    last_trip_at_raw: str
    last_trip_by: str
    last_trip_source: str
    halted_since: datetime | None
    drawdown_limit: str
    stale: bool
    stale_since: datetime | None
    problem: str
    notices: tuple[str, ...]
    can_trip: bool
    can_reset: bool
    can_restore: bool
    trip_off: str
    reset_off: str
    show_controls: bool
    restore: Restorable | None

    @property
    def etag(self) -> str:
        """Changes with anything that is shown (20 hex digits of a SHA-256)."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:20]


def breaker_status(reading: Reading, *, may_trip: bool, may_reset: bool, role: str = "") -> Status:
    """What somebody with these permissions sees and may press."""
    state, decoded = reading.state, reading.decoded
    restore = _restorable(reading)
    notices = list(reading.policy.notices)
    if decoded.dialect and decoded.dialect != settings.CIRCUIT_DIALECT:
        notices.append(
            f"The platform writes the {decoded.dialect} form, the portal is set to write the "
            f"{settings.CIRCUIT_DIALECT} form (CIRCUIT_DIALECT). A trip or reset here may not be understood there."
        )
    if decoded.at_raw:
        notices.append(f"The time of the last trip cannot be read: “{decoded.at_raw[:40]}”.")
    note = decoded.note
    trip_off, reset_off = _why_off(reading, may_trip=may_trip, may_reset=may_reset, role=role)
    return Status(
        state=state.value,
        label=str(state.label),
        tone=state.tone,
        icon=ICONS[state],
        version=reading.version,
        last_trip_reason=decoded.reason,
        last_trip_at=decoded.at,
        last_trip_at_raw=decoded.at_raw,
        last_trip_by=note.trip_by if note else ("external writer" if decoded.at else ""),
        last_trip_source=str(Source(note.trip_source).label) if note and note.trip_source in Source.values else "",
        halted_since=None if state == State.OPEN else (decoded.since or decoded.at),
        drawdown_limit=reading.policy.drawdown_limit or "cannot be read",
        stale=reading.stale,
        stale_since=reading.stale_since,
        problem=REDIS_AWAY if reading.stale else decoded.problem,
        notices=tuple(notices),
        can_trip=may_trip and not reading.stale and state != State.TRIPPED,
        can_reset=may_reset and not reading.stale and state == State.TRIPPED,
        can_restore=may_reset and not reading.stale and restore is not None,
        trip_off=trip_off,
        reset_off=reset_off,
        show_controls=may_trip or may_reset,
        restore=restore,
    )


def _why_off(reading: Reading, *, may_trip: bool, may_reset: bool, role: str) -> tuple[str, str]:
    if not (may_trip or may_reset):
        sentence = f"Your role ({role or 'none'}) can look but not trip or reset."
        return sentence, sentence
    if reading.stale:
        sentence = "Off while Redis does not answer: a change could not reach the platform."
        return sentence, sentence
    trip = "Trading is halted already." if reading.state == State.TRIPPED else ""
    reset = {
        State.OPEN: "Trading is allowed; there is nothing to reset.",
        State.QUIET_PERIOD: "The platform ends its quiet period itself.",
        State.UNKNOWN: "An unknown state cannot be reset. A trip writes a clean one, which can.",
    }.get(reading.state, "")
    return trip, reset


def _restorable(reading: Reading) -> Restorable | None:
    if reading.stale or reading.raw.state is not None:
        return None
    try:
        recorded = last_recorded()
    except Error:
        return None
    if recorded is None:
        return None
    state = State(recorded.to_state)
    return Restorable(state=state.value, label=str(state.label), at=recorded.at, reason=recorded.reason)
