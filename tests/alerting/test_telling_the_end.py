"""Who is told that it is over: whoever was told that it fires, once for each time, if a rule says so (AL-3, AD-3)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting import keys, observing, upkeep
from alerting.models import Delivery, Event, Rule
from tests.alerting.ruling import a_rule, ago, alert, an_external_rule, hook, notices, states, take, value

pytestmark = pytest.mark.django_db
FIRING, OVER = ("firing", "webhook"), ("resolved", "webhook")


@pytest.fixture(autouse=True)
def _no_first_rules(db: None) -> None:
    Rule.objects.all().delete()


def the_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0)


def test_recovery__second_one_under_the_senders_id_in_an_hour__is_told() -> None:
    """AL-3, AD-3: it was told twice that it fires, for a new hour had begun: so twice that it is over."""
    an_external_rule(hook())
    for minutes, firing in ((-10, True), (5, False), (10, True), (20, False)):
        at = the_hour() + timedelta(minutes=minutes)
        observing.take([alert(firing=firing, at=at, alert_id="desk-1" if firing else "")], now=at)
    assert notices() == [FIRING, OVER, FIRING, OVER]
    over = Delivery.objects.filter(notice="resolved").order_by("id")
    assert [row.dedup_key for row in over] == [
        keys.dedup_key(str(row.event_id), "webhook", row.recipient_hash, row.hour_bucket, resolved=True) for row in over
    ]


def test_recovery__began_and_over_in_one_batch__is_told_to_whoever_was_told() -> None:
    """AL-3: once to each, over which of two rules they were told; a repeat that nobody was told of has no end to tell."""
    channel = hook()
    an_external_rule(channel)
    an_external_rule(channel)
    at = the_hour()
    for _ in range(2):
        observing.take([alert(alert_id="desk-1", at=at), alert(firing=False, at=at + timedelta(seconds=1))], now=at)
    assert states() == ["resolved"] * 4 and notices() == [FIRING, OVER]


@pytest.mark.parametrize("tells", [0, 1])
@pytest.mark.parametrize("waits", [None, 0, 1])
def test_recovery__two_rules_tell_the_same_of_one_alert__one_of_them_tells_it(tells: int, waits: int | None) -> None:
    """AL-3, AD-3: one message and one end of it, whichever rule told and whichever says to tell the end."""
    channel, other = hook(), hook(1)
    an_external_rule(channel, *([] if tells == 0 else [other]), notify_resolved=tells == 0, for_seconds=waits == 0)
    an_external_rule(channel, *([] if tells == 1 else [other]), notify_resolved=tells == 1, for_seconds=waits == 1)
    take(alert(alert_id="desk-1", at=ago(5)))
    upkeep.promote(timezone.now())
    take(alert(firing=False))
    assert sorted(notices()) == [FIRING, FIRING, OVER]
    assert Delivery.objects.get(notice="resolved").channel_id == channel.pk


def test_recovery__two_alerts_in_one_step__each_by_its_own_rule() -> None:
    """AL-3: what is no alert of the same name has no say."""
    channel = hook()
    a_rule(channel, notify_resolved=False)
    a_rule(channel, metric="latency", threshold=500.0)
    take(value(0.06, ago(10)), value(900.0, ago(10), metric="latency"))
    take(value(0.01), value(100.0, metric="latency"))
    assert Event.objects.get(pk=Delivery.objects.get(notice="resolved").event_id).metric == "latency"


@pytest.mark.parametrize("change", [{"enabled": False}, {"threshold": 0.5}, {"labels": 7}])
def test_recovery__rule_that_tells_none_is_changed__tells_none(change: Any) -> None:
    """AL-3: also when it is switched off while the value is bad, or cannot be read."""
    rule = a_rule(hook(), notify_resolved=False)
    take(value(0.06, ago(10)))
    Rule.objects.filter(pk=rule.pk).update(**change)
    upkeep.drop_changed(timezone.now())
    take(value(0.01))
    assert notices() == [FIRING]


@pytest.mark.parametrize("tells", [True, False])
def test_recovery__rule_is_deleted__is_told(tells: bool) -> None:
    """AL-3: nobody can be asked any more, and who heard that it fires must not wait for ever."""
    rule = a_rule(hook(), notify_resolved=tells)
    take(value(0.06))
    rule.delete()
    upkeep.drop_changed(timezone.now())
    assert notices() == [FIRING, OVER]
