"""At most one of several processes leads: a lock that PostgreSQL keeps."""

from typing import Any

import psycopg

from opsportal.observability.postgres import connect_apart


class LeaderLock:
    """A session-level advisory lock on a connection of its own.

    The server frees it the moment that connection ends, whatever ended it, so at most one process holds it. It needs
    a connection to PostgreSQL itself: behind a pooler in transaction mode sessions are not ours to keep.
    """

    def __init__(self, key: int, *, application_name: str) -> None:
        self._key = key
        self._application_name = application_name
        self._connection: psycopg.Connection[Any] | None = None
        self._held = False

    def hold(self) -> bool:
        """True while the lock is ours, having asked the server just now. Takes it when it is free. Never raises."""
        return bool(self.ask())

    def ask(self) -> bool | None:
        """As `hold`, but None when the server does not answer: then nobody knows whose it is."""
        try:
            connection = self._connected()
            if self._held:
                # The answer comes over the very session that owns the lock: if it comes, the lock is there.
                connection.execute("SELECT 1")
            else:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
                self._held = bool(row and row[0])
        except (psycopg.Error, OSError):
            self.release()
            return None
        return self._held

    def release(self) -> None:
        """Give the lock up, if it is ours, by ending its session."""
        self._held = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = connect_apart(application_name=self._application_name)
        return self._connection
