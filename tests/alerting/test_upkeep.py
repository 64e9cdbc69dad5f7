"""What time alone brings to open episodes (AL-3)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import Error, connection
from django.utils import timezone

from alerting import pressure, upkeep
from alerting.models import Delivery, Episode, Event, Gate, Rule
from alerting.ticking import Ticker
from tests.alerting.ruling import a_rule, ago, alert, an_external_rule, hook, notices, states, take, the_event, value

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_first_rules(db: None) -> None:
    pressure.forget_depth()
    Rule.objects.all().delete()


def test_pending__its_time_comes_and_no_value_with_it__fires() -> None:
    """AL-3: a series that goes silent stays as bad as it was; the trigger is when the time came."""
    a_rule(hook(), for_seconds=60)
    began = ago(59)
    take(value(0.06, began))
    assert upkeep.promote(began + timedelta(seconds=59)) == 0
    now = began + timedelta(seconds=61)
    assert upkeep.promote(now) == 1
    event = the_event()
    assert (event.state, event.triggered_at, event.value) == ("firing", began + timedelta(seconds=60), 0.06)
    assert notices() == [("firing", "webhook")] and Delivery.objects.get().triggered_at == event.triggered_at
    assert upkeep.promote(now) == 0
    take(value(0.01))
    assert notices() == [("firing", "webhook"), ("resolved", "webhook")]


def test_pending__recovered__never_fires() -> None:
    """AL-3."""
    a_rule(hook(), for_seconds=60)
    take(value(0.06, ago(50)), value(0.01, ago(40)))
    assert upkeep.promote(timezone.now() + timedelta(hours=1)) == 0 and notices() == []


def test_alert__not_told_again__resolves_at_its_end() -> None:
    """AL-4: Prometheus' endsAt; told again, it goes on."""
    an_external_rule(hook())
    now = timezone.now()
    take(alert(expires_at=now + timedelta(minutes=4)))
    take(alert(expires_at=now + timedelta(minutes=5)))
    assert upkeep.expire(now + timedelta(minutes=4, seconds=30)) == 0
    assert upkeep.expire(now + timedelta(minutes=5)) == 1
    assert (the_event().state, the_event().resolved_by) == ("resolved", "not told again")
    assert notices() == [("firing", "webhook"), ("resolved", "webhook")] and not Episode.objects.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"threshold": 0.5}, "the rule was changed"),
        ({"comparison": "lt"}, "the rule was changed"),
        ({"metric": "latency"}, "the rule was changed"),
        ({"labels": {"strategy": "carry"}}, "the rule was changed"),
        ({"enabled": False}, "the rule was switched off"),
        (None, "the rule was deleted"),
        ({"name": "Another name"}, ""),
        ({"severity": 2}, ""),
        ({"labels": {"strategy": "momentum"}}, ""),
    ],
    ids=lambda value: str(value),
)
def test_open_episode__its_rule_changes__resolves_and_tells(change: Any, why: str) -> None:
    """AL-3: what the rule is about no more is over, and who heard of it hears that."""
    rule = a_rule(hook())
    take(value(0.06))
    if change is None:
        rule.delete()
    else:
        Rule.objects.filter(pk=rule.pk).update(**change)
    assert upkeep.drop_changed(timezone.now()) == bool(why)
    event = the_event()
    assert (event.state, event.resolved_by) == ("resolved" if why else "firing", why)
    assert notices() == [("firing", "webhook")] + [("resolved", "webhook")] * bool(why)


def test_open_episode__value_still_bad_for_the_changed_rule__begins_anew() -> None:
    """AL-3: under the new condition."""
    rule = a_rule(hook())
    take(value(0.06, ago(10)))
    Rule.objects.filter(pk=rule.pk).update(threshold=0.04)
    upkeep.drop_changed(timezone.now())
    take(value(0.06, ago(5)))
    assert states() == ["resolved", "firing"]


