"""The two roles of the portal and its database, made by the superuser."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

SUPERUSER = "postgres"
OWNER = "opsportal_owner"
"""Owns the database and runs migrations. May create databases, nothing else."""
APPLICATION = "opsportal_app"
"""What the portal signs in as: what it may do comes by grants."""


def ensure_roles(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Both roles exist with these passwords and no privilege beyond their own."""
    for role, may in ((OWNER, sql.SQL("CREATEDB")), (APPLICATION, sql.SQL("NOCREATEDB"))):
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        verb = sql.SQL("ALTER") if known else sql.SQL("CREATE")
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {} PASSWORD {}").format(
                verb, sql.Identifier(role), may, sql.Literal(passwords[role])
            )
        )


def ensure_database(connection: psycopg.Connection, name: str) -> None:
    """The database exists, belongs to the owner role, and strangers may not connect to it.

    `connection` must be in autocommit mode.
    """
    database = sql.Identifier(name)
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(APPLICATION)))
