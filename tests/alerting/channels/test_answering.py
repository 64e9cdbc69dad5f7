"""What providers say, as the sentences of attempts may repeat it: viewers read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from alerting.channels.answering import own_words
from alerting.channels.base import Answer, Message
from alerting.channels.email import Email, EmailSettings
from alerting.channels.pagerduty import PagerDuty, PagerDutySettings
from alerting.channels.slack import Slack, SlackSettings
from alerting.channels.sms import Sms, SmsSettings
from alerting.channels.webhook import Webhook, WebhookSettings
from alerting.models import Outcome
from tests.alerting.channels.making import message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.alerting.providers.web import ACCOUNT, RIGHT_KEY, ROUTING_KEY, TOKEN, twilio_error

LINK_TOKEN = "123456-495001.1w9fkC.b8Jd-Xk_4mQz7LrTn0VpYe2HsGu5AoWc1IfDx3EyNqM"
LINK = f"https://portal.example/ack/{LINK_TOKEN}/"
NUMBER, SENDER = "+442079460958", "+442079460100"
SECRETS = (LINK, NUMBER, "ops.secret@example.com", "a/secret+of ours")
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text).replace("/", "\\/")),
    "JSON in numbers": lambda text: "".join(f"\\u{ord(c):04X}" for c in text),
    "in an address": lambda text: quote(text, safe=""),
    "twice in an address": lambda text: quote(quote(text, safe=""), safe=""),
    "HTML": lambda text: text.replace("/", "&#x2F;").replace("-", "&#45;").replace("+", "&plus;"),
    "small letters": str.lower,
    "capitals": str.upper,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", [*SECRETS, LINK_TOKEN], ids=["link", "number", "mail", "secret", "token"])
def test_own_words__secret_in_any_spelling__is_masked(spell: Callable[[str], str], secret: str) -> None:
    """AL-6, AC-2, AC-5: whoever refuses a field and repeats it writes it in its own way."""
    said = own_words(f"No: {spell(secret)}", SECRETS)
    assert said.removeprefix("No: ").strip('"\\') in ("***", "***0958", "[address]"), said


@pytest.mark.parametrize(
    "written",
    ["442079460958", "00442079460958", "44 20 7946 0958", "+44 (0)20 7946 0958", "02079460958", "(020) 7946-0958",
     "2079460958"],
)  # fmt: skip
def test_own_words__number_as_the_provider_writes_it__keeps_its_end(written: str) -> None:
    """AC-5: with the country or without, in groups or not."""
    said = own_words(f"Error 21612: To ({written}) cannot be reached", [NUMBER])
    assert "***0958" in said and said.startswith("Error 21612: To (") and said.endswith("cannot be reached")
    assert "7946" not in said


def test_own_words__other_words__stay() -> None:
    """AD-4: what is no secret is told as it was said."""
    said = 'Field "to": 100 % of 5 tries failed, see C:/log & #7 (21612)'
    assert own_words(said, SECRETS) == said
    assert (
        own_words(b'{"error":"it\\u2019s closed \\u00fcber night"}') == '{"error":"it\u2019s closed \u00fcber night"}'
    )


def _webhook(providers: Providers, told: Message, repeated: str) -> Answer:
    providers.webhook.script(steps.says(422, repeated))
    url = providers.webhook.url
    return Webhook().send(WebhookSettings(url=SecretStr(url)), url, told)


def _slack(providers: Providers, told: Message, repeated: str) -> Answer:
    providers.slack.script(steps.says(200, repeated))
    url = providers.slack.url
    return Slack().send(SlackSettings(url=SecretStr(url)), url, told)


def _sms(providers: Providers, told: Message, repeated: str) -> Answer:
    words = f"No: {repeated} To ({NUMBER[1:]}), From ({SENDER[1:]})"
    providers.twilio.script(twilio_error(21612, words))
    settings = SmsSettings(
        numbers=[NUMBER],
        account_sid=ACCOUNT,
        auth_token=SecretStr(TOKEN),
        sender=SENDER,
        api_url=providers.twilio.url,
    )
    return Sms().send(settings, NUMBER, told)


def _pagerduty(providers: Providers, told: Message, repeated: str) -> Answer:
    providers.pagerduty.script(steps.says(400, {"errors": [repeated]}))
    settings = PagerDutySettings(routing_key=SecretStr(ROUTING_KEY), api_url=providers.pagerduty.url)
    return PagerDuty().send(settings, ROUTING_KEY, told)


def _mail(providers: Providers, told: Message, way: Any) -> Answer:
    settings = EmailSettings(
        recipients=["ops@example.com"],
        sender="portal@example.com",
        transport=way,
        smtp_host="127.0.0.1",
        smtp_port=providers.mail.port,
        smtp_security="none",
        sendgrid_api_key=SecretStr(RIGHT_KEY),
        sendgrid_url=providers.sendgrid.url,
    )
    return Email().send(settings, "ops@example.com", told)


def _smtp(providers: Providers, told: Message, repeated: str) -> Answer:
    providers.mail.data.append(f"554 5.7.1 No: {repeated}")
    return _mail(providers, told, "smtp")


def _sendgrid(providers: Providers, told: Message, repeated: str) -> Answer:
    providers.sendgrid.script(steps.says(400, f"No: {repeated}"))
    return _mail(providers, told, "sendgrid")


@pytest.mark.parametrize("send", [_webhook, _slack, _sms, _pagerduty, _smtp, _sendgrid])
@pytest.mark.parametrize("part", [LINK, LINK_TOKEN], ids=["link", "token"])
def test_send__provider_repeats_the_acknowledging_link__it_is_in_no_sentence(
    providers: Providers, send: Callable[[Providers, Message, str], Answer], part: str
) -> None:
    """AL-6: whoever has it may acknowledge, and the attempt's sentence is read by people who may not."""
    for spell in (str, SPELLINGS["JSON with escaped slashes"]):
        answer = send(providers, message(ack_url=LINK), spell(part))
        assert answer.outcome != Outcome.DELIVERED
        assert "b8Jd" not in answer.sentence and "2079460" not in answer.sentence, answer.sentence
