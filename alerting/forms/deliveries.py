"""The filters of the deliveries as people type them, and what they choose of the poison."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict

from alerting.forms.filters import Filter, MomentField, choice, text
from alerting.models import Notice, Status
from alerting.selectors.deliveries import OPEN, DeliveryFilters, channel_names
from alerting.selectors.events import BREAKER
from alerting.selectors.paging import parse_number
from opsportal.observability.sanitise import mask_text

WAITING = "waiting"
_KIND = re.compile(r"[a-z0-9_]{1,12}", re.ASCII)
_LIMITS = [
    ("channel", "of the channel"),
    ("recipient", "of the recipient"),
    ("global", "of all channels"),
    ("provider", "of the provider"),
    ("key", "none: for an encryption key"),
    ("digest", "none: told in a digest"),
]


class DeliveryFilter(Filter):
    """Every filter is an exact or a range match; of a masked address a part will do."""

    status = choice(
        "Status",
        "Any status",
        [(WAITING, "waiting: pending or failed"), *((s.value, str(s.label).partition(":")[0]) for s in Status)],
    )
    channel = choice("Channel", "Any channel", [])
    notice = choice("Says", "Anything", [(notice.value, str(notice.label)) for notice in Notice])
    recipient = text("Recipient", 100, "Its hash, or a part of what is shown, such as example.com")
    since = MomentField("Triggered from (UTC)")
    until = MomentField("Triggered before (UTC)")
    kind = text("Kind", 12, "Such as email, slack or sms")
    waits_for = choice("Waits for the limit", "Any or none", _LIMITS)
    event = text("Event", 36, "The number that ends its address")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_deliveries_%s")
        super().__init__(*args, **kwargs)
        channels = [(str(number), name) for number, name in channel_names().items()]
        asked = str(self.data.get("channel", "")) if self.is_bound else ""
        if asked and asked not in dict(channels) and parse_number(asked):
            channels.append((asked, f"channel {asked}, deleted"))
        self.fields["channel"].choices = [("", "Any channel"), ("0", "circuit breaker"), *channels]  # type: ignore[attr-defined]

    def clean_kind(self) -> str:
        """A kind's name."""
        kind: str = self.cleaned_data["kind"].lower()
        if kind and not _KIND.fullmatch(kind):
            raise forms.ValidationError("Kinds are named in letters, such as email, slack or sms.")
        return kind

    def clean_event(self) -> UUID | None:
        """An event's id."""
        typed: str = self.cleaned_data["event"]
        try:
            return UUID(typed) if typed else None
        except ValueError:
            raise forms.ValidationError("Not the number of an event.") from None

    def filters(self) -> DeliveryFilters:
        """What a valid form asks for."""
        values = self.cleaned_data
        status = values["status"]
        statuses: tuple[Status, ...] = ()
        if status:
            statuses = OPEN if status == WAITING else (Status(status),)
        breaker = values["channel"] == "0"
        return DeliveryFilters(
            statuses=statuses,
            kind=BREAKER if breaker else values["kind"],
            channel=int(values["channel"]) if values["channel"] and not breaker else None,
            notice=Notice(values["notice"]) if values["notice"] else None,
            recipient=values["recipient"],
            event=values["event"],
            waits_for=values["waits_for"],
            since=values["since"],
            until=values["until"],
        )

    @property
    def more_open(self) -> bool:
        """Whether a filter that is usually folded away is filled or wrong."""
        return any(self.data.get(name) or name in self.errors for name in ("kind", "waits_for", "event"))


def without_addresses(query: QueryDict) -> QueryDict:
    """The query with an address that was typed as the recipient masked; the same object where there is none."""
    typed = query.get("recipient", "")
    if (masked := mask_text(typed)) == typed:
        return query
    changed = query.copy()
    changed["recipient"] = masked
    return changed


@dataclass(frozen=True)
class Chosen:
    """What of the poison somebody chose: rows by number, or all of one cause up to a number."""

    ids: tuple[int, ...] = ()
    kind: str = ""
    outcome: str = ""
    newest: int = 0

    @classmethod
    def of(cls, posted: QueryDict) -> Chosen:
        """From a form; what cannot be a number is left out."""
        newest = parse_number(posted.get("newest", ""))
        kind = posted.get("kind", "")
        if newest and _KIND.fullmatch(kind):
            return cls(kind=kind, outcome=posted.get("outcome", "").replace("\x00", "")[:300], newest=newest)
        numbers = (parse_number(text) for text in posted.getlist("delivery"))
        return cls(ids=tuple(sorted({number for number in numbers if number})))

    @property
    def whole_cause(self) -> bool:
        """Whether all of a cause is meant."""
        return bool(self.newest)
