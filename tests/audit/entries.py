"""Entries for tests, and what somebody with every right could do to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import connection
from django.test import Client

from opsportal.audit import recorder
from opsportal.audit.models import Entry
from tests.servers import superuser_url

BACKEND = "opsportal.accounts.backends.CachedUserBackend"


def as_superuser(statement: str) -> None:
    """What somebody with every right, and the triggers switched off, could do."""
    with psycopg.connect(superuser_url(), autocommit=True) as outside:
        outside.execute("SET session_replication_role = replica")
        outside.execute(statement)  # type: ignore[call-overload]


def make_month(year: int, month: int) -> None:
    """A partition for this month."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_ensure_partition(make_date(%s, %s, 1))", [year, month])


def write(event: str = "login", **fields: Any) -> Entry:
    """One entry; times may be given as text."""
    if isinstance(fields.get("at"), str):
        fields["at"] = datetime.fromisoformat(fields["at"]).replace(tzinfo=UTC)
    return recorder.record(event, **fields)


def signed_in(user: Any) -> Client:
    """A client of this person."""
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client
