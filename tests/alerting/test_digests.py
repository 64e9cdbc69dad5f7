"""Digests: what one carries is never lost, hidden or held up by another (AD-7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from django.utils import timezone
from pydantic import SecretStr

from alerting.channels.email import EmailSettings
from alerting.channels.opening import forget_channels, seal_settings
from alerting.channels.pagerduty import PagerDutySettings
from alerting.channels.webhook import WebhookSettings
from alerting.digests import Looks
from alerting.metrics import LATENCY
from alerting.models import Channel, Delivery, Event, Priority, Status
from alerting.nudging import nudge
from alerting.sending import MOVED
from tests.alerting.outgoing import make_channel, make_webhook, queue
from tests.alerting.providers import steps
from tests.alerting.providers.web import ROUTING_KEY
from tests.alerting.sending_out import Hook, all_are, away_from_the_edge, dispatching, two_kinds_hanging
from tests.waiting import until


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_channels()


@pytest.fixture
def hook(transactional_db: None, providers: Any) -> Hook:
    return Hook(providers.webhook)


def _none_is_open() -> bool:
    return not Delivery.objects.filter(status__in=[Status.PENDING, Status.FAILED]).exists()


def _held(hook: Hook, number: int, **fields: Any) -> list[Delivery]:
    return queue(hook.channel, hook.recipients(1) * number, waits_for="recipient", waits=1, **fields)


def test_digest__led_by_what_may_have_arrived__has_a_key_of_its_own(
    hook: Hook, settings: Any, redis: redis_client.Redis
) -> None:
    """AD-3, AD-7: a receiver that drops what it knows by its key must not drop the others with it."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 1}
    away_from_the_edge(seconds=15, of=3600)
    hook.provider.script(steps.resets())
    (first,) = queue(hook.channel, hook.recipients(1), severity=0)
    with dispatching():
        until(lambda: Delivery.objects.filter(pk=first.pk, waits_for="recipient").exists())
        _held(hook, 3)
        redis.delete(*redis.keys("ratelimit:recipient:*"))  # type: ignore[misc]
        Delivery.objects.filter(waits_for="recipient").update(due_at=timezone.now())
        nudge()
        until(all_are(Status.DELIVERED))
    plain, digest = hook.sent()
    assert plain == first.dedup_key and digest.startswith(f"{first.dedup_key}:digest:")
    assert hook.provider.received[-1].json["count"] == 4


def test_digest__tried_again__keeps_its_key(hook: Hook) -> None:
    """AD-3: the same set is the same message."""
    hook.provider.script(steps.says(500))
    _held(hook, 3)
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert len(hook.sent()) == 2 and len(set(hook.sent())) == 1


def test_digest__other_channel_to_the_same_address_is_off__is_not_touched(hook: Hook) -> None:
    """AD-7, AL-4: each channel's messages are told by themselves."""
    other = make_webhook(hook.provider.url, "second")
    (off,) = _held(hook, 1)
    rows = queue(other, hook.recipients(1) * 3, waits_for="recipient", waits=1)
    Channel.objects.filter(pk=hook.channel.pk).update(enabled=False)
    with dispatching():
        until(_none_is_open)
    assert [request.json["count"] for request in hook.provider.received] == [3]
    assert set(Delivery.objects.filter(status=Status.POISON)) == {off} and len(rows) == 3


def test_digest__event_of_one_is_gone__the_others_are_told(hook: Hook) -> None:
    """AD-4, AD-7: a broken row is set aside by itself."""
    rows = _held(hook, 5)
    gone = rows[3]
    Event.objects.filter(id=gone.event_id).update(started_at=timezone.now() - timedelta(seconds=5))
    with dispatching():
        until(_none_is_open)
    assert [request.json["count"] for request in hook.provider.received] == [4]
    (poison,) = Delivery.objects.filter(status=Status.POISON)
    assert (poison.pk, poison.merged_into) == (gone.pk, None) and "no longer exists" in poison.outcome


def test_digest__event_of_what_carries_is_gone__the_others_are_told(hook: Hook) -> None:
    """AD-4, AD-7: what was merged into it goes out by itself."""
    rows = _held(hook, 4)
    leader = rows[2]
    Delivery.objects.filter(pk=leader.pk).update(priority=Priority.CRITICAL)
    Event.objects.filter(id=leader.event_id).update(started_at=timezone.now() - timedelta(seconds=5))
    with dispatching():
        until(_none_is_open)
    assert sorted(hook.sent()) == sorted(row.dedup_key for row in rows if row != leader)
    assert [row.pk for row in Delivery.objects.filter(status=Status.POISON)] == [leader.pk]
    assert not Delivery.objects.filter(merged_into__isnull=False).exists()


