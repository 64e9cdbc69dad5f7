"""What a provider's reply over HTTP means, in the words of `Answer`. Siblings say what is special to them."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable
from http import HTTPStatus
from urllib.parse import unquote

from alerting.channels.base import Answer
from alerting.channels.http import Reply
from alerting.models import Outcome
from alerting.recipients import masked_phone, spellings_of_phone
from opsportal.observability.sanitise import MASK, mask_text

SENTENCE_MAX = 300
SAID_MAX = 150

#: Besides 5xx: what another try may find different.
_TRANSIENT = frozenset({408, 425})
_AUTHENTICATION = frozenset({401, 403, 407})
_ADDRESS = re.compile(r"(?:https?|mailto)://\S+", re.IGNORECASE)
_SAID_READ = 8_192
#: How often a text may have been escaped, one in the other: JSON in an address in HTML.
_ESCAPED_MOST = 4
# However many backslashes there are: JSON in JSON has three of them.
_BACKSLASHED = re.compile(r"(?<!\\)\\++(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([\"'/&<>]))")


def judge(reply: Reply, who: str, *, secrets: Collection[str] = (), provider_id: str = "") -> Answer:
    """2xx is delivered; 429, and 503 that says when, are throttled; timeouts and 5xx transient; the rest permanent.

    `who` begins the sentence: "Slack". `secrets` are masked in what the provider says.
    """
    status = reply.status
    if 200 <= status < 300:
        return Answer(Outcome.DELIVERED, f"{who} took it (HTTP {status}).", status, provider_id=provider_id[:200])
    said = own_words(reply.body, secrets)
    words = f"{who} answered {http_words(status)}{f': {said}' if said else '.'}"
    wait = reply.retry_after
    if status == 429 or (status == 503 and wait is not None):
        if wait is not None:
            words = f"{words.rstrip('.')}; it asks to wait {wait:.0f} s."
        return Answer(Outcome.THROTTLED, words[:SENTENCE_MAX], status, wait)
    if status >= 500 or status in _TRANSIENT:
        return Answer(Outcome.TRANSIENT, words[:SENTENCE_MAX], status, wait)
    if 300 <= status < 400:
        words = f"{who} answered {http_words(status)}: redirects are not followed. Set the final address."
    elif status in _AUTHENTICATION:
        words = f"{who} refused the credentials ({http_words(status)}){f': {said}' if said else '.'}"
    return Answer(Outcome.PERMANENT, words[:SENTENCE_MAX], status)


def http_words(status: int) -> str:
    """`HTTP 404 Not Found`: the phrase of the standard, not the server's, which could say anything."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def own_words(said: bytes | str, secrets: Iterable[str] = (), limit: int = SAID_MAX) -> str:
    """What somebody else says, on one line, short, without addresses, secrets and personal data."""
    text = unescaped(said if isinstance(said, str) else said[:_SAID_READ].decode("utf-8", "replace"))
    text = _without(text, {spelling for secret in secrets for spelling in (secret, unescaped(secret))})
    if "<html" in text.lower() or "<!doctype" in text.lower():
        return ""
    text = mask_text(_ADDRESS.sub("[address]", text))
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def unescaped(said: str) -> str:
    """The text as it is meant, of its first 8,192 characters: without what JSON, addresses and HTML write for a sign.

    Whoever refuses a field repeats it in a spelling of his own, in which no secret would be found.
    """
    text = said[:_SAID_READ]
    for _ in range(_ESCAPED_MOST):
        before, text = text, html.unescape(unquote(_BACKSLASHED.sub(_meant, text)))
        if text == before:
            break
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meant(found: re.Match[str]) -> str:
    number = found[1] or found[2]
    return chr(int(number, 16)) if number else found[3]


def _without(text: str, secrets: Collection[str]) -> str:
    """The text with every secret masked, in capitals or not; telephone numbers however they are grouped."""
    for number in secrets:
        if spellings := spellings_of_phone(number):
            text = spellings.sub(masked_phone(number), text)
    small = text.lower()
    for secret in sorted({*pieces(secrets)}, key=len, reverse=True):
        if secret.lower() in small:  # seldom, and a pattern of each message's own link costs more than to look
            text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    return text


def pieces(secrets: Iterable[str]) -> Iterable[str]:
    """Each secret, and of an address the parts of its path and query that are long enough to be one."""
    for secret in secrets:
        if len(secret) >= 4:
            yield secret
        if "://" in secret:
            rest = secret.partition("://")[2].partition("/")[2]
            yield from (part for part in re.split(r"[/?&=]", rest) if len(part) >= 8)
            if len(rest) >= 4:
                yield rest
