"""Ending sessions: all of a user, one, or all but one's own (AUTH-3, AM-2).

The key of a session is a credential, so nothing outside this file and the session store sees it: pages and addresses
name a session by a keyed hash of it.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils.crypto import constant_time_compare, salted_hmac

from opsportal.accounts import backends, sessions
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User, UserSession
from opsportal.accounts.reach import require_over
from opsportal.accounts.records import audit, one_at_a_time
from opsportal.accounts.refusals import WrongState
from opsportal.accounts.wording import browser_words

GONE = "This session has ended already."


def reference_of(session_key: str) -> str:
    """What stands for a session in pages and addresses. It cannot be turned back into the key."""
    return salted_hmac("opsportal.accounts.session", session_key, algorithm="sha256").hexdigest()[:32]


def end_sessions(user: User) -> int:
    """End every session of the user at once, everywhere; returns how many there were."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(session_version=F("session_version") + 1)
        keys = list(UserSession.objects.filter(user_id=user.pk).values_list("session_key", flat=True))
        _delete(keys)
        backends.forget_user(user.pk)
    return len(keys)


def end_session(user: User, reference: str, *, by: Actor) -> None:
    """End one session of the user: one's own, or with the permission anybody's who may no more than `by`.

    Raises `PermissionRefused`, and `WrongState` when there is no such session any more.
    """
    if by.user is not None and by.user.pk == user.pk:
        with transaction.atomic():
            _end_one(user, reference, by=by)
        return
    with one_at_a_time(by, "accounts.change_user") as actor:
        require_over(User.objects.get(pk=user.pk), by=actor, shuts_out=True)
        _end_one(user, reference, by=by)


def _end_one(user: User, reference: str, *, by: Actor) -> None:
    session = next(
        (
            row
            for row in UserSession.objects.filter(user_id=user.pk)
            if constant_time_compare(reference_of(row.session_key), reference)
        ),
        None,
    )
    if session is None:
        raise WrongState(GONE)
    _delete([session.session_key])
    details = {"which": "one", "ended": 1, "address": session.ip, "browser": browser_words(session.user_agent)}
    audit("sessions_end", user, by=by, details=details)


def end_other_sessions(*, by: Actor, keep: str | None) -> int:
    """End all of one's own sessions but the one with this key; returns how many. Raises `PermissionRefused`."""
    if by.user is None or by.scopes is not None:
        raise PermissionRefused(by.label, "accounts.change_user")
    with transaction.atomic():
        others = UserSession.objects.filter(user_id=by.user.pk).exclude(session_key=keep or "")
        keys = list(others.values_list("session_key", flat=True))
        if keys:
            _delete(keys)
            audit("sessions_end", by.user, by=by, details={"which": "all but this one", "ended": len(keys)})
    return len(keys)


def _delete(keys: list[str]) -> None:
    UserSession.objects.filter(session_key__in=keys).delete()
    transaction.on_commit(lambda: sessions.forget(keys))
