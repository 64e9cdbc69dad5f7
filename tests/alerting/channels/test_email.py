"""Mail by SMTP and SendGrid, against real servers on loopback."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from alerting.channels import connecting, smtp
from alerting.channels import http as web
from alerting.channels.base import SEND_SECONDS, Answer, Message
from alerting.channels.email import Email, EmailSettings
from alerting.models import Outcome
from tests.alerting.channels.making import KEY, digest, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.alerting.providers.mail import PASSWORD, USER, MailServer
from tests.alerting.providers.web import RIGHT_KEY, TLS

OPS = "ops@example.com"


def settings_of(providers: Providers, server: MailServer | None = None, **more: Any) -> EmailSettings:
    usual = {
        "recipients": [OPS],
        "sender": "portal@example.com",
        "smtp_host": "127.0.0.1",
        "smtp_port": (server or providers.mail).port,
        "smtp_security": "none",
        "sendgrid_api_key": SecretStr(RIGHT_KEY),
        "sendgrid_url": providers.sendgrid.url,
    }
    return EmailSettings(**{**usual, **more})


def send(providers: Providers, told: Message | None = None, **more: Any) -> Answer:
    return Email().send(settings_of(providers, **more), OPS, told or message())


@pytest.fixture
def encrypted(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A mail server that wants STARTTLS and a user, with a certificate of an authority that the system trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    web.forget_connections()
    server = MailServer(tls=True, demands_sign_in=True)
    server.start()
    yield server
    server.stop()
    web.forget_connections()


# ---------------------------------------------------------------- what a mail says
def test_mail__firing__says_what_happened_and_what_to_do(providers: Providers) -> None:
    """AD-1: subject, text and HTML tell it all; headers make it a proper automatic mail."""
    answer = send(providers)
    assert answer.outcome == Outcome.DELIVERED and "4XyZ12" in answer.provider_id
    (mail,) = providers.mail.received
    assert (mail.sender, mail.recipients) == ("portal@example.com", (OPS,))
    parsed = mail.message
    assert parsed["Subject"] == "[CRITICAL] Drawdown is 5.2 %, limit 5 %"
    assert parsed["Auto-Submitted"] == "auto-generated" and parsed["X-Entity-Ref-ID"] in parsed["Message-ID"]
    for text in (mail.text(), mail.text("html")):
        for told in (
            "Drawdown ≥ 5 %",
            "strategy=momentum",
            "2026-01-31 14:05:09 UTC",
            "Risk desk",
            "/acknowledge/signed/",
        ):
            assert told in text


def test_mail__sent_twice__has_the_same_message_id(providers: Providers) -> None:
    """AD-3: a mail program can tell that a duplicate is one."""
    send(providers)
    send(providers)
    send(providers, message(key="another"))
    ids = [mail.message["Message-ID"] for mail in providers.mail.received]
    assert ids[0] == ids[1] != ids[2]


def test_mail__recovery__answers_the_first_one(providers: Providers) -> None:
    """AL-3: the recovery stands in the thread of what it recovers from."""
    send(providers)
    send(providers, message(key="other", notice="resolved", resolved_at=message().newest.started_at, ack_url=""))
    first, second = (mail.message for mail in providers.mail.received)
    assert second["Subject"] == "[RESOLVED] Drawdown is 5.2 %, limit 5 %"
    assert first["References"] == second["References"] == second["In-Reply-To"]


def test_mail__test_notice__says_so(providers: Providers) -> None:
    """AC-2: nobody is alarmed by a test."""
    send(providers, message(notice="test"))
    mail = providers.mail.received[0]
    assert mail.message["Subject"].startswith("[TEST]") and "Nothing is wrong" in mail.text()


def test_mail__digest__tells_all_and_counts_the_rest(providers: Providers) -> None:
    """AD-7: one mail for what the limit held back."""
    send(providers, digest(20, more=5))
    mail = providers.mail.received[0]
    assert mail.message["Subject"] == "[CRITICAL] 25 alerts, held back by the limit of messages to you"
    text = mail.text()
    assert "Event number 0\r\n" in text and "Event number 19" in text and "5 others are not told here" in text


def test_mail__text_from_outside__cannot_break_out(providers: Providers) -> None:
    """AD-1: labels and summaries are anybody's."""
    evil = '<script>alert(1)</script>" onload=x'
    send(providers, message(summary=evil, labels={"a": "<img src=x>"}, rule_name="</title><b>"))
    mail = providers.mail.received[0]
    html = mail.text("html")
    assert "<script" not in html and "<img" not in html and "<b>" not in html
    assert "<script>" in mail.text()


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org", "x\r\n\r\n<html>", "\x00", "Ω≈ç√", "x" * 5_000]
)
def test_mail__odd_summary__stays_in_the_subject(providers: Providers, text: str) -> None:
    """AD-1: no header injection, whatever the caller left in the text."""
    from alerting.messages import one_line

    assert send(providers, message(summary=one_line(text, 300))).outcome == Outcome.DELIVERED
    (mail,) = providers.mail.received
    assert mail.recipients == (OPS,) and mail.message["Bcc"] is None and len(mail.message["Subject"]) <= 200


