"""How the pretend providers answer, and what they make of a message. No I/O, no clock.

The answers are those of the real ones as far as a sender looks at them: status, the fields of the body, `Retry-After`.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from random import Random
from typing import Any
from urllib.parse import parse_qs

SLACK_PATHS = {
    "#trading-desk": "/slack/services/T0DEMO/B0DESK/notARealWebhookOfTheDesk",
    "#platform": "/slack/services/T0DEMO/B0PLAT/notARealWebhookOfThePlatform",
}
HOOK_PATH = "/hook/operations"
HOOK_SECRET = "demo-signing-secret-0001"  # noqa: S105 - signs what nobody else reads
TWILIO_SID = "AC" + "de400001" * 4
TWILIO_TOKEN = "demo-twilio-token-0001"  # noqa: S105 - of a provider that does not exist
PAGERDUTY_KEY = "demo0routing0key0demo0routing0ke"
SENDGRID_KEY = "SG.demo-key-of-a-provider-that-does-not-exist"
TWILIO_SENDER = "+442079460100"
ON_CALL_NUMBER = "+442079460958"
UNKNOWN_NUMBER = "+442079460404"
BOUNCES = "bounce@"
"""Mail to an address that begins so is refused for good; texts to `UNKNOWN_NUMBER` too."""

#: Of a hundred requests, so many are told to wait, fail, or are answered late, while there are mishaps.
TROUBLE = {"throttled": 3, "failing": 3, "slow": 3}
SLOW_SECONDS = 2.5
RETRY_AFTER_SECONDS = 3


@dataclass(frozen=True)
class Reply:
    """What a provider answers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: bool = True

    @property
    def words(self) -> str:
        """The answer in one line for people."""
        return f"{self.status} {self.body[:120]}".strip()


@dataclass(frozen=True)
class Arrived:
    """What a request carried."""

    kind: str
    to: str = ""
    subject: str = ""
    text: str = ""
    key: str = ""


def trouble(chance: Random) -> str:
    """What befalls the next request, most often nothing: a key of `TROUBLE`, or empty."""
    drawn = chance.randrange(100)
    for kind, of_hundred in TROUBLE.items():
        drawn -= of_hundred
        if drawn < 0:
            return kind
    return ""


def in_trouble(kind: str) -> Reply | None:
    """The answer of a provider that is throttling or failing."""
    if kind == "throttled":
        body = json.dumps({"error": "rate_limited"})
        return Reply(429, body, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    if kind == "failing":
        return Reply(500, json.dumps({"error": "internal_error"}))
    return None


def answer(path: str, headers: Mapping[str, str], body: bytes, chance: Random) -> tuple[Reply, Arrived | None]:
    """What comes of a POST. `headers` by lower-case name. Nothing arrives at a path where nobody lives."""
    for pattern, provider in PROVIDERS:
        if pattern.fullmatch(path):
            return provider(path, headers, body, chance)
    return Reply(404, json.dumps({"error": "nothing lives at this address"})), None


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _slack(path: str, _headers: Mapping[str, str], body: bytes, _chance: Random) -> tuple[Reply, Arrived | None]:
    content = _object(body)
    if content is None:
        return Reply(400, "invalid_payload", json=False), None
    lines = _texts(content.get("blocks")) + _texts(content.get("attachments"))
    text = str(content.get("text") or "")
    if not text and not lines:
        return Reply(400, "no_text", json=False), None
    room = next((room for room, known in SLACK_PATHS.items() if known == path), path)
    shown = "\n".join(_plain(line) for line in (lines or [text]))
    return Reply(200, "ok", json=False), Arrived("slack", room, _plain(text)[:200], shown)


def _texts(node: Any) -> list[str]:
    """Every text in Slack's blocks, in order, and the addresses of buttons."""
    if isinstance(node, list):
        return [text for item in node for text in _texts(item)]
    if not isinstance(node, dict):
        return []
    found: list[str] = []
    for name, value in node.items():
        if name in ("text", "fallback", "title", "url") and isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict | list):
            found.extend(_texts(value))
    return found


