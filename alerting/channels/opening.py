"""A channel's row as something to send with: its settings decrypted and checked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import TextField
from django.db.models.expressions import RawSQL
from pydantic import SecretStr, ValidationError

from alerting.channels import INTERNAL, KINDS, NO_CHANNEL
from alerting.channels.base import ChannelKind, ChannelSettings, Recipient
from alerting.models import Channel
from opsportal.secrets import keyring

REMOVED = "The channel was removed."
#: How many channels are remembered; beyond that it starts anew.
_REMEMBERED = 4_096


@dataclass(frozen=True)
class Opened:
    """A channel ready for use."""

    id: int
    version: int
    kind: ChannelKind
    settings: Any
    enabled: bool


class CannotUse(Exception):
    """The channel cannot be used: it is gone, its kind is unknown, its key is missing, its settings no longer fit.

    Its text is a sentence for people, without secrets.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class KeyMissing(CannotUse):
    """No key of this process opens the channel's settings; one that it has not been given yet may."""


@dataclass(frozen=True)
class _Remembered:
    stamp: str
    sealed: str
    opened: Opened | None
    refusal: str = ""
    key_missing: bool = False


_remembered: dict[int, _Remembered] = {}
_lock = threading.Lock()


def open_channel(channel_id: int, stamp: str | None) -> Opened:
    """The channel as it was when its row had this stamp (its `xmin`; None: it was gone), or as it is since then.

    `enabled` says whether somebody switched it off. Number 0 is the circuit breaker. Reads and decrypts again only what
    has changed. For threads that may use the database. Raises `CannotUse` and `django.db.Error`.
    """
    if channel_id == NO_CHANNEL:
        return Opened(NO_CHANNEL, 0, INTERNAL["breaker"], None, True)
    if stamp is None:
        raise CannotUse(REMOVED)
    known = _remembered.get(channel_id)
    if known is None or known.stamp != stamp:
        known = _read(channel_id, known)
    if known.opened is None:
        raise (KeyMissing if known.key_missing else CannotUse)(known.refusal)
    return known.opened


def open_row(channel: Channel) -> Opened:
    """The same from a row that was read. Raises `CannotUse`."""
    kind = KINDS.get(channel.kind)
    if kind is None:
        raise CannotUse(f"Channels of the kind “{channel.kind[:20]}” are not known here.")
    try:
        settings = kind.Settings.model_validate_json(keyring.unseal(channel.sealed))
    except keyring.CannotOpen:
        raise KeyMissing(
            "The channel's settings cannot be decrypted: the key that sealed them is missing from "
            "FIELD_ENCRYPTION_KEYS. Put it back, or enter the settings anew."
        ) from None
    except ValidationError as error:
        fault = _first_fault(kind, error)
        raise CannotUse(f"The channel's settings no longer fit; edit the channel. {fault}") from None
    return Opened(channel.pk, channel.version, kind, settings, channel.enabled)


def recipients_of(channel: Channel) -> tuple[Recipient, ...]:
    """Who gets the messages of this channel. Raises `CannotUse`."""
    opened = open_row(channel)
    return opened.kind.recipients(opened.settings)


def seal_settings(settings: ChannelSettings) -> str:
    """What `Channel.sealed` holds."""
    return keyring.seal(json.dumps(settings.model_dump(), default=_revealed, ensure_ascii=False))


def forget_channels() -> None:
    """Read every channel anew: for tests, and after a database was put back."""
    with _lock:
        _remembered.clear()


def _read(channel_id: int, known: _Remembered | None) -> _Remembered:
    stamp = RawSQL("alerting_channel.xmin::text", [], output_field=TextField())
    rows = Channel.objects.filter(pk=channel_id).annotate(stamp=stamp)
    row = rows.only("kind", "sealed", "enabled", "version").first()
    if row is None:
        return _Remembered("", "", None, REMOVED)
    if known and known.opened and known.sealed == row.sealed and known.opened.kind.name == row.kind:
        fresh = replace(known, stamp=row.stamp, opened=replace(known.opened, version=row.version, enabled=row.enabled))
    else:
        try:
            opened = open_row(row)
            opened.kind.warm_up()
            fresh = _Remembered(row.stamp, row.sealed, opened)
        except CannotUse as refusal:
            fresh = _Remembered(row.stamp, row.sealed, None, refusal.sentence, isinstance(refusal, KeyMissing))
    with _lock:
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()
        _remembered[channel_id] = fresh
    return fresh


def _revealed(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(type(value).__name__)


def _first_fault(kind: ChannelKind, error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    field = kind.Settings.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    title = field.title if field and field.title else "Settings"
    return f"{title}: {fault['msg']}"[:200]
