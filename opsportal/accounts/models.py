"""Users and their sessions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from opsportal.accounts.roles import Role


class User(AbstractUser):
    """Somebody who signs in. Never deleted, only disabled, so that the audit log keeps its names."""

    session_version = models.PositiveIntegerField(
        default=1, editable=False, help_text="Raised to end every session of this user at once."
    )
    disabled_reason = models.TextField(blank=True, default="")
    must_change_password = models.BooleanField(
        default=False,
        editable=False,
        help_text="A one-time password opens only the page that changes it.",
    )
    last_active_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_active_ip = models.GenericIPAddressField(null=True, blank=True, editable=False)

    #: Set on a user that came from the cache (see backends.py), so that a request needs no query for them.
    remembered_auth_hash: str | None = None
    remembered_roles: tuple[str, ...] | None = None
    remembered_password_use: bool | None = None

    class Meta:
        default_permissions = ("add", "change", "view")

    @property
    def role(self) -> Role | None:
        """The most powerful of the user's roles, or None."""
        names = self.remembered_roles
        if names is None:
            names = tuple(group.name for group in self.groups.all())  # all(): a list of users has them fetched already
        return next((role for role in reversed(Role) if role.value in names), None)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the row. One that was read in part, as from the cache, may be old: only named fields of it are saved."""
        if kwargs.get("update_fields") is None and not self._state.adding and self.get_deferred_fields():
            raise TypeError(
                "This user was read in part: save(update_fields=[…]), or what others have changed is undone."
            )
        super().save(*args, **kwargs)

    def set_password(self, raw_password: str | None) -> None:
        """Set the password; what was remembered of the old one no longer counts, nor that it was a one-time one."""
        super().set_password(raw_password)
        self.remembered_auth_hash = None
        self.must_change_password = False

    def has_usable_password(self) -> bool:
        """Whether the user can sign in by password."""
        if self.remembered_password_use is not None:
            return self.remembered_password_use
        return super().has_usable_password()

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Binds every session to the password and to `session_version`; Django ends those that do not match."""
        if self.remembered_auth_hash is not None and secret is None:
            return self.remembered_auth_hash
        return salted_hmac(
            "opsportal.accounts.User.session",
            f"{self.password}:{self.session_version}:{self.is_active}",
            secret=secret,
            algorithm="sha256",
        ).hexdigest()


class Strategy(models.Model):
    """A trading strategy that users can be granted (AM-4). Never deleted, only retired: grants and the log name it."""

    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=300, blank=True, default="")
    retired = models.BooleanField(default=False)

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "strategies"
        default_permissions = ("view", "add", "change")
        permissions = (("grant_strategy", "Can grant and revoke strategies"),)

    def __str__(self) -> str:
        return self.name


class StrategyGrant(models.Model):
    """One user may work with one strategy."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="strategy_grants")
    strategy = models.ForeignKey(Strategy, on_delete=models.PROTECT, related_name="grants")
    granted_at = models.DateTimeField(default=timezone.now)
    granted_by = models.CharField(max_length=200)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user", "strategy"], name="accounts_one_grant")]

    def __str__(self) -> str:
        return f"{self.user} · {self.strategy}"


class UserSession(AbstractBaseSession):
    """One signed-in browser: Django's session row with its owner, so that sessions can be listed and ended."""

    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=200, blank=True, default="")
    started_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)  # as the idle limit sees it: a poll of a dashboard does not count

    objects: ClassVar[BaseSessionManager[UserSession]] = BaseSessionManager()  # type: ignore[misc,assignment]

    class Meta(AbstractBaseSession.Meta):
        default_permissions = ()

    @classmethod
    def get_session_store_class(cls) -> type:
        """The store that reads and writes these rows."""
        from opsportal.accounts.sessions import SessionStore

        return SessionStore
