"""The doorbells of the health monitor. They run in the queue `health`, which has a worker of its own."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown
from django.utils import timezone

from health import retention, rollups, sweeper


@shared_task(name="health.sweep")
def sweep() -> None:
    """See to it that this worker sweeps, or stands by for the one that does; every 5 s."""
    sweeper.ensure()


@shared_task(name="health.roll_up")
def roll_up() -> None:
    """Roll the minutes that have ended up into sketches and counts."""
    rollups.roll_up(timezone.now())


@shared_task(name="health.keep_partitions")
def keep_partitions() -> None:
    """Make the coming partitions, drop those past their time."""
    retention.keep_partitions(timezone.now())


def _end_sweep(**_kwargs: Any) -> None:
    sweeper.end()


worker_shutdown.connect(_end_sweep)
worker_process_shutdown.connect(_end_sweep)
