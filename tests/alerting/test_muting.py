"""Whose messages are held back, and what is told when that ends (AL-7, HM-11, HM-12, AD-8)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting import upkeep
from alerting.models import Delivery, Event, Gate, Rule, Silence
from health.models import Maintenance, Status
from health.selectors import forget_grid
from tests.alerting.ruling import a_rule, ago, alert, an_external_rule, hook, notices, states, take, the_event, value
from tests.health.desk import Desk

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _fresh(db: None) -> None:
    forget_grid()
    Rule.objects.all().delete()


def silence(**fields: Any) -> Silence:
    now = timezone.now()
    return Silence.objects.create(
        **{"reason": "Drill", "created_by": "ops", "starts_at": now - HOUR, "ends_at": now + HOUR, **fields}
    )


def maintain(*services: Any, until: datetime | None = None) -> Maintenance:
    now = timezone.now()
    window = Maintenance.objects.create(
        starts_at=now - HOUR, ends_at=until or now + HOUR, reason="New kernel", planned_by="ops"
    )
    window.services.set(services)
    return window


def down(service: str) -> Any:
    return value(1.0, metric="service_down", service=service)


def test_silence__by_rule__holds_back_and_counts_each_event_once() -> None:
    """AL-7: what is suppressed is seen on the event and counted."""
    quiet = silence(rule=a_rule(hook()))
    a_rule(hook(1))
    take(value(0.06, ago(20)))
    take(value(0.07, ago(10)))
    assert states() == ["firing", "firing"]
    muted = Event.objects.exclude(muted_by="").get()
    assert (muted.muted_by, muted.notified_at) == (f"silence:{quiet.pk}", None)
    assert Delivery.objects.count() == 1
    quiet.refresh_from_db()
    assert quiet.suppressed == 1


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"service": "orders"}, True),
        ({"service": "pricing"}, False),
        ({"labels": {"venue": "XNAS"}}, True),
        ({"labels": {"venue": "XNAS", "service": "orders"}}, True),
        ({"labels": {"venue": "XLON"}}, False),
        ({"service": "orders", "labels": {"venue": "XLON"}}, False),
        ({"service": "orders", "starts_at": timezone.now() + HOUR, "ends_at": timezone.now() + 2 * HOUR}, False),
        ({"service": "orders", "ended_at": timezone.now()}, False),
    ],
    ids=["service", "other service", "label", "both", "other label", "one of two", "later", "ended"],
)
def test_silence__fits__only_when_all_that_is_given_matches(fields: Any, fits: bool) -> None:
    """AL-7: by service or label match; while it runs."""
    an_external_rule(hook())
    silence(**fields)
    take(alert(labels={"service": "orders", "venue": "XNAS"}))
    assert bool(the_event().muted_by) == fits
    assert Delivery.objects.exists() != fits


def test_silence__ends_while_it_still_fires__is_told_then() -> None:
    """AL-7: held back, not lost; under the hour in which it fired."""
    an_external_rule(hook())
    quiet = silence(service="orders")
    take(alert(labels={"service": "orders"}))
    assert upkeep.tell_muted(timezone.now()) == 0 and notices() == []
    quiet.refresh_from_db()
    assert quiet.suppressed == 1  # each tick looks at it again, and counts nothing
    quiet.ended_at = timezone.now()
    quiet.save(update_fields=["ended_at"])
    assert upkeep.tell_muted(timezone.now()) == 1
    event, delivery = the_event(), Delivery.objects.get()
    assert (event.muted_by, delivery.triggered_at) == ("", event.triggered_at) and event.notified_at
    assert upkeep.tell_muted(timezone.now()) == 0
    take(alert(firing=False, labels={"service": "orders"}))
    assert notices() == [("firing", "webhook"), ("resolved", "webhook")]


def test_silence__runs_out__is_told_then() -> None:
    """AL-7: its end needs no change of a row."""
    an_external_rule(hook())
    quiet = silence(service="orders")
    take(alert(labels={"service": "orders"}))
    assert upkeep.tell_muted(quiet.ends_at - timedelta(seconds=1)) == 0
    assert upkeep.tell_muted(quiet.ends_at) == 1


def test_silence__recovers_meanwhile__nobody_hears_of_it() -> None:
    """AL-7: who never heard that it fires need not hear that it is over."""
    an_external_rule(hook())
    silence(service="orders")
    take(alert(labels={"service": "orders"}))
    take(alert(firing=False, labels={"service": "orders"}))
    assert (states(), notices()) == (["resolved"], [])


def test_silence__event_acknowledged_meanwhile__is_not_told() -> None:
    """AL-6, AL-7: somebody knows of it."""
    an_external_rule(hook())
    quiet = silence(service="orders")
    take(alert(labels={"service": "orders"}))
    Event.objects.update(state="acknowledged")
    quiet.delete()
    upkeep.tell_muted(timezone.now())
    assert notices() == [] and the_event().muted_by
    assert upkeep.tell_muted(timezone.now()) == 0


def test_silence__rule_that_trips__trips_all_the_same() -> None:
    """AL-5, AL-7: a silence holds messages back, not the protection."""
    silence(rule=a_rule(hook(), trips_breaker=True))
    take(value(0.06))
    assert notices() == [("firing", "breaker")]


def test_silence__event_still_pending__is_not_counted_before_it_fires() -> None:
    """AL-7: what holds nothing back is not counted."""
    quiet = silence(rule=a_rule(hook(), for_seconds=60))
    take(value(0.06, ago(90)))
    quiet.refresh_from_db()
    assert quiet.suppressed == 0
    take(value(0.06, ago(20)))
    quiet.refresh_from_db()
    assert quiet.suppressed == 1


def test_maintenance__of_the_service__mutes_what_comes_from_it() -> None:
    """HM-11: pushed values and alerts from outside as well; another reason takes over, and in the end it is told."""
    desk = Desk()
    window = maintain(desk.has("orders"))
    desk.has("pricing")
    an_external_rule(hook())
    take(alert(labels={"service": "orders"}), alert(labels={"service": "pricing"}))
    assert Event.objects.get(labels__service="orders").muted_by == f"maintenance:{window.pk}"
    assert Event.objects.get(labels__service="pricing").muted_by == ""
    quiet = silence(service="orders", ends_at=timezone.now() + 3 * HOUR)
    upkeep.tell_muted(timezone.now())
    assert Event.objects.get(labels__service="orders").muted_by == f"silence:{quiet.pk}"
    assert upkeep.tell_muted(timezone.now() + 2 * HOUR) == 0
    assert upkeep.tell_muted(timezone.now() + 4 * HOUR) == 1


def test_cause__failing_parent__pages_once() -> None:
    """HM-12: a failure that a parent explains is shown as such; when the parent is back and it is not, it is told."""
    desk = Desk()
    parent = desk.has("database", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, parent)
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0)
    take(down("database"), down("orders"))
    assert Event.objects.get(labels__service="orders").muted_by == "cause:database"
    assert Delivery.objects.get().event_id == Event.objects.get(labels__service="database").id
    desk.becomes(parent, Status.HEALTHY)
    assert upkeep.tell_muted(timezone.now()) == 1 and Delivery.objects.count() == 2


def test_cause__alert_from_outside__is_told() -> None:
    """HM-12: only the health monitor's own alerts have its causes."""
    desk = Desk()
    desk.has("orders", Status.UNREACHABLE, desk.has("database", Status.UNREACHABLE))
    desk.tell()
    an_external_rule(hook())
    a_rule(hook(1), metric="service_down", threshold=1.0)
    take(alert(labels={"service": "orders"}), down("orders"), down("database"))
    assert Event.objects.get(metric="external_alert").muted_by == ""
    assert Event.objects.get(metric="service_down", labels__service="orders").muted_by == "cause:database"


