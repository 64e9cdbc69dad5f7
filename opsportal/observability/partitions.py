"""Keeping tables that are parted by time, through the functions of `partition_sql`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

log = logging.getLogger(__name__)


def postgresql_clock() -> datetime:
    """PostgreSQL's time, which stamps the rows. Raises `django.db.Error`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
        return at


def months_from(now: datetime, ahead: int) -> Iterator[datetime]:
    """The beginnings of this month and of the next ones, in UTC."""
    now = now.astimezone(UTC)
    for months in range(ahead + 1):
        year, month = divmod(now.year * 12 + now.month - 1 + months, 12)
        yield datetime(year, month + 1, 1, tzinfo=UTC)


def drop_expired(app: str, most: Mapping[str, int], now: datetime) -> tuple[str, ...]:
    """Drop the parts of which every row is too old, of each table so many at most; their names."""
    return tuple(name for parent, number in most.items() for name in _dropped(app, parent, now, number))


def step(app: str, name: str, parent: str, at: datetime) -> Any:
    """Call `{app}_{name}`: ensure_partition, drop_expired or trim_default.

    One transaction each, so that no lock is held while the next is waited for; None when a lock was not had.
    Raises `django.db.Error`.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT {app}_{name}(%s, %s)", [parent, at])
            return cursor.fetchone()[0]
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        log.warning(f"{app}_partition_busy", extra={"table": parent, "step": name})
        return None


def _dropped(app: str, parent: str, now: datetime, most: int) -> Iterator[str]:
    for _ in range(most):
        name = step(app, "drop_expired", parent, now)
        if not name:
            return
        yield name
