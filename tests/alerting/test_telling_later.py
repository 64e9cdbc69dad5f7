"""Alerts that nobody was told of when they fired, told when somebody can be (AL-3, AL-5, AL-7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerting import observing, upkeep
from alerting.models import Channel, Delivery, Event, Rule, Silence
from alerting.selectors.silences import held_back
from alerting.ticking import Ticker
from tests.alerting.ruling import a_rule, ago, alert, an_external_rule, hook, notices, take, the_event, value

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_first_rules(db: None) -> None:
    Rule.objects.all().delete()


def told_at() -> Any:
    return Event.objects.get(metric="drawdown").notified_at


def test_alert_fires__its_rule_gets_its_first_channel__is_told_once(redis: Any) -> None:
    """AL-5: a fresh portal's rules have no channels; what fires before the first one is set up is told then."""
    rule = a_rule()
    take(value(0.06, ago(20)))
    ticker = Ticker()
    ticker.tick(timezone.now())
    assert notices() == [] and told_at() is None
    rule.channels.set([hook()])
    ticker.tick(timezone.now())
    assert notices() == [("firing", "webhook")] and told_at() is not None
    rule.channels.add(hook(1))
    ticker.tick(timezone.now())
    assert len(notices()) == 1
    take(value(0.01))
    assert notices() == [("firing", "webhook"), ("resolved", "webhook")]


def test_alert_fires__its_only_channel_is_switched_on__is_told() -> None:
    """AL-5: a channel that somebody switched off tells nobody, and leaves nothing."""
    channel = hook()
    Channel.objects.filter(pk=channel.pk).update(enabled=False)
    a_rule(channel)
    take(value(0.06, ago(20)))
    assert upkeep.tell_unheard(timezone.now()) == 0 and notices() == []
    Channel.objects.filter(pk=channel.pk).update(enabled=True)
    assert upkeep.tell_unheard(timezone.now()) == 1
    assert upkeep.tell_unheard(timezone.now()) == 0 and notices() == [("firing", "webhook")]


@pytest.mark.parametrize("state", ["pending", "acknowledged", "resolved"])
def test_alert__does_not_fire_or_is_taken_up__stays_untold(state: str) -> None:
    """AL-3: somebody knows of it, or nothing is wrong."""
    rule = a_rule(for_seconds=3_600 if state == "pending" else 0)
    take(value(0.06, ago(20)))
    if state == "resolved":
        take(value(0.01))
    if state == "acknowledged":
        Event.objects.update(state=state)
    rule.channels.set([hook()])
    assert upkeep.tell_unheard(timezone.now()) == 0 and notices() == []


def test_alert_fires__first_channel_while_it_is_silenced__is_told_when_the_silence_ends() -> None:
    """AL-7: it counts as held back from then on."""
    rule = a_rule()
    take(value(0.06, ago(20)))
    rule.channels.set([hook()])
    now = timezone.now()
    silence = Silence.objects.create(
        rule=rule, reason="drill", created_by="x", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1)
    )
    assert upkeep.tell_unheard(now) == 0 and notices() == []
    silence.refresh_from_db()
    assert (the_event().muted_by, silence.suppressed) == (f"silence:{silence.pk}", 1)
    assert upkeep.tell_muted(now + timedelta(hours=2)) == 1 and notices() == [("firing", "webhook")]


def test_alert_fires__its_rule_is_armed_meanwhile__trips_from_the_next_one_on(redis: Any) -> None:
    """AL-5: whoever arms a rule does not halt trading by saving a form."""
    rule = a_rule()
    take(value(0.06, ago(20)))
    Rule.objects.filter(pk=rule.pk).update(trips_breaker=True)
    Ticker().tick(timezone.now())
    assert not Delivery.objects.filter(kind="breaker").exists()
    take(value(0.01, ago(10)), value(0.06))
    assert Delivery.objects.filter(kind="breaker").count() == 1


def test_many_held_back__nothing_ends__nothing_is_locked_or_written() -> None:
    """AL-7: it is looked at every second; whoever sends must not wait for that."""
    rule = an_external_rule(hook())
    now = timezone.now()
    silence = Silence.objects.create(
        rule=rule, labels={"part": "a"}, reason="drill", created_by="x",
        starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1),
    )  # fmt: skip
    take(*(alert(f"a{number}", labels={"part": "a"}) for number in range(3)))
    with CaptureQueriesContext(connection) as asked:
        assert upkeep.tell_muted(now) == 0
    assert not any(word in query["sql"] for query in asked for word in ("FOR UPDATE", "UPDATE alerting"))
    Silence.objects.filter(pk=silence.pk).update(ended_at=now)
    assert upkeep.tell_muted(now) == 3 and len(notices()) == 3


def test_held_back__same_people_were_told_within_the_hour__says_so() -> None:
    """AD-3, AD-12: nothing is written when the silence ends, and nothing says that somebody was told."""
    rule = an_external_rule(hook())
    at = timezone.now()
    observing.take([alert(alert_id="desk-1", at=at)], now=at)
    observing.take([alert(firing=False, at=at)], now=at)
    silence = Silence.objects.create(
        rule=rule, reason="drill", created_by="x", starts_at=at - timedelta(hours=1), ends_at=at + timedelta(hours=1)
    )
    observing.take([alert(alert_id="desk-1", at=at)], now=at)
    assert upkeep.tell_muted(silence.ends_at) == 0
    event = Event.objects.get(state="firing")
    assert (event.muted_by, event.notified_at) == ("", None) and "same hour" in event.annotations["not sent"]
    assert upkeep.tell_unheard(timezone.now()) == 0 and len(notices()) == 2


def test_held_back__told_when_the_silence_ends__stays_listed_as_held_back() -> None:
    """AL-7: what a silence counts it lists, whatever held it back after it or before."""
    rule = a_rule(hook())
    now = timezone.now()
    first, second = (
        Silence.objects.create(
            rule=rule, reason="drill", created_by="x", starts_at=now - timedelta(hours=1), ends_at=now + until
        )
        for until in (timedelta(hours=1), timedelta(hours=2))
    )
    take(value(0.06, ago(20)))
    for silence, told in ((first, 0), (second, 1)):
        assert held_back(silence) == [the_event()]
        assert upkeep.tell_muted(silence.ends_at) == told
    event = the_event()
    assert event.muted_by == "" and event.notified_at
    for silence in (first, second):
        silence.refresh_from_db()
        assert silence.suppressed == 1 and held_back(silence) == [event]
        assert f"{silence.ends_at:%Y-%m-%d %H:%M} UTC" in event.annotations[f"held back by silence {silence.pk}"]
    assert held_back(Silence(pk=10 * first.pk, suppressed=1, starts_at=now, ends_at=second.ends_at)) == []
