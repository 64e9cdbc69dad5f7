"""The dispatcher against a real provider: what is due is sent, and each row says what came of it."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from alerting import limits, sending
from alerting.channels.opening import forget_channels
from alerting.metrics import DISPATCHER_FAILURES
from alerting.models import Attempt, Delivery, Event, Notice, Outcome, Priority, Status
from alerting.nudging import nudge
from tests.alerting.outgoing import a_delivery, an_event, queue
from tests.alerting.providers import steps
from tests.alerting.sending_out import Hook, all_are, dispatching, two_kinds_hanging
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_channels()


@pytest.fixture
def hook(providers: Any) -> Any:
    """A channel to the provider's webhook; `hook.recipients(n)` are as many addresses of it."""
    return Hook(providers.webhook)


def test_dispatcher__deliveries_are_due__each_is_sent_once_and_recorded(hook: Any) -> None:
    """AD-2, AD-4: the row and its attempt tell what happened; nothing is left claimed."""
    rows = queue(hook.channel, hook.recipients(20))
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert sorted(hook.sent()) == sorted(row.dedup_key for row in rows)
    assert list(Delivery.objects.values_list("attempts", "lease", "taken_over").order_by().distinct()) == [(1, None, 0)]
    attempt = Attempt.objects.filter(delivery_id=rows[0].pk).get()
    assert (attempt.number, attempt.outcome, attempt.late, attempt.next_at) == (1, Outcome.DELIVERED, False, None)
    assert attempt.status_code == 200
    row = Delivery.objects.get(pk=rows[0].pk)
    assert row.finished_at is not None and row.finished_at >= attempt.at


def test_attempt__transient_then_accepted__is_tried_again_with_the_same_key(hook: Any) -> None:
    """AD-3, AD-5: 500 is tried again after a second, under the same key."""
    hook.provider.script(steps.says(500), steps.says(503))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert hook.sent() == [row.dedup_key] * 3
    numbers = Attempt.objects.filter(delivery_id=row.pk).order_by("number").values_list("number", "outcome")
    assert list(numbers) == [(1, "transient"), (2, "transient"), (3, "delivered")]
    first, second = Attempt.objects.filter(delivery_id=row.pk).order_by("number")[:2]
    assert first.next_at is not None
    assert 0.7 <= (first.next_at - first.at).total_seconds() <= 1.5
    assert (second.at - first.at).total_seconds() >= 0.7


def test_attempt__third_failure__is_poison(hook: Any) -> None:
    """AD-5: three attempts in all."""
    hook.provider.always(steps.says(500))
    (row,) = queue(hook.channel, hook.recipients(1), attempts=2)
    with dispatching():
        until(all_are(Status.POISON))
    assert len(hook.provider.received) == 1
    row.refresh_from_db()
    assert row.attempts == 3 and row.outcome and row.finished_at


def test_attempt__permanent__is_poison_at_once_with_its_reason(hook: Any) -> None:
    """AD-5: a refusal is not repeated."""
    hook.provider.script(steps.says(404))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(all_are(Status.POISON))
    row.refresh_from_db()
    assert row.attempts == 1 and "404" in row.outcome


def test_attempt__provider_says_retry_after__is_obeyed(hook: Any) -> None:
    """AD-5: 429 with Retry-After: 40 is tried after 40 s and up to half as much more, not after one."""
    hook.provider.script(steps.throttles("40"))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(lambda: Attempt.objects.exists())
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert 35 < (row.due_at - timezone.now()).total_seconds() < 61
    assert row.attempts == 0


def test_attempt__provider_takes_two_a_second__a_burst_is_delivered_whole(hook: Any) -> None:
    """AD-5, AD-7: what a healthy provider asks to wait uses up no attempt, and the rest of its channel waits as well."""
    taken = [-1.0]
    accept, refuse = steps.says(200), steps.throttles("1")

    async def two_a_second(writer: steps.Writer) -> bool:
        now = time.monotonic()
        if now < taken[0] + 0.5:
            return await refuse(writer)
        taken[0] = now
        return await accept(writer)

    hook.provider.always(two_a_second)
    rows = queue(hook.channel, hook.recipients(12))
    with dispatching(threads=4):
        until(all_are(Status.DELIVERED), seconds=30)
    assert set(Delivery.objects.order_by().values_list("attempts", flat=True)) == {1}
    assert Delivery.objects.filter(pk__in=[row.pk for row in rows], waits__gt=0).exists()
    assert Attempt.objects.filter(outcome=Outcome.THROTTLED, number=1).count() == len(hook.provider.received) - 12