def test_mail__line_break_that_got_through__is_refused_not_sent(providers: Providers) -> None:
    """AD-1: the last line of defence."""
    answer = send(providers, message(summary="x\r\nBcc: evil@example.org"))
    assert answer.outcome == Outcome.PERMANENT and providers.mail.received == []


# ---------------------------------------------------------------- what a mail server answers
RECIPIENT: list[tuple[str, Outcome]] = [
    ("450 4.2.1 mailbox busy", Outcome.TRANSIENT),
    ("451 greylisted, come again", Outcome.TRANSIENT),
    ("421 4.3.2 closing", Outcome.TRANSIENT),
    ("550 5.1.1 no such user", Outcome.PERMANENT),
    ("554 5.7.1 relay access denied", Outcome.PERMANENT),
]


@pytest.mark.parametrize(("reply", "outcome"), RECIPIENT)
def test_smtp__recipient_refused__is_classified(providers: Providers, reply: str, outcome: Outcome) -> None:
    """AD-5: 4xx may pass, 5xx needs a person; the server's words are told."""
    providers.mail.recipient.append(reply)
    answer = send(providers)
    assert (answer.outcome, answer.status_code) == (outcome, int(reply[:3]))
    assert answer.sentence.startswith("The mail server refused the recipient") and OPS not in answer.sentence


@pytest.mark.parametrize(
    ("reply", "outcome"), [("452 4.3.1 disk full", Outcome.TRANSIENT), ("552 5.3.4 too big", Outcome.PERMANENT)]
)
def test_smtp__mail_refused__is_classified(providers: Providers, reply: str, outcome: Outcome) -> None:
    """AD-5: the same at the end of the mail."""
    providers.mail.data.append(reply)
    assert send(providers).outcome == outcome


def test_smtp__reset_before_the_mail__is_transient(providers: Providers) -> None:
    """AD-5: nothing went out."""
    providers.mail.recipient.append("reset")
    assert send(providers).outcome == Outcome.TRANSIENT


def test_smtp__reset_after_the_mail__is_unknown(providers: Providers) -> None:
    """AD-5: it may have been delivered."""
    providers.mail.data.append("reset")
    answer = send(providers)
    assert answer.outcome == Outcome.UNKNOWN and "may have arrived" in answer.sentence


