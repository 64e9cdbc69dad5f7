"""A few events on a page that is about something else."""

from __future__ import annotations

from collections.abc import Sequence

from alerting.models import Event
from alerting.selectors.event_rows import EventRow, event_rows
from alerting.selectors.events import told


def event_lines(events: Sequence[Event]) -> tuple[EventRow, ...]:
    """These events with what became of their messages; one query."""
    return event_rows(events, told(events))
