"""The doorbells of alerting. `alerting.dispatch` runs in the queue `alerts`, which has workers of its own (AD-14)."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="alerting.dispatch", time_limit=None)
def dispatch() -> None:
    """Send what is due, then listen for a while; every second."""


@shared_task(name="alerting.evaluate")
def evaluate() -> None:
    """The portal's own readings, and what time alone brings; every second."""


@shared_task(name="alerting.keep_partitions")
def keep_partitions() -> None:
    """Make the coming parts, drop those past their time."""
