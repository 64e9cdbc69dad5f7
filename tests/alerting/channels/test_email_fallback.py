"""Mail by two ways: one takes over from the other (AD-1)."""

from __future__ import annotations

from typing import Any

import pytest

from alerting.models import Outcome
from tests.alerting.channels.test_email import FAULT, send
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers


@pytest.mark.parametrize("refusal", ["down", "421 4.3.2 closing", "554 5.7.1 relay access denied"])
def test_fallback__smtp_fails__sendgrid_takes_over_at_once(providers: Providers, refusal: str) -> None:
    """AD-1: in the same attempt, and the answer says which way it went."""
    if refusal == "down":
        providers.mail.stop()
    else:
        providers.mail.recipient.append(refusal)
    answer = send(providers, fallback="sendgrid")
    assert answer.outcome == Outcome.DELIVERED and answer.sentence.startswith("SendGrid took over.")
    assert "SMTP failed:" in answer.sentence and len(providers.sendgrid.received) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        "550 relay not permitted", "550 Relaying denied", "554 relay access denied", "550 5.7.1 relay",
        "550 authentication required for relay", "554 Service unavailable; your IP is listed", "550 5.1.8 bad sender",
        "550 no such user here",
    ],
)  # fmt: skip
def test_fallback__refusal_that_is_not_surely_of_the_address__the_other_way_is_tried(
    providers: Providers, refusal: str
) -> None:
    """AD-1: a relay that lets nobody in says so at the recipient; only an enhanced code says that it is the address."""
    providers.mail.recipient.append(refusal)
    answer = send(providers, fallback="sendgrid")
    assert answer.outcome == Outcome.DELIVERED and len(providers.sendgrid.received) == 1


@pytest.mark.parametrize("step", [steps.says(500), steps.says(401), steps.throttles("60")], ids=["500", "401", "429"])
def test_fallback__sendgrid_fails__smtp_takes_over(providers: Providers, step: Any) -> None:
    """AD-1: also where the credentials are refused."""
    providers.sendgrid.script(step)
    answer = send(providers, transport="sendgrid", fallback="smtp")
    assert answer.outcome == Outcome.DELIVERED and answer.sentence.startswith("SMTP took over.")


@pytest.mark.parametrize("way", ["smtp", "sendgrid"])
def test_fallback__recipient_is_bad__nobody_takes_over(providers: Providers, way: str) -> None:
    """AD-5: a bad recipient is bad on every way."""
    if way == "smtp":
        providers.mail.recipient.append("550 5.1.1 no such user")
    providers.sendgrid.script(steps.says(400, FAULT))
    answer = send(providers, transport=way, fallback="sendgrid" if way == "smtp" else "smtp")
    assert answer.outcome == Outcome.PERMANENT
    assert len(providers.sendgrid.received) == (way == "sendgrid") and providers.mail.received == []


def test_fallback__it_may_have_arrived__nobody_takes_over(providers: Providers) -> None:
    """AD-2: a second mail would be a likely duplicate."""
    providers.mail.data.append("reset")
    answer = send(providers, fallback="sendgrid")
    assert answer.outcome == Outcome.UNKNOWN and providers.sendgrid.received == []


def test_fallback__sendgrid_may_have_taken_it__nobody_takes_over(providers: Providers) -> None:
    """AD-3, AD-5: a second mail by another server would carry no key of the first one's, and nobody would count it."""
    providers.sendgrid.script(steps.resets())
    answer = send(providers, transport="sendgrid", fallback="smtp")
    assert answer.outcome == Outcome.UNKNOWN and providers.mail.received == []


def test_fallback__both_fail__says_both_and_tries_again(providers: Providers) -> None:
    """AD-5: what may pass on either way is tried again."""
    providers.mail.stop()
    providers.sendgrid.script(steps.says(401))
    answer = send(providers, fallback="sendgrid")
    assert answer.outcome == Outcome.TRANSIENT
    assert "SMTP: " in answer.sentence and "SendGrid: " in answer.sentence


def test_fallback__one_asks_to_wait_and_the_other_is_down__waits_as_long_as_it_says(providers: Providers) -> None:
    """AD-5: “please wait” is no failure of three, and who says so says when it takes mail again."""
    providers.mail.stop()
    providers.sendgrid.always(steps.throttles("40"))
    for way, other in (("smtp", "sendgrid"), ("sendgrid", "smtp")):
        answer = send(providers, transport=way, fallback=other)
        assert (answer.outcome, answer.retry_after) == (Outcome.THROTTLED, 40.0)