def test_pending__rule_waits_for_another_time__it_does_so_at_once() -> None:
    """AL-1, AL-3: a shorter `for` holds for what is pending as well."""
    rule = a_rule(hook(), for_seconds=3_600)
    take(value(0.06, ago(30)))
    Rule.objects.filter(pk=rule.pk).update(for_seconds=20)
    assert upkeep.promote(timezone.now()) == 0
    upkeep.drop_changed(timezone.now())
    assert upkeep.promote(timezone.now()) == 1


def test_open_episode__event_dropped_with_its_month__is_forgotten() -> None:
    """AL-9: should an event be gone although it is open, it begins anew with the next value."""
    an_external_rule(hook())
    take(alert())
    Episode.objects.update(event_started_at=ago(91 * 86_400))
    upkeep.drop_changed(timezone.now())
    assert not Episode.objects.exists()


def test_open_episode__what_it_is_about_is_gone__resolves() -> None:
    """AL-2: a service that was removed is not down; what services push is left alone."""
    from dataclasses import replace

    from alerting.models import Origin

    a_rule(hook(), metric="service_down", threshold=1.0)
    a_rule(hook(1))
    own = [replace(value(1.0, metric="service_down", service=name), origin=Origin.PORTAL) for name in ("old", "new")]
    take(*own)
    take(value(0.06))
    assert upkeep.drop_unwatched({"service_down": [{"service": "new"}], "drawdown": []}, timezone.now()) == 1
    gone = Event.objects.get(state="resolved")
    assert (gone.labels, gone.resolved_by) == ({"service": "old"}, "it is not watched any more")


def test_pending__that_cannot_be_written__the_others_fire(caplog: pytest.LogCaptureFixture) -> None:
    """STYLE 8: the one that PostgreSQL refuses is set aside, alone."""
    a_rule(hook(), for_seconds=10)
    take(*(value(0.5, ago(20), strategy=name) for name in "abc"))
    Event.objects.filter(labels__strategy="b").update(value=float("nan"))  # no JSON can hold it
    assert upkeep.promote(timezone.now()) == 2
    assert sorted(states()) == ["firing", "firing", "pending"] and Delivery.objects.count() == 2
    assert any(record.msg == "alert_event_set_aside" for record in caplog.records)


def told_until(moment: datetime) -> None:
    """An alert of Prometheus that fires, and ends at that moment unless it is told again."""
    an_external_rule(hook())
    take(alert("DiskFull", expires_at=moment))


def test_expiry__nobody_could_tell_it_again__waits_for_five_minutes() -> None:
    """AL-4, Q-4: after the start of the ticker, and again after the queue was full, senders get time to tell."""
    now = timezone.now()
    told_until(now)
    ticker = Ticker()
    ticker.tick(now + timedelta(seconds=1))
    ticker.tick(now + timedelta(minutes=4))
    Gate.objects.update(closed=True)
    pressure.forget_depth()
    ticker.tick(now + timedelta(minutes=10))  # this tick finds that few deliveries wait, and opens the gate
    assert not Gate.objects.get().closed
    for minutes in (11, 15):
        ticker.tick(now + timedelta(minutes=minutes))
        assert states() == ["firing"]
    ticker.tick(now + timedelta(minutes=16, seconds=1))
    assert the_event().resolved_by == "not told again"


def test_expiry__postgresql_was_away__waits_for_five_minutes(postgres_server: Any) -> None:
    """AL-4, Q-4: nothing could be told to the portal meanwhile."""
    now = timezone.now()
    told_until(now + timedelta(minutes=6))
    ticker = Ticker()
    ticker.tick(now)
    with postgres_server.stopped(), pytest.raises(Error):
        ticker.tick(now + timedelta(minutes=5))
    connection.close()
    ticker.tick(now + timedelta(minutes=7))
    assert states() == ["firing"]
    ticker.tick(now + timedelta(minutes=12))
    assert states() == ["resolved"]
