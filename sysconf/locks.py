"""One lock a section, kept by PostgreSQL: whoever holds it knows which version is the newest, and that it stays so."""

from __future__ import annotations

import hashlib

from django.db import connection

#: The first of the two numbers of the advisory lock: "cf".
_CLASS = 0x6366


def hold(section: str) -> None:
    """Take the lock until the transaction ends; waits for whoever has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_CLASS, _number(section)])


def hold_if_free(section: str) -> bool:
    """Take the lock until the transaction ends, unless somebody else has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_CLASS, _number(section)])
        row = cursor.fetchone()
    return bool(row and row[0])


def _number(section: str) -> int:
    return int.from_bytes(hashlib.sha256(section.encode()).digest()[:4], "big", signed=True)
