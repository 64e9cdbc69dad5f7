"""The kinds of channels: one file each, and one line here."""

from __future__ import annotations

from alerting.channels.apprise import Apprise
from alerting.channels.base import ChannelKind
from alerting.channels.breaker import Breaker
from alerting.channels.email import Email
from alerting.channels.pagerduty import PagerDuty
from alerting.channels.slack import Slack
from alerting.channels.sms import Sms
from alerting.channels.webhook import Webhook

#: What people can set up, in the order of the form.
KINDS: dict[str, ChannelKind] = {
    kind.name: kind for kind in (Email(), Slack(), Sms(), Webhook(), PagerDuty(), Apprise())
}
#: What only rules use.
INTERNAL: dict[str, ChannelKind] = {kind.name: kind for kind in (Breaker(),)}
#: `Delivery.channel_id` of a delivery without a channel's row: the trip of the breaker.
NO_CHANNEL = 0


def find_kind(name: str) -> ChannelKind | None:
    """The kind of this name, internal ones included."""
    return KINDS.get(name) or INTERNAL.get(name)