def test_queue_full__what_fires_is_kept_and_told_when_there_is_room() -> None:
    """AD-8: observations are not refused, and an episode that began then is not lost; a trip is made at once."""
    a_rule(hook(), trips_breaker=True)
    Gate.objects.update(closed=True)
    take(value(0.06))
    assert (the_event().state, the_event().muted_by) == ("firing", "queue:full")
    assert notices() == [("firing", "breaker")]
    assert upkeep.tell_muted(timezone.now()) == 1  # the tick finds that few deliveries wait
    assert notices() == [("firing", "breaker"), ("firing", "webhook")] and the_event().muted_by == ""


def test_cause__nobody_is_told_of_the_parent__the_service_is_told() -> None:
    """HM-12: it pages once, and not never: no rule is about the parent, or it is silenced."""
    desk = Desk()
    desk.has("orders", Status.UNREACHABLE, desk.has("database", Status.UNREACHABLE))
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0, labels={"service": "orders"})
    parents = a_rule(metric="service_down", threshold=1.0, labels={"service": "database"})
    take(down("database"), down("orders"))
    assert Event.objects.get(labels__service="orders").muted_by == "" and Delivery.objects.count() == 1
    take(value(0.0, metric="service_down", service="orders"))
    parents.channels.set([hook(1)])
    silence(rule=parents)
    take(value(0.0, metric="service_down", service="database"))
    take(down("database"), down("orders"))
    assert Event.objects.get(labels__service="orders", resolved_at=None).muted_by == ""


