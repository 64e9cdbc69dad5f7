"""What comes late, ahead of our clock or a second time: nothing fires for it, nothing is lost by it (AL-2, AL-3)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from alerting import upkeep
from alerting.models import Delivery, Origin, Rule
from alerting.ticking import Ticker
from tests.alerting.ruling import a_rule, ago, alert, an_external_rule, hook, notices, states, take, the_event, value

pytestmark = pytest.mark.django_db

VALUES, ALERTS, PROMETHEUS = "/api/v1/observations", "/api/v1/alerts", "/api/v2/alerts"


def post(sender: Client, address: str, body: Any) -> None:
    answer = sender.post(address, json.dumps(body), "application/json")
    assert answer.status_code in (200, 202), answer.content


def drawdown(number: float, at: datetime | None = None) -> dict[str, Any]:
    told = {"metric": "drawdown", "value": number, "labels": {"strategy": "momentum"}}
    return told if at is None else {**told, "at": at.isoformat()}


def kept() -> list[float]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM alerting_observation ORDER BY at")
        return [row[0] for row in cursor.fetchall()]


# What was held back


def test_spike__sent_late_in_two_requests__fires_nothing(sender: Client) -> None:
    """AL-3, AL-5: four bad seconds of ten minutes ago trip nothing, though the clock ticks between the requests."""
    a_rule(hook(), for_seconds=60, trips_breaker=True)
    began = ago(600)
    numbers = [0.01] * 5 + [0.09] * 10 + [0.01] * 5
    buffered = [drawdown(number, began + place * timedelta(seconds=0.4)) for place, number in enumerate(numbers)]
    post(sender, VALUES, {"observations": buffered[:10]})
    Ticker().tick(timezone.now())
    assert states() == ["pending"]
    post(sender, VALUES, {"observations": buffered[10:]})
    assert states() == ["resolved"] and not Delivery.objects.exists()


@pytest.mark.parametrize("late", [value, lambda _, at: alert(at=at)], ids=["a value", "a direct alert"])
@pytest.mark.usefixtures("no_rules")
def test_pending__what_began_it_came_late__time_counts_from_its_arrival(late: Any) -> None:
    """AL-3: nobody knows whether it held till then. The values' own clock fires it all the same."""
    a_rule(hook(), for_seconds=60)
    an_external_rule(hook(1), for_seconds=60)
    arrived = timezone.now()
    take(late(0.06, arrived - timedelta(minutes=10)), now=arrived)
    assert upkeep.promote(arrived + timedelta(seconds=59)) == 0
    upkeep.drop_changed(arrived)
    assert upkeep.promote(arrived + timedelta(seconds=59)) == 0
    assert upkeep.promote(arrived + timedelta(seconds=60)) == 1
    assert the_event().started_at == arrived - timedelta(minutes=10)


@pytest.mark.usefixtures("no_rules")
def test_pending__what_began_it_came_late__a_later_bad_value_fires_it_by_its_own_clock() -> None:
    """AL-3."""
    a_rule(hook(), for_seconds=60)
    began = ago(600)
    take(value(0.06, began))
    take(value(0.07, began + timedelta(seconds=60)))
    assert states() == ["firing"]


@pytest.mark.usefixtures("no_rules")
def test_pending__what_began_it_came_late_and_the_rule_waits_for_another_time__from_its_arrival() -> None:
    """AL-1, AL-3: a shorter `for` does not make an old value count as held."""
    rule = a_rule(hook(), for_seconds=3_600)
    arrived = timezone.now()
    take(value(0.06, arrived - timedelta(minutes=10)), now=arrived)
    Rule.objects.filter(pk=rule.pk).update(for_seconds=20)
    upkeep.drop_changed(arrived)
    assert upkeep.promote(arrived + timedelta(seconds=19)) == 0
    assert upkeep.promote(arrived + timedelta(seconds=20)) == 1


@pytest.mark.usefixtures("no_rules")
def test_pending__prometheus_says_since_when__it_has_held_till_now() -> None:
    """AL-3, AL-4: whoever watches for itself tells what holds, not what held."""
    an_external_rule(hook(), for_seconds=60)
    take(alert(at=ago(600), origin=Origin.PROMETHEUS))
    assert upkeep.promote(timezone.now()) == 1


# What is told again


