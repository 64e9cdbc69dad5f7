"""One row per thing that happened. The table is partitioned by month, append-only and chained; see migration 0002."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from auditlog.models import AbstractLogEntry
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from opsportal.observability.sanitise import clip, mask_text, sanitise

#: A resource id is a row's, or an address that somebody typed: masked, storable, and within its column.
RESOURCE_ID_MAX = 240


class EventType(models.TextChoices):
    """The kinds of entries (AU-1)."""

    ADMIN = "admin"
    AUTH = "auth"
    ACTION = "action"
    ACCESS = "access"
    EXPORT = "export"


class Outcome(models.TextChoices):
    """How it ended (AU-1)."""

    SUCCESS = "success"
    DENIED = "denied"
    FAILED = "failed"


class Entry(AbstractLogEntry):
    """An entry of the audit log: written once, never changed.

    Model changes arrive through django-auditlog with `changes` filled; explicit actions through
    `recorder.record` with `details` (kept in `additional_data`). `cid` is the request id.
    """

    content_type = models.ForeignKey(
        "contenttypes.ContentType",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    object_pk = models.CharField(max_length=255, blank=True, default="")
    object_id = models.BigIntegerField(null=True, blank=True)
    object_repr = models.TextField(blank=True, default="")
    action = models.PositiveSmallIntegerField(
        choices=AbstractLogEntry.Action.choices, default=AbstractLogEntry.Action.ACCESS
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    cid = models.CharField(max_length=255, blank=True, null=True)
    timestamp = models.DateTimeField(default=timezone.now)

    additional_data = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)

    event_id = models.UUIDField(default=uuid.uuid4)
    event = models.CharField(max_length=64)
    event_type = models.CharField(max_length=16, choices=EventType.choices, default=EventType.ADMIN)
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.SUCCESS)
    actor_label = models.CharField(max_length=200, blank=True, default="")
    source = models.CharField(max_length=16, blank=True, default="")
    resource_type = models.CharField(max_length=64, blank=True, default="")
    resource_id = models.CharField(max_length=255, blank=True, default="")
    reason = models.TextField(blank=True, default="")

    class Meta(AbstractLogEntry.Meta):
        abstract = False
        db_table = "audit_entry"
        default_permissions = ("view",)
        permissions = (("export_entry", "Can export the audit log"),)
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes = [
            # Each serves one filter of the viewer in the order of its pages (AU-6).
            models.Index(fields=["-timestamp", "-id"], name="audit_entry_time"),
            models.Index(
                fields=["actor_label", "-timestamp", "-id"],
                name="audit_entry_who",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
            ),
            models.Index(fields=["event", "-timestamp", "-id"], name="audit_entry_event"),
            models.Index(fields=["event_type", "-timestamp", "-id"], name="audit_entry_type"),
            models.Index(fields=["outcome", "-timestamp", "-id"], name="audit_entry_outcome"),
            models.Index(fields=["resource_type", "-timestamp", "-id"], name="audit_entry_kind"),
            models.Index(fields=["resource_type", "resource_id", "-timestamp", "-id"], name="audit_entry_resource"),
            models.Index(fields=["remote_addr", "-timestamp", "-id"], name="audit_entry_address"),
            models.Index(fields=["cid", "-timestamp", "-id"], name="audit_entry_request"),
        ]

    def __str__(self) -> str:
        return f"{self.event} by {self.actor_label or 'unknown'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row with everything sanitised (AU-3); a saved entry cannot be saved again."""
        if not self._state.adding:
            self._refuse()
        self._complete()
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused, as the database refuses it."""
        self._refuse()

    def _complete(self) -> None:
        """Fill what the surroundings know and clean what a person wrote. Also serves django-auditlog's own rows."""
        from opsportal.audit.recorder import fill_from_context

        fill_from_context(self)
        self.reason = mask_text(self.reason)
        self.resource_id = clip(str(self.resource_id), RESOURCE_ID_MAX)
        self.object_repr = mask_text(self.object_repr)
        for name in ("additional_data", "changes"):
            setattr(self, name, sanitise(getattr(self, name)))
        self.actor_email = None  # the log names people by user name; an address would be PII

    @staticmethod
    def _refuse() -> NoReturn:
        raise TypeError("The audit log is append-only: an entry is never changed or deleted.")


class Link(models.Model):
    """The chain: one row per entry, in the order of commits, written by the database itself (AU-5)."""

    seq = models.BigIntegerField(primary_key=True)
    entry_id = models.BigIntegerField(unique=True)
    entry_at = models.DateTimeField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        db_table = "audit_link"
        default_permissions = ()

    def __str__(self) -> str:
        return f"link {self.seq}"


class Run(models.TextChoices):
    """What is known of the chain, and how (AU-5)."""

    NEW = "new", "the links since the last look, every minute"
    FULL = "full", "the last look at the whole chain that came to an end"
    PASS = "pass", "the daily look at the whole chain, as far as it has come"
    CHECKPOINT = "checkpoint", "the last head that went to the second sink"


class Verification(models.Model):
    """How far the chain is known to be sound: one row a kind of run.

    `seq` and `hash` are those of the last good link. `problem` is empty when nothing was found. `ids_seen` and
    `notes_seen` are how far the daily look has come after the links: with the entries' ids, and the archived months.
    """

    kind = models.CharField(max_length=16, primary_key=True, choices=Run.choices)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(max_length=32)
    problem = models.TextField(blank=True, default="")
    entry_id = models.BigIntegerField(null=True)
    ids_seen = models.BigIntegerField(default=0)
    notes_seen = models.IntegerField(default=0)

    class Meta:
        db_table = "audit_verification"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind}: up to {self.seq}"


class Archive(models.Model):
    """A month of the log that was written to a file, and may then be dropped (AU-4). Written by the database alone."""

    partition = models.CharField(max_length=63, primary_key=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    rows = models.BigIntegerField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    first_hash = models.BinaryField(max_length=32)
    last_hash = models.BinaryField(max_length=32)
    links_digest = models.BinaryField(max_length=32)
    sha256 = models.CharField(max_length=64)
    path = models.TextField()
    seal = models.BinaryField(max_length=32)
    at = models.DateTimeField()

    class Meta:
        db_table = "audit_archive"
        default_permissions = ()
        ordering = ["since"]

    def __str__(self) -> str:
        return self.partition

    @property
    def file_name(self) -> str:
        """The name of its file in the archive's folder."""
        return f"audit-{self.partition.rsplit('_', 1)[-1]}.jsonl.gz"
