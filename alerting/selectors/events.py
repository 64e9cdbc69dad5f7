"""Events as people look for them (AL-9): newest first, a page at a time, filters in the order of the pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from alerting.models import Delivery, Event, EventState, Notice, Origin, Rule, Severity, Status
from alerting.selectors.paging import PAGE_SIZE, Place, TooSlow, limited
from opsportal.observability.sanitise import mask_text

#: What needs somebody: fired, and not over.
ACTIVE = (EventState.FIRING, EventState.ACKNOWLEDGED)
#: The kind of a delivery that is no message but the trip of the breaker.
BREAKER = "breaker"
#: Rules that a filter offers; any other may be asked for by its number.
MOST_RULES = 500


@dataclass(frozen=True)
class EventFilters:
    """What events must have; what is empty does not count. `rule` 0: those of no rule. `states` empty: any."""

    rule: int | None = None
    severity: Severity | None = None
    states: tuple[EventState, ...] = ()
    origin: Origin | None = None
    acknowledged: bool | None = None
    muted: bool | None = None
    label: tuple[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Told:
    """What became of an event's messages that say that it fires; a trip of the breaker is none."""

    delivered: int = 0
    waiting: int = 0
    poison: int = 0

    @property
    def total(self) -> int:
        """Messages in all."""
        return self.delivered + self.waiting + self.poison


@dataclass(frozen=True)
class FoundEvents:
    """A page of events. `stopped`: the time was up, so nothing can be said of what there is."""

    events: tuple[Event, ...] = ()
    more: bool = False
    stopped: bool = False


def find_events(
    filters: EventFilters, *, before: Place | None = None, after: Place | None = None, limit: int = PAGE_SIZE
) -> FoundEvents:
    """The page before a place, or after it, newest first either way; without a place the newest.

    Raises `django.db.Error`.
    """
    rows = _filtered(filters)
    if before:
        rows = rows.filter(Q(started_at__lt=before.at) | Q(id__lt=before.id), started_at__lte=before.at)
    elif after:
        rows = rows.filter(Q(started_at__gt=after.at) | Q(id__gt=after.id), started_at__gte=after.at)
    order = ("started_at", "id") if after and not before else ("-started_at", "-id")
    try:
        with limited():
            found = list(rows.order_by(*order)[: limit + 1])
    except TooSlow:
        return FoundEvents(stopped=True)
    page = found[:limit]
    return FoundEvents(tuple(page if order[0] == "-started_at" else page[::-1]), more=len(found) > limit)


def _filtered(filters: EventFilters) -> QuerySet[Event]:
    rows = Event.objects.all()
    if filters.rule is not None:
        rows = rows.filter(rule_id=filters.rule) if filters.rule else rows.filter(rule_id__isnull=True)
    if filters.severity is not None:
        rows = rows.filter(severity=filters.severity)
    if filters.states:
        rows = rows.filter(state__in=filters.states)
        if EventState.RESOLVED not in filters.states:
            rows = rows.exclude(state=EventState.RESOLVED)  # the words of the index of what is open
    if filters.origin is not None:
        rows = rows.filter(origin=filters.origin)
    if filters.acknowledged is not None:
        rows = rows.filter(acknowledged_at__isnull=not filters.acknowledged)
    if filters.muted is not None:
        rows = rows.exclude(muted_by="") if filters.muted else rows.filter(muted_by="")
    if filters.label:
        rows = rows.filter(labels__contains=dict([filters.label]))
    if filters.since:
        rows = rows.filter(started_at__gte=filters.since)
    if filters.until:
        rows = rows.filter(started_at__lt=filters.until)
    return rows


def masked(event: Event) -> Event:
    """The event for a page: addresses, numbers and keys that a sender put into its words are masked (AC-5).

    The rows keep what was sent, since messages tell it; so this object is not to be saved.
    """
    event.summary = mask_text(event.summary)
    event.generator_url = mask_text(event.generator_url)
    for name in ("labels", "annotations"):
        held = getattr(event, name)
        if isinstance(held, dict):
            setattr(event, name, {mask_text(str(key)): mask_text(str(value)) for key, value in held.items()})
    return event


def event_by_id(event_id: UUID) -> Event | None:
    """The event of this id."""
    return Event.objects.filter(id=event_id).first()


def told(events: Iterable[Event]) -> dict[UUID, Told]:
    """What became of the messages of these events, as far as there are any; one query."""
    events = list(events)
    if not events:
        return {}
    # The trigger is not before the condition began: months before that are not asked.
    earliest = min(event.started_at for event in events) - timedelta(days=1)
    counted = (
        Delivery.objects.filter(
            event_id__in=[event.pk for event in events],
            hour_bucket__gte=earliest,
            notice__in=(Notice.FIRING, Notice.TEST),
        )
        .exclude(kind=BREAKER)
        .order_by()
        .values("event_id")
        .annotate(
            delivered=Count("id", filter=Q(status=Status.DELIVERED)),
            waiting=Count("id", filter=Q(status__in=(Status.PENDING, Status.FAILED))),
            poison=Count("id", filter=Q(status=Status.POISON)),
        )
    )
    return {row["event_id"]: Told(row["delivered"], row["waiting"], row["poison"]) for row in counted}


def rule_names() -> list[tuple[int, str]]:
    """The rules that a filter offers."""
    return list(Rule.objects.order_by("name").values_list("id", "name")[:MOST_RULES])


def events_by_id(ids: Sequence[UUID], earliest: datetime | None = None) -> dict[UUID, Event]:
    """These events. `earliest`: none of them began before that, which spares the months before it."""
    rows = Event.objects.filter(id__in=ids)
    rows = rows.filter(started_at__gte=earliest) if earliest else rows
    return {event.pk: masked(event) for event in rows} if ids else {}