def _plain(text: str) -> str:
    """Slack's markup as a person sees it, each link's address spelt out."""
    spelt = re.sub(r"<(https?://[^|>]+)\|([^>]*)>", r"\2 \1", text)
    spelt = re.sub(r"<(https?://[^|>]+)>", r"\1", spelt)
    spelt = re.sub(r"^\*([^*\n]+)\*\n", r"\1: ", spelt)  # a field: its title in bold, then its text
    spelt = re.sub(r":[a-z_]+_circle: ", "", spelt)
    return spelt.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _twilio(_path: str, headers: Mapping[str, str], body: bytes, chance: Random) -> tuple[Reply, Arrived | None]:
    expected = base64.b64encode(f"{TWILIO_SID}:{TWILIO_TOKEN}".encode()).decode()
    if headers.get("authorization") != f"Basic {expected}":
        return _twilio_error(401, 20003, "Authenticate"), None
    form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    to, text = form.get("To", ""), form.get("Body", "")
    if to == UNKNOWN_NUMBER or not re.fullmatch(r"\+[1-9]\d{6,14}", to):
        return _twilio_error(400, 21211, "Invalid 'To' Phone Number"), None
    name = f"SM{chance.getrandbits(128):032x}"
    told: dict[str, Any] = {
        "sid": name,
        "account_sid": TWILIO_SID,
        "status": "queued",
        "to": to,
        "body": text,
        "num_segments": "1",
        "from": form.get("From"),
        "messaging_service_sid": form.get("MessagingServiceSid"),
        "error_code": None,
        "error_message": None,
        "direction": "outbound-api",
        "api_version": "2010-04-01",
        "date_created": None,
        "date_updated": None,
        "date_sent": None,
        "price": None,
        "price_unit": "USD",
        "num_media": "0",
        "uri": f"/2010-04-01/Accounts/{TWILIO_SID}/Messages/{name}.json",
        "subresource_uris": {},
    }
    return Reply(201, json.dumps(told)), Arrived("sms", to, "", text, name)


def _twilio_error(status: int, code: int, message: str) -> Reply:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return Reply(status, json.dumps({"code": code, "message": message, "more_info": more, "status": status}))


def _sendgrid(_path: str, headers: Mapping[str, str], body: bytes, chance: Random) -> tuple[Reply, Arrived | None]:
    if headers.get("authorization") != f"Bearer {SENDGRID_KEY}":
        message = "The provided authorization grant is invalid, expired, or revoked"
        return Reply(401, json.dumps({"errors": [{"message": message, "field": None, "help": None}]})), None
    content = _object(body)
    try:
        assert content is not None
        to = ", ".join(person["email"] for mail in content["personalizations"] for person in mail["to"])
        subject = str(content.get("subject") or content["personalizations"][0].get("subject", ""))
        text = next((part["value"] for part in content["content"] if part["type"] == "text/plain"), "")
    except (AssertionError, KeyError, TypeError, IndexError, AttributeError):
        return Reply(400, json.dumps({"errors": [{"message": "Bad Request", "field": "personalizations"}]})), None
    name = f"{chance.getrandbits(96):024x}"
    return Reply(202, "", {"X-Message-Id": name}), Arrived("email", to, f"{subject} (by SendGrid)", text, name)


def _pagerduty(_path: str, _headers: Mapping[str, str], body: bytes, _chance: Random) -> tuple[Reply, Arrived | None]:
    content = _object(body)
    action = str(content.get("event_action", "")) if content else ""
    if content is None or action not in ("trigger", "acknowledge", "resolve") or not content.get("routing_key"):
        told = {"status": "invalid event", "message": "Event object is invalid", "errors": ["event_action"]}
        return Reply(400, json.dumps(told)), None
    payload = content.get("payload") if isinstance(content.get("payload"), dict) else {}
    key = str(content.get("dedup_key") or "")
    told = {"status": "success", "message": "Event processed", "dedup_key": key}
    lines = [str(payload.get("summary", ""))] if payload else []
    lines += [f"{name}: {payload[name]}" for name in ("severity", "source", "component") if payload and name in payload]
    lines += [str(link.get("href", "")) for link in content.get("links") or [] if isinstance(link, dict)]
    return Reply(202, json.dumps(told)), Arrived("pagerduty", "On-call", f"{action}: {key}", "\n".join(lines), key)


def _hook(path: str, headers: Mapping[str, str], body: bytes, _chance: Random) -> tuple[Reply, Arrived | None]:
    content = _object(body)
    if content is None:
        return Reply(400, json.dumps({"error": "not a JSON object"})), None
    signed = "signed" if headers.get("x-opsportal-signature") else "not signed"
    text = json.dumps(content, indent=1, ensure_ascii=False)
    key = headers.get("idempotency-key", "")
    return Reply(200, json.dumps({"ok": True})), Arrived("webhook", path, f"JSON, {signed}", text, key)


PROVIDERS = (
    (re.compile(r"/slack/services/.+"), _slack),
    (re.compile(r"/twilio/2010-04-01/Accounts/[^/]+/Messages\.json"), _twilio),
    (re.compile(r"/sendgrid/v3/mail/send/?"), _sendgrid),
    (re.compile(r"/pagerduty/v2/enqueue"), _pagerduty),
    (re.compile(r"/hook/.+"), _hook),
)


def read_mail(content: bytes, to: list[str]) -> Arrived:
    """A mail as a person reads it: subject and plain text, and its Message-ID."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    part = message.get_body(("plain", "html")) if isinstance(message, EmailMessage) else None
    try:
        text = str(part.get_content()) if part is not None else ""
    except (LookupError, ValueError, KeyError):
        text = "(This mail could not be read.)"
    subject, name = str(message.get("Subject", "")).strip(), str(message.get("Message-ID", "")).strip()
    return Arrived("email", ", ".join(to), subject, text.strip(), name)
