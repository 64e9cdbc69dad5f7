"""What every change to people shares: one at a time, by somebody who still may, with its audit entry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db import connection, transaction

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.refusals import InvalidInput
from opsportal.accounts.stepup import clean_reason
from opsportal.audit import recorder
from opsportal.observability.sanitise import mask_text

#: The advisory lock of everything that decides who may do what. Any number that no other lock of the portal has.
_LOCK = 7_205_010


@contextmanager
def one_at_a_time(by: Actor, permission: str) -> Iterator[Actor]:
    """A transaction in which nobody else changes people, so that two admins cannot remove each other.

    Gives the actor as they are now: what a request remembers of its user may be older.

    Raises `PermissionRefused`, also for whoever lost the permission while waiting.
    """
    by.require(permission)
    with deciding():
        yield _as_now(by, permission)


@contextmanager
def deciding() -> Iterator[None]:
    """A transaction in which nobody else decides who may do what."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield


def _as_now(by: Actor, permission: str) -> Actor:
    if by.user is None:
        return by
    now = User.objects.filter(pk=by.user.pk, is_active=True).first()
    if now is None:
        raise PermissionRefused(by.label, permission)
    actor = replace(by, user=now)
    actor.require(permission)
    return actor


def audit(event: str, user: User, *, by: Actor, details: dict[str, Any] | None = None, reason: str = "") -> None:
    """Record what was done to a user."""
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="user",
        resource_id=str(user.pk),
        details={"username": user.get_username(), **(details or {})},
        reason=reason,
    )


def optional_reason(reason: str) -> str:
    """The cleaned reason; empty where none was given. Raises `InvalidInput`."""
    return clean_reason(reason) if reason.strip() else ""


def plain_text(field: str, text: str, *, longest: int, name: str) -> str:
    """One line of text as it is kept. Raises `InvalidInput` for what cannot be stored, is too long or holds a key."""
    line = " ".join(text.split())
    if any(not character.isprintable() for character in line):
        raise InvalidInput(field, f"{name} contains a character that cannot be shown. Type it again.")
    if len(line) > longest:
        raise InvalidInput(field, f"{name} has {len(line):,} characters; at most {longest:,} are kept.")
    # An address is personal data, shown masked everywhere: only its own field takes it.
    if field != "email" and mask_text(line) != line:
        raise looks_like_a_key(field, name)
    return line


def looks_like_a_key(field: str, name: str) -> InvalidInput:
    """The refusal of what must not stand in lists and logs (AK-9). Says nothing of it back."""
    return InvalidInput(
        field,
        f"{name} holds what looks like a key, a password, an e-mail address or a telephone number. It would stand in "
        "lists and logs: type it again without.",
    )
