"""Where messages never go, and how it is found out: on the very address that the socket is given."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pytest_django import Settings

from alerting.channels import connecting
from alerting.channels import http as web
from alerting.channels.base import Answer
from alerting.channels.connecting import Failed, attempt, connect, host_refusal
from alerting.channels.email import Email, EmailSettings
from alerting.channels.pagerduty import PagerDutySettings
from alerting.channels.slack import SlackSettings
from alerting.channels.sms import SmsSettings
from alerting.channels.webhook import Webhook, WebhookSettings
from alerting.models import Outcome
from tests.alerting.channels.making import message
from tests.alerting.providers.fixtures import Providers
from tests.alerting.providers.web import ACCOUNT, ROUTING_KEY, TOKEN, Web

REFUSED = (
    "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0",
    "localhost", "LOCALHOST.", "app.localhost", "169.254.169.254", "2852039166", "100.64.0.1", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "::", "::1", "[::1]",
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9fe:a9:fe00:808:808", "2002:a00:1::1",
    "2002:7f00:1::", "2001:0:a9fe:a9fe::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "metadata.google.internal",
)  # fmt: skip
FINE = ("8.8.8.8", "hooks.slack.com", "2606:4700:4700::1111", "example.com", "1e100.net", "intranet")


@pytest.mark.parametrize("host", REFUSED)
def test_host__private_in_any_spelling__is_refused_when_it_is_set(host: str) -> None:
    """AD-1: a webhook to a private address is a plain sentence, in every kind where an administrator types one."""
    assert host_refusal(host).endswith(("ALERT_ALLOWED_NETWORKS would allow it.", "to which no message goes."))
    typed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    attempts: list[Callable[[], object]] = [
        lambda: WebhookSettings(url=SecretStr(f"http://{typed}:8080/x")),
        lambda: SlackSettings(url=SecretStr(f"https://{typed}/x")),
        lambda: PagerDutySettings(routing_key=SecretStr(ROUTING_KEY), api_url=f"https://{typed}"),
        lambda: SmsSettings(
            numbers=["+442079460958"],
            account_sid=ACCOUNT,
            auth_token=SecretStr(TOKEN),
            sender="+442079460958",
            api_url=f"https://{typed}/",
        ),
        lambda: EmailSettings(recipients=["a@example.com"], sender="a@example.com", smtp_host=host),
        lambda: EmailSettings(
            recipients=["a@example.com"],
            sender="a@example.com",
            smtp_host="smtp.example.com",
            sendgrid_url=f"https://{typed}/",
        ),
    ]
    for make in attempts:
        with pytest.raises(ValidationError):
            make()


@pytest.mark.parametrize("host", FINE)
def test_host__public_or_a_name__may_be_set(host: str) -> None:
    """AD-1: what a name leads to is decided when a message is sent."""
    assert host_refusal(host) == ""


def test_host__allowed_by_the_setting__may_be_set(settings: Settings) -> None:
    """AD-1: a network may be opened, in every spelling of its addresses, and only that one."""
    settings.ALERT_ALLOWED_NETWORKS = [ip_network("10.1.0.0/16")]
    assert host_refusal("10.1.2.3") == host_refusal("::ffff:10.1.2.3") == host_refusal("167838211") == ""
    assert host_refusal("10.2.2.3") != ""
    WebhookSettings(url=SecretStr("http://10.1.2.3/x"))


def resolve_as(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """The system's resolver, beyond our edge, as a name server under an attacker's control would have it."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **hints: Any) -> list[tuple[Any, ...]]:
        if host != "hooks.example":
            return real(host, port, *args, **hints)  # type: ignore[return-value]
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET6 if ":" in where else socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, port))
            for where in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def send(port: int) -> Answer:
    url = f"http://hooks.example:{port}/hook/Zm9vYmFyLXNlY3JldA"
    return Webhook().send(WebhookSettings(url=SecretStr(url)), url, message())


