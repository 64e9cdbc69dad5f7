"""A provider asks to wait: its whole channel rests for as long, also what is written meanwhile (AD-5, AD-7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from django.utils import timezone
from pydantic import SecretStr

from alerting.channels.email import EmailSettings
from alerting.channels.opening import forget_channels, open_row
from alerting.models import Attempt, Channel, Delivery, Notice, Outcome, Rest, Status
from alerting.nudging import nudge
from alerting.services import channels as services
from alerting.services import deliveries
from opsportal.accounts.actors import Actor
from tests.alerting.outgoing import a_delivery, an_event, make_channel, make_webhook, queue
from tests.alerting.providers import steps
from tests.alerting.providers.web import RIGHT_KEY
from tests.alerting.sending_out import Hook, all_are, dispatching
from tests.desk import DESK
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_channels()


@pytest.fixture
def hook(providers: Any) -> Hook:
    return Hook(providers.webhook)


def resting() -> int:
    """How many wait for a provider."""
    return Delivery.objects.filter(waits_for="provider", lease=None, due_at__gt=timezone.now()).count()


def seconds_left(row: Delivery) -> float:
    row.refresh_from_db()
    return (row.due_at - timezone.now()).total_seconds()


def test_rest__alerts_come_meanwhile__wait_without_a_request_or_a_limit(
    hook: Hook, redis: redis_client.Redis, settings: Any
) -> None:
    """AD-5, AD-6: one request in the time that the provider asked for; waiting is no attempt and uses up nothing."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 3}
    hook.provider.script(steps.throttles("60"))
    queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(lambda: resting() == 1)
        for number in range(1, 6):
            queue(hook.channel, hook.recipients(1))
            nudge()
            until(lambda number=number: resting() == 1 + number)  # type: ignore[misc]
    assert len(hook.provider.received) == 1
    assert set(Delivery.objects.values_list("attempts", "status")) == {(0, "failed"), (0, "pending")}
    assert all(55 < seconds_left(row) < 91 for row in Delivery.objects.all())
    assert {redis.get(key) for key in redis.keys("ratelimit:recipient:*")} <= {"0"}
    assert [redis.get(key) for key in redis.keys("ratelimit:global:*")] == ["1"]


def test_rest__another_channel__goes_out(hook: Hook) -> None:
    """AD-5: only the one whose provider asked rests."""
    hook.provider.script(steps.throttles("60"))
    queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(lambda: resting() == 1)
        (row,) = queue(make_webhook(hook.provider.url, "second"), hook.recipients(1))
        nudge()
        until(lambda: Delivery.objects.filter(pk=row.pk, status=Status.DELIVERED).exists())


def test_rest__two_hours__is_believed_and_no_reason_to_give_up(hook: Hook) -> None:
    """AD-5: as long as the provider says; the hour for which it is asked again begins when that has passed."""
    hook.provider.always(steps.throttles("7200"))
    (row,) = queue(hook.channel, hook.recipients(1))
    now = timezone.now()
    first = {"at": now - timedelta(hours=3), "next_at": now - timedelta(seconds=1), "outcome": Outcome.THROTTLED}
    Attempt.objects.create(delivery_id=row.pk, number=1, duration_ms=5, **first)
    with dispatching():
        until(lambda: resting() == 1)
    assert 7190 < seconds_left(row) < 10_801
    assert (row.status, row.attempts) == (Status.FAILED, 0)


def test_rest__channel_is_edited__ends_at_once(hook: Hook) -> None:
    """AD-5, AC-2: whoever set the channel right does not wait for what the provider said before."""
    hook.provider.script(steps.throttles("3600"))
    queue(hook.channel, [hook.provider.url])
    with dispatching():
        until(lambda: resting() == 1)
        queue(hook.channel, [hook.provider.url])
        nudge()
        until(lambda: resting() == 2)
        end_by_an_edit(hook.channel)
        until(all_are(Status.DELIVERED))


@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_rest__ends_early__recoveries_that_wait_for_their_alarm_do_not_wait_longer(hook: Hook, how: str) -> None:
    """AL-3, AD-5: they were put off for as long as the alarm; nothing of a channel that is gone waits either."""
    later = timezone.now() + timedelta(hours=5)
    event = an_event()
    event.save(force_insert=True)
    alarm = a_delivery(event, hook.channel, hook.provider.url, due_at=later, waits_for="provider")
    over = a_delivery(event, hook.channel, hook.provider.url, due_at=later, notice=Notice.RESOLVED)
    Delivery.objects.bulk_create([alarm, over])
    Rest.objects.create(channel_id=hook.channel.pk, version=hook.channel.version, until=later)
    with dispatching():
        if how == "edited":
            end_by_an_edit(hook.channel)
        else:
            services.delete_channel(hook.channel, by=DESK)
            nudge()
        until(all_are(Status.DELIVERED if how == "edited" else Status.POISON))
    assert hook.sent() == ([alarm.dedup_key, over.dedup_key] if how == "edited" else [])
    assert not Rest.objects.exists()


def end_by_an_edit(channel: Channel) -> None:
    """Only its name: that is enough."""
    values = {"url": open_row(channel).settings.url.get_secret_value()}
    services.update_channel(channel, by=DESK, name="renamed", settings=values, expected_version=channel.version)


@pytest.mark.parametrize("retried", ["waiting", "poison"])
def test_rest__operator_retries__ends_at_once(hook: Hook, users: Any, retried: str) -> None:
    """AD-5, AD-10: “try it now” means now, for all that waits for this provider."""
    hook.provider.script(steps.throttles("3600"))
    (row,) = queue(hook.channel, hook.recipients(1))
    with dispatching():
        until(lambda: resting() == 1)
        queue(hook.channel, hook.recipients(1))
        nudge()
        until(lambda: resting() == 2)
        if retried == "poison":
            (row,) = queue(hook.channel, [hook.provider.url], status=Status.POISON)
        assert deliveries.retry_deliveries([row.pk], by=Actor.of(users.operator)).count == 1
        until(all_are(Status.DELIVERED))
    assert not Attempt.objects.exclude(outcome__in=(Outcome.THROTTLED, Outcome.DELIVERED)).exists()


@pytest.mark.parametrize("first", ["sendgrid", "smtp"])
def test_rest__one_way_of_mail_asks_to_wait_and_the_other_is_down__waits_as_long_as_it_says(
    providers: Any, first: str
) -> None:
    """AD-1, AD-5: “please wait” is none of three failures; who says so says, too, when it takes mail again."""
    to = EmailSettings(
        recipients=["ops@example.com"],
        sender="portal@example.com",
        transport=first,  # type: ignore[arg-type]
        fallback="smtp" if first == "sendgrid" else "sendgrid",
        smtp_host="127.0.0.1",
        smtp_port=providers.mail.port,
        smtp_security="none",
        sendgrid_api_key=SecretStr(RIGHT_KEY),
        sendgrid_url=providers.sendgrid.url,
    )
    providers.mail.stop()
    providers.sendgrid.always(steps.throttles("40"))
    (row,) = queue(make_channel("email", to, "mail"), ["ops@example.com"])
    with dispatching():
        until(lambda: Attempt.objects.exists())
        until(lambda: Delivery.objects.filter(lease=None).exists())
    assert 35 < seconds_left(row) < 61
    assert (row.status, row.attempts, row.waits_for) == (Status.FAILED, 0, "provider")
