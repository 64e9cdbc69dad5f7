"""Sign-in by password, and the signed-in user from the cache.

Every request needs the user and their permissions, and a dashboard asks once a second. Both are kept in Redis beside
two counters, one for the user and one for all roles. Whoever changes a user or a role raises the counter, in the same
transaction and again after it, so an entry made from rows read before the change is never believed.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.cache import cache
from django.db import Error, transaction

from opsportal.accounts.models import User

log = logging.getLogger(__name__)

#: A cached user is read again from PostgreSQL after this long, come what may.
FRESH_SECONDS = 30
#: With PostgreSQL down an older entry still serves, at most as old as this, so that a trip remains possible (CB-8).
OUTAGE_SECONDS = 4 * 3600
_ALL = "user-generation:all"
_FIELDS = (
    "id",
    "username",
    "first_name",
    "last_name",
    "email",
    "is_active",
    "is_staff",
    "is_superuser",
    "session_version",
    "must_change_password",
)


def _keys(user_id: int) -> tuple[str, str]:
    return f"user:{user_id}", f"user-generation:{user_id}"


class CachedUserBackend(ModelBackend):
    """Django's password backend whose look-ups by id are answered by Redis while nothing has changed."""

    def get_user(self, user_id: Any) -> User | None:
        """The active user with permissions loaded, or None.

        Raises `django.db.Error` when PostgreSQL is down and Redis has no entry.
        """
        entry_key, own_key = _keys(user_id)
        found = cache.get_many([entry_key, own_key, _ALL])
        generation = [found.get(own_key), found.get(_ALL)]
        entry = found.get(entry_key)
        if entry and entry["generation"] != generation:
            entry = None
        if entry and time.time() - entry["at"] < FRESH_SECONDS:
            return _rebuild(entry)
        try:
            user = User.objects.get(pk=user_id)
            if not self.user_can_authenticate(user):
                return None
            permissions = sorted(self.get_all_permissions(user))
            roles = sorted(user.groups.values_list("name", flat=True))
        except User.DoesNotExist:
            return None
        except Error:
            if entry:
                log.warning("user_served_from_cache_only")
                return _rebuild(entry)
            raise
        entry = {
            "fields": {name: getattr(user, name) for name in _FIELDS},
            "auth_hash": user.get_session_auth_hash(),
            "usable_password": user.has_usable_password(),
            "permissions": permissions,
            "roles": roles,
            "generation": generation,
            "at": time.time(),
        }
        cache.set(entry_key, entry, timeout=OUTAGE_SECONDS)
        return _rebuild(entry)


def _rebuild(entry: dict[str, Any]) -> User:
    """The user as the cache keeps it: without password hash; permissions, roles and session hash at hand."""
    fields = entry["fields"]
    names = [field.attname for field in User._meta.concrete_fields if field.attname in fields]
    user = User.from_db("default", names, [fields[name] for name in names])
    user.remembered_auth_hash = entry["auth_hash"]
    user.remembered_password_use = entry["usable_password"]
    user.remembered_roles = tuple(entry["roles"])
    user._perm_cache = set(entry["permissions"])  # type: ignore[attr-defined]  # where Django's own backend keeps what it has looked up
    return user


def forget_user(user_id: int) -> None:
    """Make every process read the user anew: now, and once more when the transaction has committed."""
    _raise(_keys(user_id)[1])
    transaction.on_commit(lambda: _raise(_keys(user_id)[1]))


def forget_all_users() -> None:
    """The same for everybody, for a change of a role's permissions."""
    _raise(_ALL)
    transaction.on_commit(lambda: _raise(_ALL))


def _raise(key: str) -> None:
    # The clock, not a counter: it never repeats, also when Redis has lost its data in between.
    cache.set(key, time.time_ns(), timeout=None)
