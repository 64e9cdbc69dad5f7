"""The names that make alerting idempotent. Pure functions, but for the secret of the recipients' hash."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from django.conf import settings


def fingerprint(labels: Mapping[str, str]) -> str:
    """A set of labels as 32 hex characters; their order does not matter."""
    text = json.dumps(sorted(labels.items()), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def masked_fingerprint(sent: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """What tells labels apart that are not `kept` as they were sent, and may look alike; empty where they are.

    Keyed, so that what was masked cannot be guessed from it.
    """
    told = {name: text for name, text in sent.items() if text}
    if told == kept:
        return ""
    text = json.dumps(sorted(told.items()), separators=(",", ":"))
    return hmac.new(settings.ALERT_RECIPIENT_HASH_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def episode_key(rule_id: int | None, metric: str, labels_fingerprint: str) -> str:
    """What there is at most one open episode of: a rule (or none, then the metric) and a label set."""
    return f"{metric if rule_id is None else rule_id}:{labels_fingerprint}"


def hour_bucket(triggered_at: datetime) -> datetime:
    """The trigger's hour in UTC (AD-3)."""
    return triggered_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def recipient_hash(kind: str, recipient: str) -> str:
    """The first 16 hex characters of HMAC-SHA256 over `{channel}:{recipient}`, the recipient normalised (AD-9).

    >>> # with the secret "secret": recipient_hash("email", "ops@example.com") == "e6276c486755af55"
    """
    return _hash(settings.ALERT_RECIPIENT_HASH_SECRET, kind, recipient)


def recipient_hashes(kind: str, recipient: str) -> tuple[str, ...]:
    """The hash under the present secret, then the one under the secret before it, if there is one (AD-9)."""
    previous = settings.ALERT_RECIPIENT_HASH_SECRET_PREVIOUS
    return tuple(
        _hash(secret, kind, recipient) for secret in (settings.ALERT_RECIPIENT_HASH_SECRET, previous) if secret
    )


def other_hash(kind: str, recipient: str, known: str) -> str:
    """The hash under the other secret, where `known` is one of them; empty if there is but one (AD-9).

    Of a hash under neither, which a process of a newer configuration made, the one under the present secret.
    """
    return next((each for each in recipient_hashes(kind, recipient) if each != known), "")


def dedup_key(alert_id: str, kind: str, recipient: str, bucket: datetime, *, resolved: bool = False) -> str:
    """`{alert_id}:{channel}:{recipient_hash}:{hour_bucket}` (AD-3), `recipient` being its hash.

    The hour is written `2025-12-18T14:00:00Z`. The recovery notice of an event is an alert of
    its own, `{event's id}/resolved`: a sender's alert id may have two of them in an hour.
    """
    name = f"{alert_id}/resolved" if resolved else alert_id
    return f"{name}:{kind}:{recipient}:{bucket.astimezone(UTC):%Y-%m-%dT%H:00:00Z}"


def _hash(secret: str, kind: str, recipient: str) -> str:
    return hmac.new(secret.encode(), f"{kind}:{recipient}".encode(), hashlib.sha256).hexdigest()[:16]
