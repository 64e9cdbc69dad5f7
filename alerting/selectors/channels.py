"""Channels as people look at them: masked, with who uses them and what became of their messages."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, QuerySet

from alerting.channels import KINDS
from alerting.models import Attempt, Channel, Delivery, Event, Origin, Rule, Status

#: After so long without any attempt something else is wrong than the channel.
NOBODY_SENDS = timedelta(seconds=15)


@dataclass(frozen=True)
class ChannelRow:
    """A channel as the list shows it. `rules`: how many use it."""

    channel: Channel
    kind: str
    rules: int

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Labels with what may be shown of the settings."""
        return sorted((str(label), str(text)) for label, text in self.channel.shown.items())


@dataclass(frozen=True)
class Tried:
    """One delivery of a test with its attempts, oldest first."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]

    @property
    def status(self) -> Status:
        """Where it is."""
        return Status(self.delivery.status)


@dataclass(frozen=True)
class Outcome:
    """What became of a test so far."""

    event: Event
    tried: tuple[Tried, ...]
    now: datetime

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return all(one.status in (Status.DELIVERED, Status.POISON) for one in self.tried)

    @property
    def delivered(self) -> int:
        """How many got it."""
        return sum(one.status == Status.DELIVERED for one in self.tried)

    @property
    def stamp(self) -> str:
        """Names what there is to show, so that a page knows whether it shows it already."""
        facts = [(one.delivery.status, len(one.attempts), one.delivery.waits_for) for one in self.tried]
        return hashlib.sha256(repr((facts, self.nobody_sends, self.held_until)).encode()).hexdigest()[:16]

    @property
    def held_until(self) -> datetime | None:
        """When the first goes on of what a limit holds; None while one is on its way or is late."""
        waiting = [one.delivery for one in self.tried if one.status not in (Status.DELIVERED, Status.POISON)]
        held = [row.due_at for row in waiting if row.waits_for and row.lease is None and row.due_at > self.now]
        return min(held) if held and len(held) == len(waiting) else None

    @property
    def nobody_sends(self) -> bool:
        """Whether it lies there untouched for so long that no dispatcher can be running."""
        untouched = all(not one.attempts and not one.delivery.waits for one in self.tried)
        return not self.finished and untouched and self.now - self.event.started_at > NOBODY_SENDS


def shown_channels() -> QuerySet[Channel]:
    """Every channel by name, without what is sealed."""
    return Channel.objects.defer("sealed").order_by("name", "pk")


def channel_rows(channels: QuerySet[Channel]) -> list[ChannelRow]:
    """The rows of the list; one query."""
    return [
        ChannelRow(channel, kind_title(channel.kind), channel.users)  # type: ignore[attr-defined]
        for channel in channels.annotate(users=Count("rules"))
    ]


def kind_title(kind: str) -> str:
    """The kind's name for people; its own name if it is known no more."""
    return KINDS[kind].title if kind in KINDS else kind


def rules_of(channel: Channel) -> list[Rule]:
    """The rules that use it, by name."""
    return list(channel.rules.order_by("name"))


def newest_deliveries(channel: Channel, *, newest: int = 10) -> list[Delivery]:
    """The newest messages over this channel, of the last days only: older ones are on the page of deliveries."""
    # By number, which the table's parts all have an index on; the channel alone would be looked for in each row.
    last = list(Delivery.objects.order_by("-id").values_list("id", flat=True)[:1])
    if not last:
        return []
    found = Delivery.objects.defer("recipient_sealed").filter(channel_id=channel.pk, id__gt=last[0] - 20_000)
    return list(found.order_by("-id")[:newest])


def waiting_deliveries(channel: Channel) -> int:
    """How many messages over this channel are under way."""
    return Delivery.objects.filter(channel_id=channel.pk, status__in=(Status.PENDING, Status.FAILED)).count()


def outcome_of_test(channel: Channel, event_id: UUID, now: datetime) -> Outcome | None:
    """What became of a test of this channel; None if there is no such test."""
    event = Event.objects.filter(pk=event_id, origin=Origin.TEST).first()
    if event is None or event.labels.get("channel") != str(channel.pk):
        return None
    deliveries = list(Delivery.objects.defer("recipient_sealed").filter(event_id=event_id).order_by("id"))
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in Attempt.objects.filter(delivery_id__in=[one.pk for one in deliveries]).order_by("at", "id"):
        attempts[attempt.delivery_id].append(attempt)
    tried = tuple(Tried(delivery, tuple(attempts[delivery.pk])) for delivery in deliveries)
    return Outcome(event, tried, now)
