"""What people do to poisoned deliveries: retried, or dealt with another way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from alerting import keys
from alerting.errors import InvalidInput, WrongState
from alerting.models import Channel, Delivery, EventState, Notice, Status
from alerting.nudging import WAKE
from alerting.services import deliveries as services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit.models import Entry
from tests.alerting.operating import a_message, an_alert, mail_channel, poison
from tests.alerting.outgoing import make_webhook
from tests.waiting import until


def as_now(delivery: Delivery) -> Delivery:
    return Delivery.objects.get(pk=delivery.pk)


def test_retry__poison__is_due_now_with_all_its_attempts_and_nudged(
    users: Any, redis: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """AD-10, AU-3: pending again, the dispatchers are woken, the audit log counts."""
    delivery = poison(an_alert(), mail_channel(), taken_over=10, waits_for="channel")
    listener = redis.pubsub()
    listener.subscribe(WAKE)
    until(lambda: listener.get_message(timeout=0.1))
    with django_capture_on_commit_callbacks(execute=True):
        done = services.retry_deliveries([delivery.pk], by=Actor.of(users.operator))
    now = as_now(delivery)
    assert (done.count, done.left) == (1, 0)
    assert (now.status, now.attempts, now.taken_over, now.lease, now.waits_for) == (Status.PENDING, 0, 0, None, "")
    assert now.due_at <= timezone.now() and now.finished_at is None and now.outcome == delivery.outcome
    assert until(lambda: listener.get_message(timeout=0.1))["channel"] == WAKE
    listener.close()
    entry = Entry.objects.get(event="delivery_retry")
    assert entry.additional_data == {"count": 1, "deliveries": [delivery.pk]}
    assert entry.resource_id == str(delivery.pk)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": Status.PENDING},
        {"status": Status.FAILED},
        {"status": Status.DELIVERED, "finished_at": timezone.now()},
        {"status": Status.POISON, "settled_at": timezone.now()},
    ],
    ids=["pending", "failed", "delivered", "settled"],
)
def test_retry_and_resolve__not_poison__change_nothing(users: Any, fields: Any) -> None:
    """AD-2: what is under way or done is never sent a second time by a click."""
    delivery = a_message(an_alert(), mail_channel(), attempts=2, **fields)
    by = Actor.of(users.operator)
    for act in (
        lambda: services.retry_deliveries([delivery.pk], by=by),
        lambda: services.resolve_deliveries([delivery.pk], by=by, note="done"),
    ):
        with pytest.raises(WrongState, match="None of these is poisoned"):
            act()
    now = as_now(delivery)
    assert (now.status, now.attempts, now.settled_note) == (fields["status"], 2, "")
    assert not Entry.objects.filter(event__startswith="delivery_").exists()


def test_retry__twice__second_finds_nothing(users: Any) -> None:
    """AD-10: two people press at once; the first makes it pending, the second is told."""
    delivery = poison(an_alert(), mail_channel())
    services.retry_deliveries([delivery.pk], by=Actor.of(users.operator))
    with pytest.raises(WrongState):
        services.retry_deliveries([delivery.pk], by=Actor.of(users.admin))


@pytest.mark.parametrize("chosen", ["leader", "member"])
def test_retry__digest__lets_all_that_is_told_in_it_go_by_itself(users: Any, chosen: str) -> None:
    """AD-7, AD-10: whichever part was ticked; what was wrong with one holds up none of the others."""
    channel = mail_channel()
    leader = poison(an_alert(), channel)
    members = [poison(an_alert(number), channel, merged_into=leader.pk) for number in range(2)]
    other = poison(an_alert(), channel, "bert@example.com")
    done = services.retry_deliveries([(leader if chosen == "leader" else members[0]).pk], by=Actor.of(users.operator))
    assert done.count == 3
    assert {as_now(member).merged_into for member in members} == {None}
    assert {as_now(row).status for row in (leader, *members)} == {Status.PENDING}
    assert as_now(other).status == Status.POISON


def test_retry__member_of_a_digest_that_was_dealt_with__goes_out_by_itself(users: Any) -> None:
    """AD-7: nothing waits for a digest that never goes."""
    channel = mail_channel()
    leader = poison(an_alert(), channel, settled_at=timezone.now())
    member = poison(an_alert(1), channel, merged_into=leader.pk)
    assert services.retry_deliveries([member.pk], by=Actor.of(users.operator)).count == 1
    assert (as_now(member).merged_into, as_now(member).status) == (None, Status.PENDING)
    assert as_now(leader).status == Status.POISON


def test_retry_cause__takes_what_was_shown_of_it_and_no_more(users: Any) -> None:
    """AD-10: all of a cause, but not what came after the page was drawn, nor another cause."""
    channel = mail_channel()
    first, second = (poison(an_alert(number), channel) for number in range(2))
    later = poison(an_alert(2), channel)
    other = poison(an_alert(3), channel, outcome="Refused: wrong password.")
    done = services.retry_cause("email", first.outcome, newest=second.pk, by=Actor.of(users.operator))
    assert done.count == 2
    assert {as_now(row).status for row in (first, second)} == {Status.PENDING}
    assert {as_now(row).status for row in (later, other)} == {Status.POISON}
    assert Entry.objects.get(event="delivery_retry").additional_data["cause"] == first.outcome


def test_retry__trip_of_the_breaker__needs_the_right_to_trip(users: Any) -> None:
    """AL-5, RBAC-1: a retried trip halts trading."""
    delivery = poison(an_alert(), mail_channel(), kind="breaker")
    users.operator.user_permissions.clear()
    group = users.operator.groups.get()
    group.permissions.remove(group.permissions.get(codename="trip_breaker"))
    with pytest.raises(PermissionRefused) as refusal:
        services.retry_deliveries([delivery.pk], by=Actor.of(users.operator))
    assert refusal.value.missing == "circuit.trip_breaker"
    assert as_now(delivery).status == Status.POISON


def test_retry__channel_that_could_not_be_used__tells_its_recipients_once_it_can(users: Any) -> None:
    """AD-10: the row stood for nobody; now there is somebody."""
    channel = make_webhook("https://hooks.example.com/desk")
    event = an_alert()
    stand_in = poison(event, channel, recipient_sealed="", recipient_hash="0" * 16, recipient_shown="nobody")
    done = services.retry_deliveries([stand_in.pk], by=Actor.of(users.operator))
    assert (done.count, done.left) == (1, 0)
    made = Delivery.objects.get(event_id=event.pk, status=Status.PENDING)
    assert made.channel_id == channel.pk and made.notice == Notice.FIRING and made.recipient_sealed
    assert made.dedup_key.startswith(f"{event.alert_id}:webhook:")
    assert as_now(stand_in).settled_by == users.operator.username


def test_retry__channel_that_still_cannot_be_used__says_so(users: Any) -> None:
    """AD-10: a retry that could only fail is refused with what to do."""
    channel = Channel.objects.create(name="lost", kind="email", sealed="")  # sealed with no key of ours
    stand_in = poison(an_alert(), channel, recipient_sealed="", recipient_shown="nobody")
    with pytest.raises(WrongState, match="still cannot be used"):
        services.retry_deliveries([stand_in.pk], by=Actor.of(users.operator))
    assert as_now(stand_in).settled_at is None


@pytest.mark.parametrize("left", ["switched off", "deleted", "other one on"])
def test_retry__channel_is_off_or_gone__is_refused_and_stays_poison(users: Any, left: str) -> None:
    """AD-10: it would be poison again at once; what can go out does, and the rest is counted as left."""
    off = make_webhook("https://hooks.example.com/off", "off", enabled=False)
    row = poison(an_alert(), off, "https://hooks.example.com/off")
    if left == "deleted":
        off.delete()
    if left == "other one on":
        other = poison(an_alert(2), mail_channel())
        done = services.retry_deliveries([row.pk, other.pk], by=Actor.of(users.operator))
        assert (done.count, done.left, as_now(other).status) == (1, 1, Status.PENDING)
    else:
        with pytest.raises(WrongState, match="still cannot be used"):
            services.retry_deliveries([row.pk], by=Actor.of(users.operator))
    assert as_now(row).status == Status.POISON and as_now(row).settled_at is None


@pytest.mark.parametrize("notice", [Notice.FIRING, Notice.RESOLVED, Notice.TEST])
def test_retry__channel_goes_elsewhere_now__is_written_anew_to_there(users: Any, notice: Notice) -> None:
    """AC-5, AD-10: whoever corrects an address and retries means the corrected one; who was told is not told twice."""
    channel = make_webhook("https://hooks.example.com/right")
    event = an_alert(state=EventState.RESOLVED, resolved_at=timezone.now())
    old = poison(event, channel, "https://hooks.example.com/typo", notice=notice)
    done = services.retry_deliveries([old.pk], by=Actor.of(users.operator))
    assert (done.count, done.left) == (1, 0)
    assert as_now(old).settled_note == services.MOVED_ON and as_now(old).status == Status.POISON
    made = Delivery.objects.exclude(pk=old.pk).get()
    assert made.recipient_hash == keys.recipient_hash("webhook", "https://hooks.example.com/right")
    assert (made.status, made.notice) == (Status.PENDING, notice)
    again = poison(event, channel, "https://hooks.example.com/other-typo", notice=notice)
    services.retry_deliveries([again.pk], by=Actor.of(users.operator))
    assert Delivery.objects.filter(status=Status.PENDING).count() == 1


def test_retry__host_whose_clock_is_ahead__is_due_by_the_database(users: Any, monkeypatch: Any) -> None:
    """AD-2: all dispatchers claim by PostgreSQL's clock."""
    delivery = poison(an_alert(), mail_channel())
    ahead = timezone.now() + timedelta(minutes=10)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    services.retry_deliveries([delivery.pk], by=Actor.of(users.operator))
    assert as_now(delivery).due_at < ahead - timedelta(minutes=9)


