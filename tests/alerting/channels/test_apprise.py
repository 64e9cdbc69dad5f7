"""Apprise: its plugins are let out to allowed addresses only, and for a limited time."""

from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr, ValidationError
from pytest_django import Settings

from alerting.channels import apprise, fencing
from alerting.channels.apprise import Apprise, AppriseSettings
from alerting.channels.base import Answer
from alerting.models import Outcome
from opsportal.observability.addresses import AddressRefused
from tests.alerting.channels.making import digest, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers


def address(providers: Providers, more: str = "") -> str:
    return f"json://127.0.0.1:{providers.web.port}{providers.webhook.path}{more}"


def send(url: str) -> Answer:
    return Apprise().send(AppriseSettings(url=SecretStr(url)), url, message())


def test_apprise__message__arrives(providers: Providers) -> None:
    """AD-1: by a plugin of Apprise's."""
    answer = send(address(providers))
    assert answer.outcome == Outcome.DELIVERED
    body = providers.webhook.received[0].json
    assert body["title"] == "[CRITICAL] Drawdown is 5.2 %, limit 5 %" and "Condition: Drawdown ≥ 5 %" in body["message"]
    assert body["type"] == "failure"


def test_apprise__digest__tells_all(providers: Providers) -> None:
    """AD-7: one message for many events."""
    url = address(providers)
    Apprise().send(AppriseSettings(url=SecretStr(url)), url, digest(3, more=1))
    assert "Event number 2" in providers.webhook.received[0].json["message"]


@pytest.mark.parametrize(
    "step", [steps.says(500), steps.says(404), steps.resets(), steps.half_a_head()], ids=["500", "404", "reset", "half"]
)
def test_apprise__failure__is_tried_again(providers: Providers, step: steps.Step) -> None:
    """AD-5: it tells only that it failed, so another try may do."""
    providers.webhook.always(step)
    assert send(address(providers)).outcome == Outcome.TRANSIENT


def test_apprise__redirect__is_not_followed(providers: Providers) -> None:
    """AD-1: neither, if the address itself asks for it."""
    providers.webhook.always(steps.redirects(f"{providers.web.url}/elsewhere"))
    assert send(address(providers, "?redirect=yes")).outcome == Outcome.TRANSIENT
    assert providers.web.elsewhere.received == []


def test_apprise__proxy_in_the_environment__is_not_used(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-1: a proxy would be all that the fence sees; what it connects to may be anything."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nobody is there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    assert send(address(providers)).outcome == Outcome.DELIVERED
    assert vars(requests.sessions)["get_environ_proxies"]("http://other.example")  # only what is fenced goes without


def test_apprise__hangs__is_left_behind(providers: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-5: time is limited from outside, also where the address asks for more."""
    monkeypatch.setattr(apprise, "_seconds", lambda: 0.2)
    providers.webhook.script(steps.slow(1.0))
    begun = time.monotonic()
    answer = send(address(providers, "?rto=3600"))
    assert answer.outcome == Outcome.UNKNOWN and time.monotonic() - begun < 3


def test_apprise__many_at_once__all_are_begun(providers: Providers) -> None:
    """AD-2: how many go out at once is the dispatcher's matter; only what is left behind takes room."""
    providers.webhook.always(steps.slow(0.3))
    url = address(providers)
    with ThreadPoolExecutor(2 * apprise.STUCK_MAX) as pool:
        answers = list(pool.map(send, [url] * 2 * apprise.STUCK_MAX))
    assert {answer.outcome for answer in answers} == {Outcome.DELIVERED}


def test_apprise__too_many_are_left_behind__others_wait_and_lose_no_attempt(
    providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AD-5: what was not begun is put off; when those have ended, it goes on."""
    monkeypatch.setattr(apprise, "_seconds", lambda: 0.4)
    monkeypatch.setattr(apprise, "STUCK_MAX", 1)
    providers.webhook.script(steps.slow(1.5))
    assert send(address(providers)).outcome == Outcome.UNKNOWN
    answer = send(address(providers))
    assert answer.outcome == Outcome.THROTTLED and "not begun" in answer.sentence
    monkeypatch.setattr(apprise, "_seconds", lambda: 8.0)
    assert send(address(providers)).outcome == Outcome.DELIVERED


def test_apprise__address_that_became_private__is_refused_as_it_connects(
    providers: Providers, settings: Settings
) -> None:
    """AD-1: the rule holds for the very address that the socket is given."""
    url = address(providers)
    valid = AppriseSettings(url=SecretStr(url))
    settings.ALERT_ALLOWED_NETWORKS = []
    answer = Apprise().send(valid, url, message())
    assert answer.outcome == Outcome.PERMANENT and "ALERT_ALLOWED_NETWORKS" in answer.sentence
    assert providers.webhook.received == []


@pytest.mark.parametrize(
    "url",
    [
        "syslog://",
        "fcm://project@key/device?keyfile=/etc/passwd",
        "file:///etc/passwd",
        "nonsense",
        "foo://bar",
        "json://10.0.0.1/",
        "json://[::1]/",
        "json://metadata.google.internal/",
        "json://" + "x" * 3_000,
    ],
)
def test_settings__address_that_is_not_offered__is_refused(url: str) -> None:
    """AD-1: not understood, not by network alone, or private: a sentence."""
    with pytest.raises(ValidationError) as caught:
        AppriseSettings(url=SecretStr(url))
    assert url not in caught.value.errors(include_input=False)[0]["msg"]


def test_fence__thread_inside__reads_and_starts_nothing(tmp_path: Path) -> None:
    """AD-1: a plugin reads no file but the installation's, writes none, starts nothing; others are left alone."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    with fencing.fenced():
        with pytest.raises(PermissionError):
            secret.read_text()
        with pytest.raises(PermissionError):
            (tmp_path / "new").write_text("x")
        with pytest.raises(PermissionError):
            subprocess.run(["true"], check=False)
        assert Path(socket.__file__).read_bytes()
    assert secret.read_text() == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "localhost"])
def test_fence__refused_address__is_not_connected_to(host: str) -> None:
    """AD-1: also a name, which would be looked up behind our back; TCP and UDP."""
    with fencing.fenced():
        with socket.socket() as tcp, pytest.raises(AddressRefused):
            tcp.connect((host, 9))
        with socket.socket(type=socket.SOCK_DGRAM) as udp, pytest.raises(AddressRefused):
            udp.sendto(b"x", (host, 514))
        with socket.socket(socket.AF_UNIX) as local, pytest.raises(AddressRefused):
            local.connect("/run/docker.sock")
    assert "ALERT_ALLOWED_NETWORKS" in fencing.refusal()


def test_shown__address__is_service_and_last_four() -> None:
    """AC-2: the rest of the address is a secret."""
    settings = AppriseSettings(url=SecretStr("ntfys://user:password@ntfy.example.com/topic-abcd"))
    assert Apprise().shown(settings) == {"Apprise address": "ntfys://…abcd"}
