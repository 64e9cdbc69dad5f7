"""Events as pages show them: every word ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from django.urls import NoReverseMatch, reverse

from alerting.conditions import find_condition
from alerting.models import Event, EventState, Origin, Severity
from alerting.selectors.events import Told, masked
from alerting.wording import condition_words, metric_title, value_words


@dataclass(frozen=True)
class Muting:
    """Why nobody was told: in words, and where more of it is."""

    words: str
    url: str = ""


@dataclass(frozen=True)
class Step:
    """One step of an event's life."""

    word: str
    tone: str
    at: datetime | None
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class EventRow:
    """One event."""

    event: Event
    told: Told

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity(self.event.severity)

    @property
    def tone(self) -> str:
        """The colours of its state; of one that fires, those of its severity."""
        return self.severity.tone if self.event.state == EventState.FIRING else EventState(self.event.state).tone

    @property
    def state(self) -> str:
        """Its state in a word; one that never fired says so."""
        if self.event.state == EventState.RESOLVED and self.event.triggered_at is None:
            return "never fired"
        return str(EventState(self.event.state).label)

    @property
    def origin(self) -> str:
        """Who told of it."""
        return str(Origin(self.event.origin).label) if self.event.origin in Origin.values else self.event.origin

    @property
    def since(self) -> datetime:
        """When it fired, or began."""
        return self.event.triggered_at or self.event.started_at

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Its labels in order."""
        return pairs(self.event.labels)

    @property
    def muting(self) -> Muting | None:
        """Why nobody was told, if nobody was."""
        return muting_of(self.event.muted_by) if self.event.muted_by else None

    @property
    def told_words(self) -> str:
        """What became of its messages: `2 told, 1 waiting, 1 poisoned`."""
        counts = ((self.told.delivered, "told"), (self.told.waiting, "waiting"), (self.told.poison, "poisoned"))
        words = ", ".join(f"{count} {word}" for count, word in counts if count)
        if words:
            return words
        if self.event.muted_by:
            return "held back"
        return "nobody" if self.event.triggered_at else "not yet"

    @property
    def condition(self) -> str:
        """What held then; of what is only so or not, the name alone."""
        event = self.event
        if self._so_or_not:
            return metric_title(event.metric)
        return condition_words(event.metric, event.comparison, event.threshold)

    @property
    def value(self) -> str:
        """The value that it was judged by, in five digits; empty where there is none to tell."""
        if self.event.value is None or self._so_or_not:
            return ""
        return value_words(self.event.metric, float(f"{self.event.value:.5g}"))

    @property
    def _so_or_not(self) -> bool:
        condition = find_condition(self.event.metric)
        return condition is not None and condition.unit == "0 or 1"

    @property
    def life(self) -> tuple[Step, ...]:
        """From the first bad value to now."""
        return tuple(_life(self.event))


def event_rows(events: Iterable[Event], counted: Mapping[UUID, Told]) -> tuple[EventRow, ...]:
    """Rows of these events, with what became of their messages; the events themselves are masked from here on."""
    return tuple(EventRow(masked(event), counted.get(event.pk, Told())) for event in events)


def pairs(labels: object) -> list[tuple[str, str]]:
    """Names and values in the order of the names."""
    return sorted((str(name), str(value)) for name, value in labels.items()) if isinstance(labels, Mapping) else []


def safe_url(text: str) -> str:
    """An address that a page may link to: http or https with a host; empty for anything else."""
    try:
        parts = urlsplit(text)
        return text if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def muting_of(muted_by: str) -> Muting:
    """`silence:12`, `maintenance:7` or `cause:orders` in words."""
    what, _, name = muted_by.partition(":")
    if what == "silence":
        return Muting(f"silence {name}", _url("admin:alerting_silence", name) or _url("admin:alerting_silences"))
    if what == "maintenance":
        return Muting("planned maintenance", _url("admin:health_maintenance_change", name))
    if what == "cause":
        return Muting(f"caused by {name}, which failed itself", _url("admin:health_service", name))
    if what == "queue":
        return Muting("the queue of deliveries was full", _url("admin:alerting_deliveries") + "?status=waiting")
    return Muting(muted_by)


def _url(route: str, *args: str) -> str:
    """Where a page is; empty where there is none, as for a domain that is switched off."""
    try:
        return reverse(route, args=[int(arg) if arg.isdecimal() and arg.isascii() else arg for arg in args])
    except NoReverseMatch:
        return ""


def _life(event: Event) -> Iterable[Step]:
    if event.triggered_at is None:
        yield Step("pending", "info", event.started_at, "The condition holds; it fires if it goes on.")
    else:
        if event.started_at < event.triggered_at:
            yield Step("began", "info", event.started_at, "The condition held for the first time.")
        yield Step("fired", Severity(event.severity).tone, event.triggered_at)
        yield from _telling(event)
    if event.acknowledged_at:
        yield Step(
            "acknowledged", "warn", event.acknowledged_at, f"by {event.acknowledged_by}", event.acknowledgment_note
        )
    if event.resolved_at:
        how = f"by {event.resolved_by}" if event.resolved_by else "It recovered by itself."
        if event.triggered_at is None and not event.resolved_by:
            how = "It recovered before it fired: nobody was told."
        yield Step("resolved", "ok", event.resolved_at, how, event.resolved_note)


def _telling(event: Event) -> Iterable[Step]:
    if event.muted_by:
        yield Step("held back", "info", None, f"Nobody was told: {muting_of(event.muted_by).words}.")
    elif event.notified_at:
        yield Step("messages written", "info", event.notified_at, "What became of each stands below.")
    else:
        yield Step("nobody told", "warn", None, "The rule has no channel that is switched on.")
