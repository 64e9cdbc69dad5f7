"""PostgreSQL or Redis really stopped while messages are on their way (AD-2, Q-4)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.db import connections

from alerting.channels.opening import forget_channels
from alerting.models import Attempt, Delivery, Status
from tests.alerting.outgoing import queue
from tests.alerting.providers import steps
from tests.alerting.providers.fixtures import providers
from tests.alerting.sending_out import Hook, all_are, dispatching
from tests.faults.fleet import fleet
from tests.waiting import until

__all__ = ["providers"]


@pytest.fixture
def hook(transactional_db: None, providers: Any) -> Hook:
    forget_channels()
    return Hook(providers.webhook)


def test_results__postgresql_stopped_while_sending__are_written_when_it_is_back(
    hook: Hook, postgres_server: Any
) -> None:
    """AD-2: what the provider has answered is kept in memory; nothing is sent twice, and nothing is left."""
    hook.provider.always(steps.slow(0.5))
    queue(hook.channel, hook.recipients(12))
    with dispatching(threads=8):
        until(lambda: len(hook.sent()) == 4)
        with postgres_server.stopped():
            until(lambda: len(hook.sent()) == 4)
        connections.close_all()
        hook.provider.always(None)
        until(all_are(Status.DELIVERED))
    assert Counter(hook.sent()).most_common(1)[0][1] == 1
    assert Attempt.objects.count() == 12
    assert not Attempt.objects.filter(late=True).exists()


def test_deliveries__redis_stopped__go_out_all_the_same(hook: Hook, redis_server: Any) -> None:
    """AD-2: without nudges they are found within a second, and counted by PostgreSQL."""
    with dispatching(), redis_server.stopped():
        queue(hook.channel, hook.recipients(30))
        until(all_are(Status.DELIVERED))
    assert len(hook.sent()) == 30


def test_deliveries__redis_hangs__go_out_all_the_same(hook: Hook, redis_server: Any) -> None:
    """AD-2: time-outs, not refusals."""
    with dispatching(), redis_server.paused():
        queue(hook.channel, hook.recipients(30))
        until(all_are(Status.DELIVERED))
    assert len(hook.sent()) == 30
    assert not Delivery.objects.filter(taken_over__gt=0).exists()


def test_worker__starts_while_redis_is_stopped__delivers(hook: Hook, redis_server: Any) -> None:
    """AD-2, AD-14: the dispatcher begins with its process; it waits for no broker and no tick."""
    queue(hook.channel, hook.recipients(10))
    with redis_server.stopped(), fleet() as crew:
        crew.add("alerts")
        until(all_are(Status.DELIVERED), seconds=60)
    assert len(hook.sent()) == 10
