"""PagerDuty, by its Events API v2: an incident for each alert, which its recovery resolves."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, SecretStr, field_validator

from alerting.channels.answering import judge, own_words
from alerting.channels.base import Answer, ChannelKind, ChannelSettings, Item, Message, Recipient
from alerting.channels.connecting import Failed, attempt
from alerting.channels.fields import ApiUrl, NeededSecret, refused
from alerting.channels.http import Reply, exchange
from alerting.models import Notice, Outcome
from alerting.recipients import masked_secret, masked_url

API_URL = "https://events.pagerduty.com"
PATH = "/v2/enqueue"
SUMMARY_MAX = 1_024
_ROUTING_KEY = re.compile(r"[0-9A-Za-z]{32}")
_SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}


class PagerDutySettings(ChannelSettings):
    """Which service of PagerDuty is told."""

    routing_key: NeededSecret = Field(
        title="Integration key", description="32 characters, of the service's integration “Events API v2”."
    )
    api_url: ApiUrl = Field(
        default="", title="PagerDuty address", description="Empty: the usual one. EU: https://events.eu.pagerduty.com"
    )

    @field_validator("routing_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        if not _ROUTING_KEY.fullmatch(value.get_secret_value()):
            raise refused("An integration key has 32 letters and digits.")
        return value


class PagerDuty(ChannelKind):
    """Triggers and resolves incidents."""

    name = "pagerduty"
    title = "PagerDuty"
    Settings = PagerDutySettings
    recipient_limit = "webhook"
    #: An incident for each event, or a recovery would not find it.
    digests = False

    def recipients(self, settings: PagerDutySettings) -> tuple[Recipient, ...]:
        """The one service."""
        key = settings.routing_key.get_secret_value()
        return (Recipient(key, masked_secret(key)),)

    def shown(self, settings: PagerDutySettings) -> dict[str, str]:
        """The end of the key."""
        shown = {"Integration key": masked_secret(settings.routing_key.get_secret_value())}
        if settings.api_url:
            shown["PagerDuty address"] = masked_url(settings.api_url)
        return shown

    def send(self, settings: PagerDutySettings, recipient: str, message: Message) -> Answer:
        """One event for each alert: a recovery must find its incident.

        A try after half of them went out repeats them; PagerDuty knows them by their key.
        """
        url = f"{(settings.api_url or API_URL).rstrip('/')}{PATH}"
        secrets = (recipient, url, *message.secrets)
        answer = Answer(Outcome.PERMANENT, "There was nothing to tell.")
        with attempt():
            for event in events_of(message, recipient):
                answer = _told(url, event, secrets)
                if answer.outcome != Outcome.DELIVERED:
                    break
        return answer


def events_of(message: Message, routing_key: str) -> list[dict[str, Any]]:
    """What PagerDuty is sent."""
    events = []
    for item in message.items:
        events.append(_event(item, routing_key))
        if item.is_over:  # else its incident would stay open for ever
            events.append(_resolution(item, routing_key))
    return events


def _event(item: Item, routing_key: str) -> dict[str, Any]:
    if item.notice == Notice.RESOLVED:
        return _resolution(item, routing_key)
    details = {"Condition": item.condition, "Value": item.value, "Owner": item.owner, **item.annotations}
    payload: dict[str, Any] = {
        "summary": f"{item.rule_name}: {item.summary}"[:SUMMARY_MAX],
        "source": item.labels.get("service") or item.labels.get("instance") or "opsportal",
        "severity": _SEVERITIES.get(item.severity, "error"),
        "timestamp": item.triggered_at.isoformat(),
        "component": item.metric,
        "custom_details": {name: text for name, text in {**details, **item.labels}.items() if text},
    }
    if item.notice == Notice.TEST:
        payload |= {"summary": f"Test: {item.summary}"[:SUMMARY_MAX], "severity": "info"}
    event = _trigger(item, routing_key, payload)
    links = (("Acknowledge in the portal", item.ack_url), ("Details", item.event_url), ("Runbook", item.runbook_url))
    if found := [{"href": url, "text": text} for text, url in links if url]:
        event["links"] = found
    return event


def _resolution(item: Item, routing_key: str) -> dict[str, Any]:
    return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": _key(item)}


def _trigger(item: Item, routing_key: str, payload: dict[str, Any]) -> dict[str, Any]:
    event = {"routing_key": routing_key, "event_action": "trigger", "dedup_key": _key(item), "payload": payload}
    return {**event, "client": "Operations portal"}


def _key(item: Item) -> str:
    """Of this episode alone: a sender's alert id names later ones too, which a late recovery must not close."""
    return item.event_id


def _told(url: str, event: dict[str, Any], secrets: tuple[str, ...]) -> Answer:
    body = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace")
    try:
        reply = exchange(url, body, {"Content-Type": "application/json"})
    except Failed as failed:
        return failed.answer
    answer = judge(reply, "PagerDuty", secrets=secrets, provider_id=str(event["dedup_key"]))
    if reply.status == 400 and (why := _errors(reply, secrets)):
        return Answer(Outcome.PERMANENT, f"PagerDuty refused it: {why}"[:300], 400)
    return answer


def _errors(reply: Reply, secrets: tuple[str, ...]) -> str:
    try:
        said = json.loads(reply.body)
        errors = said.get("errors") or [said.get("message", "")]
        return own_words("; ".join(str(error) for error in errors), secrets)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
