"""The doorbells of the audit log."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from opsportal.audit import chain, metrics, partitions


@shared_task(name="audit.checkpoint")
def checkpoint() -> None:
    """Send the chain's head to the second sink."""
    try:
        chain.checkpoint()
    except OSError:
        metrics.CHECKPOINT_FAILURES.inc()
        raise


@shared_task(name="audit.ensure_partitions")
def ensure_partitions() -> None:
    """Create the coming months' partitions."""
    partitions.ensure_partitions(timezone.now().date())
