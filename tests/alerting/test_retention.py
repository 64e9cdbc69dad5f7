"""Tables of alerting make and drop their own parts (AL-9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from alerting import keys, retention
from alerting.models import Delivery, Episode, Event, Rule, Series
from alerting.tasks import keep_partitions
from tests.alerting.outgoing import an_event
from tests.alerting.ruling import a_rule, ago, hook, take, value

pytestmark = pytest.mark.django_db
TABLES = ("alerting_observation", "alerting_event", "alerting_delivery", "alerting_attempt")


def ask(statement: str, *given: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return cursor.fetchone()[0]


def parts(parent: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relid::text FROM pg_partition_tree(%s::regclass) WHERE isleaf AND relid::text NOT LIKE '%%default'",
            [parent],
        )
        return {row[0] for row in cursor.fetchall()}


def test_parts__of_the_coming_time__are_made(db: None) -> None:
    """AL-9: two days and a month ahead, so that a night without a worker loses no place."""
    keep_partitions()
    today: datetime = ask("SELECT clock_timestamp()")
    for days in range(3):
        assert f"alerting_observation_{today + timedelta(days=days):%Y%m%d}" in parts("alerting_observation")
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    for parent in TABLES[1:]:
        assert {f"{parent}_{today:%Y%m}", f"{parent}_{following:%Y%m}"} <= parts(parent)
    assert retention.keep_partitions(timezone.now()).created == 0


@pytest.mark.parametrize(("parent", "days"), [("alerting_observation", 7), *((parent, 90) for parent in TABLES[1:])])
def test_parts__older_than_they_are_kept__go_one_a_run(parent: str, days: int) -> None:
    """AL-9: events 90 days, observations 7; what is younger stays, whatever a clock of ours says."""
    now: datetime = ask("SELECT clock_timestamp()")
    unit = timedelta(days=1) if days == 7 else timedelta(days=31)
    old = [now - timedelta(days=days) - 2 * unit, now - timedelta(days=days) - 3 * unit]
    young = now - timedelta(days=days - 1)
    for at in (*old, young):
        assert ask("SELECT alerting_ensure_partition(%s, %s)", parent, at)
    before = parts(parent)
    assert retention.keep_partitions(now - timedelta(days=400)).dropped == ()
    first = retention.keep_partitions(now + timedelta(days=400)).dropped
    second = retention.keep_partitions(now).dropped
    assert len(first) == len(second) == 1 and first[0] < second[0]
    assert parts(parent) == before - {*first, *second}


def test_event__no_part_for_it__goes_from_the_default_part_when_too_old() -> None:
    """AL-9."""
    old, young = an_event(1, started_at=ago(200 * 86_400)), an_event(2, started_at=ago(80 * 86_400))
    Event.objects.bulk_create([old, young])
    assert retention.keep_partitions(timezone.now()).trimmed == 1
    assert list(Event.objects.values_list("id", flat=True)) == [young.id]


@pytest.mark.parametrize("parted", [True, False], ids=["its part", "the default part"])
def test_event__still_open_after_its_retention__stays_with_its_messages(parted: bool) -> None:
    """AL-3, AL-9: the next value makes no second event, and its recovery finds whom to tell; then its month goes."""
    Rule.objects.all().delete()
    a_rule(hook())
    take(value(0.07))
    old = ago(190 * 86_400)
    parents = {"alerting_event": old, "alerting_delivery": old}
    for parent, at in parents.items() if parted else ():
        ask("SELECT alerting_ensure_partition(%s, %s)", parent, at)
        ask("SELECT alerting_ensure_partition(%s, %s)", parent, at + timedelta(days=31))
    Event.objects.update(started_at=old, triggered_at=old, state="acknowledged", acknowledged_at=old)
    Episode.objects.update(event_started_at=old)
    Delivery.objects.update(event_started_at=old, hour_bucket=keys.hour_bucket(old), status="delivered")
    for _ in range(3):
        retention.keep_partitions(timezone.now())
    take(value(0.08))
    assert [f"{parent}_{old:%Y%m}" in parts(parent) for parent in parents] == [parted, parted]
    assert [f"{parent}_{old + timedelta(days=31):%Y%m}" in parts(parent) for parent in parents] == [False, False]
    assert Event.objects.get().state == "acknowledged"
    take(value(0.01))
    assert list(Delivery.objects.order_by("id").values_list("notice", flat=True)) == ["firing", "resolved"]
    retention.keep_partitions(timezone.now())
    assert not Event.objects.exists() and list(Delivery.objects.values_list("notice", flat=True)) == ["resolved"]


def test_series__without_a_value_for_long__goes() -> None:
    """AL-9: its observations are gone; a service that sends again makes it anew."""
    take(value(0.01), value(0.01, strategy="carry"))
    Series.objects.filter(labels__strategy="carry").update(last_at=ago(9 * 86_400))
    assert retention.keep_partitions(timezone.now()).series == 1
    take(value(0.01, strategy="carry"))
    assert Series.objects.count() == 2


def test_application_role__can_neither_drop_nor_forge_the_past() -> None:
    """AL-9: only the functions drop, and only what is too old."""
    for statement in (
        "DELETE FROM alerting_event",
        "DELETE FROM alerting_observation",
        "UPDATE alerting_observation SET value = 0",
        "DROP TABLE alerting_event",
    ):
        with pytest.raises(Exception, match=r"permission denied|must be owner"), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement)


def test_parts_needed__over_the_turn_of_the_year__are_right() -> None:
    """AL-9."""
    needed = set(retention.parts_needed(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)))
    assert ("alerting_event", datetime(2027, 1, 1, tzinfo=UTC)) in needed
    assert ("alerting_observation", datetime(2027, 1, 2, 23, 59, tzinfo=UTC)) in needed