def test_smtp__silent_after_the_mail__is_unknown_in_time(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: the time of an attempt is limited."""
    monkeypatch.setattr("alerting.channels.email.SEND_SECONDS", 0.5)
    providers.mail.data.append(30.0)
    begun = time.monotonic()
    assert send(providers).outcome == Outcome.UNKNOWN
    assert time.monotonic() - begun < 4


def test_smtp__greets_without_end__is_cut_off(providers: Providers) -> None:
    """AD-5: a server that never stops talking costs neither memory nor the whole time."""
    providers.mail.stop()
    with socket.socket() as chatty:
        chatty.bind(("127.0.0.1", providers.mail.port))
        chatty.listen()

        def chat() -> None:
            connection, _ = chatty.accept()
            with connection, suppress(OSError):
                while True:
                    connection.sendall(b"220-and another thing\r\n" * 1_000)

        talker = threading.Thread(target=chat, daemon=True)
        talker.start()
        begun = time.monotonic()
        assert send(providers).outcome == Outcome.TRANSIENT
        assert time.monotonic() - begun < SEND_SECONDS / 2
        talker.join(10)


def test_smtp__nobody_listens__is_transient(providers: Providers) -> None:
    """AD-5: a mail server that is down comes back."""
    providers.mail.stop()
    assert send(providers).outcome == Outcome.TRANSIENT


def test_smtp__starttls_and_user__are_used(providers: Providers, encrypted: MailServer) -> None:
    """AD-1: encrypted, and signed in."""
    more: dict[str, Any] = {"smtp_security": "starttls", "smtp_user": USER, "smtp_password": SecretStr(PASSWORD)}
    answer = send(providers, server=encrypted, **more)
    assert answer.outcome == Outcome.DELIVERED, answer
    (mail,) = encrypted.received
    assert mail.encrypted and mail.user == USER


def test_smtp__wrong_password__needs_a_person(providers: Providers, encrypted: MailServer) -> None:
    """AD-5: refused authentication is permanent."""
    more: dict[str, Any] = {"smtp_security": "starttls", "smtp_user": USER, "smtp_password": SecretStr("wrong horse")}
    answer = send(providers, server=encrypted, **more)
    assert (answer.outcome, answer.status_code) == (Outcome.PERMANENT, 535)
    assert "user name or password" in answer.sentence and "wrong horse" not in answer.sentence


def test_smtp__certificate_of_nobody_known__is_refused(
    providers: Providers, encrypted: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-1: certificates are verified."""
    monkeypatch.delenv("SSL_CERT_FILE")
    web.forget_connections()
    answer = send(providers, server=encrypted, smtp_security="starttls")
    assert answer.outcome == Outcome.PERMANENT and "certificate" in answer.sentence and encrypted.received == []


def test_smtp__no_starttls_where_it_is_set__is_never_sent_readable(providers: Providers) -> None:
    """AD-1: a server, or somebody between, that leaves STARTTLS out gets nothing."""
    answer = send(providers, smtp_security="starttls")
    assert answer.outcome == Outcome.PERMANENT and providers.mail.received == []


# ---------------------------------------------------------------- SendGrid
def test_sendgrid__message__arrives(providers: Providers) -> None:
    """AD-1: by anymail; the key is the bearer token, the id is SendGrid's."""
    answer = send(providers, transport="sendgrid")
    assert (answer.outcome, answer.status_code, answer.provider_id) == (Outcome.DELIVERED, 202, "sg-14c5d75ce93")
    (request,) = providers.sendgrid.received
    body = request.json
    assert request.path == "/sendgrid/v3/mail/send" and body["personalizations"][0]["to"][0]["email"] == OPS
    assert body["subject"].startswith("[CRITICAL]") and body["headers"]["Auto-Submitted"] == "auto-generated"
    assert {part["type"] for part in body["content"]} == {"text/plain", "text/html"}


FAULT = {"errors": [{"message": f"Does not contain a valid address: {OPS}", "field": "personalizations.0.to.0.email"}]}
SENDGRID: list[tuple[str, Any, Outcome]] = [
    ("401", steps.says(401, {"errors": []}), Outcome.PERMANENT),
    ("400", steps.says(400, FAULT), Outcome.PERMANENT),
    ("429", steps.throttles("12"), Outcome.THROTTLED),
    ("500", steps.says(500), Outcome.TRANSIENT),
    ("redirect", steps.redirects("http://10.0.0.1/"), Outcome.PERMANENT),
    ("reset", steps.resets(), Outcome.UNKNOWN),
    ("half", steps.half(), Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("step", "outcome"), [case[1:] for case in SENDGRID], ids=[case[0] for case in SENDGRID])
def test_sendgrid__behaviour__is_classified(providers: Providers, step: Any, outcome: Outcome) -> None:
    """AD-5: as with every provider; the address that SendGrid repeats is masked."""
    providers.sendgrid.script(step)
    answer = send(providers, transport="sendgrid")
    assert answer.outcome == outcome and OPS not in answer.sentence and RIGHT_KEY not in answer.sentence
    assert (answer.retry_after == 12) == (outcome == Outcome.THROTTLED)


def test_smtp__refusal_names_people__they_are_masked(providers: Providers) -> None:
    """AC-5: the recipient, the part before the @ alone, and the sender, however they are written."""
    (recipient,) = settings_of(providers).recipients
    local = recipient.partition("@")[0]
    providers.mail.recipient.append(f"550 5.1.1 <{local}@mx7>: no {local.upper()} here, says {recipient}")
    answer = send(providers)
    assert answer.outcome == Outcome.PERMANENT and "5.1.1" in answer.sentence
    assert local not in answer.sentence.lower()


def test_smtp__no_way_to_sign_in_that_both_know__is_permanent() -> None:
    """AD-5: it is a setting, which no other try changes."""
    failed = smtp._failure(smtplib.SMTPException("No suitable authentication method found."), smtp._Unsaid(()))
    assert failed.outcome == Outcome.PERMANENT and "sign" in failed.sentence


# ---------------------------------------------------------------- settings
def faults(**more: Any) -> dict[str, str]:
    usual: dict[str, Any] = {"recipients": [OPS], "sender": "portal@example.com", "smtp_host": "smtp.example.com"}
    with pytest.raises(ValidationError) as caught:
        EmailSettings(**{**usual, **more})
    assert OPS not in str(caught.value)
    return {str(error["loc"][0]): error["msg"] for error in caught.value.errors()}


def test_settings__not_fitting__says_so_at_the_field() -> None:
    """AD-1: one plain sentence at each field."""
    assert faults(smtp_host="") == {"smtp_host": "Give the mail server's host name: mail is to be sent by SMTP."}
    assert "API key" in faults(fallback="sendgrid")["sendgrid_api_key"]
    assert "already" in faults(fallback="smtp")["fallback"]
    assert "password" in faults(smtp_user="portal")["smtp_password"]
    assert "STARTTLS or TLS" in faults(smtp_security="none", smtp_user="u", smtp_password=SecretStr("p"))["smtp_user"]
    assert "ALERT_ALLOWED_NETWORKS" in faults(smtp_host="10.0.0.1")["smtp_host"]
    assert faults(recipients=[])["recipients"] == "Give at least one e-mail address."
    assert faults(recipients=[OPS, "nobody"])["recipients"].startswith("Line 2: ")
    assert faults(recipients=[1, None])["recipients"] == "Every line must be text."


def test_shown__of_everything__is_masked(providers: Providers) -> None:
    """AC-2, AC-5: addresses without their names, secrets by their last 4 characters."""
    more: dict[str, Any] = {
        "smtp_security": "tls",
        "smtp_user": "u",
        "smtp_password": SecretStr("a long password"),
        "fallback": "sendgrid",
    }
    settings = settings_of(providers, **more)
    shown = Email().shown(settings)
    assert shown["Recipients"] == "***@example.com" and shown["Password"] == "…word"
    for secret in ("ops@", "portal@", "a long pass", RIGHT_KEY):
        assert secret not in str(shown)
    assert [r.shown for r in Email().recipients(settings)] == ["***@example.com"] and KEY


def test_connecting__time_of_an_attempt__is_gone_after_it() -> None:
    """AD-5: a limit that is over binds nobody."""
    with connecting.attempt(5), connecting.attempt(60):
        assert connecting.seconds_left() <= 5
    with pytest.raises(TimeoutError):
        connecting.seconds_left()


def test_settings__secrets_left_out__are_none() -> None:
    """AC-2: also as JSON, which is strict."""
    left_out = '{"recipients": ["ops@example.com"], "sender": "portal@example.com", "smtp_host": "mail.example.com"}'
    settings = EmailSettings.model_validate_json(left_out)
    assert settings.smtp_password.get_secret_value() == settings.sendgrid_api_key.get_secret_value() == ""
