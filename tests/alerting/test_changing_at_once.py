"""Two people who change rules, channels and silences at the same time (Q-4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from alerting.models import Channel, Rule
from alerting.services import channels, resealing, rules, silences
from tests.alerting.ruling import a_rule, hook
from tests.alerting.test_concurrency import at_once
from tests.desk import DESK
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
SETTINGS = {"url": "https://hooks.example.com/new"}
NAMES = [
    *("create_rule", "update_rule", "switch_rule", "delete_rule", "create_channel", "update_channel", "switch_channel"),
    *("delete_channel", "create_silence", "update_silence", "end_silence", "reseal"),
]


@pytest.fixture(autouse=True)
def _no_first_rules(transactional_db: None) -> None:
    Rule.objects.all().delete()


def waiting() -> int:
    """Transactions of this database that wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def a_silence(rule: Rule) -> Any:
    now = timezone.now()
    values = {"rule": rule.pk, "reason": "A drill of the desk", "starts_at": None, "ends_at": now + timedelta(hours=1)}
    return silences.create_silence(by=DESK, values=values)


def the_changes() -> dict[str, Callable[[], Any]]:
    """Each way in which a rule, a channel or a silence changes."""
    channel, other, rule, gone = hook(), hook(1), a_rule(name="One"), a_rule(name="Gone")
    held, quiet = a_silence(rule), a_silence(rule)
    values = {"rule": rule.pk, "reason": "A longer drill", "ends_at": timezone.now() + timedelta(hours=2)}
    changed = {**rules.current_values(rule), "threshold": 0.2}
    settings = {"url": "https://hooks.example.com/other"}
    return {
        "create_rule": lambda: rules.create_rule(
            by=DESK, values={"name": "New", "metric": "latency", "comparison": "gt", "threshold": 1.0}
        ),
        "update_rule": lambda: rules.update_rule(rule, by=DESK, values=changed, expected_version=rule.version),
        "switch_rule": lambda: rules.set_enabled(rule, False, by=DESK),
        "delete_rule": lambda: rules.delete_rule(gone, by=DESK),
        "create_channel": lambda: channels.create_channel(
            by=DESK, kind="webhook", name="new", settings=SETTINGS, for_unreached=True
        ),
        "update_channel": lambda: channels.update_channel(
            channel, by=DESK, name="renamed", settings=settings, expected_version=channel.version
        ),
        "switch_channel": lambda: channels.set_enabled(other, False, by=DESK),
        "delete_channel": lambda: channels.delete_channel(other, by=DESK),
        "create_silence": lambda: a_silence(rule),
        "update_silence": lambda: silences.update_silence(held, by=DESK, values=values),
        "end_silence": lambda: silences.end_silence(quiet, by=DESK),
        "reseal": lambda: resealing.reseal_all(by=DESK),
    }


@pytest.mark.parametrize("name", NAMES)
def test_change__another_is_under_way__waits_before_it_locks_anything(name: str) -> None:
    """Q-4: so no two of them can wait for each other; what the first one needs is free."""
    change = the_changes()[name]
    tables, held = (Rule, Channel), Event()

    def first() -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("UPDATE alerting_revision SET number = number + 1")
            held.set()
            until(lambda: waiting() == 1, what="the second waits")
            for table in tables:
                list(table.objects.select_for_update(nowait=True))
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM alerting_silence FOR UPDATE NOWAIT")

    at_once([first, lambda: held.wait(10) and change()])


def test_channel_for_unreached_rules__beside_edits_of_such_a_rule__no_deadlock() -> None:
    """AC-2, Q-4: the one touches the revision before the rule, the other the rule before the revision."""
    rule = a_rule()

    def create() -> None:
        for number in range(15):
            Rule.channels.through.objects.all().delete()
            channels.create_channel(by=DESK, kind="webhook", name=f"c{number}", settings=SETTINGS, for_unreached=True)

    def edit() -> None:
        for turn in range(15):
            rules.set_enabled(rule, bool(turn % 2), by=DESK)

    at_once([create, edit])
    assert Channel.objects.count() == 15
