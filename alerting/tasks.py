"""The doorbells of alerting. `alerting.dispatch` runs in the queue `alerts`, which has workers of its own (AD-14)."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_process_shutdown, worker_shutdown
from django.conf import settings
from django.utils import timezone

from alerting import dispatcher, retention, ticker

QUEUE = "alerts"


@shared_task(name="alerting.dispatch")
def dispatch() -> None:
    """See to it that this worker dispatches; every second."""
    dispatcher.ensure()


def _begin_dispatch(instance: Any, **_kwargs: Any) -> None:
    """A worker of the queue dispatches from its start: also when Redis is away and no task can reach it."""
    forks = "prefork" in str(instance.pool_cls)
    if settings.FEATURES["alerting"] and not forks and QUEUE in instance.app.amqp.queues.consume_from:
        dispatcher.ensure()
        ticker.ensure()


def _end_dispatch(**_kwargs: Any) -> None:
    ticker.end()
    dispatcher.end()


celeryd_after_setup.connect(_begin_dispatch)
worker_shutdown.connect(_end_dispatch)
worker_process_shutdown.connect(_end_dispatch)


@shared_task(name="alerting.evaluate")
def evaluate() -> None:
    """See to it that this worker evaluates what time alone brings, and the portal's own readings; every second."""
    ticker.ensure()


@shared_task(name="alerting.keep_partitions")
def keep_partitions() -> None:
    """Make the coming parts, drop those past their time."""
    retention.keep_partitions(timezone.now())
