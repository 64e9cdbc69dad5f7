"""The webhook, against real servers on loopback."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerting.channels import connecting
from alerting.channels import http as web
from alerting.channels.base import Answer
from alerting.channels.webhook import VERSION, Webhook, WebhookSettings, body_of
from alerting.models import Outcome
from tests.alerting.channels.making import KEY, digest, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.waiting import until

SECRET = "whsec_0123456789abcdef"
TOKEN = "tok_0123456789abcdef"


def settings_of(url: str, **secrets: str) -> WebhookSettings:
    return WebhookSettings(url=SecretStr(url), **{name: SecretStr(value) for name, value in secrets.items()})


def send(providers: Providers, **secrets: str) -> Answer:
    settings = settings_of(providers.webhook.url, **secrets)
    (recipient,) = Webhook().recipients(settings)
    return Webhook().send(settings, recipient.address, message())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt may take a third of a second: what is tested is that it ends, not how long people wait."""
    monkeypatch.setattr(web, "attempt", lambda: connecting.attempt(0.3))


def test_webhook__message__arrives_signed_with_its_key(providers: Providers) -> None:
    """AD-1, AD-3: the body is whole, the signature fits, the key says which message it is."""
    answer = send(providers, token=TOKEN, signing_secret=SECRET)
    assert (answer.outcome, answer.status_code) == (Outcome.DELIVERED, 200)
    (request,) = providers.webhook.received
    assert request.method == "POST" and request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == KEY and request.headers["authorization"] == f"Bearer {TOKEN}"
    timestamp = request.headers["x-opsportal-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-opsportal-signature"] == f"v1={expected}"
    body = request.json
    assert (body["version"], body["key"], body["notice"], body["severity"], body["count"]) == (
        1,
        KEY,
        "firing",
        "critical",
        1,
    )
    assert body["events"][0]["labels"] == {"strategy": "momentum"} and body["events"][0]["value"] == "5.2 %"


BEHAVIOURS: list[tuple[str, Any, Outcome, int | None]] = [
    ("201", steps.says(201), Outcome.DELIVERED, 201),
    ("204", steps.says(204, b""), Outcome.DELIVERED, 204),
    ("slow", steps.slow(0.05), Outcome.DELIVERED, 200),
    ("400", steps.says(400, b"bad"), Outcome.PERMANENT, 400),
    ("401", steps.says(401), Outcome.PERMANENT, 401),
    ("404", steps.says(404), Outcome.PERMANENT, 404),
    ("410", steps.says(410), Outcome.PERMANENT, 410),
    ("408", steps.says(408), Outcome.TRANSIENT, 408),
    ("425", steps.says(425), Outcome.TRANSIENT, 425),
    ("429", steps.says(429), Outcome.THROTTLED, 429),
    ("500", steps.says(500), Outcome.TRANSIENT, 500),
    ("503", steps.says(503), Outcome.TRANSIENT, 503),
    ("599", steps.says(599), Outcome.TRANSIENT, 599),
    ("redirect", steps.redirects("http://169.254.169.254/latest/meta-data/"), Outcome.PERMANENT, 302),
    ("reset", steps.resets(), Outcome.UNKNOWN, None),
    ("hangs up", steps.hangs_up(), Outcome.UNKNOWN, None),
    ("half a reply", steps.half(), Outcome.UNKNOWN, None),
    ("half a head", steps.half_a_head(), Outcome.UNKNOWN, None),
    ("no HTTP", steps.garbage(), Outcome.UNKNOWN, None),
    ("endless", steps.floods(), Outcome.DELIVERED, 200),
]


@pytest.mark.parametrize(("step", "outcome", "status"), [b[1:] for b in BEHAVIOURS], ids=[b[0] for b in BEHAVIOURS])
def test_webhook__behaviour__is_classified(
    providers: Providers, step: Any, outcome: Outcome, status: int | None
) -> None:
    """AD-5: transient is tried again, permanent is not, no answer is neither; and each says so in a sentence."""
    providers.webhook.script(step)
    answer = send(providers)
    assert (answer.outcome, answer.status_code) == (outcome, status)
    assert 10 < len(answer.sentence) <= 300 and "127.0.0.1" not in answer.sentence


@pytest.mark.parametrize(
    "step",
    [steps.silent(), steps.drips(0.02), steps.drips(0.02, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 9_000)],
    ids=["silent", "drips", "drips head"],
)
def test_webhook__no_whole_answer_in_time__is_unknown(providers: Providers, hurried: None, step: Any) -> None:
    """AD-5: the limit holds for the whole attempt, also against a server that sends a byte at a time."""
    providers.webhook.script(step)
    begun = time.monotonic()
    answer = send(providers)
    assert answer.outcome == Outcome.UNKNOWN and "may have arrived" in answer.sentence
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("7", 7, 7), ("1.5", 1.5, 1.5), ("0", 0, 0), ("DATE", 50, 62), ("99999999999", 86_400, 86_400)],
)
def test_webhook__retry_after__is_told(providers: Providers, text: str, low: float, high: float) -> None:
    """AD-5: seconds or a date, with 429 and with 503; never longer than a day."""
    text = format_datetime(datetime.now(UTC) + timedelta(seconds=61), usegmt=True) if text == "DATE" else text
    providers.webhook.script(steps.throttles(text), steps.says(503, b"", Retry_After=text))
    for _ in range(2):
        answer = send(providers)
        assert answer.outcome == Outcome.THROTTLED and answer.retry_after is not None
        assert low <= answer.retry_after <= high


