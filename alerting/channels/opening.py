"""A channel's row as something to send with: its settings decrypted and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alerting.channels.base import ChannelKind, ChannelSettings, Recipient
from alerting.models import Channel


@dataclass(frozen=True)
class Opened:
    """A channel ready for use."""

    id: int
    version: int
    kind: ChannelKind
    settings: Any
    enabled: bool


class CannotUse(Exception):
    """The channel cannot be used: it is gone, its kind is unknown, its key is missing, its settings no longer fit."""


def open_channel(channel_id: int) -> Opened:
    """The channel as it is now; remembered by version for a second. Raises `CannotUse` and `django.db.Error`."""
    raise NotImplementedError


def open_row(channel: Channel) -> Opened:
    """The same from a row that was read. Raises `CannotUse`."""
    raise NotImplementedError


def recipients_of(channel: Channel) -> tuple[Recipient, ...]:
    """Who gets the messages of this channel. Raises `CannotUse`."""
    raise NotImplementedError


def seal_settings(settings: ChannelSettings) -> str:
    """What `Channel.sealed` holds."""
    raise NotImplementedError
