"""Text messages, by Twilio."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import Field, ValidationInfo, field_validator
from requests.auth import _basic_auth_str
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

from alerting.channels.answering import judge, own_words
from alerting.channels.base import Answer, ChannelKind, ChannelSettings, Item, Message, Recipient
from alerting.channels.connecting import Failed
from alerting.channels.fields import ApiUrl, NeededSecret, PhoneNumbers, refused
from alerting.channels.http import Reply, exchange
from alerting.channels.wording import head
from alerting.models import Notice, Outcome
from alerting.recipients import BadRecipient, clean_phone, masked_phone, masked_secret, masked_url

LENGTH_MAX = 320
API_URL = "https://api.twilio.com"

#: What Twilio answers with 400 although another try may go through: its queue for the sender is full.
_TRANSIENT_CODES = frozenset({21611})
#: Twilio's own numbers for what a person has to mend, in words that say how.
_SENTENCES = {
    20003: "Twilio refused the account SID or the auth token.",
    21211: "Twilio says that there is no such telephone number.",
    21408: "Twilio may not send to that country; allow it in the account's geographic permissions.",
    21606: "Twilio says that the sender's number cannot send text messages to this number.",
    21610: "The recipient has unsubscribed (answered STOP); they must answer START first.",
    21614: "Twilio says that this number cannot receive text messages.",
}

_SIGNS = str.maketrans(
    {
        "≥": ">=", "≤": "<=", "≠": "!=", "…": "...", "–": "-", "—": "-", "−": "-", "“": '"', "”": '"', "„": '"',
        "‘": "'", "’": "'", "·": "-", "•": "-", "→": "->", "×": "x", "\u00a0": " ", "\u202f": " ", "`": "'",
        "µ": "u", "°": " deg",
    }
)  # fmt: skip
#: The basic alphabet of GSM 03.38, and what takes two places in it.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_DOUBLE = frozenset("^{}\\[~]|€")
_MESSAGING_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")

log = logging.getLogger(__name__)
_silent = logging.Logger("alerting.twilio", level=logging.CRITICAL + 1)


class SmsSettings(ChannelSettings):
    """Who gets text messages, and the Twilio account that sends them."""

    numbers: PhoneNumbers = Field(
        title="Telephone numbers", description="With the country, one a line, for example +442079460958."
    )
    account_sid: str = Field(
        pattern=r"^AC[0-9a-fA-F]{32}$", title="Account SID", description="AC and 32 characters, from Twilio's console."
    )
    auth_token: NeededSecret = Field(title="Auth token", description="From Twilio's console.")
    sender: str = Field(
        title="Sender", description="A telephone number of the account, or a messaging service: MG and 32 characters."
    )
    api_url: ApiUrl = Field(
        default="", title="Twilio address", description="Empty: the usual one. For another region or a proxy."
    )

    @field_validator("account_sid", mode="wrap")
    @classmethod
    def _account(cls, value: Any, handler: Any, info: ValidationInfo) -> str:
        try:
            return str(handler(value.strip() if isinstance(value, str) else value))
        except ValueError:
            raise refused("An account SID is AC and 32 characters (0-9, a-f), as Twilio's console shows it.") from None

    @field_validator("sender")
    @classmethod
    def _sender(cls, value: str) -> str:
        text = value.strip()
        if _MESSAGING_SERVICE.fullmatch(text):
            return text
        if text.startswith("MG"):
            raise refused("A messaging service is MG and 32 characters (0-9, a-f), as Twilio's console shows it.")
        try:
            return clean_phone(text)
        except BadRecipient as bad:
            raise refused(bad.sentence) from None


class _HttpClient(TwilioHttpClient):
    """Sends as everything else is sent, and keeps the reply: the library drops the header `Retry-After`."""

    def __init__(self, api_url: str) -> None:
        super().__init__(pool_connections=False, logger=_silent)
        self._api_url = api_url.rstrip("/")
        self.reply: Reply | None = None

    def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        parts = urlsplit(url)
        sent = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if auth:
            sent["Authorization"] = _basic_auth_str(*auth)
        form = urlencode({name: value for name, value in (data or {}).items() if value is not None})
        self.reply = exchange(f"{self._api_url}{parts.path}", form.encode(), sent, method=method.upper())
        return Response(self.reply.status, self.reply.body.decode("utf-8", "replace"), self.reply.headers)


class Sms(ChannelKind):
    """Sends text messages."""

    name = "sms"
    title = "SMS"
    Settings = SmsSettings
    recipient_limit = "sms"

    def recipients(self, settings: SmsSettings) -> tuple[Recipient, ...]:
        """Each number."""
        return tuple(Recipient(number, masked_phone(number)) for number in settings.numbers)

    def shown(self, settings: SmsSettings) -> dict[str, str]:
        """Masked numbers, and the ends of what the account is known by."""
        sender = settings.sender
        shown = {
            "Telephone numbers": ", ".join(recipient.shown for recipient in self.recipients(settings)),
            "Account SID": masked_secret(settings.account_sid),
            "Auth token": masked_secret(settings.auth_token.get_secret_value()),
            "Sender": masked_phone(sender) if sender.startswith("+") else masked_secret(sender),
        }
        if settings.api_url:
            shown["Twilio address"] = masked_url(settings.api_url)
        return shown

    def warm_up(self) -> None:
        """Twilio's library."""
        _library()

    def send(self, settings: SmsSettings, recipient: str, message: Message) -> Answer:
        """One text message to one number."""
        http = _HttpClient(settings.api_url or API_URL)
        token = settings.auth_token.get_secret_value()
        client = _library()(settings.account_sid, token, http_client=http)
        sender = {"messaging_service_sid" if settings.sender.startswith("MG") else "from_": settings.sender}
        try:
            client.messages.create(to=recipient, body=text_of(message), **sender)
        except Failed as failed:
            return failed.answer
        except Exception as error:
            # Whatever the library makes of the reply: the reply itself says it better.
            log.debug("twilio_reply_refused", extra={"cause": type(error).__name__})
        if http.reply is None:
            return Answer(Outcome.PERMANENT, "The text message cannot be given to Twilio in its form.")
        return _judge(http.reply, (token, settings.account_sid, settings.sender, recipient, *message.secrets))