def test_digest__of_a_thousand__is_one_message_with_the_critical_one(hook: Hook, settings: Any) -> None:
    """AD-6, AD-7: it takes one from the new hour's limit, and what is worst is told whatever is newer."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 1}
    away_from_the_edge(seconds=15, of=3600)
    rows = _held(hook, 1_000, severity=2)
    worst = rows[0]
    Delivery.objects.filter(pk=worst.pk).update(priority=Priority.CRITICAL)
    Event.objects.filter(id=worst.event_id).update(severity=0)
    with dispatching():
        until(all_are(Status.DELIVERED))
    (request,) = hook.provider.received
    assert (request.json["count"], request.json["severity"], len(request.json["events"])) == (1_000, "critical", 20)
    assert str(worst.event_id) in [told["id"] for told in request.json["events"]]


def test_held__for_pagerduty__goes_out_one_by_one(transactional_db: None, providers: Any) -> None:
    """AD-7, AL-3: an incident for each alert, so that each recovery finds its own."""
    settings = PagerDutySettings(
        routing_key=SecretStr(ROUTING_KEY), api_url=providers.pagerduty.url.rsplit("/v2", 1)[0]
    )
    channel = make_channel("pagerduty", settings, "pager")
    rows = queue(channel, [ROUTING_KEY] * 6, waits_for="recipient", waits=1)
    with dispatching():
        until(all_are(Status.DELIVERED))
    triggered = {request.json["dedup_key"] for request in providers.pagerduty.received}
    assert triggered == {str(row.event_id) for row in rows} and len(providers.pagerduty.received) == 6
    assert not Delivery.objects.filter(merged_into__isnull=False).exists()


def test_delivery__channel_goes_elsewhere_now__sends_no_secret_to_the_old_address(hook: Hook, providers: Any) -> None:
    """AC-5: the present token is not for whoever listens at the old address; a person decides."""
    (row,) = queue(hook.channel, hook.recipients(1))
    edited = WebhookSettings(url=SecretStr("https://new.example.com/x"), token=SecretStr("brand-new-token"))
    Channel.objects.filter(pk=hook.channel.pk).update(sealed=seal_settings(edited), version=2)
    with dispatching():
        until(all_are(Status.POISON))
    row.refresh_from_db()
    assert row.outcome == MOVED and hook.provider.received == []


def test_digest__fresh_messages_for_its_recipient__goes_first(hook: Hook, settings: Any) -> None:
    """AD-7: what was held for its hour does not stand behind what has just come."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 5}
    away_from_the_edge(seconds=15, of=3600)
    held = _held(hook, 3, severity=2)
    queue(hook.channel, hook.recipients(1) * 6, severity=2)
    with dispatching():
        until(lambda: len(hook.sent()) == 5)
        until(lambda: Delivery.objects.filter(waits_for="recipient", merged_into=None).count() == 2)
    assert [row.status for row in Delivery.objects.filter(pk__in=[row.pk for row in held])] == [Status.DELIVERED] * 3
    assert len([key for key in hook.sent() if ":digest:" in key]) == 1


def test_digest__threads_are_always_full__goes_out_all_the_same(hook: Hook) -> None:
    """AD-7: a backlog of others, each claim of which is full, does not keep it waiting."""
    hook.provider.always(steps.slow(0.5))
    recipients = hook.recipients(61)
    queue(hook.channel, recipients[1:], severity=2)
    held = queue(hook.channel, recipients[:1] * 3, waits_for="recipient", waits=1, severity=2)
    with dispatching(threads=4):
        until(lambda: Delivery.objects.filter(pk=held[0].pk, status=Status.DELIVERED).exists())
        assert Delivery.objects.filter(status=Status.PENDING).count() > 20
        hook.provider.always(None)
        until(all_are(Status.DELIVERED))


def test_digest__critical_while_two_kinds_hang__goes_out_at_once(hook: Hook, providers: Any) -> None:
    """AD-7, Q-4: the threads that are kept for what is urgent are for urgent digests, too."""
    mail = make_channel("email", _mail(providers), "mail")
    with two_kinds_hanging(hook, providers):
        queue(mail, ["a@example.com"] * 3, waits_for="recipient", waits=1, severity=0)
        until(lambda: providers.mail.received, seconds=4)
        providers.web.stop()


