"""Deliveries as pages show them: every word ready, no address but its masked form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from alerting.models import Attempt, Delivery, Event, Notice, Outcome, Status
from alerting.selectors.events import BREAKER

LIMITS = {
    "channel": "the limit of the channel",
    "recipient": "the limit of the recipient",
    "global": "the limit of all channels",
    "provider": "the provider, which asked for a pause",
    "key": "an encryption key that the dispatcher was not given (FIELD_ENCRYPTION_KEYS); after an hour it is poison",
}
_OUTCOME_TONES = {
    Outcome.DELIVERED: "ok",
    Outcome.PERMANENT: "bad",
    Outcome.THROTTLED: "info",
}


@dataclass(frozen=True)
class AttemptRow:
    """One attempt."""

    attempt: Attempt

    @property
    def tone(self) -> str:
        """The colours of its outcome."""
        return _OUTCOME_TONES.get(Outcome(self.attempt.outcome), "warn")

    @property
    def word(self) -> str:
        """Its outcome in words."""
        return str(Outcome(self.attempt.outcome).label)

    @property
    def took(self) -> str:
        """How long it took."""
        milliseconds = self.attempt.duration_ms
        return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


@dataclass(frozen=True)
class DeliveryRow:
    """One delivery at `now`."""

    delivery: Delivery
    now: datetime
    channel: str = ""
    event: Event | None = None
    attempts: tuple[AttemptRow, ...] = field(default=())

    @property
    def trips(self) -> bool:
        """Whether it is no message but the trip of the breaker."""
        return self.delivery.kind == BREAKER

    @property
    def settled(self) -> bool:
        """Whether a person has dealt with it."""
        return self.delivery.settled_at is not None

    @property
    def needs_person(self) -> bool:
        """Whether it is poison that nobody has dealt with."""
        return self.delivery.status == Status.POISON and not self.settled

    @property
    def rests(self) -> bool:
        """Whether it waits because its provider asked for it, which a retry ends."""
        delivery = self.delivery
        waits = delivery.status in (Status.PENDING, Status.FAILED) and delivery.waits_for == "provider"
        return waits and delivery.lease is None and delivery.merged_into is None and delivery.due_at > self.now

    @property
    def tone(self) -> str:
        """The colours of its status."""
        return "unknown" if self.settled else Status(self.delivery.status).tone

    @property
    def word(self) -> str:
        """Its status in a word."""
        return "resolved by hand" if self.settled else str(Status(self.delivery.status).value)

    @property
    def notice(self) -> str:
        """What the message says."""
        return "trip the breaker" if self.trips else str(Notice(self.delivery.notice).label)

    @property
    def over(self) -> str:
        """What it goes over: the channel and its kind."""
        if self.trips:
            return "circuit breaker"
        return f"{self.channel} ({self.delivery.kind})" if self.channel else f"{self.delivery.kind}, channel deleted"

    @property
    def took(self) -> str:
        """From the trigger to the provider's confirmation."""
        delivery = self.delivery
        if delivery.status != Status.DELIVERED or delivery.finished_at is None:
            return ""
        seconds = (delivery.finished_at - delivery.triggered_at).total_seconds()
        return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"

    @property
    def doing(self) -> str:
        """What it waits for, in one sentence; empty when it waits for nothing."""
        delivery = self.delivery
        if delivery.status not in (Status.PENDING, Status.FAILED):
            return ""
        if delivery.merged_into:
            return f"Told in the digest of delivery {delivery.merged_into}."
        if delivery.lease is not None:
            if delivery.due_at > self.now:
                return "Being sent at this moment."
            return "The process that was sending it did not come back; it is taken over."
        if delivery.due_at > self.now and delivery.waits_for == "recipient":
            return (
                "The recipient has had all messages of this hour; critical ones are held, too, until it ends. "
                "Waiting is no attempt."
            )
        if delivery.due_at > self.now and delivery.waits_for:
            return f"Waits for {LIMITS.get(delivery.waits_for, 'a limit')}; waiting is no attempt."
        if delivery.due_at > self.now and delivery.notice == Notice.RESOLVED and not delivery.attempts:
            return "Waits until the alarm is delivered."
        if delivery.due_at > self.now:
            return "Waits for its next attempt."
        return "Due: the next dispatcher that is free sends it."


def delivery_rows(
    deliveries: Iterable[Delivery],
    *,
    now: datetime,
    channels: Mapping[int, str],
    events: Mapping[UUID, Event] | None = None,
    attempts: Mapping[int, list[Attempt]] | None = None,
) -> tuple[DeliveryRow, ...]:
    """Rows of these deliveries, with what is at hand of channels, events and attempts."""
    return tuple(
        DeliveryRow(
            delivery,
            now,
            channel=channels.get(delivery.channel_id, ""),
            event=(events or {}).get(delivery.event_id),
            attempts=tuple(AttemptRow(attempt) for attempt in (attempts or {}).get(delivery.pk, ())),
        )
        for delivery in deliveries
    )
