"""`manage.py prepare`: what the application's database role may, and what it may not."""

from __future__ import annotations

import io

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, ProgrammingError, connection

from tests.servers import superuser_url


def test_again__changes_nothing(transactional_db: None) -> None:
    """RUN-1: safe at every start."""
    out = io.StringIO()
    call_command("prepare", verbosity=0, stdout=out)
    assert out.getvalue() == ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("opsportal_app",)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "DROP TABLE audit_link",
        "DROP TRIGGER audit_chain ON audit_entry",
        "INSERT INTO audit_link VALUES (1, 1, now(), '')",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
        "UPDATE django_migrations SET name = 'x'",
        "SELECT audit_restrict('opsportal_app')",
    ],
)
def test_application_role__may_not(transactional_db: None, statement: str) -> None:
    """AU-4: two roles; the application cannot lift what guards the log, nor change tables."""
    with pytest.raises(ProgrammingError), connection.cursor() as cursor:
        cursor.execute(statement)


def test_statement_limits__are_on(transactional_db: None) -> None:
    """Q-4: a stuck client cannot hold the audit chain's lock for ever."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("30s",)


def test_no_table_of_the_application_role__exists(transactional_db: None) -> None:
    """AU-4."""
    with psycopg.connect(superuser_url()) as outside:
        owned = outside.execute("SELECT tablename FROM pg_tables WHERE tableowner = 'opsportal_app'").fetchall()
    assert owned == []


def test_restriction_of_another_owner__is_not_run(transactional_db: None) -> None:
    """AU-4: `…_restrict(role)` runs with the owner's rights, so only the owner's own is called."""
    body = "LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran as %', current_user; END $$"
    with psycopg.connect(superuser_url(), autocommit=True) as outside:
        outside.execute(f"CREATE FUNCTION a_restrict(role text) RETURNS void {body}")
        try:
            outside.execute("ALTER FUNCTION a_restrict OWNER TO opsportal_app")
            call_command("prepare", verbosity=0)
            outside.execute("ALTER FUNCTION a_restrict OWNER TO opsportal_owner")
            with pytest.raises(DatabaseError, match="ran as opsportal_owner"):
                call_command("prepare", verbosity=0)
        finally:
            outside.execute("DROP FUNCTION a_restrict")
