"""Messages out of rows: what every channel is given to send."""

from __future__ import annotations

from collections.abc import Sequence

from alerting.channels.base import Message
from alerting.models import Delivery, Event


def build_message(delivery: Delivery, told: Sequence[tuple[Delivery, Event]]) -> Message:
    """The message of `delivery`. `told`: itself and what is merged into it, with the event of each, oldest first."""
    raise NotImplementedError
