"""Every change to users and their sessions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser, Group
from django.core.cache import cache
from django.db import Error, InterfaceError, OperationalError, transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from opsportal.accounts import backends, sessions
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User, UserSession
from opsportal.accounts.roles import Role
from opsportal.audit import recorder
from opsportal.observability.client_ip import client_ip

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

log = logging.getLogger(__name__)

ACTIVE_EVERY_SECONDS = 60


def end_sessions(user: User) -> int:
    """End every session of the user at once, everywhere; returns how many there were."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(session_version=F("session_version") + 1)
        keys = list(UserSession.objects.filter(user_id=user.pk).values_list("session_key", flat=True))
        UserSession.objects.filter(session_key__in=keys).delete()
        backends.forget_user(user.pk)
        transaction.on_commit(lambda: sessions.forget(keys))
    return len(keys)


def set_role(user: User, role: Role, *, by: Actor, reason: str = "") -> None:
    """Give the user exactly this one of the three roles and end their sessions. Raises `PermissionRefused`."""
    by.require("accounts.change_user")
    with transaction.atomic():
        before = user.role
        others = Group.objects.filter(name__in=[other.value for other in Role if other != role])
        user.groups.remove(*others)
        user.groups.add(Group.objects.get(name=role.value))
        _audit("role_change", user, by=by, details={"before": before, "after": role}, reason=reason)
        end_sessions(user)


def disable_user(user: User, *, by: Actor, reason: str) -> None:
    """Shut the user out at once. Raises `PermissionRefused`, and `ValueError` without a reason."""
    by.require("accounts.change_user")
    if not reason.strip():
        raise ValueError("A reason is needed to disable a user.")
    with transaction.atomic():
        user.is_active = False
        user.disabled_reason = reason.strip()
        user.save(update_fields=["is_active", "disabled_reason"])
        _audit("user_disable", user, by=by, reason=reason)
        end_sessions(user)


def create_user(username: str, password: str, role: Role, *, by: Actor) -> User:
    """A new member of staff with one role. Raises `PermissionRefused`."""
    by.require("accounts.add_user")
    with transaction.atomic():
        user = User.objects.create_user(username, password=password, is_staff=True)
        user.groups.add(Group.objects.get(name=role.value))
        _audit("user_create", user, by=by, details={"username": username, "role": role})
    return user


def _audit(event: str, user: User, *, by: Actor, details: dict[str, Any] | None = None, reason: str = "") -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="user",
        resource_id=str(user.pk),
        details=details,
        reason=reason,
    )


def development_user() -> User:
    """The `dev_user` of the development sign-in: an admin without a usable password."""
    user = User.objects.filter(username="dev_user").first()
    if user is None:
        user = create_user("dev_user", "", Role.ADMIN, by=Actor.system("development sign-in"))
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def expire_session(request: HttpRequest) -> None:
    """Forget the session and its user for this request and for good."""
    session: SessionBase = request.session
    try:
        session.flush()
    except Error:
        log.error("expired_session_not_removed")
    request.user = AnonymousUser()


def note_activity(request: HttpRequest) -> None:
    """Write the user's last activity, at most once a minute; a lost Redis or database costs only the note."""
    user = request.user
    if user.pk is None or not cache.add(f"active:{user.pk}", 1, timeout=ACTIVE_EVERY_SECONDS):
        return
    try:
        User.objects.filter(pk=user.pk).update(last_active_at=timezone.now(), last_active_ip=client_ip(request))
    except Error:
        log.warning("last_active_not_written")


def audit_refusal(refusal: PermissionRefused, *, user: User, where: str, method: str) -> None:
    """Write the refused attempt into the audit log; with PostgreSQL down into the program's log.

    `where` is the address or the command, `method` how it was asked.
    """
    try:
        recorder.record(
            _denial(refusal),
            event_type="access",
            outcome="denied",
            actor=user,
            actor_label=refusal.actor_label,
            resource_type="page",
            resource_id=where[:255],
            details={"missing": refusal.missing, "scope": refusal.scope, "method": method},
        )
    except Error:
        log.error("refusal_not_audited", extra={"missing": refusal.missing})


def _denial(refusal: PermissionRefused) -> str:
    if refusal.scope or refusal.missing.startswith("apikeys."):
        return "api_key_action_denied"
    return "config_edit_denied" if refusal.missing == "sysconfig.change_section" else "admin_page_access_denied"


def database_is_down(error: BaseException | None) -> bool:
    """Whether the error, or what caused it, says that PostgreSQL cannot be reached."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            return True
        error = error.__cause__
    return False
