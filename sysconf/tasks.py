"""The doorbell of the configuration."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import Error

from sysconf import services
from sysconf.store import CacheUnreachable

log = logging.getLogger(__name__)


@shared_task(name="sysconfig.settle")
def settle() -> None:
    """Put right what Redis missed of a save (CF-2); every 5 s."""
    try:
        services.settle_cache()
    except (CacheUnreachable, Error) as error:
        log.warning("sysconfig_cache_unsettled", extra={"cause": type(error).__name__})
