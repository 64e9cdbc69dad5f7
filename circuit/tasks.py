"""The doorbells of the breaker."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import Error

from circuit import spool, watching
from circuit.errors import CannotReach

log = logging.getLogger(__name__)


@shared_task(name="circuit.watch")
def watch() -> None:
    """Notice what others did to the breaker (CB-9); every second."""
    try:
        watching.notice_external_change()
    except (CannotReach, Error) as error:
        log.warning("circuit_watch_blind", extra={"cause": type(error).__name__})


@shared_task(name="circuit.drain")
def drain() -> None:
    """Write what waits in the spool into PostgreSQL (CB-8)."""
    try:
        spool.drain_spool()
    except (CannotReach, Error) as error:
        log.warning("circuit_spool_waits", extra={"cause": type(error).__name__})