def test_looks__a_kind_had_its_share_of_the_threads__is_looked_for_when_it_has_room() -> None:
    """AD-7: not only a second later, when it may have its share again."""
    looks = Looks()
    assert looks.are_due([], ["email"])
    looks.looked([], ["email"])
    assert not looks.are_due([], ["email"]) and looks.are_due([], [])
    looks.looked([], [])
    assert not looks.are_due([], [])


def test_digests__of_many_at_the_end_of_the_hour__do_not_wait_for_each_other(hook: Hook) -> None:
    """AD-7: where a claim is full of them the next one looks for more."""
    for recipient in hook.recipients(40):
        queue(hook.channel, [recipient] * 2, waits_for="recipient", waits=1)
    with dispatching(threads=4):
        until(all_are(Status.DELIVERED), seconds=8)
    assert len(hook.sent()) == 40


def test_digests__few_places__the_critical_go_first(hook: Hook, settings: Any) -> None:
    """AD-7: three messages a minute are left, and the worst of what was held are told in them."""
    settings.ALERT_GLOBAL_LIMIT = 3
    away_from_the_edge(of=60)
    for place, recipient in enumerate(hook.recipients(9)):
        severity = 0 if place in (2, 5, 8) else 2
        queue(hook.channel, [recipient] * 3, waits_for="recipient", waits=1, severity=severity)
    with dispatching(threads=64):
        until(lambda: Delivery.objects.filter(waits_for="global").exists() and len(hook.sent()) == 3)
    assert [request.json["severity"] for request in hook.provider.received] == ["critical"] * 3


def test_digest__led_by_one_that_used_its_attempts__has_all_of_its_own(hook: Hook) -> None:
    """AD-5, AD-7: one hiccup does not poison what others have never been tried with."""
    first = _held(hook, 5)[0]
    Delivery.objects.filter(pk=first.pk).update(attempts=2, taken_over=9, status=Status.FAILED)
    hook.provider.script(steps.says(500))
    with dispatching():
        until(_none_is_open)
    assert all_are(Status.DELIVERED)()
    first.refresh_from_db()
    assert (first.attempts, first.taken_over, len(hook.sent())) == (2, 0, 2)


def test_held__alone_with_used_attempts__is_not_tried_more_often(hook: Hook) -> None:
    """AD-5: three attempts in all, also for what was held between them."""
    (row,) = _held(hook, 1)
    Delivery.objects.filter(pk=row.pk).update(attempts=2, status=Status.FAILED)
    hook.provider.always(steps.says(500))
    with dispatching():
        until(all_are(Status.POISON))
    assert len(hook.sent()) == 1


def test_digest__unreadable_one_left_out_at_the_first_try__keeps_its_key(hook: Hook) -> None:
    """AD-3: the key is that of what is told, the first time as well."""
    rows = _held(hook, 30)
    for gone in (rows[3], rows[29]):  # one among those that are told in words, one among those that are counted
        Event.objects.filter(id=gone.event_id).update(started_at=timezone.now() - timedelta(seconds=5))
    hook.provider.script(steps.says(500))
    with dispatching():
        until(_none_is_open)
    assert len(hook.sent()) == 2 and len(set(hook.sent())) == 1
    assert Delivery.objects.filter(status=Status.POISON).count() in (1, 2)


def test_digest__delivered__the_wait_of_each_is_measured(hook: Hook) -> None:
    """AD-13: the promise is about messages, also about those that one carries."""
    before = _observed("webhook")
    _held(hook, 10, triggered_at=timezone.now() - timedelta(minutes=50))
    with dispatching():
        until(all_are(Status.DELIVERED))
        until(lambda: _observed("webhook")[0] > before[0])
    number, seconds = (now - then for now, then in zip(_observed("webhook"), before, strict=True))
    assert number == 10 and 29_000 < seconds < 32_000


def _observed(kind: str) -> tuple[float, float]:
    samples = {sample.name: sample.value for metric in LATENCY.collect() for sample in metric.samples
               if sample.labels.get("channel") == kind and not sample.name.endswith("_bucket")}  # fmt: skip
    name = "alert_delivery_latency_seconds"
    return samples.get(f"{name}_count", 0.0), samples.get(f"{name}_sum", 0.0)


def _mail(providers: Any) -> EmailSettings:
    return EmailSettings(
        recipients=["a@example.com"],
        sender="portal@example.com",
        smtp_host="127.0.0.1",
        smtp_port=providers.mail.port,
        smtp_security="none",
    )