@cache
def _library() -> Any:
    # Half a second of imports, which only a process that sends should pay for.
    import twilio.rest.api.v2010.account.message  # noqa: F401
    from twilio.rest import Client

    return Client


def _judge(reply: Reply, secrets: tuple[str, ...]) -> Answer:
    said = _said(reply.body)
    if 200 <= reply.status < 300:
        sid = said.get("sid")
        if not isinstance(sid, str):
            words = "What Twilio answered makes no sense. The message may have arrived all the same."
            return Answer(Outcome.UNKNOWN, words, reply.status)
        return Answer(Outcome.DELIVERED, "Twilio took it for sending.", reply.status, None, sid[:200])
    code = said.get("code")
    words = _SENTENCES.get(code, "") if isinstance(code, int) else ""
    message = said.get("message")
    if not words and isinstance(message, str):
        words = f"Twilio answered {reply.status}: {own_words(message, secrets)}"
    found = judge(reply, "Twilio", secrets=secrets)
    outcome = Outcome.TRANSIENT if code in _TRANSIENT_CODES else found.outcome
    if words and isinstance(code, int):
        words = f"{words.rstrip('.')} (Twilio's error {code})."
    wait = f" It asks to wait {found.retry_after:.0f} s." if found.retry_after is not None and words else ""
    return Answer(outcome, (words + wait)[:300] or found.sentence, reply.status, found.retry_after)


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


# ---------------------------------------------------------------- the text
def text_of(message: Message) -> str:
    """At most 320 characters. The acknowledging link goes in whole or not at all; the words around it give way."""
    item = message.foremost
    if message.is_digest:
        told = f"{message.total} alerts held back by your limit. Worst: {head(item)} {item.summary}"
        return _fitted(told, item.event_url)
    told = f"{head(item)} {item.summary}"
    known = [text for text in (item.value, item.condition) if text and text not in item.summary]
    known += [f"{name}={value}" for name, value in item.labels.items() if value not in item.summary]
    if item.notice == Notice.TEST:
        return _fitted(f"{told} (Nothing is wrong.)", "")
    whole = ". ".join([told.rstrip("."), ", ".join(known)]) if known else told
    return _fitted(whole, _link(item))


def _link(item: Item) -> str:
    for url, words in ((item.ack_url, "Ack: "), (item.event_url, "")):
        if url and len(url) <= LENGTH_MAX // 2:
            return f"{words}{url}"
    return ""


def _fitted(words: str, link: str) -> str:
    link = gsm(link)
    room = LENGTH_MAX - (places(link) + 1 if link else 0)
    text = gsm(words)
    if places(text) > room:
        while places(text) > room - 3:
            text = text[:-1]
        text = text.rstrip() + "..."
    return f"{text} {link}".strip() if link else text


def gsm(text: str) -> str:
    """The text with signs that text messages know: `≥` as `>=`, `é` where it must as `e`; other scripts stay."""
    return "".join(_letter(c) for c in text.translate(_SIGNS) if c not in "\r\n")


def _letter(c: str) -> str:
    if c in _GSM or c in _GSM_DOUBLE:
        return c
    plain = "".join(part for part in unicodedata.normalize("NFKD", c) if not unicodedata.combining(part))
    if plain and all(part in _GSM for part in plain):
        return plain
    return c if c.isalnum() else "?"


def places(text: str) -> int:
    """The length of the text as the network counts it."""
    return len(text) + sum(c in _GSM_DOUBLE for c in text)
