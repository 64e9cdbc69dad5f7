"""The doorbells of the audit log."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from opsportal.audit import chain, metrics, partitions, retention, verification

log = logging.getLogger(__name__)

#: Of a minute. The breaker's tasks share the worker's two places and must not wait 5 s for one (CB-9).
SECONDS = 4.0
ARCHIVE_SECONDS = 3600
VERIFIER, KEEPER = "audit verification", "audit retention"


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


@shared_task(name="audit.verify_new")
def verify_new() -> None:
    """Look at the links of the last minute."""
    verification.verify_new(seconds=SECONDS, by_label=VERIFIER)


@shared_task(name="audit.verify_all")
def verify_all() -> None:
    """Go on with the daily look at the whole chain."""
    verification.verify_all(timezone.now(), seconds=SECONDS, by_label=VERIFIER)


@shared_task(name="audit.archive", time_limit=ARCHIVE_SECONDS)
def archive() -> None:
    """Archive and drop the oldest month that is due; one a day, so that a clock gone wrong costs little."""
    if not settings.AUDIT_ARCHIVE_DIR:
        return
    try:
        list(retention.archive_expired(timezone.now(), most=1, by_label=KEEPER))
    except retention.ArchiveRefused as refusal:
        log.error("audit_archive_refused", extra={"reason": refusal.sentence})
        raise
