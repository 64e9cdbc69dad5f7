"""Text messages by Twilio, against a real server on loopback."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from alerting.channels.base import Answer, Message
from alerting.channels.sms import LENGTH_MAX, Sms, SmsSettings, gsm, places, text_of
from alerting.models import Outcome
from tests.alerting.channels.making import digest, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.alerting.providers.web import ACCOUNT, TOKEN, twilio_error

NUMBER = "+442079460958"
SERVICE = "MG0123456789abcdef0123456789abcdef"


def settings_of(providers: Providers | None = None, **more: Any) -> SmsSettings:
    usual: dict[str, Any] = {
        "numbers": [NUMBER],
        "account_sid": ACCOUNT,
        "auth_token": SecretStr(TOKEN),
        "sender": "+442079460100",
        "api_url": providers.twilio.url if providers else "",
    }
    return SmsSettings(**{**usual, **more})


def send(providers: Providers, told: Message | None = None, **more: Any) -> Answer:
    return Sms().send(settings_of(providers, **more), NUMBER, told or message())


def test_sms__message__arrives(providers: Providers) -> None:
    """AD-1: to the number, from the sender; Twilio's id is kept."""
    answer = send(providers)
    assert (answer.outcome, answer.provider_id) == (Outcome.DELIVERED, "SM0123456789abcdef0123456789abcdef")
    (request,) = providers.twilio.received
    assert request.path == f"/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert request.form["To"] == NUMBER and request.form["From"] == "+442079460100"
    assert request.form["Body"].startswith("CRITICAL Drawdown is 5.2 %") and "signed" in request.form["Body"]


def test_sms__messaging_service__is_the_sender(providers: Providers) -> None:
    """AD-1: Twilio chooses the number of a messaging service."""
    send(providers, sender=SERVICE)
    form = providers.twilio.received[0].form
    assert form["MessagingServiceSid"] == SERVICE and "From" not in form


FAULTS: list[tuple[str, Any, Outcome, str]] = [
    (
        "21211",
        twilio_error(21211, f"The 'To' number {NUMBER} is not valid."),
        Outcome.PERMANENT,
        "no such telephone number",
    ),
    ("21610", twilio_error(21610, "unsubscribed"), Outcome.PERMANENT, "unsubscribed"),
    ("21614", twilio_error(21614, "not mobile"), Outcome.PERMANENT, "cannot receive"),
    ("21611", twilio_error(21611, "queue is full"), Outcome.TRANSIENT, "queue is full"),
    ("20003", twilio_error(20003, "Authenticate", 401), Outcome.PERMANENT, "auth token"),
    ("20429", twilio_error(20429, "Too Many Requests", 429, Retry_After="9"), Outcome.THROTTLED, "wait 9 s"),
    ("500", steps.says(500, b"oops"), Outcome.TRANSIENT, "HTTP 500"),
    ("html", steps.says(502, b"<html>"), Outcome.TRANSIENT, "HTTP 502"),
    ("no JSON", steps.says(201, b"created"), Outcome.UNKNOWN, "may have arrived"),
    ("odd JSON", steps.says(201, b"[[[1]]]"), Outcome.UNKNOWN, "may have arrived"),
    ("redirect", steps.redirects("http://10.0.0.1/"), Outcome.PERMANENT, "redirects"),
    ("reset", steps.resets(), Outcome.UNKNOWN, "may have arrived"),
    ("half", steps.half(), Outcome.UNKNOWN, "broke off"),
]


@pytest.mark.parametrize(
    ("step", "outcome", "words"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_sms__behaviour__is_classified(
    providers: Providers, caplog: pytest.LogCaptureFixture, step: Any, outcome: Outcome, words: str
) -> None:
    """AD-5, AC-5: in words that say what to do, without number, token or account; also not in a log."""
    caplog.set_level(logging.DEBUG)
    providers.twilio.script(step)
    answer = send(providers)
    assert answer.outcome == outcome and words in answer.sentence, answer
    for secret in (NUMBER, TOKEN, ACCOUNT):
        assert secret not in answer.sentence and secret not in caplog.text
    assert (answer.retry_after == 9) == (outcome == Outcome.THROTTLED)


def test_sms__wrong_token__needs_a_person(providers: Providers) -> None:
    """AD-5: refused authentication is permanent."""
    answer = send(providers, auth_token=SecretStr("wrong-token"))
    assert (answer.outcome, answer.status_code) == (Outcome.PERMANENT, 401)


@pytest.mark.parametrize(
    "told",
    [
        message(summary="x" * 300, labels={"a": "y" * 200}),
        message(summary="€[]{}" * 60),
        message(summary="Просадка " * 33),
        message(summary="🔥" * 300),
        message(notice="resolved"),
        message(notice="test"),
        message(ack_url="https://portal.example/" + "x" * 400, event_url=""),
        digest(20, more=7),
    ],
    ids=["long", "double", "Cyrillic", "emoji", "resolved", "test", "long link", "digest"],
)
def test_text__any_message__fits(told: Message) -> None:
    """AD-1: at most 320 characters as the network counts them, and a link is whole or absent."""
    text = text_of(told)
    assert 0 < len(text) + sum(text.count(c) for c in "^{}\\[~]|€") == places(text) <= LENGTH_MAX
    assert ("https://" not in text) or text.endswith((told.foremost.ack_url, told.foremost.event_url))


def test_gsm__signs_of_ours__become_those_that_every_telephone_has() -> None:
    """AD-1: one sign outside the alphabet would more than halve what fits; letters of other scripts stay readable."""
    assert gsm("Drawdown ≥ 5 % – “momentum” …") == 'Drawdown >= 5 % - "momentum" ...'
    assert gsm("café Ñandú č") == "café Ñandu c" and gsm("лаг") == "лаг" and gsm("🔥\r\n") == "?"


def faults(**more: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        settings_of(**more)
    assert TOKEN not in str(caught.value)
    return {str(error["loc"][0]): error["msg"] for error in caught.value.errors()}


def test_settings__not_fitting__says_so_at_the_field() -> None:
    """AD-1: one plain sentence at each field."""
    assert faults(numbers=["0207 9460958"])["numbers"].startswith("Give the telephone number with its country")
    assert faults(numbers=[NUMBER, "+44"])["numbers"].startswith("Line 2: ")
    assert faults(account_sid="AC1")["account_sid"].startswith("An account SID is AC")
    assert faults(auth_token=SecretStr(""))["auth_token"] == "This is needed."
    assert faults(sender="MG1")["sender"].startswith("A messaging service is MG")


def test_shown__of_everything__is_masked() -> None:
    """AC-2, AC-5: numbers and secrets by their last 4 characters."""
    shown = Sms().shown(settings_of(sender=SERVICE))
    assert shown == {"Telephone numbers": "***0958", "Account SID": "…cdef", "Auth token": "…cdef", "Sender": "…cdef"}
