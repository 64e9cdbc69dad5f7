"""Messages without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alerting.channels.base import Item, Message

AT = datetime(2026, 1, 31, 14, 5, 9, tzinfo=UTC)
KEY = "0d5c7c1e-8f52-4a3c-9d0b-1b2a3c4d5e6f:webhook:e6276c486755af55:2026-01-31T14:00:00Z"


def item(**fields: Any) -> Item:
    """A firing drawdown."""
    usual: dict[str, Any] = {
        "event_id": "0d5c7c1e-8f52-4a3c-9d0b-1b2a3c4d5e6f",
        "notice": "firing",
        "rule_name": "Drawdown of a strategy",
        "severity": "critical",
        "summary": "Drawdown is 5.2 %, limit 5 %",
        "labels": {"strategy": "momentum"},
        "value": "5.2 %",
        "condition": "Drawdown ≥ 5 %",
        "started_at": AT,
        "triggered_at": AT,
        "metric": "drawdown",
        "alert_id": "0d5c7c1e-8f52-4a3c-9d0b-1b2a3c4d5e6f",
        "event_url": "https://portal.example/admin/alerting/events/1/",
        "ack_url": "https://portal.example/admin/alerting/acknowledge/signed/",
        "runbook_url": "https://runbooks.example/drawdown",
        "owner": "Risk desk",
    }
    return Item(**{**usual, **fields})


def message(*items: Item, key: str = KEY, more: int = 0, **fields: Any) -> Message:
    """One item, or those given."""
    return Message(key, items or (item(**fields),), more)


def digest(count: int = 3, more: int = 0) -> Message:
    """Several events in one message."""
    return Message(
        KEY,
        tuple(item(summary=f"Event number {n}", event_id=f"event-{n}", alert_id=f"alert-{n}") for n in range(count)),
        more,
    )