def test_cause__parent_waits_still__the_service_waits_for_it() -> None:
    """HM-12: whichever rule waits longer, and also where both begin at once; told once the parent's alert is."""
    desk = Desk()
    parent = desk.has("database", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, parent)
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0, labels={"service": "orders"})
    a_rule(hook(1), metric="service_down", threshold=1.0, labels={"service": "database"}, for_seconds=60)
    take(down("orders"), down("database"))
    now = timezone.now()
    for moment in (now, now + timedelta(seconds=70)):
        upkeep.promote(moment)
        upkeep.tell_muted(moment)
        assert Event.objects.get(labels__service="orders").muted_by == "cause:database"
    assert Delivery.objects.get().event_id == Event.objects.get(labels__service="database").id


def test_cause__planned_work_on_the_parent__explains_the_service() -> None:
    """HM-11, HM-12: who plans work on the database is not paged for what needs it."""
    desk = Desk()
    parent = desk.has("database", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, parent)
    maintain(parent)
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0)
    take(down("database"))
    take(down("orders"))
    assert not Delivery.objects.exists() and upkeep.tell_muted(timezone.now()) == 0


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(
    ("channels", "silenced", "explains"),
    [
        (1, None, True),
        (0, None, False),
        (1, (-HOUR, 2 * HOUR), False),
        (1, (-HOUR, HOUR / 4), True),
        (1, (HOUR / 4, 2 * HOUR), False),
    ],
    ids=["told", "no channel", "silenced", "silence ends before it fires", "silence begins before it fires"],
)
def test_cause__parent_waits_still__explains_only_if_it_will_be_told(
    together: bool, channels: int, silenced: Any, explains: bool
) -> None:
    """HM-12: pages once, and not never: who will hear of the parent when its time has come?"""
    desk = Desk()
    desk.has("orders", Status.UNREACHABLE, desk.has("database", Status.UNREACHABLE))
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0, labels={"service": "orders"})
    about = {"metric": "service_down", "threshold": 1.0, "labels": {"service": "database"}}
    parents = a_rule(*map(hook, range(1, channels + 1)), **about, for_seconds=1_800)
    if silenced:
        begins, ends = (timezone.now() + offset for offset in silenced)
        silence(rule=parents, starts_at=begins, ends_at=ends)
    for batch in ([down("database"), down("orders")],) if together else ([down("database")], [down("orders")]):
        take(*batch)
    upkeep.tell_muted(timezone.now())
    assert bool(Event.objects.get(labels__service="orders").muted_by) == explains


@pytest.mark.parametrize("rule", ["without a channel", "none"])
def test_cause__planned_work_on_a_parent_that_no_rule_tells_of__explains_the_service(rule: str) -> None:
    """HM-11: whoever planned it knows, whether or not anybody would be told; when it ends the service is told."""
    desk = Desk()
    parent = desk.has("database", Status.UNREACHABLE)
    desk.has("orders", Status.UNREACHABLE, parent)
    maintain(parent)
    desk.tell()
    a_rule(hook(), metric="service_down", threshold=1.0, labels={"service": "orders"})
    if rule != "none":
        a_rule(metric="service_down", threshold=1.0, labels={"service": "database"})
    take(down("database"))
    take(down("orders"))
    assert not Delivery.objects.exists() and upkeep.tell_muted(timezone.now()) == 0
    assert upkeep.tell_muted(timezone.now() + 2 * HOUR) == 1 and Delivery.objects.count() == 1
