"""Trying a channel out: a real message to its real recipients, over the same way as every other (AC-2)."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from alerting import catalogue, keys, outbox
from alerting.errors import Refused, WrongState
from alerting.happenings import Happening
from alerting.models import Channel, Event, EventState, Origin, Severity
from alerting.nudging import nudge
from alerting.pressure import require_room
from opsportal.accounts.actors import Actor
from opsportal.audit import recorder

#: Tests of one channel within `WINDOW`: each goes to every recipient, and counts in their limits.
MOST_TESTS = 6
WINDOW = timedelta(minutes=1)
#: What a test's event bears as its metric and, naming the channel, as its label.
METRIC, LABEL = "test", "channel"


class TooManyTests(Refused):
    """The channel was tried out often enough for now."""

    status = 429
    retry_after = int(WINDOW.total_seconds())

    def __init__(self) -> None:
        super().__init__(
            f"This channel was tested {MOST_TESTS} times within a minute. Nothing was sent: wait a minute."
        )


def send_test(channel: Channel, *, by: Actor, now: datetime | None = None) -> Event:
    """Send a test notification to every recipient of a channel; gives the event that its deliveries belong to.

    Raises `PermissionRefused`, `TooManyTests`, `QueueFull`, and `WrongState` (it is gone, off or unusable).
    """
    by.require("alerting.test_channel")
    require_room()
    now = now or timezone.now()
    with transaction.atomic():
        row = Channel.objects.select_for_update(no_key=True).filter(pk=channel.pk).first()
        if row is None:
            raise WrongState("This channel was deleted meanwhile. Nothing was sent.")
        if not row.enabled:
            raise WrongState("This channel is switched off: it sends nothing, not even a test. Switch it on first.")
        if _recent(row, now) >= MOST_TESTS:
            raise TooManyTests
        known = catalogue.current()
        if row.pk in known.unusable:
            raise WrongState(f"{known.unusable[row.pk]} Nothing was sent.")
        event = _event(row, by, now)
        made = outbox.insert(outbox.rows_of_test(known.targets.get(row.pk, ()), Happening.of(event), now))
        if not made:
            raise WrongState("This channel has no recipient. Nothing was sent: edit it and add one.")
        _audit(row, by, event)
        transaction.on_commit(nudge)
    return event


def _recent(channel: Channel, now: datetime) -> int:
    tests = Event.objects.filter(origin=Origin.TEST, started_at__gt=now - WINDOW)
    return tests.filter(labels__contains={LABEL: str(channel.pk)}).count()


def _event(channel: Channel, by: Actor, now: datetime) -> Event:
    """An episode that is over as soon as it began: nothing is wrong."""
    number = uuid.uuid4()
    labels = {LABEL: str(channel.pk)}
    return Event.objects.create(
        id=number,
        started_at=now,
        rule_name="Test notification",
        severity=Severity.INFO,
        state=EventState.RESOLVED,
        origin=Origin.TEST,
        alert_id=str(number),
        metric=METRIC,
        labels=labels,
        fingerprint=keys.fingerprint(labels),
        comparison="gte",
        threshold=1.0,
        summary=f"Test of the channel “{channel.name}” by {by.label}: nothing is wrong."[:300],
        triggered_at=now,
        notified_at=now,
        resolved_at=now,
        resolved_by="a test is over at once",
    )


def _audit(channel: Channel, by: Actor, event: Event) -> None:
    recorder.record(
        "channel_test",
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="alert_channel",
        resource_id=str(channel.pk),
        details={"name": channel.name, "kind": channel.kind, "event": str(event.pk)},
    )
