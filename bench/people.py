"""Signed-in people, without a hundred password hashes: their sessions are written as sign-in writes them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore as StockStore

from opsportal.accounts.models import User
from opsportal.accounts.sessions import SessionStore as PortalStore

_PORTAL_BACKEND = "opsportal.accounts.backends.CachedUserBackend"
_STOCK_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True)
class SessionKeys:
    """The session keys of the same people at the portal and at the ordinary view."""

    portal: list[str]
    ordinary: list[str]


def sign_in_people(count: int, role: str = "operator") -> SessionKeys:
    """`count` people of this role, each with one session of either kind."""
    group = Group.objects.get(name=role)
    keys = SessionKeys([], [])
    for number in range(count):
        user = User(username=f"bench-{role}{number}", is_staff=True)
        user.set_unusable_password()
        user.save()
        user.groups.add(group)
        keys.portal.append(_session(PortalStore(), user, _PORTAL_BACKEND))
        keys.ordinary.append(_session(StockStore(), user, _STOCK_BACKEND))
    return keys


def _session(store: Any, user: User, backend: str) -> str:
    now = time.time()
    store.update(
        {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: backend,
            HASH_SESSION_KEY: user.get_session_auth_hash(),
            "started": now,
            "seen": now,
            "ip": "127.0.0.1",
            "user_agent": "wrk",
        }
    )
    store.create()
    return str(store.session_key)
