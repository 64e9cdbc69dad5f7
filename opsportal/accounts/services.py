"""What requests and commands do to users and sessions. The changes that people make are in the files named below."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest
from django.utils import timezone

from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.people import create_user, disable_user, enable_user, set_role
from opsportal.accounts.roles import Role
from opsportal.accounts.scopes import SCOPE_NAMES
from opsportal.accounts.session_ending import end_other_sessions, end_sessions
from opsportal.audit import recorder
from opsportal.observability.client_ip import client_ip

if TYPE_CHECKING:
    from django.contrib.sessions.backends.base import SessionBase

__all__ = ["create_user", "disable_user", "enable_user", "end_other_sessions", "end_sessions", "set_role"]

log = logging.getLogger(__name__)

ACTIVE_EVERY_SECONDS = 60


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
            details={
                "missing": refusal.missing,
                "scope": refusal.scope,
                "method": method,
                **({"why": refusal.words} if refusal.words else {}),
            },
        )
    except Error:
        log.error("refusal_not_audited", extra={"missing": refusal.missing})


def _denial(refusal: PermissionRefused) -> str:
    if refusal.scope or refusal.missing in SCOPE_NAMES or refusal.missing.startswith("apikeys."):
        return "api_key_action_denied"
    return "config_edit_denied" if refusal.missing == "sysconfig.change_section" else "admin_page_access_denied"


def database_is_down(error: BaseException | None) -> bool:
    """Whether the error, or what caused it, says that PostgreSQL cannot be reached."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            return True
        error = error.__cause__
    return False
