"""What every kind of channel is. One file each beside this one, and one line in the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from alerting.models import Notice, Outcome, Severity
from alerting.wording import UNWATCHED

#: Seconds that one attempt may take in all. A lease is longer (`alerting.claiming.LEASE_SECONDS`).
CONNECT_SECONDS = 3.0
SEND_SECONDS = 10.0


class ChannelSettings(BaseModel):
    """The settings of one channel, strict: what is unknown is refused, and a number is no text.

    Secrets are `pydantic.SecretStr`. Each field has a title and a description, from which its form is made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, hide_input_in_errors=True)


@dataclass(frozen=True)
class Recipient:
    """Who gets the message. `address` is normalised (AD-3) and secret; `shown` is masked (AC-5)."""

    address: str
    shown: str


@dataclass(frozen=True)
class Item:
    """One event as a message tells it: all texts, nothing that needs the database."""

    event_id: str
    notice: str
    rule_name: str
    severity: str
    summary: str
    labels: Mapping[str, str]
    value: str
    condition: str
    started_at: datetime
    triggered_at: datetime
    #: Of a firing notice too, where it is sent when all is over: it was held back, or tried again.
    resolved_at: datetime | None = None
    #: `Event.resolved_by`: what ended it, where it was no recovery.
    ended_by: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    runbook_url: str = ""
    event_url: str = ""
    ack_url: str = ""
    #: The rule's metric, for the category of a trip.
    metric: str = ""
    alert_id: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it tells that something fired which has recovered meanwhile."""
        return self.notice == Notice.FIRING and self.resolved_at is not None and self.ended_by not in UNWATCHED


@dataclass(frozen=True)
class Message:
    """What is sent: one item, or for a digest several, newest last. `key` is the delivery's dedup key, or the digest's.

    `more`: how many a digest only counts; none of them fires and is worse than what it tells.
    """

    key: str
    items: tuple[Item, ...]
    more: int = 0
    #: What made it, for those who look for it in several logs; of a digest, what made the most urgent one.
    request_id: str = ""

    @property
    def is_digest(self) -> bool:
        """Whether it tells of several events at once (AD-7)."""
        return self.total > 1

    @property
    def total(self) -> int:
        """How many events it stands for."""
        return len(self.items) + self.more

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is in it that nobody but its recipients may see: the links that acknowledge (AL-6)."""
        return tuple(item.ack_url for item in self.items if item.ack_url)

    @property
    def worst(self) -> str:
        """The worst severity of what fires, else of all; a word."""
        firing = [item.severity for item in self.items if item.notice != Notice.RESOLVED]
        return min(firing or [item.severity for item in self.items], key=_rank, default="info")

    @property
    def newest(self) -> Item:
        """The last item, of a single message the only one."""
        return self.items[-1]

    @property
    def foremost(self) -> Item:
        """The item that a short message tells: the worst of what fires, else of all; of several the newest."""
        return min(
            reversed(self.items), key=lambda item: (_NOTICES.get(item.notice, len(_NOTICES)), _rank(item.severity))
        )


#: A digest is about what fires, if anything does.
_NOTICES: Mapping[str, int] = {Notice.FIRING: 0, Notice.TEST: 1, Notice.RESOLVED: 2}


def _rank(severity: str) -> int:
    return next((level.value for level in Severity if level.word == severity), len(Severity))


@dataclass(frozen=True)
class Answer:
    """What came of one attempt. `sentence` is masked, plain and at most 300 characters.

    `retry_after`: seconds that the provider asks to wait, None if it does not.
    """

    outcome: Outcome
    sentence: str = ""
    status_code: int | None = None
    retry_after: float | None = None
    provider_id: str = ""


class ChannelKind(ABC):
    """A way to reach people. Stateless; what it keeps open lies in the object that `open` gives.

    `send` blocks, in a thread of the dispatcher, and ends within `SEND_SECONDS`.
    """

    #: Its name in rows, keys, limits and metrics; and for people.
    name: ClassVar[str]
    title: ClassVar[str]
    Settings: ClassVar[type[ChannelSettings]]
    #: Which limit of recipients applies: "email", "sms" or "webhook" (AD-6).
    recipient_limit: ClassVar[str] = "webhook"
    #: Whether what the recipient's limit held back is told in one message (AD-7); else one by one, as room comes.
    digests: ClassVar[bool] = True

    @abstractmethod
    def recipients(self, settings: Any) -> tuple[Recipient, ...]:
        """Who gets the messages of a channel with these settings; normalised, without duplicates."""

    @abstractmethod
    def shown(self, settings: Any) -> dict[str, str]:
        """What pages may show of the settings: label to masked text, secrets by their last 4 characters (AC-2)."""

    def warm_up(self) -> None:
        """Import what is slow to import; called when a channel of this kind is opened to send with."""
        return

    @abstractmethod
    def send(self, settings: Any, recipient: str, message: Message) -> Answer:
        """Deliver the message to the recipient's address. Never raises for what a provider or a network does."""
