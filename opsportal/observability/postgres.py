"""Connections to PostgreSQL that are not Django's: for a probe that must not wait, and a lock that must last."""

from typing import Any

import psycopg
from django.db import connections

CONNECT_SECONDS = 2
_KEPT = frozenset(
    ("host", "hostaddr", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey", "service")
)


def connect_apart(*, application_name: str, statement_seconds: float = 1.0) -> psycopg.Connection[Any]:
    """A new connection of our own to the default database, in autocommit.

    Gives up connecting after 2 s and lets the server end a statement after `statement_seconds`. A peer that
    vanished without a word is noticed after about 6 s. Raises `psycopg.Error`.
    """
    params = {k: v for k, v in connections["default"].get_connection_params().items() if k in _KEPT}
    return psycopg.connect(
        **params,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        application_name=application_name,
        options=f"-c statement_timeout={int(statement_seconds * 1000)}",
        keepalives_idle=2,
        keepalives_interval=1,
        keepalives_count=3,
        tcp_user_timeout=6_000,
    )