@pytest.mark.parametrize("ahead", [-30, 30], ids=["a right clock", "a clock ahead"])
def test_batch__told_again__counts_once(sender: Client, ahead: int) -> None:
    """AL-2, AL-5: the same request once more makes no second alert, no second trip and no second row."""
    a_rule(hook(), trips_breaker=True)
    at = timezone.now() + timedelta(seconds=ahead)
    batch = {"observations": [drawdown(0.09, at), drawdown(0.01, at + timedelta(seconds=1))]}
    for _ in range(3):
        post(sender, VALUES, batch)
    assert states() == ["resolved"] and sorted(notices()) == [
        ("firing", "breaker"),
        ("firing", "webhook"),
        ("resolved", "webhook"),
    ]
    assert kept() == [0.09, 0.01]


@pytest.mark.usefixtures("no_rules")
def test_batch__told_again_when_a_clock_ahead_has_come_true__counts_once() -> None:
    """AL-2: what was told by a time is known by it for good, whoever else tells of the series meanwhile."""
    from dataclasses import replace

    a_rule(hook())
    now = timezone.now()
    at = now + timedelta(seconds=30)
    batch = [replace(value(0.09, now), told_at=at), replace(value(0.01, now), told_at=at + timedelta(seconds=1))]
    take(*batch, now=now)
    take(value(0.02, now + timedelta(seconds=5)), now=now + timedelta(seconds=5))
    later = now + timedelta(seconds=40)
    take(value(0.09, at), value(0.01, at + timedelta(seconds=1)), now=later)
    assert states() == ["resolved"] and kept() == [0.02, 0.09, 0.01]


def test_values__one_without_a_time_and_one_ahead__both_are_judged(sender: Client) -> None:
    """AL-2: in the order of their times, whatever a sender's clock says."""
    a_rule(hook())
    post(sender, VALUES, {"observations": [drawdown(0.01), drawdown(0.09, timezone.now() + timedelta(seconds=5))]})
    assert states() == ["firing"] and kept() == [0.01, 0.09]
    assert the_event().started_at <= timezone.now()


def test_value__of_long_before_one_that_was_ahead__changes_nothing(sender: Client) -> None:
    """AL-2: a clock ahead makes the past no news."""
    a_rule(hook())
    post(sender, VALUES, {"observations": [drawdown(0.01, timezone.now() + timedelta(seconds=30))]})
    post(sender, VALUES, {"observations": [drawdown(0.09, ago(60))]})
    assert states() == [] and kept() == [0.09, 0.01]


# Resolved late


def test_direct_alert__resolve_of_an_earlier_one__does_not_end_it(sender: Client) -> None:
    """AL-3: a copy of a request that comes late tells of what is over."""
    an_external_rule(hook())
    body = {"name": "Venue rejects", "labels": {"venue": "XNAS"}}
    first, second = ({**body, "triggered_at": ago(seconds).isoformat()} for seconds in (600, 300))
    for told in (first, {**first, "status": "resolved"}, second, {**first, "status": "resolved"}):
        post(sender, ALERTS, told)
    assert states() == ["resolved", "firing"]
    post(sender, ALERTS, {**second, "status": "resolved"})
    assert states() == ["resolved", "resolved"]


def test_direct_alert__of_a_clock_ahead__is_resolved_without_a_time(sender: Client) -> None:
    """AL-3: "now" is never before it."""
    an_external_rule(hook())
    post(sender, ALERTS, {"name": "x", "triggered_at": (timezone.now() + timedelta(seconds=50)).isoformat()})
    post(sender, ALERTS, {"name": "x", "status": "resolved"})
    assert states() == ["resolved"]


@pytest.mark.parametrize("lasted", [200, 7_200], ids=["short", "of hours"])
def test_prometheus__end_of_an_earlier_alert__does_not_end_it(sender: Client, lasted: int) -> None:
    """AL-3, AL-4: by its `endsAt`."""
    an_external_rule(hook())
    labels = {"alertname": "DiskFull", "host": "a"}
    fires = {"labels": labels, "startsAt": ago(60).isoformat(), "endsAt": ago(-240).isoformat()}
    post(sender, PROMETHEUS, [fires])
    post(sender, PROMETHEUS, [{**fires, "startsAt": ago(400 + lasted).isoformat(), "endsAt": ago(400).isoformat()}])
    assert states() == ["firing"]
    post(sender, PROMETHEUS, [{**fires, "endsAt": ago(1).isoformat()}])
    assert states() == ["resolved"]
