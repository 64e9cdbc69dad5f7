"""The trip of the breaker by a rule (AL-5): not a message, but it goes the same durable way."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from alerting.channels.base import Answer, ChannelKind, ChannelSettings, Item, Message, Recipient
from alerting.conditions import find_condition
from alerting.models import Outcome
from circuit import services
from circuit.errors import CannotReach, InvalidInput, WrongState
from circuit.models import Category, Kind, Source, Transition
from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason

log = logging.getLogger(__name__)

#: What `circuit.services` takes as a reason.
REASON_MAX = 500
#: An alert that is over halts trading only if it fired at most so long ago: nobody wants last night's spike to.
STALE = timedelta(minutes=5)


class BreakerSettings(ChannelSettings):
    """There are none."""


class Breaker(ChannelKind):
    """Halts trading. Internal: nobody sets it up; a rule that may trip makes one delivery of this kind."""

    name = "breaker"
    title = "Circuit breaker"
    Settings = BreakerSettings
    recipient_limit = "none"

    def recipients(self, settings: Any) -> tuple[Recipient, ...]:
        """The breaker."""
        return (Recipient(self.name, "circuit breaker"),)

    def shown(self, settings: Any) -> dict[str, str]:
        """Nothing."""
        return {}

    def send(self, settings: Any, recipient: str, message: Message) -> Answer:
        """Trip it. That it is tripped already is what was wanted."""
        item = message.newest
        if why := _too_late(item, timezone.now()):
            return Answer(Outcome.PERMANENT, why)
        by = Actor.system(f"rule “{item.rule_name}”")
        reason = _reason(item)
        if _made(reason):
            # The worker before died between the trip and its commit; since then somebody may have reset the breaker.
            return Answer(Outcome.DELIVERED, "The breaker was tripped by this rule for this alert before.")
        condition = find_condition(item.metric)
        try:
            services.trip_breaker(
                by=by,
                reason=reason,
                category=condition.category if condition else Category.OTHER,
                source=Source.RULE,
            )
        except CannotReach as refusal:
            return Answer(Outcome.TRANSIENT, refusal.sentence[:300])
        except WrongState as refusal:
            return self._wrong_state(refusal)
        except InvalidInput as refusal:
            return Answer(Outcome.PERMANENT, refusal.sentence[:300])
        except Error as error:
            # Redis came first: the trip may hold although its record could not be written.
            log.warning("alert_trip_unrecorded", extra={"cause": type(error).__name__})
            return Answer(Outcome.UNKNOWN, "PostgreSQL failed during the trip. Look at the breaker's state.")
        finally:
            _give_back()
        return Answer(Outcome.DELIVERED, "Trading is halted: the breaker was tripped.")

    @staticmethod
    def _wrong_state(refusal: WrongState) -> Answer:
        if refusal.sentence.startswith("Already tripped"):
            return Answer(Outcome.DELIVERED, refusal.sentence[:300])
        return Answer(Outcome.PERMANENT, refusal.sentence[:300])


def _reason(item: Item) -> str:
    """What the history shows; nothing that was written into an alert may keep the breaker from tripping."""
    mark = f" [alert {item.event_id[:8]}]"
    words = "".join(c if c.isprintable() else " " for c in f"Rule “{item.rule_name}”: {item.summary}")
    return words[: REASON_MAX - len(mark)] + mark


def _too_late(item: Item, now: datetime) -> str:
    if not item.is_over or now - item.triggered_at <= STALE:
        return ""
    return "The alert was over before trading could be halted, so it was not. Trip the breaker by hand if it must be."


def _made(reason: str) -> bool:
    """Whether this very alert has tripped the breaker, as its reason tells. Not known: no."""
    try:
        return Transition.objects.filter(kind=Kind.TRIP, source=Source.RULE, reason=clean_reason(reason)).exists()
    except Error:
        return False


def _give_back() -> None:
    """A sender's thread keeps no database connection of its own; where the caller's transaction runs, it stays."""
    if not connection.in_atomic_block:
        connection.close()
