"""The session store: PostgreSQL holds the truth, Redis answers most reads, and either may be down (AUTH-3, CB-8).

- Redis down: every read goes to PostgreSQL.
- PostgreSQL down: sessions already in Redis go on working, so that a signed-in operator can still halt trading.
- A copy in Redis is believed for `RECHECK_SECONDS` and then compared with PostgreSQL, so a session that was ended while
  Redis could not be told lives on for at most that long after Redis returns.
- An ended session leaves a mark in Redis: a request that had read its row a moment before the end may copy it there
  once more, and the mark tells that copy for what it is.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.core.cache import cache
from django.db import Error

log = logging.getLogger(__name__)

RECHECK_SECONDS = 30
_PREFIX = "session:"
_ENDED = "session-ended:"


class SessionStore(DatabaseSessionStore):
    """Django's database sessions with a read cache that outlives an outage of the database."""

    @classmethod
    def get_model_class(cls) -> Any:
        """The portal's own session rows."""
        from opsportal.accounts.models import UserSession

        return UserSession

    @property
    def cache_key(self) -> str:
        """Where the copy of this session lies."""
        return _PREFIX + str(self._get_or_create_session_key())  # type: ignore[attr-defined]

    def load(self) -> dict[str, Any]:
        """The session's values; empty when it is unknown, ended or expired.

        Raises `django.db.Error` when neither Redis nor PostgreSQL can tell.
        """
        own, ended = self.cache_key, _ENDED + self.cache_key.removeprefix(_PREFIX)
        found = cache.get_many([own, ended])
        if ended in found:
            self._session_key = None  # so that the answer takes the cookie away
            return {}
        copy = found.get(own)
        now = time.time()
        if copy and now - copy["checked"] < RECHECK_SECONDS:
            return dict(copy["values"])
        try:
            row = self._get_session_from_db()  # type: ignore[attr-defined]
        except Error:
            if copy:
                log.warning("session_served_from_cache_only")
                return dict(copy["values"])
            raise
        if row is None:
            cache.delete(own)
            return {}
        values: dict[str, Any] = self.decode(row.session_data)
        self._copy(values)
        return values

    def exists(self, session_key: str | None = None) -> bool:
        """Whether the key is taken."""
        return bool(session_key) and bool(super().exists(session_key))  # type: ignore[arg-type]

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """The row, with its owner and where it was opened from."""
        row: Any = super().create_model_instance(data)
        row.user_id = data.get("_auth_user_id")
        row.ip = data.get("ip")
        row.user_agent = data.get("user_agent", "")
        row.started_at = _instant(data.get("started"))
        row.seen_at = _instant(data.get("seen"))
        return row

    def save(self, must_create: bool = False) -> None:
        """Write the row, then the copy. With PostgreSQL down an existing session is kept in Redis alone."""
        try:
            super().save(must_create)
        except (CreateError, UpdateError):
            raise
        except Error:
            if must_create or self.session_key is None or cache.get(self.cache_key) is None:
                raise
            log.warning("session_saved_to_cache_only")
        self._copy(self._get_session(no_load=must_create))  # type: ignore[attr-defined]

    def delete(self, session_key: str | None = None) -> None:
        """End the session in both places."""
        key = session_key or self.session_key
        if key:
            forget([key])
        super().delete(session_key)

    def _copy(self, values: dict[str, Any]) -> None:
        cache.set(self.cache_key, {"values": values, "checked": time.time()}, timeout=settings.SESSION_ABSOLUTE_SECONDS)


def _instant(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def forget(session_keys: list[str]) -> None:
    """Drop the copies of ended sessions, and mark them as ended."""
    if session_keys:
        cache.set_many({_ENDED + key: 1 for key in session_keys}, timeout=settings.SESSION_ABSOLUTE_SECONDS)
        cache.delete_many([_PREFIX + key for key in session_keys])
