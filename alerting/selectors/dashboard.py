"""The state of the whole: what fires, what waits, what needs a person, and whether alerting itself works."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import Error
from django.db.models import BooleanField, Count, Exists, ExpressionWrapper, Min, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from alerting.models import Delivery, Event, EventState, Gate, Notice, Origin, Rule, Severity
from alerting.selectors.deliveries import OPEN, poisoned
from alerting.selectors.events import ACTIVE, Told, masked, told
from alerting.ticks import STANDS_AFTER

#: Within one process a reading serves everybody for so long.
SHARED_SECONDS = 1.0
#: A delivery that was due so long ago should have been sent: nobody sends.
LATE_SECONDS = 15
MOST_ACTIVE = 50
MOST_RESOLVED = 10


@dataclass(frozen=True)
class Counts:
    """The numbers of one moment. `oldest_due`: since when the longest overdue delivery could have been sent.

    `watches`: whether the portal looks at what it watches itself; `watched_at`: when it last did, None for never.
    """

    firing: int = 0
    critical: int = 0
    acknowledged: int = 0
    muted: int = 0
    waiting: int = 0
    oldest_waiting: datetime | None = None
    oldest_due: datetime | None = None
    poison: int = 0
    gate_closed_since: datetime | None = None
    watches: bool = True
    watched_at: datetime | None = None
    silent_rules: int = 0
    enabled_rules: int = 0

    @property
    def active(self) -> int:
        """Alerts that fired and are not over."""
        return self.firing + self.acknowledged

    @property
    def stands_still(self) -> bool:
        """Whether deliveries lie there that somebody should have sent long ago."""
        return self.oldest_due is not None


@dataclass(frozen=True)
class Dashboard:
    """A reading. `taken` is by the clock of this process, for its age."""

    at: datetime
    taken: float = field(compare=False)
    counts: Counts
    active: tuple[Event, ...]
    resolved: tuple[Event, ...]
    told: dict[UUID, Told]

    def age(self) -> float:
        """Seconds since it was read."""
        return time.monotonic() - self.taken


class _Shared:
    """The last reading of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reading: Dashboard | None = None

    def fresh(self, max_age: float) -> Dashboard | None:
        reading = self.reading
        return reading if reading is not None and reading.age() < max_age else None


_shared = _Shared()


def forget_dashboard() -> None:
    """Read anew next time."""
    _shared.reading = None


def dashboard(max_age: float = 0.0) -> Dashboard:
    """The state of now, or one that this process read at most `max_age` seconds ago. Raises `django.db.Error`."""
    found = _shared.fresh(max_age)
    if found:
        return found
    with _shared.lock:
        found = _shared.fresh(max_age)
        if found is None:
            found = _shared.reading = _read(timezone.now())
        return found


def dashboard_or_unknown(max_age: float = 0.0) -> Dashboard | None:
    """The same; None with PostgreSQL down, for a page that must be there all the same."""
    try:
        return dashboard(max_age)
    except Error:
        return None


def _read(now: datetime) -> Dashboard:
    taken = time.monotonic()
    # The words of the partial index first: what is open is little, however much there was.
    open_now = Event.objects.exclude(state=EventState.RESOLVED).filter(state__in=ACTIVE)
    # Firing before acknowledged, the worst first, then the oldest.
    active = tuple(map(masked, open_now.order_by("-state", "severity", "started_at", "id")[:MOST_ACTIVE]))
    over = Event.objects.filter(state=EventState.RESOLVED, triggered_at__isnull=False).exclude(origin=Origin.TEST)
    resolved = tuple(map(masked, over.order_by("-resolved_at")[:MOST_RESOLVED]))
    return Dashboard(
        at=now,
        taken=taken,
        counts=read_counts(now),
        active=active,
        resolved=resolved,
        told=told(active),
    )


def read_counts(now: datetime) -> Counts:
    """The numbers alone. Raises `django.db.Error`."""
    alerts = (
        Event.objects.exclude(state=EventState.RESOLVED)
        .filter(state__in=ACTIVE)
        .aggregate(
            firing=Count("id", filter=Q(state=EventState.FIRING)),
            critical=Count("id", filter=Q(state=EventState.FIRING, severity=Severity.CRITICAL)),
            acknowledged=Count("id", filter=Q(state=EventState.ACKNOWLEDGED)),
            muted=Count("id", filter=~Q(muted_by="")),
        )
    )
    deliveries = Delivery.objects.filter(status__in=OPEN).aggregate(
        waiting=Count("id"), oldest_waiting=Min("created_at")
    )
    gate = _gate()
    rules = Rule.objects.filter(enabled=True).aggregate(
        enabled_rules=Count("id", distinct=True),
        heard=Count("id", filter=Q(channels__enabled=True) | Q(trips_breaker=True), distinct=True),
    )
    return Counts(
        **alerts,
        **deliveries,
        oldest_due=_oldest_due(now),
        poison=poisoned().count(),
        gate_closed_since=(gate.since or now) if gate.closed else None,
        watches=bool(gate.ticks),
        watched_at=gate.ticked_at,
        silent_rules=rules["enabled_rules"] - rules["heard"],
        enabled_rules=rules["enabled_rules"],
    )


def _gate() -> Any:
    """The row, with `ticks`: whether the ticker has reported of late, by PostgreSQL's clock, as it is written."""
    fresh = Q(ticked_at__gte=Now() - timedelta(seconds=STANDS_AFTER))
    return Gate.objects.annotate(ticks=ExpressionWrapper(fresh, output_field=BooleanField())).get(pk=1)


def _oldest_due(now: datetime) -> datetime | None:
    """Since when the longest overdue delivery could have gone out. A recovery waits for its alarm: it is not late."""
    alarm = Delivery.objects.filter(
        event_id=OuterRef("event_id"),
        kind=OuterRef("kind"),
        recipient_hash=OuterRef("recipient_hash"),
        notice=Notice.FIRING,
        status__in=OPEN,
    )
    late = Delivery.objects.filter(
        status__in=OPEN, merged_into__isnull=True, due_at__lt=now - timedelta(seconds=LATE_SECONDS)
    )
    return (
        late.exclude(Q(notice=Notice.RESOLVED) & Exists(alarm))
        .order_by("due_at")
        .values_list("due_at", flat=True)
        .first()
    )
