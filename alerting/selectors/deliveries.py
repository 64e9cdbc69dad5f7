"""Deliveries as people look for them: newest first, and what is poisoned by its cause (AD-4, AD-10).

The recipient's address is sealed and never read here; only its masked form and its hash are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, F, Max, QuerySet, Window
from django.db.models.functions import RowNumber

from alerting.models import Attempt, Channel, Delivery, Notice, Status
from alerting.selectors.paging import PAGE_SIZE, TooSlow, limited

OPEN = (Status.PENDING, Status.FAILED)
#: Causes of poison on one page, and deliveries shown of each.
MOST_CAUSES = 30
SHOWN_OF_A_CAUSE = 20
#: Deliveries on the page of an event, members on the page of a digest, attempts on the page of a delivery.
MOST_OF_ONE = 200
#: By so much a clock may have been set back between a trigger and an attempt.
CLOCK_MARGIN = timedelta(days=1)
_HASH = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class DeliveryFilters:
    """What deliveries must have; what is empty does not count. `recipient` is a hash, or a part of a masked address."""

    statuses: tuple[Status, ...] = ()
    kind: str = ""
    channel: int | None = None
    notice: Notice | None = None
    recipient: str = ""
    event: UUID | None = None
    waits_for: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class FoundDeliveries:
    """A page of deliveries. `stopped`: the time was up, so nothing can be said of what there is."""

    deliveries: tuple[Delivery, ...] = ()
    more: bool = False
    stopped: bool = False


@dataclass(frozen=True)
class Cause:
    """Poison of one cause: the newest of it, how many in all, and the newest number, up to which "all" counts."""

    kind: str
    outcome: str
    count: int
    newest: int
    deliveries: tuple[Delivery, ...]


def without_address() -> QuerySet[Delivery]:
    """Every delivery, without the sealed address."""
    return Delivery.objects.defer("recipient_sealed")


def find_deliveries(
    filters: DeliveryFilters, *, before: int | None = None, after: int | None = None, limit: int = PAGE_SIZE
) -> FoundDeliveries:
    """The page before a number, or after it, newest first either way; without one the newest.

    Raises `django.db.Error`.
    """
    rows = _filtered(filters)
    backwards = before is None and after is not None
    if before is not None:
        rows = rows.filter(id__lt=before)
    elif after is not None:
        rows = rows.filter(id__gt=after)
    try:
        with limited():
            found = list(rows.order_by("id" if backwards else "-id")[: limit + 1])
    except TooSlow:
        return FoundDeliveries(stopped=True)
    page = found[:limit]
    return FoundDeliveries(tuple(page[::-1] if backwards else page), more=len(found) > limit)


def _filtered(filters: DeliveryFilters) -> QuerySet[Delivery]:
    rows = without_address()
    if filters.statuses:
        rows = rows.filter(status__in=filters.statuses)
    if filters.kind:
        rows = rows.filter(kind=filters.kind)
    if filters.channel is not None:
        rows = rows.filter(channel_id=filters.channel)
    if filters.notice is not None:
        rows = rows.filter(notice=filters.notice)
    if _HASH.fullmatch(filters.recipient):
        rows = rows.filter(recipient_hash=filters.recipient)
    elif filters.recipient:
        rows = rows.filter(recipient_shown__icontains=filters.recipient)
    if filters.event:
        rows = rows.filter(event_id=filters.event)
    if filters.waits_for == "digest":
        rows = rows.filter(status__in=OPEN, merged_into__isnull=False)
    elif filters.waits_for:
        rows = rows.filter(status__in=OPEN, waits_for=filters.waits_for)
    if filters.since:
        rows = rows.filter(triggered_at__gte=filters.since, hour_bucket__gte=_hour(filters.since))
    if filters.until:
        rows = rows.filter(triggered_at__lt=filters.until, hour_bucket__lte=_hour(filters.until))
    return rows


def _hour(moment: datetime) -> datetime:
    """The month of the hour says which parts of the table are asked."""
    return moment.replace(minute=0, second=0, microsecond=0)


def delivery_by_number(number: int) -> Delivery | None:
    """The delivery of this number."""
    return without_address().filter(id=number).first() if number < 2**63 else None


def deliveries_of_event(event_id: UUID) -> list[Delivery]:
    """What was sent, or is to be, because of an event; the first ones first."""
    return list(without_address().filter(event_id=event_id).order_by("id")[:MOST_OF_ONE])


def members_of(leader: int) -> list[Delivery]:
    """The deliveries that are told in this one's digest."""
    return list(without_address().filter(merged_into=leader).order_by("id")[:MOST_OF_ONE])


def attempts_of(deliveries: Iterable[Delivery]) -> dict[int, list[Attempt]]:
    """The attempts of each of these, the first one first; one query."""
    deliveries = list(deliveries)
    found: dict[int, list[Attempt]] = {delivery.pk: [] for delivery in deliveries}
    if not found:
        return found
    earliest = min(delivery.hour_bucket for delivery in deliveries) - CLOCK_MARGIN
    attempts = Attempt.objects.filter(delivery_id__in=list(found), at__gte=earliest).order_by("id")
    for attempt in attempts[: MOST_OF_ONE * 10]:
        found[attempt.delivery_id].append(attempt)
    return found


def channel_names() -> dict[int, str]:
    """The channels that there are, by number."""
    return dict(Channel.objects.order_by("name").values_list("id", "name"))


def poisoned() -> QuerySet[Delivery]:
    """What needs a person: poisoned, and nobody has dealt with it."""
    return Delivery.objects.filter(status=Status.POISON, settled_at__isnull=True)


def causes_of_poison() -> list[Cause]:
    """What is poisoned, by its cause, the newest cause first (AD-10). Raises `TooSlow` and `django.db.Error`."""
    with limited():
        groups = list(
            poisoned()
            .order_by()
            .values("kind", "outcome")
            .annotate(count=Count("id"), newest=Max("id"))
            .order_by("-newest")[:MOST_CAUSES]
        )
        numbered = (
            poisoned()
            .defer("recipient_sealed")
            .annotate(place=Window(RowNumber(), partition_by=[F("kind"), F("outcome")], order_by=F("id").desc()))
            .filter(place__lte=SHOWN_OF_A_CAUSE)
            .order_by("-id")
        )
        shown: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in numbered[: MOST_CAUSES * SHOWN_OF_A_CAUSE * 2]:
            shown.setdefault((delivery.kind, delivery.outcome), []).append(delivery)
    return [
        Cause(
            kind=group["kind"],
            outcome=group["outcome"],
            count=group["count"],
            newest=group["newest"],
            deliveries=tuple(shown.get((group["kind"], group["outcome"]), ())),
        )
        for group in groups
    ]
