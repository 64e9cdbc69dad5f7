"""PagerDuty's Events API v2, against a real server on loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from alerting.channels.base import Answer, Item, Message
from alerting.channels.pagerduty import PagerDuty, PagerDutySettings
from alerting.models import Outcome
from tests.alerting.channels.making import digest, item, message
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import Providers
from tests.alerting.providers.web import ROUTING_KEY


def send(providers: Providers, told: Message | None = None, key: str = ROUTING_KEY) -> Answer:
    settings = PagerDutySettings(routing_key=SecretStr(key), api_url=providers.pagerduty.url)
    return PagerDuty().send(settings, key, told or message())


def test_pagerduty__firing__triggers_an_incident(providers: Providers) -> None:
    """AD-1: with severity, source, facts and links."""
    answer = send(providers)
    assert (answer.outcome, answer.status_code) == (Outcome.DELIVERED, 202)
    event = providers.pagerduty.received[0].json
    assert providers.pagerduty.received[0].path == "/pagerduty/v2/enqueue"
    assert (event["event_action"], event["dedup_key"]) == ("trigger", message().newest.event_id)
    payload = event["payload"]
    assert (payload["severity"], payload["component"]) == ("critical", "drawdown")
    assert payload["custom_details"]["strategy"] == "momentum" and len(event["links"]) == 3


def test_pagerduty__recovery__resolves_the_same_incident(providers: Providers) -> None:
    """AL-3: the recovery is no second incident."""
    send(providers)
    send(providers, message(notice="resolved", key="other"))
    first, second = (request.json for request in providers.pagerduty.received)
    assert second["event_action"] == "resolve" and second["dedup_key"] == first["dedup_key"] and "payload" not in second


@pytest.mark.parametrize(
    "late",
    [item(alert_id="db-down", event_id="first", notice="resolved"),
     item(alert_id="db-down", event_id="first", resolved_at=datetime(2026, 1, 31, 15, tzinfo=UTC))],
    ids=["recovery", "told when it is over"],
)  # fmt: skip
def test_pagerduty__late_word_of_an_earlier_episode__leaves_the_present_incident(
    providers: Providers, late: Item
) -> None:
    """AL-3, AD-1: episodes of one alert of the sender's share its id, but none closes the incident of another."""
    send(providers, message(alert_id="db-down", event_id="second"))
    send(providers, message(late))
    events = [request.json for request in providers.pagerduty.received]
    resolved = {event["dedup_key"] for event in events if event["event_action"] == "resolve"}
    assert resolved and events[0]["dedup_key"] not in resolved


def test_pagerduty__told_when_all_is_over__leaves_no_incident_open(providers: Providers) -> None:
    """AD-7: the recovery may have gone out before."""
    send(providers, message(resolved_at=datetime(2026, 1, 31, 15, tzinfo=UTC)))
    events = [request.json for request in providers.pagerduty.received]
    assert [event["event_action"] for event in events] == ["trigger", "resolve"]
    assert events[0]["dedup_key"] == events[1]["dedup_key"]


def test_pagerduty__digest__is_one_event_for_each_alert(providers: Providers) -> None:
    """AD-7: so that each recovery finds its incident."""
    assert not PagerDuty.digests
    send(providers, digest(3))
    events = [request.json for request in providers.pagerduty.received]
    assert [event["dedup_key"] for event in events] == ["event-0", "event-1", "event-2"]


def test_pagerduty__failure_in_the_middle__is_tried_again(providers: Providers) -> None:
    """AD-5: PagerDuty knows a repetition by its key."""
    providers.pagerduty.script(steps.says(202), steps.says(500))
    assert send(providers, digest(3)).outcome == Outcome.TRANSIENT and len(providers.pagerduty.received) == 2


FAULTS: list[tuple[str, Any, Outcome]] = [
    ("429", steps.throttles("5"), Outcome.THROTTLED),
    ("500", steps.says(500), Outcome.TRANSIENT),
    ("403", steps.says(403), Outcome.PERMANENT),
    ("reset", steps.resets(), Outcome.UNKNOWN),
    ("half", steps.half(), Outcome.UNKNOWN),
    ("redirect", steps.redirects("http://10.0.0.1/"), Outcome.PERMANENT),
]


@pytest.mark.parametrize(("step", "outcome"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_pagerduty__behaviour__is_classified(providers: Providers, step: Any, outcome: Outcome) -> None:
    """AD-5: as with every provider."""
    providers.pagerduty.script(step)
    answer = send(providers)
    assert answer.outcome == outcome and ROUTING_KEY not in answer.sentence


def test_pagerduty__wrong_key__needs_a_person(providers: Providers) -> None:
    """AD-5: PagerDuty's own words say why."""
    answer = send(providers, key="f" * 32)
    assert (answer.outcome, answer.sentence) == (Outcome.PERMANENT, "PagerDuty refused it: Invalid routing key")


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "0123456789abcdef 123456789abcdef0"])
def test_settings__no_key__is_refused(key: str) -> None:
    """AD-1: a sentence, not a mishap at the first alert."""
    with pytest.raises(ValidationError):
        PagerDutySettings(routing_key=SecretStr(key))


def test_shown__key__is_masked() -> None:
    """AC-2: the last 4 characters."""
    settings = PagerDutySettings(routing_key=SecretStr(ROUTING_KEY))
    assert PagerDuty().shown(settings) == {"Integration key": "…cdef"}
    assert PagerDuty().recipients(settings)[0].shown == "…cdef"