def test_attempt__asked_to_wait_for_an_hour__is_poison_and_begins_anew_by_hand(hook: Any) -> None:
    """AD-5, AD-10: it does not wait for ever; whoever tries it again gives it another hour."""
    hook.provider.always(steps.throttles("1"))
    (row,) = queue(hook.channel, hook.recipients(1))
    old = {"delivery_id": row.pk, "number": 1, "duration_ms": 5, "outcome": Outcome.THROTTLED}
    began = timezone.now() - timedelta(minutes=61)
    Attempt.objects.create(at=began, next_at=began + timedelta(seconds=30), **old)
    with dispatching():
        until(all_are(Status.POISON))
        Delivery.objects.update(status=Status.PENDING, attempts=0, finished_at=None, due_at=timezone.now())
        nudge()
        until(lambda: Attempt.objects.count() > 2)
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.FAILED, 0)


def test_claims__many_are_due__the_urgent_go_first(hook: Any) -> None:
    """AD-7: by priority, then by age; with one thread the order is the provider's too."""
    recipients = hook.recipients(9)
    rows = queue(hook.channel, recipients)
    for place, row in enumerate(rows):
        Delivery.objects.filter(pk=row.pk).update(
            priority=(Priority.INFO, Priority.CRITICAL, Priority.WARNING)[place % 3]
        )
    with dispatching(threads=1):
        until(all_are(Status.DELIVERED))
    order = {row.dedup_key: place % 3 for place, row in enumerate(rows)}
    assert [order[key] for key in hook.sent()] == [1, 1, 1, 2, 2, 2, 0, 0, 0]


