"""One row a key. The key itself is nowhere: only what recognises it (AK-1, AK-2)."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone


class KeyState(models.TextChoices):
    """What a key is worth at a moment."""

    ACTIVE = "active", "active"
    PENDING = "pending", "pending revocation"
    EXPIRED = "expired", "expired"
    REVOKED = "revoked", "revoked"


class ApiKey(models.Model):
    """A key of one owner. Never deleted and, but for its end and its use, never changed: rotate it instead."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True, help_text="The fixed part and 8 characters; safe to show.")
    last4 = models.CharField(max_length=4)
    salt = models.CharField(max_length=32, help_text="16 random bytes as hexadecimal text.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of salt and key, hexadecimal.")
    scopes = ArrayField(models.CharField(max_length=64))
    networks = ArrayField(
        models.CharField(max_length=43), default=list, help_text="Whence the key may be used; empty for anywhere."
    )
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=200)
    expires_at = models.DateTimeField(null=True)
    rotated_from = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="successor")
    pending_since = models.DateTimeField(null=True, help_text="When its successor was made.")
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=200, blank=True, default="")
    revoke_reason = models.TextField(blank=True, default="")
    last_used_at = models.DateTimeField(null=True)
    last_used_ip = models.GenericIPAddressField(null=True)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        default_permissions = ("view", "add")
        permissions = (("revoke_apikey", "Can revoke API keys"),)
        constraints = [
            models.CheckConstraint(condition=Q(prefix__regex=r"^tp_live_[A-Za-z0-9]{8}$"), name="apikeys_prefix_form"),
            models.UniqueConstraint(
                fields=["owner", "name"], condition=Q(revoked_at__isnull=True), name="apikeys_one_live_name"
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="apikeys_newest"),
            models.Index(fields=["expires_at"], condition=Q(revoked_at__isnull=True), name="apikeys_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…{self.last4})"

    def state(self, now: datetime) -> KeyState:
        """What the key is worth at `now`, whatever its owner is."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.PENDING if self.pending_since is not None else KeyState.ACTIVE
