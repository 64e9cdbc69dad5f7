"""Back-pressure and the queue's figures in one process; over several it is tests/faults/test_delivery_limits.py (AD-8)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from alerting import pressure
from alerting.collector import AlertingCollector
from alerting.errors import QueueFull
from alerting.metrics import QUEUE_FULL
from alerting.models import Channel, Delivery, Gate, Status
from tests.alerting.outgoing import a_delivery, an_event


@pytest.fixture(autouse=True)
def _small(db: None, settings: Any) -> Iterator[None]:
    settings.ALERT_QUEUE_FULL, settings.ALERT_QUEUE_RESUME = 10, 6
    pressure.forget_depth()
    yield
    pressure.forget_depth()


def waiting(number: int, **fields: Any) -> None:
    """So many deliveries in the queue, as it were after the last quarter of a second."""
    event, channel = an_event(), Channel(pk=1, kind="webhook")
    Delivery.objects.all().update(status=Status.DELIVERED)
    Delivery.objects.bulk_create(
        a_delivery(event, channel, f"https://example.com/{uuid.uuid4()}", **fields) for _ in range(number)
    )
    pressure.forget_depth()


def refused() -> bool:
    try:
        pressure.require_room()
    except QueueFull:
        return True
    return False


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"status": Status.PENDING}, True),
        ({"status": Status.FAILED}, True),
        ({"status": Status.PENDING, "merged_into": 7}, True),
        ({"status": Status.DELIVERED}, False),
        ({"status": Status.POISON}, False),
    ],
    ids=["pending", "failed", "merged", "delivered", "poison"],
)
def test_gate__ten_deliveries__counts_what_is_not_finished(fields: dict[str, Any], counts: bool) -> None:
    """AD-8: what still has to be sent, however long it waits."""
    waiting(10, **fields)
    assert refused() is counts


def test_gate__closed__opens_only_below_the_second_number() -> None:
    """AD-8: hysteresis; the state is a row, and each refused request is counted."""
    before = QUEUE_FULL._value.get()
    waiting(9)
    assert not refused()
    waiting(10)
    assert refused() and Gate.objects.get().closed
    waiting(6)
    assert refused() and refused()
    waiting(5)
    assert not refused() and not Gate.objects.get().closed
    waiting(9)
    assert not refused()
    assert QUEUE_FULL._value.get() - before == 3


def test_gate__shallow__is_believed_for_a_moment_only_far_below(django_assert_num_queries: Any) -> None:
    """AD-8: near the limit each request asks PostgreSQL."""
    waiting(1)
    pressure.require_room()
    with django_assert_num_queries(0):
        pressure.require_room()
    waiting(5)
    pressure.require_room()
    with django_assert_num_queries(1):
        pressure.require_room()


def test_collector__queue_with_poison__tells_all_of_it() -> None:
    """AD-13, SLA-2: read once at scrape time."""
    event = an_event(severity=0)
    event.save(force_insert=True)
    channel = Channel(pk=1, kind="webhook")
    Delivery.objects.bulk_create(
        [
            a_delivery(event, channel, "https://example.com/1", triggered_at=timezone.now()),
            a_delivery(event, channel, "https://example.com/2", status=Status.POISON),
            a_delivery(event, channel, "https://example.com/3", status=Status.POISON, settled_at=timezone.now()),
        ]
    )
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in AlertingCollector().collect()
        for sample in metric.samples
    }
    assert found["alert_queue_depth",] == found["alert_poison_queue_size",] == 1
    assert 0 <= found["alert_queue_oldest_seconds",] < 60
    assert found["alert_queue_gate_closed",] == found["alert_silences_active",] == 0
    assert found["alert_events_open", "critical", "firing"] == 1
    assert found["alert_events_open", "info", "pending"] == 0
    waiting(6)
    Gate.objects.update(closed=True)
    closed = {metric.name: metric.samples[0].value for metric in AlertingCollector().collect() if metric.samples}
    assert closed["alert_queue_gate_closed"] == 1