@pytest.mark.parametrize("text", ["", "soon", "-5", "١٢", "Thu, 99 Foo 2026", "x" * 100_0])
def test_webhook__retry_after_that_means_nothing__is_none(providers: Providers, text: str) -> None:
    """AD-5: nonsense is no wait."""
    assert web.retry_after(text) is None


def test_webhook__nobody_listens__is_transient(providers: Providers) -> None:
    """AD-5: nothing went out."""
    providers.web.stop()
    answer = send(providers)
    assert (answer.outcome, answer.sentence) == (Outcome.TRANSIENT, "It refuses connections.")


def test_webhook__provider_repeats_secrets__they_are_masked(providers: Providers) -> None:
    """AC-2, AC-5: a receiver that echoes what it got tells nobody anything."""
    url = providers.webhook.url
    secret_part = url.rsplit("/", 1)[1]
    providers.webhook.script(steps.says(400, f"no {url} {secret_part} {TOKEN} {SECRET} ops@example.com +15551234567"))
    answer = send(providers, token=TOKEN, signing_secret=SECRET)
    for secret in (url, secret_part, TOKEN, SECRET, "ops@", "+1555"):
        assert secret not in answer.sentence
    assert answer.sentence.startswith("The receiver answered HTTP 400 Bad Request: no ")


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "a\nb", "ключ", "a\x00b", "a b%", "\ud800"])
def test_webhook__key_from_outside__cannot_break_the_header(providers: Providers, name: str) -> None:
    """AD-3: the caller's own id of an alert is part of the key, and could be anything."""
    settings = settings_of(providers.webhook.url)
    answer = Webhook().send(settings, providers.webhook.url, message(key=f"{name}:webhook", alert_id=name))
    (request,) = providers.webhook.received
    assert answer.outcome == Outcome.DELIVERED and "x-evil" not in request.headers
    assert request.headers["idempotency-key"].isascii()


def test_webhook__digest__tells_all_and_counts_the_rest(providers: Providers) -> None:
    """AD-7: one message for many events."""
    Webhook().send(settings_of(providers.webhook.url), providers.webhook.url, digest(3, more=4))
    body = providers.webhook.received[0].json
    assert body["count"] == 7 and [event["summary"] for event in body["events"]] == [
        f"Event number {n}" for n in range(3)
    ]


def test_webhook__many_messages__share_a_connection(providers: Providers) -> None:
    """AD-14: a connection is kept and serves the next message, also of another thread."""
    for _ in range(3):
        send(providers)
    thread = threading.Thread(target=send, args=(providers,))
    thread.start()
    thread.join()
    assert len(providers.webhook.received) == 4 and providers.web.connections == 1


def test_webhook__kept_connection_that_was_closed__is_replaced(providers: Providers) -> None:
    """AD-2: what the other side gave up meanwhile costs no attempt."""
    providers.webhook.script(steps.closes())
    assert send(providers).outcome == Outcome.DELIVERED
    until(lambda: providers.web.closed == 1)
    assert send(providers).outcome == Outcome.DELIVERED and providers.web.connections == 2


def test_webhook__shown__has_host_and_last_four() -> None:
    """AC-2: of secrets only the last 4 characters."""
    shown = Webhook().shown(settings_of("https://Hooks.Example.com/abc/defghijkl", token=TOKEN, signing_secret="short"))
    assert shown == {"Address": "hooks.example.com/…ijkl", "Bearer token": "…cdef", "Signing secret": "…"}


# ---------------------------------------------------------------- what the documentation says
DOCUMENT = Path(__file__).parents[3] / "docs" / "concepts" / "alert-webhook.md"


def blocks(language: str) -> list[str]:
    """The code of this language in the documentation."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def test_document__example_of_verification__accepts_ours_and_nothing_else(providers: Providers) -> None:
    """AD-1: who copies the example is safe with it."""
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    is_genuine = names["is_genuine"]
    send(providers, signing_secret=SECRET)
    (request,) = providers.webhook.received
    assert is_genuine(SECRET, request.headers, request.body)
    assert not is_genuine("another secret", request.headers, request.body)
    assert not is_genuine(SECRET, request.headers, request.body + b" ")
    assert not is_genuine(SECRET, request.headers, request.body, now=time.time() + 600)
    assert not is_genuine(SECRET, {**request.headers, "x-opsportal-timestamp": "0"}, request.body)
    assert not is_genuine(SECRET, {}, request.body)


def test_document__body__is_the_one_that_is_sent() -> None:
    """AD-1: field by field."""
    documented = json.loads(blocks("json")[0])
    assert documented == body_of(message()) and documented["version"] == VERSION