def test_resolve__poison__keeps_who_and_why(users: Any) -> None:
    """AD-10, AU-1: it is poison still, and needs nobody."""
    delivery = poison(an_alert(), mail_channel())
    assert services.resolve_deliveries([delivery.pk], by=Actor.of(users.operator), note="told by phone") == 1
    now = as_now(delivery)
    assert (now.status, now.settled_by, now.settled_note) == (Status.POISON, users.operator.username, "told by phone")
    assert now.settled_at is not None and Entry.objects.get(event="delivery_resolve").reason == "told by phone"


def test_resolve_cause__all_of_it(users: Any) -> None:
    """AD-10."""
    rows = [poison(an_alert(number), mail_channel(f"mail {number}")) for number in range(3)]
    by = Actor.of(users.operator)
    count = services.resolve_cause("email", rows[0].outcome, newest=rows[2].pk, by=by, note="told")
    assert count == 3 and all(as_now(row).settled_at for row in rows)


def test_services__viewer_or_nonsense__are_refused(users: Any) -> None:
    """RBAC-1, Q-5."""
    delivery = poison(an_alert(), mail_channel())
    viewer, operator = Actor.of(users.viewer), Actor.of(users.operator)
    with pytest.raises(PermissionRefused):
        services.retry_deliveries([delivery.pk], by=viewer)
    with pytest.raises(PermissionRefused):
        services.resolve_deliveries([delivery.pk], by=viewer, note="why")
    with pytest.raises(InvalidInput, match="Tick at least one"):
        services.retry_deliveries([], by=operator)
    with pytest.raises(InvalidInput, match="at most 1,000"):
        services.retry_deliveries(range(1, 1_100), by=operator)
    with pytest.raises(InvalidInput, match="reason"):
        services.resolve_deliveries([delivery.pk], by=operator, note=" ")
    assert as_now(delivery).settled_at is None and as_now(delivery).status == Status.POISON
