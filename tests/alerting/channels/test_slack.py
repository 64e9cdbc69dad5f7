"""Slack's incoming webhook, against a real server on loopback."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from alerting.channels.base import Answer, Message
from alerting.channels.slack import Slack, SlackSettings, blocks_of, escaped
from alerting.models import Outcome
from tests.alerting.channels.making import digest, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers


def send(providers: Providers, told: Message | None = None) -> Answer:
    settings = SlackSettings(url=SecretStr(providers.slack.url))
    return Slack().send(settings, providers.slack.url, told or message())


def test_slack__message__arrives_with_its_facts(providers: Providers) -> None:
    """AD-1: severity, facts and links; the text stands for it in notifications."""
    answer = send(providers)
    assert (answer.outcome, answer.status_code) == (Outcome.DELIVERED, 200)
    body = providers.slack.received[0].json
    assert body["text"] == "[CRITICAL] Drawdown is 5.2 %, limit 5 %"
    assert body["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": "CRITICAL: Drawdown is 5.2 %, limit 5 %",
        "emoji": False,
    }
    told = json.dumps(body["blocks"], ensure_ascii=False)
    for part in (
        "Drawdown ≥ 5 %",
        "strategy=momentum",
        "<https://portal.example/admin/alerting/acknowledge/signed/|Acknowledge>",
    ):
        assert part in told


@pytest.mark.parametrize("word", ["firing", "resolved", "test"])
def test_slack__every_notice__fits_slacks_limits(word: str) -> None:
    """AD-1: Slack refuses a message of which one part is too long."""
    labels = {f"label{n}": "&" * 200 for n in range(30)}
    annotations = {f"note{n}": "<" * 500 for n in range(10)}
    for told in (message(notice=word, summary="&" * 300, labels=labels, annotations=annotations), digest(20, more=3)):
        blocks = blocks_of(told)
        assert len(blocks) <= 50
        for block in blocks:
            assert len(block.get("fields", [])) <= 10
            assert len(block.get("text", {}).get("text", "")) <= (150 if block["type"] == "header" else 3_000)
            assert all(len(field["text"]) <= 2_000 for field in block.get("fields", []))


@pytest.mark.parametrize("evil", ["<!channel>", "<https://evil.example|Acknowledge>", "<@U123>", "a & b"])
def test_slack__text_from_outside__calls_nobody(providers: Providers, evil: str) -> None:
    """AD-1: labels and summaries are anybody's; they are no markup."""
    send(providers, message(summary=evil, rule_name=evil, labels={"x": evil}, annotations={evil: evil}))
    body = providers.slack.received[0].json
    body["blocks"] = [block for block in body["blocks"] if block["type"] != "header"]  # plain text
    assert evil not in json.dumps(body)
    texts = [block.get("text") for block in body["blocks"]] + [f for b in body["blocks"] for f in b.get("fields", [])]
    assert all(text["verbatim"] is True for text in texts if text)


def test_slack__escape_that_is_cut__is_dropped_whole() -> None:
    """AD-1: half an escape would show as rubbish."""
    assert escaped("aaa&bbb", 7) == "aaa…" and escaped("<" * 10, 12) == "&lt;&lt;…"


FAULTS: list[tuple[str, Any, Outcome, str]] = [
    ("429", steps.throttles("30"), Outcome.THROTTLED, "asks to wait 30 s"),
    ("no_service", steps.says(404, b"no_service"), Outcome.PERMANENT, "no_service"),
    ("invalid_token", steps.says(403, b"invalid_token"), Outcome.PERMANENT, "invalid_token"),
    ("archived", steps.says(410, b"channel_is_archived"), Outcome.PERMANENT, "channel_is_archived"),
    ("invalid_payload", steps.says(400, b"invalid_payload"), Outcome.PERMANENT, "invalid_payload"),
    ("refused with 200", steps.says(200, b"invalid_payload"), Outcome.PERMANENT, "invalid_payload"),
    ("a proxy's 200", steps.says(200, b"<html>Sign in</html>"), Outcome.UNKNOWN, "may have arrived"),
    ("500", steps.says(500, b"rollup_error"), Outcome.TRANSIENT, "rollup_error"),
    ("redirect", steps.redirects("http://10.0.0.1/"), Outcome.PERMANENT, "redirects are not followed"),
    ("reset", steps.resets(), Outcome.UNKNOWN, "may have arrived"),
    ("half", steps.half(), Outcome.UNKNOWN, "broke off"),
    ("html", steps.says(502, b"<html><h1>Bad</h1></html>"), Outcome.TRANSIENT, "HTTP 502 Bad Gateway."),
]


@pytest.mark.parametrize(
    ("step", "outcome", "words"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_slack__behaviour__is_classified(
    providers: Providers, caplog: pytest.LogCaptureFixture, step: Any, outcome: Outcome, words: str
) -> None:
    """AD-5, AC-2: each in a sentence; the webhook's address is in no sentence and no log, the library's own included."""
    caplog.set_level(logging.DEBUG)
    providers.slack.script(step)
    answer = send(providers)
    assert answer.outcome == outcome and words in answer.sentence
    assert "/services/" not in answer.sentence and "/services/" not in caplog.text
    assert (answer.retry_after == 30) == (outcome == Outcome.THROTTLED)


def test_settings__without_encryption__is_refused() -> None:
    """AC-2: the address is a secret."""
    with pytest.raises(ValidationError) as caught:
        SlackSettings(url=SecretStr("http://hooks.slack.com/services/T/B/x"))
    assert "https://" in caught.value.errors()[0]["msg"]


def test_shown__webhook__is_host_and_last_four() -> None:
    """AC-2: of the address only the host and the last 4 characters."""
    settings = SlackSettings(url=SecretStr("https://hooks.slack.com/services/T000/B000/abcdefghijkl"))
    assert Slack().shown(settings) == {"Webhook address": "hooks.slack.com/…ijkl"}
