"""The kinds of channels: one file each, and one line here."""

from __future__ import annotations

from alerting.channels.base import ChannelKind

KINDS: dict[str, ChannelKind] = {}
