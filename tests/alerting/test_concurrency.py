"""Many senders at once (AL-3, AD-3): one event an episode, and nobody waits for ever."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from alerting import observing, upkeep
from alerting.metrics import DROPPED
from alerting.models import Channel, Delivery, Episode, Event, Origin, Rule
from alerting.observing import Taken
from alerting.signals import Signal
from tests.alerting.ruling import a_rule, alert, an_external_rule, hook, value
from tests.api.conftest import key_of

#: So many batches each: an order of locks that is wrong shows in almost every run.
TURNS = 60

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_first_rules(transactional_db: None) -> None:
    Rule.objects.all().delete()


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run all of them in threads that start together; what each gave."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def test_alert__same_one_fifty_times_at_once__one_event_one_delivery_each(transactional_db: None) -> None:
    """AL-3, AD-3: everybody is answered with the one event."""
    an_external_rule(hook(1), hook(2))
    told = alert()
    answers: list[Taken] = at_once([lambda: observing.take([told])] * 50)
    assert len({taken.events for taken in answers}) == 1 and sum(taken.fired for taken in answers) == 1
    assert (Event.objects.count(), Delivery.objects.count(), Episode.objects.count()) == (1, 2, 1)


def test_alert__same_one_at_once_with_a_channel_off__one_is_counted_as_dropped(transactional_db: None) -> None:
    """AD-7: what was not written had nothing to drop."""
    off = hook(1)
    Channel.objects.filter(pk=off.pk).update(enabled=False)
    an_external_rule(hook(2), off)
    counter = DROPPED.labels("webhook", "channel_disabled")
    before = counter._value.get()
    told = alert()
    at_once([lambda: observing.take([told])] * 20)
    with transaction.atomic():
        observing.take([alert("Not kept")])
        transaction.set_rollback(True)
    assert counter._value.get() - before == 1


def test_value__same_series_from_many__one_event(transactional_db: None) -> None:
    """AL-3: the series is added once, its values are judged one after the other."""
    a_rule(hook())
    now = timezone.now()
    jobs = [lambda n=n: observing.take([value(0.1, now - timedelta(milliseconds=n))]) for n in range(20)]  # type: ignore[misc]
    at_once(jobs)  # type: ignore[arg-type]
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)


def test_alert__same_one_over_http__one_event_one_delivery(live_server: Any, users: Any) -> None:
    """AL-3, AD-3: at the real door."""
    an_external_rule(hook())
    key = key_of(users.operator, ["write:alerts"])

    def post() -> tuple[int, Any]:
        request = urllib.request.Request(
            f"{live_server.url}/api/v1/alerts",
            json.dumps({"name": "Venue rejects", "alert_id": "venue-1"}).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)["events"]

    answers = at_once([post] * 8)
    assert {status for status, _ in answers} == {202} and len({tuple(events) for _, events in answers}) == 1
    assert (Event.objects.count(), Delivery.objects.count()) == (1, 1)


def test_batches__overlapping_in_any_order__every_episode_is_right(transactional_db: None) -> None:
    """AL-3, Q-4: alerts begin, go on and end in batches that overlap, while time does its own."""
    an_external_rule(hook())
    a_rule(hook(1), for_seconds=1)
    draw = Random(7)
    names = [f"alert {number}" for number in range(12)]
    met = deadlocks()

    def batch(seed: int) -> list[Signal]:
        chosen = Random(seed).sample(names, 8)
        return [
            alert(name, firing=draw.random() < 0.6, expires_at=timezone.now() + timedelta(minutes=seed + 1))
            for name in chosen
        ]

    def send(seed: int) -> None:
        for turn in range(TURNS):
            observing.take(batch(seed * 100 + turn))
            mixed = [value(draw.choice([0.01, 0.1]), strategy=name) for name in Random(seed + turn).sample(names, 6)]
            observing.take(mixed)

    def keep() -> None:
        for _ in range(TURNS):
            now = timezone.now()
            upkeep.promote(now + timedelta(seconds=2))
            upkeep.drop_changed(now)
            upkeep.tell_muted(now)
            upkeep.expire(now + timedelta(minutes=3))

    at_once([*(lambda seed=seed: send(seed) for seed in range(5)), keep])  # type: ignore[list-item, misc]
    assert deadlocks() == met
    opened = Event.objects.exclude(state="resolved")
    assert set(opened.values_list("id", flat=True)) == set(Episode.objects.values_list("event_id", flat=True))
    assert len({(event.rule_id, event.fingerprint) for event in opened}) == opened.count()
    fired = Event.objects.exclude(triggered_at=None)
    assert Delivery.objects.filter(notice="firing").count() == fired.count()
    assert Delivery.objects.filter(notice="resolved").count() == fired.filter(state="resolved").count()


def test_batch__an_open_alert_ends_and_begins_again__is_open(transactional_db: None) -> None:
    """AL-3: in one batch, too: the first is over and told, the second is told."""
    an_external_rule(hook())
    observing.take([alert()])
    taken = observing.take([alert(firing=False), alert()])
    assert (taken.fired, taken.resolved) == (1, 1)
    opened = Event.objects.exclude(state="resolved").get()
    assert taken.events[-1] == (opened.id,) and Episode.objects.get().event_id == opened.id
    assert sorted(Delivery.objects.values_list("notice", flat=True)) == ["firing", "firing", "resolved"]


def deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[1])


def test_tick_and_value__promote_the_same_episode__once(transactional_db: None) -> None:
    """AL-3: the value that makes it fire, and the time that does."""
    a_rule(hook(), for_seconds=5)
    began = timezone.now() - timedelta(seconds=30)
    for turn in range(10):
        name = f"s{turn}"
        observing.take([value(0.1, began, strategy=name)])
        at_once(
            [
                lambda name=name: observing.take([value(0.1, timezone.now(), strategy=name)]),  # type: ignore[list-item, misc]
                lambda: upkeep.promote(timezone.now()),
            ]
        )
    assert Delivery.objects.count() == 10 and Event.objects.filter(state="firing").count() == 10


def test_two_prometheus__tell_of_the_same_alerts__each_is_prolonged(transactional_db: None) -> None:
    """AL-4: a highly available pair posts the same list at the same time, over and over."""
    an_external_rule(hook())
    names = [f"alert {number}" for number in range(40)]

    def post(seed: int) -> None:
        for turn in range(10):
            ends = timezone.now() + timedelta(minutes=4, seconds=turn)
            mixed = Random(seed + turn).sample(names, len(names))
            observing.take([alert(name, expires_at=ends, origin=Origin.PROMETHEUS) for name in mixed])

    met = deadlocks()
    at_once([lambda: post(0), lambda: post(1000)])
    assert deadlocks() == met and Event.objects.count() == len(names)
