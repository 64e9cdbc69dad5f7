"""What must follow whenever Django itself tells of a sign-in or of a change of users and roles."""

from __future__ import annotations

import logging
import time
from typing import Any

from auditlog.registry import auditlog
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import Error
from django.db.models.signals import m2m_changed, post_save
from django.dispatch import receiver

from opsportal.accounts import backends
from opsportal.accounts.models import User
from opsportal.audit import recorder
from opsportal.observability.client_ip import client_ip

log = logging.getLogger(__name__)

auditlog.register(
    User,
    exclude_fields=["last_login", "last_active_at", "last_active_ip"],
    m2m_fields={"groups", "user_permissions"},
    mask_fields=["email", "password"],  # that they changed, never to what
)
auditlog.register(Group, m2m_fields={"permissions"})


@receiver(post_save, sender=User)
def _user_saved(instance: User, **_: Any) -> None:
    backends.forget_user(instance.pk)


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
def _user_permissions_changed(instance: Any, action: str, **_: Any) -> None:
    if action.startswith("post_"):
        backends.forget_user(instance.pk) if isinstance(instance, User) else backends.forget_all_users()


@receiver(m2m_changed, sender=Group.permissions.through)
def _role_changed(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        backends.forget_all_users()


@receiver(user_logged_in)
def _logged_in(request: Any, user: User, **_: Any) -> None:
    now = time.time()
    request.session["started"] = now
    request.session["seen"] = now
    request.session["ip"] = client_ip(request)
    request.session["user_agent"] = request.headers.get("User-Agent", "")[:200]
    recorder.record("login", event_type="auth", actor=user, resource_type="user", resource_id=str(user.pk))


@receiver(user_logged_out)
def _logged_out(user: User | None, **_: Any) -> None:
    if user is None:
        return
    try:
        recorder.record("logout", event_type="auth", actor=user, resource_type="user", resource_id=str(user.pk))
    except Error:
        # Ending a session must not wait for the database; the session itself is gone.
        log.error("logout_not_audited")


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], **_: Any) -> None:
    # A mistyped user name is sometimes a password: only names that exist are written down.
    name = str(credentials.get("username", ""))[:150]
    known = User.objects.filter(username=name).values_list("pk", flat=True).first()
    recorder.record(
        "login_failed",
        event_type="auth",
        outcome="failed",
        resource_type="user",
        resource_id=str(known or ""),
        details={"username": name if known else "(unknown name)"},
    )
