"""Events and deliveries in every state, for the tests of the operators' pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from alerting.channels.email import EmailSettings
from alerting.models import Attempt, Channel, Delivery, Episode, Event, EventState, Outcome, Status
from tests.alerting.outgoing import a_delivery, an_event, make_channel

#: An address that no page may show.
ADDRESS = "anna.secret@example.com"
SHOWN = "***@example.com"
EVERYBODY = (ADDRESS, "bert@example.com", *(f"{letter}@example.com" for letter in "bcdh01"))


def signed_in(user: Any) -> Client:
    """A browser in which this person has signed in."""
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def text(client: Client, path: str) -> str:
    """The page at this address, which must be there."""
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return str(response.content.decode())


def mail_channel(name: str = "Desk by mail") -> Channel:
    """A channel by e-mail to whoever the tests name. What is sealed in it is not read by any page."""
    settings = EmailSettings(recipients=list(EVERYBODY), sender="portal@example.com", smtp_host="smtp.example.com")
    return make_channel("email", settings, name)


def an_alert(number: int = 0, *, ago: float = 60, **fields: Any) -> Event:
    """An event that fires since `ago` seconds, with its episode, unless the fields say otherwise."""
    at = timezone.now() - timedelta(seconds=ago)
    event = an_event(number, **{"started_at": at, "triggered_at": at, "notified_at": at, **fields})
    event.save(force_insert=True)
    if event.state != EventState.RESOLVED:
        Episode.objects.create(
            key=f"{event.rule_id}:{event.pk.hex}",
            event_id=event.pk,
            event_started_at=event.started_at,
            rule_id=event.rule_id,
            firing=event.state != EventState.PENDING,
            muted=bool(event.muted_by),
        )
    return event


def a_message(event: Event, channel: Channel, recipient: str = ADDRESS, **fields: Any) -> Delivery:
    """A delivery of the event by e-mail, pending unless the fields say otherwise."""
    delivery = a_delivery(event, channel, recipient, **{"recipient_shown": SHOWN, **fields})
    delivery.save(force_insert=True)
    return delivery


def poison(
    event: Event,
    channel: Channel,
    recipient: str = ADDRESS,
    outcome: str = "The mailbox does not exist.",
    **fields: Any,
) -> Delivery:
    """A delivery that was given up after one attempt."""
    now = timezone.now()
    settled = {"status": Status.POISON, "attempts": 1, "finished_at": now, "outcome": outcome, **fields}
    delivery = a_message(event, channel, recipient, **settled)
    an_attempt(delivery, answer=outcome)
    return delivery


def an_attempt(delivery: Delivery, **fields: Any) -> Attempt:
    """An attempt of the delivery that failed for good, unless the fields say otherwise."""
    return Attempt.objects.create(
        **{
            "delivery_id": delivery.pk,
            "at": timezone.now(),
            "number": 1,
            "duration_ms": 120,
            "outcome": Outcome.PERMANENT,
            "status_code": 550,
            "answer": "The mailbox does not exist.",
            **fields,
        }
    )
