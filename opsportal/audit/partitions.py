"""The monthly partitions of the log."""

from __future__ import annotations

from datetime import date

from django.db import connection


def ensure_partitions(today: date, *, months_ahead: int = 3) -> int:
    """Create the partitions of this month and the next `months_ahead` where missing; returns how many were created.

    A row that finds no partition goes to the default one, so nothing is lost when this did not run for a year.
    """
    created = 0
    with connection.cursor() as cursor:
        for offset in range(months_ahead + 1):
            year, month = divmod(today.year * 12 + today.month - 1 + offset, 12)
            cursor.execute("SELECT audit_ensure_partition(%s)", [date(year, month + 1, 1)])
            created += bool(cursor.fetchone()[0])
    return created