@pytest.mark.parametrize("where", ["169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "100.64.1.1"])
def test_webhook__name_that_leads_to_a_private_address__is_refused(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """AD-1: a name decides nothing; the address does. It needs a person, so it is not tried again."""
    resolve_as(monkeypatch, [where])
    answer = send(80)
    assert answer.outcome == Outcome.PERMANENT and "ALERT_ALLOWED_NETWORKS" in answer.sentence


def test_webhook__name_that_is_bound_anew__is_refused_the_second_time(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-1: harmless when it was set and when it was first used, and not any more."""
    resolve_as(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    assert send(providers.web.port).outcome == Outcome.DELIVERED
    web.forget_connections()
    assert send(providers.web.port).outcome == Outcome.PERMANENT
    assert len(providers.webhook.received) == 1


def test_connect__looks_up_once__and_connects_to_what_it_judged(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-1: no second look-up between the judgement and the connection."""
    asked = resolve_as(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    with attempt():
        connect("hooks.example", providers.web.port).close()
    assert len(asked) == 1


def test_connect__one_of_two_addresses_refused__uses_the_other(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-1: what may be connected to is; what may not is passed over."""
    resolve_as(monkeypatch, ["10.0.0.1", "127.0.0.1"])
    assert send(providers.web.port).outcome == Outcome.DELIVERED


def test_connect__one_refused_and_one_down__is_transient(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: what is only down comes back."""
    resolve_as(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    providers.web.stop()
    assert send(providers.web.port).outcome == Outcome.TRANSIENT


def test_connect__first_address_swallows_everything__the_second_is_tried_in_time(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-5: such as an address of IPv6 where only IPv4 works."""
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.6)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.2", providers.web.port))
        deaf.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
            waiting.append(one)
        resolve_as(monkeypatch, ["127.0.0.2", "127.0.0.1"])
        assert send(providers.web.port).outcome == Outcome.DELIVERED
        for one in waiting:
            one.close()


def test_smtp__name_that_leads_to_a_private_address__is_refused(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-1: the mail server's too."""
    resolve_as(monkeypatch, ["10.0.0.1"])
    mail = EmailSettings(
        recipients=["a@example.com"], sender="a@example.com", smtp_host="hooks.example", smtp_security="none"
    )
    answer = Email().send(mail, "a@example.com", message())
    assert answer.outcome == Outcome.PERMANENT and "ALERT_ALLOWED_NETWORKS" in answer.sentence


def test_connect__name_that_is_not_known__is_transient(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: a name server that fails comes back."""

    def fail(*_args: Any, **_hints: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert send(80).outcome == Outcome.TRANSIENT


def test_connect__no_thread_for_a_look_up__is_transient_and_is_tried_anew(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-5: a machine that was out of threads for a moment reaches the host again."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "alerting-dns":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert send(providers.web.port).outcome == Outcome.TRANSIENT
    assert connecting._under_way == {}


def test_connect__name_server_hangs__waits_no_longer_than_it_may(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-5: a look-up cannot be stopped, so it is left behind; and there is one for a name, however many wait."""
    answer, asked = threading.Event(), []

    def hang(*args: Any, **_hints: Any) -> list[Any]:
        asked.append(args)
        answer.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.2)
    begun = time.monotonic()
    for _ in range(3):
        with attempt(), pytest.raises(Failed) as caught:
            connect("slow.example", 80)
        assert caught.value.outcome == Outcome.TRANSIENT
    assert time.monotonic() - begun < 5 and len(asked) == 1
    answer.set()


def test_connect__does_not_answer__gives_up_in_time(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: a listener whose queue is full neither takes nor refuses a connection."""
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.3)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        held = [socket.create_connection(deaf.getsockname()) for _ in range(1)]
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
            waiting.append(one)
        begun = time.monotonic()
        with attempt(), pytest.raises(Failed) as caught:
            connect(*deaf.getsockname())
        assert caught.value.outcome == Outcome.TRANSIENT and time.monotonic() - begun < 3
        for one in (*held, *waiting):
            one.close()


@pytest.mark.parametrize(
    ("certificate", "outcome"),
    [
        ("good.pem", Outcome.DELIVERED),
        ("expired.pem", Outcome.PERMANENT),
        ("other_name.pem", Outcome.PERMANENT),
        ("self_signed.pem", Outcome.PERMANENT),
    ],
)
def test_https__certificate__is_verified(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, certificate: str, outcome: Outcome
) -> None:
    """AD-1: and a drip of encrypted bytes ends in time as well."""
    from tests.alerting.providers.web import TLS

    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    web.forget_connections()
    server = Web(certificate=certificate)
    try:
        url = server.webhook.url
        answer = Webhook().send(WebhookSettings(url=SecretStr(url)), url, message())
        assert answer.outcome == outcome
        assert outcome == Outcome.DELIVERED or "certificate" in answer.sentence
    finally:
        web.forget_connections()
        server.stop()


def test_https__drips__ends_in_time(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: the limit holds through the encryption."""
    from tests.alerting.providers import steps
    from tests.alerting.providers.web import TLS

    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    web.forget_connections()
    monkeypatch.setattr(web, "attempt", lambda: attempt(0.4))
    server = Web(certificate="good.pem")
    try:
        server.webhook.script(steps.drips(0.02))
        begun = time.monotonic()
        url = server.webhook.url
        assert Webhook().send(WebhookSettings(url=SecretStr(url)), url, message()).outcome == Outcome.UNKNOWN
        assert time.monotonic() - begun < 3
    finally:
        web.forget_connections()
        server.stop()


def test_https__server_speaks_no_tls__is_transient(providers: Providers) -> None:
    """AD-5: nothing went out."""
    url = f"https://127.0.0.1:{providers.mail.port}/"
    answer = Webhook().send(WebhookSettings(url=SecretStr(url)), url, message())
    assert answer.outcome == Outcome.TRANSIENT and "TLS" in answer.sentence
