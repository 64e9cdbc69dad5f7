"""One change of the rules, channels and silences at a time."""

from __future__ import annotations

from django.db import connection


def await_turn() -> None:
    """Wait until nobody else changes a rule, a channel or a silence. A transaction's first step; it ends with it.

    Each such change raises the revision, which is one row, besides locking its own rows: without one order of the two,
    two people's changes could each wait for the other. Evaluation reads the revision and waits for nobody.
    Raises `django.db.Error`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM alerting_revision WHERE id = 1 FOR UPDATE")
