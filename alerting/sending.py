"""One claimed delivery as something to send, and the sending of it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from alerting import keys
from alerting.channels import NO_CHANNEL
from alerting.channels.base import Answer, ChannelKind
from alerting.channels.opening import CannotUse, KeyMissing, Opened, open_channel
from alerting.claiming import MOST_TAKEN_OVER, Claimed, Malformed, Told
from alerting.limits import Asked, ask
from alerting.messages import build_message
from alerting.models import Delivery, Outcome
from alerting.results import Result
from opsportal.secrets import keyring

log = logging.getLogger(__name__)

BROKEN = "The message could not be made from this delivery's data."
CRASHED = "Sending failed inside the portal; its log says more."
SWITCHED_OFF = "The channel was switched off."
MOVED = "The channel's destination was changed after this was written."
#: Processes get a new key one by one: what no key of this one opens waits, for so long after it was made.
KEY_AWAITED_SECONDS = 3600.0
#: `Channel.version` of one that was never changed, so that all that was written for it goes where it goes.
FIRST_VERSION = 1
DEADLY = (
    f"Workers died or hung {MOST_TAKEN_OVER} times while they had this delivery, so it was set aside. "
    "It may have been delivered."
)


@dataclass(slots=True)
class Job:
    """A delivery that is ready to go out, and what it asks of the limits."""

    claimed: Claimed
    told: Told
    kind: ChannelKind
    settings: Any
    recipient: str
    asked: Asked


class Unsendable(Exception):
    """It cannot be sent, now or later; the text is a plain sentence for the poison queue."""


class KeyAwaited(Exception):
    """No key of this process opens it, and it is young: the key may come with a restart."""


def prepare(claimed: Claimed) -> Job:
    """What is needed to send it.

    Raises `Unsendable`, `KeyAwaited`, and `django.db.Error` when the channel cannot be read.
    """
    if claimed.taken_over > MOST_TAKEN_OVER:
        raise Unsendable(DEADLY)
    try:
        told = claimed.read()
        delivery = told.delivery
        opened = open_channel(delivery.channel_id, claimed.channel_stamp)
        recipient = _recipient_of(delivery, opened)
    except (KeyMissing, keyring.CannotOpen) as error:
        if delivery.recipient_sealed and claimed.at - delivery.created_at.timestamp() < KEY_AWAITED_SECONDS:
            raise KeyAwaited from None
        raise Unsendable(str(error)) from None
    except (Malformed, CannotUse) as error:
        raise Unsendable(str(error)) from None
    if not opened.enabled:
        raise Unsendable(SWITCHED_OFF)
    if opened.kind.name != claimed.kind:
        raise Unsendable("The channel is of another kind now than when this delivery was made.")
    if _is_of_the_past(opened, recipient):
        raise Unsendable(MOVED)
    return Job(
        claimed=claimed,
        told=told,
        kind=opened.kind,
        settings=opened.settings,
        recipient=recipient,
        asked=ask(
            claimed.kind,
            claimed.recipient_hash,
            opened.kind.recipient_limit,
            claimed.at,
            other_hash=keys.other_hash(claimed.kind, recipient, claimed.recipient_hash),
        ),
    )


def _recipient_of(delivery: Delivery, opened: Opened) -> str:
    """The address; one that no key of this process opens, the channel may know. Raises `keyring.CannotOpen`."""
    if opened.id == NO_CHANNEL:
        return "breaker"
    try:
        return keyring.unseal(delivery.recipient_sealed)
    except keyring.CannotOpen:
        for present in opened.kind.recipients(opened.settings):
            if delivery.recipient_hash in keys.recipient_hashes(opened.kind.name, present.address):
                return present.address
        raise


def _is_of_the_past(opened: Opened, recipient: str) -> bool:
    """Whether the channel was edited and goes elsewhere now: its present secrets are not for the old address."""
    if opened.version <= FIRST_VERSION:
        return False
    return all(recipient != present.address for present in opened.kind.recipients(opened.settings))


def set_aside(claimed: Claimed, sentence: str, *, now: float) -> Result:
    """The result of a delivery that cannot even be tried."""
    return Result(claimed, Answer(Outcome.PERMANENT, sentence), began=now, ended=now, tried=False)


def send(job: Job, *, claimed_at: float) -> Result:
    """Try it once. Never raises. `claimed_at`: the monotonic time of the claim, to tell PostgreSQL's time from."""
    lag = job.claimed.at - claimed_at
    began = time.monotonic() + lag
    tried = True
    try:
        message = build_message(job.told)
    except Exception:
        log.exception("alert_message_not_made", extra={"delivery": job.claimed.id})
        answer, tried = Answer(Outcome.PERMANENT, BROKEN), False
    else:
        try:
            answer = job.kind.send(job.settings, job.recipient, message)
        except Exception:  # a mistake in a channel must cost its own message only
            log.exception("alert_channel_failed", extra={"delivery": job.claimed.id, "channel": job.claimed.kind})
            answer = Answer(Outcome.UNKNOWN, CRASHED)
    triggered_at = job.told.delivery.triggered_at.timestamp()
    ended = time.monotonic() + lag
    return Result(job.claimed, answer, began, ended, tried=tried, triggered_at=triggered_at, asked=job.asked)
