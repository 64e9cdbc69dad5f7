"""What a link of a message leads to (AL-6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alerting.links import Link
from alerting.models import Delivery, Event, EventState, Notice
from alerting.selectors.event_rows import EventRow
from alerting.selectors.events import Told, masked


@dataclass(frozen=True)
class Asked:
    """The message's event as it is now. `used_at`: when the link was used, if it was."""

    row: EventRow
    used_at: datetime | None

    @property
    def event(self) -> Event:
        """The event."""
        return self.row.event

    @property
    def can_acknowledge(self) -> bool:
        """Whether the link still does what it is for."""
        return self.used_at is None and self.event.state == EventState.FIRING


def asked_by(link: Link) -> Asked | None:
    """What the link leads to; None when it is not kept any more. Raises `django.db.Error`."""
    delivery = (
        Delivery.objects.filter(id=link.delivery_id, hour_bucket=link.hour_bucket, notice=Notice.FIRING)
        .only("id", "event_id", "event_started_at", "link_used_at")
        .first()
    )
    if delivery is None:
        return None
    event = Event.objects.filter(id=delivery.event_id, started_at=delivery.event_started_at).first()
    return Asked(EventRow(masked(event), Told()), delivery.link_used_at) if event else None
