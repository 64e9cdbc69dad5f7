"""Links in messages: to the event, and one that acknowledges it (AL-6).

The second one is signed and names a delivery, so it proves that its holder got that message; it is good for 24 hours
and once. It is a secret as long as it is good: the log's sanitiser knows its form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse

LINK_LASTS = timedelta(hours=24)
_LONGEST = 200
_PAYLOAD = re.compile(r"(\d{1,18})-(\d{1,7})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A dot, not a colon: programs that make links out of text know where such an address ends.
_signer = signing.TimestampSigner(salt="alerting.acknowledgement", sep=".")


class LinkInvalid(Exception):
    """Not a link of ours: cut off, changed, or made up."""


class LinkExpired(Exception):
    """A link of ours that is too old."""


@dataclass(frozen=True)
class Link:
    """The delivery that a link names, with the hour by which its table is parted."""

    delivery_id: int
    hour_bucket: datetime


def event_url(event_id: UUID, started_at: datetime) -> str:
    """The event's page for whoever may sign in; empty without PUBLIC_URL."""
    if not settings.PUBLIC_URL:
        return ""
    return f"{settings.PUBLIC_URL}{reverse('admin:alerting_event', args=[event_id])}"


def acknowledgement_url(delivery_id: int, hour_bucket: datetime) -> str:
    """A signed link, good once, that acknowledges the delivery's event; empty without PUBLIC_URL."""
    if not settings.PUBLIC_URL:
        return ""
    hours = (hour_bucket - _EPOCH) // timedelta(hours=1)
    token = _signer.sign(f"{delivery_id}-{hours}")
    return f"{settings.PUBLIC_URL}{reverse('alerting_acknowledge_by_link', args=[token])}"


def open_link(token: str) -> Link:
    """The delivery that the link names. Asks nothing but the signature. Raises `LinkInvalid` and `LinkExpired`."""
    if len(token) > _LONGEST:
        raise LinkInvalid
    try:
        payload = _signer.unsign(token, max_age=LINK_LASTS)
    except signing.SignatureExpired:
        raise LinkExpired from None
    except (signing.BadSignature, ValueError):
        raise LinkInvalid from None
    found = _PAYLOAD.fullmatch(payload)
    if not found:
        raise LinkInvalid
    return Link(int(found[1]), _EPOCH + timedelta(hours=int(found[2])))
