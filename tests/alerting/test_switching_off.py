"""A channel that is switched off while dispatchers run: what waits over it becomes poison, and nobody waits for it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from alerting.channels.opening import forget_channels
from alerting.models import Delivery, Status
from alerting.sending import SWITCHED_OFF
from alerting.services import channels as services
from opsportal.observability.postgres import connect_apart
from tests.alerting.outgoing import queue
from tests.alerting.sending_out import Hook, all_are, dispatching
from tests.desk import DESK
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hook(providers: Any) -> Hook:
    forget_channels()
    return Hook(providers.webhook)


def test_switch_off__a_limit_holds_messages__they_are_poison_within_seconds(hook: Hook) -> None:
    """AC-2, AD-4, AD-7: as the page said, and not when the hour has ended; nothing of it is sent."""
    later = timezone.now() + timedelta(minutes=40)
    queue(hook.channel, hook.recipients(5), due_at=later, waits_for="recipient", waits=1)
    with dispatching():
        services.set_enabled(hook.channel, False, by=DESK)
        until(all_are(Status.POISON), seconds=8)
    assert set(Delivery.objects.order_by().values_list("outcome", flat=True)) == {SWITCHED_OFF}
    assert not hook.sent()


def test_switch_off__thousands_wait_and_a_claim_has_one__is_done_at_once(hook: Hook) -> None:
    """AD-2: one statement that waits for no dispatcher, and for which no dispatcher waits in a circle."""
    later = timezone.now() + timedelta(minutes=40)
    rows = queue(hook.channel, hook.recipients(5_000), due_at=later, waits_for="recipient")
    with connect_apart(application_name="test") as claim, claim.transaction(), transaction.atomic():
        claim.execute("SELECT FROM alerting_delivery WHERE id = %s FOR UPDATE", [rows[0].pk])
        began = time.monotonic()
        services.set_enabled(hook.channel, False, by=DESK)
        took = time.monotonic() - began
    assert Delivery.objects.filter(due_at__lte=timezone.now(), waits_for="").count() == 4_999
    assert took < 3
