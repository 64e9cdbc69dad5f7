"""Channels, events and deliveries as ingest leaves them, for tests of what happens to them then."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone
from pydantic import SecretStr

from alerting import keys
from alerting.channels import KINDS
from alerting.channels.opening import seal_settings
from alerting.channels.webhook import WebhookSettings
from alerting.models import Channel, Delivery, Event, EventState, Notice, Origin, Priority
from opsportal.secrets import keyring


def make_webhook(url: str, name: str = "desk", **fields: Any) -> Channel:
    """A webhook channel to this address."""
    settings = WebhookSettings(url=SecretStr(url))
    return make_channel(KINDS["webhook"].name, settings, name, **fields)


def make_channel(kind: str, settings: Any, name: str, **fields: Any) -> Channel:
    """A channel of any kind."""
    return Channel.objects.create(name=name, kind=kind, sealed=seal_settings(settings), **fields)


def an_event(number: int = 0, **fields: Any) -> Event:
    """An event that fires, not saved."""
    now = timezone.now()
    event_id = fields.pop("id", None) or uuid.uuid4()
    return Event(
        **{
            "id": event_id,
            "started_at": now,
            "rule_id": 1,
            "rule_name": f"rule {number}",
            "severity": 1,
            "state": EventState.FIRING,
            "origin": Origin.DIRECT,
            "alert_id": str(event_id),
            "metric": "drawdown",
            "labels": {"strategy": f"s{number}"},
            "fingerprint": f"{number:032x}",
            "comparison": "gt",
            "threshold": 0.05,
            "value": 0.07,
            "summary": f"drawdown {number}",
            "triggered_at": now,
            "notified_at": now,
            **fields,
        }
    )


def a_delivery(event: Event, channel: Channel, recipient: str, **fields: Any) -> Delivery:
    """The delivery of an event to a recipient, not saved, due now."""
    triggered_at = fields.pop("triggered_at", event.triggered_at) or timezone.now()
    bucket = keys.hour_bucket(triggered_at)
    notice = fields.get("notice", Notice.FIRING)
    hashed = keys.recipient_hash(channel.kind, recipient)
    return Delivery(
        **{
            "hour_bucket": bucket,
            "dedup_key": keys.dedup_key(
                event.alert_id, channel.kind, hashed, bucket, resolved=notice == Notice.RESOLVED
            ),
            "event_id": event.id,
            "event_started_at": event.started_at,
            "channel_id": channel.pk,
            "kind": channel.kind,
            "recipient_hash": hashed,
            "recipient_sealed": keyring.seal(recipient),
            "recipient_shown": "masked",
            "notice": notice,
            "priority": Priority(event.severity + 1),
            "due_at": timezone.now() - timedelta(seconds=1),
            "triggered_at": triggered_at,
            **fields,
        }
    )


def queue(channel: Channel, recipients: Sequence[str], **fields: Any) -> list[Delivery]:
    """One event and one delivery for each recipient given, written; in that order."""
    of_event = {name: fields.pop(name) for name in ("severity", "labels", "started_at") if name in fields}
    events = [an_event(number, **of_event) for number in range(len(recipients))]
    Event.objects.bulk_create(events)
    rows = [
        a_delivery(event, channel, recipient, **fields) for event, recipient in zip(events, recipients, strict=True)
    ]
    return Delivery.objects.bulk_create(rows)


def hour_of(moment: datetime) -> str:
    """As in `ratelimit:recipient:…:2025121814`."""
    return f"{moment.astimezone(UTC):%Y%m%d%H}"
