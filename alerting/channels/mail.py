"""A message as a mail: subject, text and HTML. What sends it lies beside this file."""

from __future__ import annotations

import hashlib

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from alerting.channels.base import Item, Message
from alerting.channels.wording import facts, head, headline, left_out, purpose
from alerting.models import Notice

SUBJECT_MAX = 200
_COLOURS = {"critical": "#c62828", "warning": "#b26a00", "info": "#1f4fd8"}


def mail_of(message: Message, sender: str, recipient: str) -> EmailMultiAlternatives:
    """The mail. Every mail of an event names one same first mail, so that the recovery joins its thread.

    A retry has the same Message-ID, by which mail programs recognise a duplicate.
    """
    subject = headline(message)[:SUBJECT_MAX]
    context = {
        "message": message,
        "headline": subject,
        "left_out": left_out(message),
        "parts": [_part(item) for item in message.items],
    }
    domain = sender.rpartition("@")[2]
    headers = {
        "Message-ID": f"<{_digest(message.key)}@{domain}>",
        "X-Entity-Ref-ID": _digest(message.key),
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
    }
    if not message.is_digest:
        first = f"<{_digest(f'{message.newest.event_id} {recipient}')}.event@{domain}>"
        headers |= {"References": first, "In-Reply-To": first}
    if message.worst == "critical":
        headers["Importance"] = "high"
    mail = EmailMultiAlternatives(
        subject,
        render_to_string("alerting/messages/mail.txt", context),
        sender,
        [recipient],
        headers=headers,
    )
    mail.attach_alternative(render_to_string("alerting/messages/mail.html", context), "text/html")
    return mail


def _part(item: Item) -> dict[str, object]:
    colour = "#2e7d32" if item.notice == Notice.RESOLVED else _COLOURS.get(item.severity, "#5a6270")
    return {"item": item, "head": head(item), "facts": facts(item), "purpose": purpose(item), "colour": colour}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
