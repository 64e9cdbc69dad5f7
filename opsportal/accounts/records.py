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

#: The advisory lock of everything that decides who may do what. Any number that no other lock of the portal has.
_LOCK = 7_205_010


@contextmanager
def one_at_a_time(by: Actor, permission: str) -> Iterator[None]:
    """A transaction in which nobody else changes people, so that two admins cannot remove each other.

    Raises `PermissionRefused`, also for whoever lost the permission while waiting.
    """
    by.require(permission)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        _require_still(by, permission)
        yield


def _require_still(by: Actor, permission: str) -> None:
    if by.user is None:
        return
    now = User.objects.filter(pk=by.user.pk, is_active=True).first()
    if now is None:
        raise PermissionRefused(by.label, permission)
    replace(by, user=now).require(permission)


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
    """One line of text as it is kept. Raises `InvalidInput` for what cannot be stored or is too long."""
    line = " ".join(text.split())
    if any(not character.isprintable() for character in line):
        raise InvalidInput(field, f"{name} contains a character that cannot be shown. Type it again.")
    if len(line) > longest:
        raise InvalidInput(field, f"{name} has {len(line):,} characters; at most {longest:,} are kept.")
    return line
