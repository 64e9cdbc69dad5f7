"""What people do to events: taken up, resolved by hand, and who was first."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from prometheus_client import REGISTRY

from alerting.errors import InvalidInput, WrongState
from alerting.models import Delivery, Episode, Event, EventState, Notice, Rule
from alerting.services import events as services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.alerting.operating import ADDRESS, a_message, an_alert, mail_channel
from tests.alerting.ruling import a_rule, hook, states, take, the_event, value
from tests.waiting import until


def test_acknowledge__firing__says_who_when_and_why(users: Any, django_capture_on_commit_callbacks: Any) -> None:
    """AL-3, AL-6, AC-4, AU-3: the event stays open, the audit log has it."""
    event = an_alert()
    labels = {"severity": "warning", "state": "acknowledged"}
    before = REGISTRY.get_sample_value("alert_events_total", labels) or 0
    with django_capture_on_commit_callbacks(execute=True):
        now = services.acknowledge_event(event, by=Actor.of(users.operator), note="  Looking  at it ")
    assert now.state == EventState.ACKNOWLEDGED and now.acknowledged_at is not None and now.resolved_at is None
    assert (now.acknowledged_by, now.acknowledgment_note) == (users.operator.username, "Looking at it")
    assert Episode.objects.filter(event_id=event.pk).exists(), "the episode stays"
    entry = Entry.objects.get(event="alert_acknowledge")
    assert entry.resource_id == str(event.pk) and entry.reason == "Looking at it"
    assert entry.actor_label == users.operator.username and entry.additional_data["rule"] == event.rule_name
    assert REGISTRY.get_sample_value("alert_events_total", labels) == before + 1


def test_acknowledge__without_a_note__is_enough(users: Any) -> None:
    """AL-6: at night a click must do."""
    assert services.acknowledge_event(an_alert(), by=Actor.of(users.operator)).state == EventState.ACKNOWLEDGED


def test_acknowledge__second__says_who_was_first_and_changes_nothing(users: Any) -> None:
    """AL-6: nobody overwrites the first."""
    event = an_alert()
    services.acknowledge_event(event, by=Actor.of(users.operator), note="mine")
    with pytest.raises(WrongState, match=rf"acknowledged by {users.operator.username} at \d\d\d\d-.* UTC"):
        services.acknowledge_event(event, by=Actor.of(users.admin), note="no, mine")
    assert Event.objects.get(pk=event.pk).acknowledgment_note == "mine"
    assert Entry.objects.filter(event="alert_acknowledge").count() == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"state": EventState.PENDING, "triggered_at": None}, "not fired yet"),
        ({"state": EventState.RESOLVED, "resolved_at": "2026-01-02T03:04:05Z"}, "over: it recovered at 2026-01-02"),
        ({"state": EventState.RESOLVED, "resolved_at": "2026-01-02T03:04:05Z", "resolved_by": "anna"}, "by anna at"),
    ],
    ids=["pending", "recovered", "resolved"],
)
def test_acknowledge_and_resolve__not_firing__say_what_is(users: Any, fields: Any, says: str) -> None:
    """AL-3: each refusal says what is so."""
    event = an_alert(**fields)
    for service in (services.acknowledge_event, services.resolve_event):
        with pytest.raises(WrongState, match=says):
            service(event, by=Actor.of(users.operator), note="why")
    assert not Entry.objects.filter(event__startswith="alert_").exists()


@pytest.mark.parametrize(
    "service", [services.acknowledge_event, services.resolve_event], ids=["acknowledge", "resolve"]
)
def test_event_service__viewer__is_refused(users: Any, service: Any) -> None:
    """RBAC-1."""
    event = an_alert()
    with pytest.raises(PermissionRefused):
        service(event, by=Actor.of(users.viewer), note="why")
    assert Event.objects.get(pk=event.pk).state == EventState.FIRING


@pytest.mark.parametrize("note", ["a\x00b", "x" * 1001])
def test_note__that_cannot_be_kept__is_refused_with_a_sentence(users: Any, note: str) -> None:
    """Q-5."""
    event = an_alert()
    for service in (services.acknowledge_event, services.resolve_event):
        with pytest.raises(InvalidInput) as refusal:
            service(event, by=Actor.of(users.operator), note=note)
        assert refusal.value.field == "note"


def test_note__with_an_address_or_key__is_masked(users: Any) -> None:
    """AC-5, AK-9."""
    key = "tp_live_" + "A" * 43
    now = services.acknowledge_event(an_alert(), by=Actor.of(users.operator), note=f"told {ADDRESS} {key}")
    assert ADDRESS not in now.acknowledgment_note and key not in now.acknowledgment_note
    assert ADDRESS not in Entry.objects.get(event="alert_acknowledge").reason


def test_acknowledge_events__some_fire__those_are_taken_up_in_one_step(users: Any) -> None:
    """AL-6, AU-3: one note, an audit entry each; the others stay as they are."""
    firing = [an_alert(number) for number in range(2)]
    over = an_alert(3, state=EventState.RESOLVED, resolved_at="2026-01-02T03:04:05Z")
    ids = [event.pk for event in (*firing, over)]
    assert services.acknowledge_events(ids, by=Actor.of(users.operator), note="feed is down") == 2
    assert {Event.objects.get(pk=event.pk).acknowledgment_note for event in firing} == {"feed is down"}
    assert Event.objects.get(pk=over.pk).acknowledged_at is None
    assert Entry.objects.filter(event="alert_acknowledge").count() == 2
    with pytest.raises(WrongState, match="None of these fires"):
        services.acknowledge_events(ids, by=Actor.of(users.operator))


def test_acknowledge_events__none_too_many_or_viewer__is_refused(users: Any) -> None:
    """Q-5, RBAC-1."""
    event = an_alert()
    with pytest.raises(InvalidInput, match="Tick at least one"):
        services.acknowledge_events([], by=Actor.of(users.operator))
    with pytest.raises(InvalidInput, match="at most 100"):
        services.acknowledge_events([uuid.uuid4() for _ in range(101)], by=Actor.of(users.operator))
    with pytest.raises(PermissionRefused):
        services.acknowledge_events([event.pk], by=Actor.of(users.viewer))
    assert Event.objects.get(pk=event.pk).state == EventState.FIRING


def test_resolve__by_hand__ends_the_episode_and_tells_the_same_people(users: Any) -> None:
    """AL-3: recovery notices go to exactly those whose firing notice was made."""
    event, channel = an_alert(rule_id=None), mail_channel()
    a_message(event, channel)
    a_message(event, channel, "bert@example.com")
    now = services.resolve_event(event, by=Actor.of(users.operator), note="False alarm: a test order")
    assert now.state == EventState.RESOLVED and now.resolved_at is not None
    assert (now.resolved_by, now.resolved_note) == (users.operator.username, "False alarm: a test order")
    assert not Episode.objects.filter(event_id=event.pk).exists()
    told = Delivery.objects.filter(event_id=event.pk, notice=Notice.RESOLVED)
    firing = Delivery.objects.filter(event_id=event.pk, notice=Notice.FIRING)
    assert set(told.values_list("recipient_hash")) == set(firing.values_list("recipient_hash")) and told.count() == 2
    assert all(key.startswith(f"{event.alert_id}/resolved:") for key in told.values_list("dedup_key", flat=True))
    assert Entry.objects.get(event="alert_resolve").reason == "False alarm: a test order"


def test_resolve__rule_that_tells_no_recovery__tells_nobody(users: Any) -> None:
    """AL-3: "if the rule says so"."""
    rule = Rule.objects.create(name="quiet", metric="drawdown", comparison="gt", threshold=0.1, notify_resolved=False)
    event = an_alert(rule_id=rule.pk)
    a_message(event, mail_channel())
    services.resolve_event(event, by=Actor.of(users.operator), note="over")
    assert not Delivery.objects.filter(notice=Notice.RESOLVED).exists()


def test_resolve__without_a_note__is_refused(users: Any) -> None:
    """AU-1: whoever comes after needs to know why."""
    with pytest.raises(InvalidInput, match="reason"):
        services.resolve_event(an_alert(), by=Actor.of(users.operator), note="  ")


def test_resolve__value_still_bad__a_new_event_begins(users: Any) -> None:
    """AL-3: nobody switches an alarm off by hand for good; and a recovery keeps who took it up."""
    Rule.objects.all().delete()  # those that a fresh portal has
    a_rule(hook())
    take(value(0.07))
    services.resolve_event(the_event(), by=Actor.of(users.operator), note="false alarm")
    take(value(0.08))
    assert states() == ["resolved", "firing"]
    second = Event.objects.get(state=EventState.FIRING)
    services.acknowledge_event(second, by=Actor.of(users.operator), note="again")
    take(value(0.09))
    assert states() == ["resolved", "acknowledged"]
    take(value(0.01))
    second.refresh_from_db()
    assert (second.state, second.acknowledgment_note, second.resolved_by) == (EventState.RESOLVED, "again", "")


@pytest.mark.django_db(transaction=True)
def test_resolve__while_it_recovers__waits_and_says_that_it_is_over(users: Any) -> None:
    """AL-3: of a recovery and a person at the same moment only one resolves; no deadlock, one set of notices."""
    event, channel = an_alert(rule_id=None), mail_channel()
    a_message(event, channel)
    refused: list[str] = []

    def by_hand() -> None:
        try:
            services.resolve_event(event, by=Actor.of(users.operator), note="over")
        except WrongState as refusal:
            refused.append(refusal.sentence)
        finally:
            connection.close()

    person = threading.Thread(target=by_hand)
    with transaction.atomic():
        Episode.objects.select_for_update().get(event_id=event.pk)
        person.start()
        until(_somebody_waits, what="the person waits for the recovery")
        Event.objects.filter(pk=event.pk).update(state=EventState.RESOLVED, resolved_at=event.started_at)
        Episode.objects.filter(event_id=event.pk).delete()
    person.join(20)
    assert refused and "over: it recovered" in refused[0]
    assert not Delivery.objects.filter(notice=Notice.RESOLVED).exists()
    assert Event.objects.get(pk=event.pk).resolved_by == ""


@pytest.mark.django_db(transaction=True)
def test_acknowledge__many_at_once__one_is_first(users: Any) -> None:
    """AL-6: one acknowledgement, one audit entry; the others are told who."""
    event, people = an_alert(), [users.operator, users.admin]
    outcomes: list[str] = []
    start = threading.Barrier(6)

    def take_up(user: Any) -> None:
        start.wait(20)
        try:
            services.acknowledge_event(event, by=Actor.of(user), note=user.username)
            outcomes.append("done")
        except WrongState:
            outcomes.append("late")
        finally:
            connection.close()

    threads = [threading.Thread(target=take_up, args=(people[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["done"] + ["late"] * 5
    assert Entry.objects.filter(event="alert_acknowledge").count() == 1


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
