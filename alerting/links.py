"""Links in messages: to the event, and one that acknowledges it (AL-6)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID


def event_url(event_id: UUID, started_at: datetime) -> str:
    """The event's page for whoever may sign in; empty without PUBLIC_URL."""
    raise NotImplementedError


def acknowledgement_url(delivery_id: int, hour_bucket: datetime) -> str:
    """A signed link, good once, that acknowledges the delivery's event; empty without PUBLIC_URL."""
    raise NotImplementedError
