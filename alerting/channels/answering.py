"""What a provider's reply over HTTP means, in the words of `Answer`. Siblings say what is special to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from http import HTTPStatus

from alerting.channels.base import Answer
from alerting.channels.http import Reply
from alerting.models import Outcome
from opsportal.observability.sanitise import MASK, mask_text

SENTENCE_MAX = 300
SAID_MAX = 150

#: Besides 5xx: what another try may find different.
_TRANSIENT = frozenset({408, 425})
_AUTHENTICATION = frozenset({401, 403, 407})
_ADDRESS = re.compile(r"(?:https?|mailto)://\S+", re.IGNORECASE)


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


def refuses_credentials(answer: Answer) -> bool:
    """Whether the provider did not accept who we say we are."""
    return answer.outcome == Outcome.PERMANENT and answer.status_code in _AUTHENTICATION


def http_words(status: int) -> str:
    """`HTTP 404 Not Found`: the phrase of the standard, not the server's, which could say anything."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def own_words(said: bytes | str, secrets: Iterable[str] = (), limit: int = SAID_MAX) -> str:
    """What somebody else says, on one line, short, without addresses, secrets and personal data."""
    text = said if isinstance(said, str) else said[:8_192].decode("utf-8", "replace")
    text = text[:8_192]
    for secret in sorted({*pieces(secrets)}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    if "<html" in text.lower() or "<!doctype" in text.lower():
        return ""
    text = mask_text(_ADDRESS.sub("[address]", text))
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


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