MALFORMED: dict[str, str] = {
    "recipient that no key opens": "recipient_sealed = 'garbage', created_at = now() - interval '2 hours'",
    "no recipient": "recipient_sealed = ''",
    "channel that is gone": "channel_id = 987654",
    "event that is gone": "event_id = gen_random_uuid()",
    "unknown kind": "kind = 'pigeon'",
    "time beyond every calendar": "triggered_at = '200000-01-01'",
    "infinite time": "created_at = 'infinity'",
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
def test_claims__malformed_row__is_set_aside_and_the_others_go_on(hook: Any, change: str) -> None:
    """AD-2, AD-4: one bad row never stops the loop; it says why and waits for a person."""
    rows = queue(hook.channel, hook.recipients(4))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE alerting_delivery SET {change} WHERE id = %s", [rows[1].pk])
    with dispatching():
        until(lambda: Delivery.objects.filter(status=Status.DELIVERED).count() == 3)
        until(lambda: Delivery.objects.filter(status=Status.POISON).count() == 1)
    status, attempts, outcome = Delivery.objects.filter(pk=rows[1].pk).values_list("status", "attempts", "outcome")[0]
    assert (status, attempts) == (Status.POISON, 0)
    assert outcome.endswith(".") and " " in outcome
    assert not Attempt.objects.filter(delivery_id=rows[1].pk).exists()


@pytest.mark.parametrize(
    "labels",
    ["[1, 2]", "17", '"text"', '{"n": 1' + "0" * 5000 + "}", '{"a":' * 3000 + "1" + "}" * 3000],
    ids=["list", "number", "text", "huge", "deep"],
)
def test_claims__labels_are_garbage__others_go_on(hook: Any, labels: str) -> None:
    """AD-2: JSON that is none of ours."""
    rows = queue(hook.channel, hook.recipients(3))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE alerting_event SET labels = %s::jsonb WHERE id = %s", [labels, rows[0].event_id])
    with dispatching():
        until(lambda: Delivery.objects.filter(status=Status.DELIVERED).count() == 2)
        until(lambda: Delivery.objects.filter(status=Status.POISON).count() == 1)


def test_claims__what_nobody_foresaw__costs_its_own_row_only(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """AD-2: a mistake of ours over one row stops no other; it is in the log, and the row waits for a person."""
    rows = queue(hook.channel, hook.recipients(3))

    def stumbling(kind: str, recipient_hash: str, *rest: Any, **more: Any) -> limits.Asked:
        if recipient_hash == rows[0].recipient_hash:
            raise ZeroDivisionError
        return limits.ask(kind, recipient_hash, *rest, **more)

    monkeypatch.setattr(sending, "ask", stumbling)
    with dispatching():
        until(lambda: Delivery.objects.filter(status=Status.DELIVERED).count() == 2)
        until(lambda: Delivery.objects.filter(status=Status.POISON).count() == 1)
    assert Delivery.objects.get(pk=rows[0].pk).outcome == sending.BROKEN


def test_claims__channel_switched_off__is_poison_with_the_reason(hook: Any) -> None:
    """AD-4: nothing is dropped silently."""
    hook.channel.enabled = False
    hook.channel.save(update_fields=["enabled"])
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(all_are(Status.POISON))
    row.refresh_from_db()
    assert row.outcome == "The channel was switched off."


def test_recovery__its_alarm_is_still_open__waits_for_it(hook: Any) -> None:
    """AL-3: nobody hears that something is over before they heard of it; a poisoned alarm holds nothing up."""
    event = an_event()
    event.save(force_insert=True)
    (recipient,) = hook.recipients(1)
    firing = a_delivery(event, hook.channel, recipient, due_at=timezone.now() + timedelta(seconds=60))
    recovery = a_delivery(event, hook.channel, recipient, notice=Notice.RESOLVED)
    queue(hook.channel, ["http://127.0.0.1:1/elsewhere-never-asked"], due_at=timezone.now() + timedelta(hours=2))
    Delivery.objects.bulk_create([firing, recovery])
    with dispatching() as dispatcher:
        nudge()
        assert not hook.sent()
        until(lambda: dispatcher.idle_rounds > 1)
        assert not hook.sent()
        recovery.refresh_from_db()
        assert recovery.due_at == firing.due_at  # as long as its alarm, not looked at by every claim until then
        Delivery.objects.filter(event_id=event.id).update(due_at=timezone.now())
        nudge()
        until(lambda: len(hook.sent()) == 2)
    assert hook.sent() == [firing.dedup_key, recovery.dedup_key]


def test_recovery__its_alarm_ended_as_poison__goes_out(hook: Any) -> None:
    """AL-3: whoever may have heard of it hears that it is over."""
    event = an_event()
    event.save(force_insert=True)
    (recipient,) = hook.recipients(1)
    Delivery.objects.bulk_create(
        [
            a_delivery(event, hook.channel, recipient, status=Status.POISON),
            a_delivery(event, hook.channel, recipient, notice=Notice.RESOLVED),
        ]
    )
    with dispatching():
        until(lambda: len(hook.sent()) == 1)


def test_claim__worker_did_not_come_back__is_taken_over_and_counted(hook: Any) -> None:
    """AD-2: a lease that ended is anybody's; the row says that it may be a duplicate."""
    (row,) = queue(hook.channel, hook.recipients(1), lease=uuid.uuid4())
    with dispatching():
        until(all_are(Status.DELIVERED))
    row.refresh_from_db()
    assert (row.taken_over, row.attempts) == (1, 1)


def test_claim__kills_its_workers__is_set_aside(hook: Any) -> None:
    """AD-2: what every worker dies of does not kill them for ever."""
    (row,) = queue(hook.channel, hook.recipients(1), lease=uuid.uuid4(), taken_over=10)
    with dispatching():
        until(all_are(Status.POISON))
    assert not hook.sent()
    row.refresh_from_db()
    assert "may have been delivered" in row.outcome


def test_result__lease_was_lost__is_kept_as_late_and_changes_nothing(hook: Any) -> None:
    """AD-2: fenced; who comes back from the dead does not overwrite what the next one does."""
    hook.provider.script(steps.slow(0.3))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(lambda: hook.sent())
        Delivery.objects.filter(pk=row.pk).update(lease="6a3f0d0e-0000-4000-8000-000000000000")
        until(lambda: Attempt.objects.exists())
    attempt = Attempt.objects.get()
    assert (attempt.late, attempt.outcome) == (True, "delivered")
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.PENDING, 0)


def test_result__postgresql_takes_none_for_a_while__is_written_as_it_was(hook: Any) -> None:
    """AD-4, Q-4: a standby that is read-only is an outage; it spoils no answer, and no attempt is written twice."""
    hook.provider.always(steps.slow(0.5))
    queue(hook.channel, hook.recipients(4))
    failures = DISPATCHER_FAILURES.labels("postgresql")._value

    def read_only(word: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE CURRENT_USER SET default_transaction_read_only = {word}")

    try:
        with dispatching():
            until(lambda: len(hook.sent()) == 4)
            read_only("on")
            before = failures.get()
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'opsportal-alerts' AND datname = current_database()"
                )
            until(lambda: failures.get() >= before + 3)
            read_only("off")
            until(all_are(Status.DELIVERED))
    finally:
        read_only("off")
    attempts = Attempt.objects.order_by().values_list("outcome", "status_code", "late", "answer")
    assert len(attempts) == 4 and len(set(attempts)) == 1
    assert attempts[0][:3] == ("delivered", 200, False) and "could not be kept" not in attempts[0][3]


def test_stop__deliveries_are_under_way__finishes_them_and_gives_the_rest_back(hook: Any) -> None:
    """AD-2, Q-4: a warm shutdown leaves no claim behind."""
    hook.provider.always(steps.slow(0.3))
    queue(hook.channel, hook.recipients(30))
    with dispatching(threads=8):
        until(lambda: len(hook.sent()) >= 4)
    hook.provider.always(None)
    assert not Delivery.objects.filter(lease__isnull=False).exists()
    assert Delivery.objects.filter(status=Status.DELIVERED).count() == len(hook.sent())
    assert Delivery.objects.filter(status=Status.PENDING, attempts=0).count() == 30 - len(hook.sent())
    assert Event.objects.count() == 30 and threading.active_count() < 40


def test_kinds__one_hangs__the_others_are_not_delayed(hook: Any, providers: Any) -> None:
    """AD-2, Q-4: a provider that hangs takes half of the threads at most."""
    from pydantic import SecretStr

    from alerting.channels.slack import SlackSettings
    from tests.alerting.outgoing import make_channel

    slack = make_channel("slack", SlackSettings(url=SecretStr(providers.slack.url)), "slack")
    providers.slack.always(steps.silent())
    queue(slack, [f"{providers.slack.url}?{n}" for n in range(30)], severity=0)
    queue(hook.channel, hook.recipients(30), severity=2)
    with dispatching(threads=8):
        until(lambda: len(hook.sent()) == 30, seconds=8)
        assert len(providers.slack.received) == 4
        providers.web.stop()


def test_kinds__two_hang__the_urgent_of_a_third_go_out_at_once(hook: Any, providers: Any) -> None:
    """AD-2, AD-7, Q-4: some threads are kept for what is urgent, however much else hangs."""
    from pydantic import SecretStr

    from alerting.channels.pagerduty import PagerDutySettings
    from tests.alerting.outgoing import make_channel
    from tests.alerting.providers.web import ROUTING_KEY

    pager = PagerDutySettings(routing_key=SecretStr(ROUTING_KEY), api_url=providers.pagerduty.url)
    urgent = make_channel("pagerduty", pager, "pager")
    with two_kinds_hanging(hook, providers) as under_way:
        queue(urgent, [ROUTING_KEY], severity=0)
        nudge()
        until(lambda: providers.pagerduty.received, seconds=4)
        assert under_way() == 14
        providers.web.stop()


def test_retry__over_the_edge_of_an_hour__keeps_its_key(hook: Hook) -> None:
    """AD-3: the bucket is the trigger's hour, however late the last attempt is."""
    at = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(milliseconds=1)
    hook.provider.script(steps.says(500))
    (row,) = queue(hook.channel, hook.recipients(1), triggered_at=at)
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert hook.sent() == [row.dedup_key] * 2
    assert row.dedup_key.endswith(f"{at:%Y-%m-%dT%H}:00:00Z")


def test_task__worker_ends__the_dispatcher_ends_with_it(hook: Hook) -> None:
    """AD-14: one dispatcher a process; after the end of the worker no tick starts another."""
    from alerting import dispatcher, tasks

    tasks.dispatch()
    running = dispatcher.ensure()
    tasks.dispatch()
    assert running is not None and dispatcher.ensure() is running and running.alive
    queue(hook.channel, hook.recipients(3))
    nudge()
    until(all_are(Status.DELIVERED))
    dispatcher.end()
    try:
        tasks.dispatch()
        assert dispatcher.ensure() is None and not running.alive
    finally:
        dispatcher.begin_anew()
