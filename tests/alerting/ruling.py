"""Rules, values and what came of them, for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from alerting import observing
from alerting.models import Channel, Comparison, Delivery, Event, Origin, Rule, Severity
from alerting.signals import Signal
from tests.alerting.outgoing import make_webhook

URL = "https://hooks.example.com/desk"


def a_rule(*channels: Channel, **fields: Any) -> Rule:
    """A rule on drawdown at or above 5 %, without the ones that a fresh portal has."""
    rule = Rule.objects.create(
        **{
            "name": f"Rule {Rule.objects.count()}",
            "metric": "drawdown",
            "comparison": Comparison.GTE,
            "threshold": 0.05,
            "severity": Severity.CRITICAL,
            **fields,
        }
    )
    rule.channels.set(channels)
    return rule


def an_external_rule(*channels: Channel, **fields: Any) -> Rule:
    """A rule on any alert from outside."""
    return a_rule(*channels, **{"metric": "external_alert", "threshold": 1.0, "severity": Severity.WARNING, **fields})


def hook(number: int = 0) -> Channel:
    """A webhook of its own address."""
    return make_webhook(f"{URL}/{number}", f"hook {number}")


def value(number: float, at: datetime | None = None, metric: str = "drawdown", **labels: str) -> Signal:
    """An observation; of the strategy "momentum" unless labels say otherwise."""
    return Signal(metric, labels or {"strategy": "momentum"}, number, at or timezone.now(), Origin.OBSERVATION)


def alert(name: str = "Disk full", *, firing: bool = True, **more: Any) -> Signal:
    """An alert from outside."""
    labels: Mapping[str, str] = {"alertname": name, **more.pop("labels", {})}
    return Signal(
        "external_alert", labels, 1.0 if firing else 0.0, more.pop("at", timezone.now()),
        more.pop("origin", Origin.DIRECT), **more,
    )  # fmt: skip


def take(*signals: Signal, **more: Any) -> observing.Taken:
    """In one batch."""
    return observing.take(signals, **more)


def the_event() -> Event:
    """The only event there is."""
    return Event.objects.get()


def states() -> list[str]:
    """Of every event, the oldest first."""
    return list(Event.objects.order_by("started_at", "id").values_list("state", flat=True))


def notices(**wanted: Any) -> list[tuple[str, str]]:
    """Notice and kind of every delivery, in the order in which they were made."""
    return list(Delivery.objects.filter(**wanted).order_by("id").values_list("notice", "kind"))


def ago(seconds: float) -> datetime:
    """So long before now."""
    return timezone.now() - timedelta(seconds=seconds)
