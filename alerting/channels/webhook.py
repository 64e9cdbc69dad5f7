"""A webhook: the message as JSON to an address of the user's own, signed (docs/concepts/alert-webhook.md)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pydantic import Field, SecretStr

from alerting.channels.answering import judge
from alerting.channels.base import Answer, ChannelKind, ChannelSettings, Item, Message, Recipient
from alerting.channels.connecting import Failed
from alerting.channels.fields import Secret, SecretUrl
from alerting.channels.http import exchange
from alerting.models import Outcome
from alerting.recipients import masked_secret, masked_url

#: The version of the body's form; it goes up when something is taken away or changes its meaning.
VERSION = 1


class WebhookSettings(ChannelSettings):
    """Where a webhook goes and how it proves where it comes from."""

    url: SecretUrl = Field(title="Address", description="An http or https address that takes a POST with JSON.")
    token: Secret = Field(
        default=SecretStr(""), title="Bearer token", description="Sent as `Authorization: Bearer …`; may be empty."
    )
    signing_secret: Secret = Field(
        default=SecretStr(""),
        title="Signing secret",
        description="With it each message carries a signature that the receiver can check; may be empty.",
    )


class Webhook(ChannelKind):
    """Posts to any address."""

    name = "webhook"
    title = "Webhook"
    Settings = WebhookSettings
    recipient_limit = "webhook"

    def recipients(self, settings: WebhookSettings) -> tuple[Recipient, ...]:
        """The one address."""
        url = settings.url.get_secret_value()
        return (Recipient(url, masked_url(url)),)

    def shown(self, settings: WebhookSettings) -> dict[str, str]:
        """The host, and the ends of the secrets."""
        shown = {"Address": masked_url(settings.url.get_secret_value())}
        for title, secret in (("Bearer token", settings.token), ("Signing secret", settings.signing_secret)):
            if value := secret.get_secret_value():
                shown[title] = masked_secret(value)
        return shown

    def send(self, settings: WebhookSettings, recipient: str, message: Message) -> Answer:
        """One POST. A 2xx means that it was taken."""
        body = json.dumps(body_of(message), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json", "Idempotency-Key": header_text(message.key)}
        if message.request_id:
            headers["X-Request-ID"] = header_text(message.request_id)
        token, secret = settings.token.get_secret_value(), settings.signing_secret.get_secret_value()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        timestamp = str(int(time.time()))
        headers["X-Opsportal-Timestamp"] = timestamp
        if secret:
            headers["X-Opsportal-Signature"] = signature(secret, timestamp, body)
        try:
            reply = exchange(recipient, body, headers)
        except Failed as failed:
            return failed.answer
        if 200 <= reply.status < 300:
            return _taken(reply.status)
        return judge(reply, "The receiver", secrets=(recipient, token, secret, *message.secrets))


@lru_cache(maxsize=16)
def _taken(status: int) -> Answer:
    return Answer(Outcome.DELIVERED, f"The receiver took it (HTTP {status}).", status)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`v1=` and the hex of HMAC-SHA256 over the timestamp, a full stop and the body."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def header_text(text: str) -> str:
    """A text as a header may carry it: what is not plain ASCII is written as % and digits."""
    return quote(text, safe=" !#$&'()*+,/:;=?@[]~^`{|}<>", errors="replace")


def body_of(message: Message) -> dict[str, Any]:
    """The JSON body. Fields may be added; none changes its meaning within a version."""
    return {
        "version": VERSION,
        "key": message.key,
        "notice": message.foremost.notice,
        "severity": message.worst,
        "count": message.total,
        "events": [_event(item) for item in message.items],
    }


def _event(item: Item) -> dict[str, Any]:
    return {
        "id": item.event_id,
        "alert_id": item.alert_id,
        "notice": item.notice,
        "rule": item.rule_name,
        "metric": item.metric,
        "severity": item.severity,
        "summary": item.summary,
        "condition": item.condition,
        "value": item.value,
        "labels": dict(item.labels),
        "annotations": dict(item.annotations),
        "started_at": item.started_at.isoformat(),
        "triggered_at": item.triggered_at.isoformat(),
        "resolved_at": item.resolved_at.isoformat() if item.resolved_at else None,
        "owner": item.owner,
        "runbook_url": item.runbook_url,
        "event_url": item.event_url,
        "acknowledge_url": item.ack_url,
    }
