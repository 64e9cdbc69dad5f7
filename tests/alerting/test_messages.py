"""Messages out of rows."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from alerting import keys
from alerting.channels.sms import text_of
from alerting.channels.webhook import body_of
from alerting.channels.wording import facts, headline, purpose
from alerting.claiming import tell
from alerting.messages import build_message, condition_text, one_line, value_text
from alerting.models import Delivery, Event, EventState, Notice, Origin, Priority, Severity

AT = datetime(2026, 1, 31, 14, 5, 9, tzinfo=UTC)


def event(**fields: Any) -> Event:
    """A firing drawdown, in no database."""
    usual: dict[str, Any] = {
        "id": uuid.uuid4(),
        "started_at": AT,
        "triggered_at": AT + timedelta(seconds=30),
        "rule_name": "Drawdown of a strategy",
        "severity": Severity.CRITICAL,
        "state": EventState.FIRING,
        "origin": Origin.OBSERVATION,
        "alert_id": "alert-1",
        "metric": "drawdown",
        "labels": {"strategy": "momentum"},
        "comparison": "gte",
        "threshold": 0.05,
        "value": 0.052387,
        "summary": "Drawdown is 5.24 %",
        "owner": "Risk desk",
        "runbook_url": "https://runbooks.example/drawdown",
    }
    return Event(**{**usual, **fields})


def delivery(told: Event, **fields: Any) -> Delivery:
    """One of its deliveries, in no database."""
    bucket = keys.hour_bucket(AT)
    usual: dict[str, Any] = {
        "id": 7,
        "hour_bucket": bucket,
        "dedup_key": keys.dedup_key(told.alert_id, "webhook", "0" * 16, bucket),
        "event_id": told.id,
        "kind": "webhook",
        "notice": Notice.FIRING,
        "priority": Priority.CRITICAL,
        "triggered_at": AT,
    }
    return Delivery(**{**usual, **fields})


def message_of(told: Event, **fields: Any) -> Any:
    one = delivery(told, **fields)
    return build_message(tell(one, [(one, told)]))


def digest_of(pairs: list[tuple[Delivery, Event]]) -> Any:
    """The digest that the first one carries."""
    return build_message(tell(pairs[0][0], pairs, carried=len(pairs) - 1, carried_hash="0123456789abcdef" * 2))


def test_message__firing__tells_condition_value_and_times() -> None:
    """AD-1: in words and units, not in the numbers of the database."""
    told = event()
    message = message_of(told)
    (item,) = message.items
    assert message.key.startswith("alert-1:webhook:") and message.total == 1 and not message.is_digest
    assert (item.condition, item.value, item.severity) == ("Drawdown ≥ 5 %", "5.239 %", "critical")
    assert (item.started_at, item.triggered_at, item.resolved_at) == (AT, AT + timedelta(seconds=30), None)
    assert item.labels == {"strategy": "momentum"} and item.event_id == str(told.id)


def test_message__public_address_is_set__has_links(settings: Settings) -> None:
    """AL-6: to the event, and one that acknowledges; only a firing notice has the second."""
    settings.PUBLIC_URL = "https://portal.example"
    told = event()
    (firing,) = message_of(told).items
    assert firing.event_url.startswith("https://portal.example/admin/alerting/") and str(told.id) in firing.event_url
    assert firing.ack_url.startswith("https://portal.example/")
    (resolved,) = message_of(told, notice=Notice.RESOLVED).items
    assert resolved.event_url and resolved.ack_url == ""


def test_message__public_address_is_not_set__has_none(settings: Settings) -> None:
    """AL-6: a link to nowhere helps nobody."""
    settings.PUBLIC_URL = ""
    (item,) = message_of(event()).items
    assert (item.event_url, item.ack_url) == ("", "")


def test_message__test__says_so() -> None:
    """AC-2: nobody is alarmed by a test."""
    (item,) = message_of(event(), notice=Notice.TEST).items
    assert item.summary == "This is a test: Drawdown is 5.24 %" and item.ack_url == ""


def test_message__resolved__says_when() -> None:
    """AL-3: the recovery notice tells when."""
    told = event(resolved_at=AT + timedelta(hours=1))
    (item,) = message_of(told, notice=Notice.RESOLVED).items
    assert item.resolved_at == AT + timedelta(hours=1) and not item.is_over


def test_message__sent_when_all_is_over__says_so() -> None:
    """AD-7: a message that was held back or retried must not alarm anybody of what has recovered."""
    message = message_of(event(resolved_at=AT + timedelta(hours=1)))
    assert message.newest.is_over and headline(message).startswith("[CRITICAL, OVER]")
    assert ("Resolved at", "2026-01-31 15:05:09 UTC") in facts(message.newest)
    assert purpose(message.newest).startswith("This reaches you late. It has recovered.")
    assert not message_of(event()).newest.is_over


@pytest.mark.parametrize(
    ("by", "said", "over"),
    [
        ("", "It has recovered. Nothing needs to be done.", True),
        ("not told again", "Its sender has not told of it again", True),
        ("ada", "Somebody resolved it by hand", True),
        ("the rule was switched off", "The value may still be bad.", False),
    ],
)
def test_message__ended_otherwise__does_not_speak_of_a_recovery(by: str, said: str, over: bool) -> None:
    """AL-3: whoever reads "recovered" goes back to sleep."""
    told = event(resolved_at=AT + timedelta(hours=1), resolved_by=by)
    resolved = message_of(told, notice=Notice.RESOLVED)
    assert said in purpose(resolved.newest) and ("NOT WATCHED" in headline(resolved)) is not over
    assert ("OVER" in headline(message_of(told))) is over


def test_message__digest__tells_the_newest_twenty_and_counts_the_rest() -> None:
    """AD-7: newest last; nothing is dropped silently."""
    told = [event(alert_id=f"alert-{n}", summary=f"Number {n}") for n in range(23)]
    pairs = [(delivery(one, id=n), one) for n, one in enumerate(told)]
    message = digest_of(pairs)
    assert message.is_digest and (message.more, message.total) == (3, 23)
    assert [item.summary for item in message.items] == [f"Number {n}" for n in range(3, 23)]
    assert message.key == f"{pairs[0][0].dedup_key}:digest:0123456789abcdef"


def test_message__digest__is_as_bad_as_its_worst() -> None:
    """AD-7: a recovery makes nothing worse."""
    told = [event(severity=Severity.CRITICAL), event(severity=Severity.WARNING), event(severity=Severity.INFO)]
    notices = [Notice.RESOLVED, Notice.FIRING, Notice.FIRING]
    pairs = [(delivery(one, notice=notice), one) for one, notice in zip(told, notices, strict=True)]
    assert digest_of(pairs).worst == "warning"


def test_message__digest__tells_what_fires_and_is_worst_whatever_is_newer() -> None:
    """AD-7: of many the critical one is never among those that are only counted, and a text message tells it."""
    told = [event(summary=f"Number {n}", severity=Severity.INFO) for n in range(40)]
    notices = [Notice.FIRING] * 15 + [Notice.RESOLVED] * 25
    told[3].severity, told[20].severity = Severity.CRITICAL, Severity.CRITICAL
    pairs = [
        (delivery(one, id=n, notice=notice, priority=one.severity + 1, triggered_at=AT + timedelta(seconds=n)), one)
        for n, (one, notice) in enumerate(zip(told, notices, strict=True))
    ]
    message = digest_of(pairs)
    assert [item.summary for item in message.items] == [f"Number {n}" for n in (*range(15), 20, 36, 37, 38, 39)]
    assert (message.worst, message.foremost.summary, message.more) == ("critical", "Number 3", 20)
    assert "Worst: CRITICAL Number 3" in text_of(message)
    assert body_of(message)["notice"] == "firing" and headline(message).startswith("[CRITICAL]")


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold", "words"),
    [
        ("drawdown", "gte", 0.05, "Drawdown ≥ 5 %"),
        ("latency", "gt", 500.0, "Latency > 500 ms"),
        ("api_key_expiry", "lte", 14.0, "API key expires ≤ 14 days"),
        ("service_down", "gte", 1.0, "Service down"),
        ("external_alert", "gte", 1.0, "Alert from outside"),
        ("gone_metric", "gt", 3.0, "gone_metric > 3"),
    ],
)
def test_condition__any__is_in_words(metric: str, comparison: str, threshold: float, words: str) -> None:
    """AD-1: as people say it."""
    assert condition_text(metric, comparison, threshold) == words


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("drawdown", 0.05, "5 %"),
        ("drawdown", 0.0523874987, "5.239 %"),
        ("latency", 812.34567, "812.3 ms"),
        ("queue_depth", 1_234_567.0, "1,234,567 entries"),
        ("service_down", 1.0, ""),
        ("external_alert", 1.0, ""),
        ("latency", None, ""),
        ("gone_metric", 1e-9, "0.000000001"),
    ],
)
def test_value__any__has_its_unit(metric: str, value: float | None, words: str) -> None:
    """AD-1: four digits are enough for people."""
    assert value_text(metric, value) == words


def test_message__text_from_outside__is_tamed() -> None:
    """AD-1: no line breaks, nothing invisible, no turned text, bounded; whatever was put into the rows."""
    labels: dict[str, Any] = {f"name{n}": "v" * 1_000 for n in range(100)}
    labels |= {"a\r\nb": "x\u202ey\x00z", "n": 5, "deep": {"x": ["y"]}}
    told = event(
        labels=labels,
        annotations=["no", "mapping"],
        summary="a\r\nBcc: x\u2028b\x1b[31m",
        runbook_url="javascript:alert(1)",
    )
    (item,) = message_of(told).items
    assert len(item.labels) == 30 and all(len(text) <= 200 for text in item.labels.values())
    assert item.labels["a b"] == "x y z" and item.annotations == {}
    assert item.summary == "a Bcc: x b [31m" and item.runbook_url == ""


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://a.example/ b",
        'https://a.example/"onclick=x',
        "https://a/<b>",
        "//a.example",
        "file:///etc/passwd",
        "https://a.example/|x",
    ],
)
def test_message__runbook_that_is_no_page__is_no_link(url: str) -> None:
    """AD-1: a link in a message leads to a page."""
    assert message_of(event(runbook_url=url)).items[0].runbook_url == ""


def test_one_line__huge_text__is_cut_at_once() -> None:
    """AD-1: a megabyte costs what its beginning costs."""
    assert one_line("x" * 10_000_000, 10) == "xxxxxxxxx…"
