"""Slack, by an incoming webhook."""

from __future__ import annotations

import logging
from typing import Any
from urllib.request import Request

from pydantic import Field
from slack_sdk.webhook import WebhookClient, WebhookResponse

from alerting.channels.answering import SENTENCE_MAX, judge, own_words
from alerting.channels.base import Answer, ChannelKind, ChannelSettings, Item, Message, Recipient
from alerting.channels.connecting import Failed
from alerting.channels.fields import SecretHttpsUrl
from alerting.channels.http import Reply, exchange
from alerting.channels.wording import facts, head, headline, left_out, purpose
from alerting.models import Notice, Outcome
from alerting.recipients import masked_url

#: Slack's own limits: characters of a header, of a section, of a field's text, and of the fallback.
HEADER_MAX, SECTION_MAX, FIELD_MAX, TEXT_MAX = 150, 3_000, 2_000, 3_000
_SIGNS = {"critical": ":red_circle:", "warning": ":large_orange_circle:", "info": ":large_blue_circle:"}

#: What another try would not change.
_REFUSALS = frozenset(
    {
        "action_prohibited", "channel_is_archived", "channel_not_found", "invalid_blocks", "invalid_payload",
        "invalid_token", "no_active_hooks", "no_service", "no_service_id", "no_team", "no_text",
        "posting_to_general_channel_denied", "team_disabled", "too_many_attachments", "user_not_found",
    }
)  # fmt: skip

#: The library would write the webhook's address into the log.
_silent = logging.Logger("alerting.slack", level=logging.CRITICAL + 1)


class SlackSettings(ChannelSettings):
    """Where Slack takes messages."""

    url: SecretHttpsUrl = Field(
        title="Webhook address",
        description="Slack shows it when the incoming webhook is made: https://hooks.slack.com/services/…",
    )


class _Client(WebhookClient):
    """Sends as everything else is sent."""

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        body = req.data if isinstance(req.data, bytes) else b""
        reply = exchange(url, body, {"Content-Type": "application/json; charset=utf-8"})
        text = reply.body.decode("utf-8", "replace")
        return WebhookResponse(url=url, status_code=reply.status, body=text, headers=dict(reply.headers))


class Slack(ChannelKind):
    """Posts to a Slack channel."""

    name = "slack"
    title = "Slack"
    Settings = SlackSettings
    recipient_limit = "webhook"

    def recipients(self, settings: SlackSettings) -> tuple[Recipient, ...]:
        """The one webhook."""
        url = settings.url.get_secret_value()
        return (Recipient(url, masked_url(url)),)

    def shown(self, settings: SlackSettings) -> dict[str, str]:
        """The host and the last 4 characters."""
        return {"Webhook address": masked_url(settings.url.get_secret_value())}

    def send(self, settings: SlackSettings, recipient: str, message: Message) -> Answer:
        """One message."""
        client = _Client(recipient, logger=_silent, retry_handlers=[])
        try:
            response = client.send(
                text=escaped(headline(message), TEXT_MAX),
                blocks=blocks_of(message),
                unfurl_links=False,
                unfurl_media=False,
            )
        except Failed as failed:
            return failed.answer
        headers = {name.title(): value for name, value in response.headers.items()}
        secrets = (recipient, *message.secrets)
        answer = judge(Reply(response.status_code, headers, response.body.encode()), "Slack", secrets=secrets)
        if answer.outcome == Outcome.DELIVERED and response.body.strip().lower() != "ok":
            return _not_ok(answer, response.body, secrets)
        return answer


def _not_ok(answer: Answer, body: str, secrets: tuple[str, ...]) -> Answer:
    """HTTP 200 is not enough: Slack says `ok`, or in a word why not; a proxy before it may say anything."""
    said = own_words(body, secrets)
    if body.strip() in _REFUSALS:
        return Answer(Outcome.PERMANENT, f"Slack did not take it: {said}.", answer.status_code)
    words = f"Slack's answer is not its own “ok”{f', but: {said}' if said else ''}. The message may have arrived."
    return Answer(Outcome.UNKNOWN, words[:SENTENCE_MAX], answer.status_code)


def blocks_of(message: Message) -> list[dict[str, Any]]:
    """The message in Slack's blocks: at most 50 of them, also for a digest of 20 events."""
    if not message.is_digest:
        return _whole(message.newest)
    blocks: list[dict[str, Any]] = [_header(headline(message))]
    if more := left_out(message):
        blocks.append(_section(escaped(more, SECTION_MAX)))
    for item in message.items:
        line = f"{_sign(item)} *{head(item)}* {escaped(item.summary, 600)}"
        known = " · ".join(text for text in (item.value, _labels(item)) if text)
        blocks.append(_section(f"{line}\n{escaped(known, 1_000)}\n{_links(item)}".strip()))
    return blocks


def _whole(item: Item) -> list[dict[str, Any]]:
    blocks = [_header(f"{head(item)}: {item.summary}")]
    if words := purpose(item):
        blocks.append(_section(escaped(words, SECTION_MAX)))
    told = [f"*{title}*\n{escaped(text, FIELD_MAX - 50)}" for title, text in facts(item)]
    told += [f"*{escaped(name, 100)}*\n{escaped(text, FIELD_MAX - 200)}" for name, text in item.annotations.items()]
    # A section has at most 10 fields.
    for begin in range(0, len(told), 10):
        fields = [_mrkdwn(text) for text in told[begin : begin + 10]]
        blocks.append({"type": "section", "fields": fields})
    if links := _links(item):
        blocks.append(_section(f"{_sign(item)} {links}"))
    return blocks


def _header(text: str) -> dict[str, Any]:
    # Plain text: nothing in it is markup.
    return {"type": "header", "text": {"type": "plain_text", "text": text[:HEADER_MAX], "emoji": False}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text[:SECTION_MAX])}


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: addresses, #channels and names in texts from outside become no links.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _sign(item: Item) -> str:
    if item.notice == Notice.RESOLVED:
        return ":large_green_circle:"
    return _SIGNS.get(item.severity, ":large_blue_circle:")


def _labels(item: Item) -> str:
    return ", ".join(f"{name}={value}" for name, value in item.labels.items())


def _links(item: Item) -> str:
    links = (("Acknowledge", item.ack_url), ("Details", item.event_url), ("Runbook", item.runbook_url))
    return " · ".join(f"<{_address(url)}|{title}>" for title, url in links if url)


def _address(url: str) -> str:
    return url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def escaped(text: str, limit: int) -> str:
    """Text without links and mentions such as `<!channel>`, at most so long: `& < >` are written as Slack asks for.

    Signs of bold or code keep their meaning: they can change the look, not what is said or whom it calls.
    """
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(whole) > limit:
        whole = whole[: limit - 1]
        cut = whole.rfind("&", len(whole) - 5)
        if cut >= 0 and ";" not in whole[cut:]:  # an escape that the cut has gone through
            whole = whole[:cut]
        whole += "…"
    return whole
