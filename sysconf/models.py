"""Every version of every section (CF-3). The newest is what holds; before the first the defaults do."""

from __future__ import annotations

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Version(models.Model):
    """What a section held from a moment on. Written once, never changed; migration 0002 lets the database see to it."""

    section = models.CharField(max_length=64)
    number = models.PositiveIntegerField(help_text="1 for the first change of the section.")
    values = models.JSONField(encoder=DjangoJSONEncoder)
    changes = models.JSONField(encoder=DjangoJSONEncoder, help_text="Field to [old, new].")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    by_label = models.CharField(max_length=200)
    reason = models.TextField()
    restored_from = models.PositiveIntegerField(null=True)

    class Meta:
        default_permissions = ()
        permissions = (
            ("view_section", "Can see the system configuration"),
            ("change_section", "Can change the system configuration"),
        )
        constraints = [models.UniqueConstraint(fields=["section", "number"], name="sysconfig_one_number")]
        ordering = ("section", "-number")

    def __str__(self) -> str:
        return f"{self.section}, version {self.number}"
