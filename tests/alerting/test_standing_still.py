"""What a dispatcher does that stood still, and what others find when Redis does (AD-2, AD-14)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pydantic import SecretStr

from alerting import keys
from alerting.admitting import Admitted
from alerting.channels import NO_CHANNEL
from alerting.channels.opening import forget_channels
from alerting.channels.slack import SlackSettings
from alerting.dispatching import BEGIN_SECONDS, Dispatcher
from alerting.models import Attempt, Delivery, Event, Priority, Status
from alerting.nudging import nudge
from circuit import services
from opsportal.secrets import keyring
from tests.alerting.outgoing import an_event, make_channel, queue
from tests.alerting.providers import steps
from tests.alerting.sending_out import Hook, all_are, dispatching
from tests.desk import DESK
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hook(providers: Any) -> Hook:
    forget_channels()
    return Hook(providers.webhook)


class StoodStill(Dispatcher):
    """A dispatcher that stood still between its first claim and the sending."""

    claims = 0

    def _hand_over(self, admitted: Admitted) -> None:
        if admitted.ready:
            self.claims += 1
        late = BEGIN_SECONDS + 1.0 if self.claims <= 1 else 0.0
        super()._hand_over(replace(admitted, at=admitted.at - late))


def test_dispatcher__stood_still_after_its_claim__sends_nothing_and_gives_it_back(hook: Hook) -> None:
    """AD-2: the lease may end before such a message is out, and another would send it as well."""
    queue(hook.channel, hook.recipients(5))
    dispatcher = StoodStill(16)
    dispatcher.start()
    try:
        until(all_are(Status.DELIVERED), seconds=8)  # not only when the lease has ended
    finally:
        dispatcher.stop()
    assert dispatcher.claims > 1 and len(hook.sent()) == len(set(hook.sent())) == 5
    assert set(Delivery.objects.order_by().values_list("attempts", "taken_over")) == {(1, 0)}


def test_dispatcher__stood_still__what_it_took_from_the_limits_is_free(hook: Hook, settings: Any) -> None:
    """AD-6: what was not sent has consumed nothing."""
    settings.ALERT_RECIPIENT_LIMITS = {"webhook": 1}
    settings.ALERT_GLOBAL_LIMIT = 5
    queue(hook.channel, hook.recipients(5))
    dispatcher = StoodStill(16)
    dispatcher.start()
    try:
        until(all_are(Status.DELIVERED), seconds=8)
    finally:
        dispatcher.stop()


def test_trips__many_while_redis_hangs__leave_threads_for_messages(hook: Hook, redis_server: Any) -> None:
    """AD-14, Q-4: trips go first and have a thread of their own, but not all of them."""
    services.init_breaker(by=DESK)
    with redis_server.paused():
        _queue_trips(300)
        queue(hook.channel, hook.recipients(10), severity=0)
        with dispatching(threads=32):
            until(lambda: len(hook.sent()) == 10, seconds=8)
            assert Attempt.objects.count() < 300


def test_trip__everything_else_hangs__is_tried_at_once(hook: Hook, providers: Any) -> None:
    """AL-5, AD-14: the last thread is for it."""
    services.init_breaker(by=DESK)
    other = providers.slack.url
    slack = make_channel("slack", SlackSettings(url=SecretStr(other)), "slack")
    hook.provider.always(steps.silent())
    providers.slack.always(steps.silent())
    queue(hook.channel, hook.recipients(30), severity=0)
    queue(slack, [f"{other}?{n}" for n in range(30)], severity=0)
    with dispatching(threads=16):
        until(lambda: len(providers.slack.received) + len(hook.sent()) == 15)
        _queue_trips(1)
        nudge()
        until(lambda: Delivery.objects.filter(kind="breaker", status=Status.DELIVERED).exists(), seconds=4)
        providers.web.stop()


def _queue_trips(number: int) -> None:
    events = Event.objects.bulk_create([an_event(place, severity=0) for place in range(number)])
    hashed = keys.recipient_hash("breaker", "breaker")
    Delivery.objects.bulk_create(
        Delivery(
            hour_bucket=keys.hour_bucket(event.started_at),
            dedup_key=keys.dedup_key(str(event.id), "breaker", hashed, keys.hour_bucket(event.started_at)),
            event_id=event.id,
            event_started_at=event.started_at,
            channel_id=NO_CHANNEL,
            kind="breaker",
            recipient_hash=hashed,
            recipient_sealed=keyring.seal("breaker"),
            recipient_shown="circuit breaker",
            priority=Priority.ACTION,
            due_at=timezone.now() - timedelta(seconds=1),
            triggered_at=event.started_at,
        )
        for event in events
    )
