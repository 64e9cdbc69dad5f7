"""What is claimed is sent with the channel as it is at that moment, however soon it was changed before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pydantic import SecretStr

from alerting.channels.opening import forget_channels, seal_settings
from alerting.channels.webhook import WebhookSettings
from alerting.models import Attempt, Channel, Delivery, Status
from alerting.nudging import nudge
from alerting.services import channels as services
from tests.alerting.outgoing import queue
from tests.alerting.sending_out import Hook, all_are, dispatching
from tests.desk import DESK
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
OLD, NEW = "o" * 40, "n" * 40


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_channels()


def ended() -> bool:
    return not Delivery.objects.filter(status__in=(Status.PENDING, Status.FAILED)).exists()


@pytest.mark.parametrize("edits_before", [0, 1])
def test_claim__channel_was_edited_a_moment_ago__goes_out_with_its_present_secret(
    providers: Any, edits_before: int
) -> None:
    """AC-2, AD-2: the new address never gets the old secret, and what is made for it is no poison."""
    first, second = f"{providers.webhook.url}?first", f"{providers.webhook.url}?second"
    old, new = {"url": first, "token": "the-old-token-1111"}, {"url": second, "token": "the-new-token-2222"}
    channel = services.create_channel(by=DESK, kind="webhook", name="desk", settings=old)
    for _ in range(edits_before):
        services.set_enabled(channel, False, by=DESK)
        services.set_enabled(channel, True, by=DESK)
    with dispatching():
        queue(channel, [first])
        nudge()
        until(ended)
        channel.refresh_from_db()
        services.update_channel(channel, by=DESK, name="desk", settings=new, expected_version=channel.version)
        queue(channel, [second])
        nudge()
        until(ended)
    assert not Delivery.objects.exclude(status=Status.DELIVERED).exists()
    came = [(request.path[-5:], request.headers["authorization"]) for request in providers.webhook.received]
    assert came == [("first", "Bearer the-old-token-1111"), ("econd", "Bearer the-new-token-2222")]


def test_claim__channel_was_switched_on_a_moment_ago__goes_out(providers: Any) -> None:
    """AD-2: the poison of the time when it was off is no reason for what comes after."""
    hook = Hook(providers.webhook)
    services.set_enabled(hook.channel, False, by=DESK)
    with dispatching():
        queue(hook.channel, hook.recipients(1))
        nudge()
        until(all_are(Status.POISON))
        services.set_enabled(hook.channel, True, by=DESK)
        (row,) = queue(hook.channel, [hook.provider.url])
        nudge()
        until(ended)
    row.refresh_from_db()
    assert row.status == Status.DELIVERED


def test_claim__channel_was_switched_off_by_hand_in_the_database__is_seen_at_once(providers: Any) -> None:
    """Q-4: whatever changed the row, and whether or not it counted its version up."""
    hook = Hook(providers.webhook)
    with dispatching():
        queue(hook.channel, hook.recipients(1))
        nudge()
        until(ended)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE alerting_channel SET enabled = false")
        (row,) = queue(hook.channel, hook.recipients(1))
        nudge()
        until(ended)
    row.refresh_from_db()
    assert (row.status, row.outcome) == (Status.POISON, "The channel was switched off.")


@pytest.fixture
def ahead(providers: Any, settings: Any) -> Hook:
    """A channel sealed with the old key; what is sealed from now on, another process's newer key has sealed."""
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    hook = Hook(providers.webhook)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    return hook


@pytest.mark.parametrize("what", ["recipient", "channel"])
def test_claim__sealed_with_a_key_that_this_process_has_not_yet__waits_for_it(
    ahead: Hook, settings: Any, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SX-4, AD-2: while processes are restarted one by one nothing is poison; waiting is no attempt."""
    if what == "channel":
        sealed = seal_settings(WebhookSettings(url=SecretStr(ahead.provider.url)))
        Channel.objects.filter(pk=ahead.channel.pk).update(sealed=sealed)
    rows = queue(ahead.channel, ahead.recipients(3))
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    with dispatching():
        until(lambda: Delivery.objects.filter(waits_for="key").count() == 3)
    row = Delivery.objects.get(pk=rows[0].pk)
    assert (row.status, row.attempts, row.lease, row.waits) == (Status.PENDING, 0, None, 1)
    assert 20 < (row.due_at - timezone.now()).total_seconds() <= 31
    assert "alert_key_missing" in caplog.text and not ahead.sent()
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    forget_channels()
    Delivery.objects.update(due_at=timezone.now())
    with dispatching():
        until(all_are(Status.DELIVERED))


def test_claim__sealed_with_another_key_but_the_channel_knows_the_address__goes_out(ahead: Hook, settings: Any) -> None:
    """SX-4, AD-2: whether the key is still to come or was lost, the hash says which of the channel's addresses it is."""
    queue(ahead.channel, [ahead.provider.url])
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    with dispatching():
        until(all_are(Status.DELIVERED))
    assert len(ahead.sent()) == 1


def test_claim__key_did_not_come_for_an_hour__is_poison(ahead: Hook, settings: Any) -> None:
    """SX-4, AD-4: a key that was lost is a matter for a person."""
    (row,) = queue(ahead.channel, ahead.recipients(1), created_at=timezone.now() - timedelta(minutes=61))
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    with dispatching():
        until(all_are(Status.POISON))
    row.refresh_from_db()
    assert "FIELD_ENCRYPTION_KEYS" in row.outcome
    assert not Attempt.objects.exists()
