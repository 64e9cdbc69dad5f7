"""The way of a record from Redis into PostgreSQL (CB-8)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import DataError, Error, IntegrityError, transaction
from django.utils import timezone

from circuit import metrics, store
from circuit.errors import CannotReach
from circuit.records import Record, archive

log = logging.getLogger(__name__)

#: A spool entry younger than this is still in the hands of the request that wrote it.
IN_FLIGHT = timedelta(seconds=5)


def drain_spool(*, now: datetime | None = None) -> int:
    """Write what waits in the spool into PostgreSQL, oldest first; returns how many records were written.

    Entries younger than a few seconds are left to the request that wrote them. One that cannot be understood, or that
    PostgreSQL refuses for what it says, is set aside and logged; the others go on.
    Raises `CannotReach`, and `django.db.Error` while PostgreSQL is away.
    """
    until = int(((now or timezone.now()) - IN_FLIGHT).timestamp() * 1000)
    try:
        return drain(str(until))
    except store.BreakerUnreachable as error:
        raise CannotReach("Redis does not answer; the spool is inside it and waits.") from error


def drain(until: str) -> int:
    """As `drain_spool`, up to and with an entry id, or `+` for all. Raises `store.BreakerUnreachable` besides."""
    written = 0
    while entries := store.spooled(until=until):
        for entry_id, text in entries:
            try:
                record = Record.parse(text)
                with transaction.atomic():
                    written += archive(record)
            except (ValueError, IntegrityError, DataError) as error:
                log.error("circuit_spool_entry_refused", extra={"entry": entry_id, "cause": type(error).__name__})
                metrics.SPOOL_REFUSED.inc()
                store.set_aside(entry_id, text)
                continue
            store.forget_spooled(entry_id)
    return written


def settle() -> bool:
    """Write everything spooled so far, in order. False while that is impossible; a task goes on trying."""
    try:
        drain("+")
    except Error as error:
        log.error("circuit_record_spooled", extra={"cause": type(error).__name__})
        return False
    except store.BreakerUnreachable:
        log.error("circuit_record_spooled", extra={"cause": "redis"})
        return False
    return True
