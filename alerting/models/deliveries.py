"""The outbox: one row for each message to one recipient over one channel (AD-2)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now


class Status(models.TextChoices):
    """Where a delivery is (AD-4)."""

    PENDING = "pending", "pending"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "failed, will be tried again"
    POISON = "poison", "poison: needs a person"

    @property
    def tone(self) -> str:
        """Its family of colours on every page."""
        return {
            Status.PENDING: "info",
            Status.DELIVERED: "ok",
            Status.FAILED: "warn",
        }.get(self, "bad")


class Notice(models.TextChoices):
    """What the message says."""

    FIRING = "firing", "firing"
    RESOLVED = "resolved", "resolved"
    TEST = "test", "test"


class Priority(models.IntegerChoices):
    """Which goes first: an action, then by severity (`Severity` + 1)."""

    ACTION = 0, "action"
    CRITICAL = 1, "critical"
    WARNING = 2, "warning"
    INFO = 3, "info"


class Outcome(models.TextChoices):
    """What came of an attempt."""

    DELIVERED = "delivered", "delivered"
    TRANSIENT = "transient", "transient failure"
    PERMANENT = "permanent", "permanent failure"
    THROTTLED = "throttled", "the provider asks to wait"
    #: The request went out and no answer came: it may have been delivered. Tried again.
    UNKNOWN = "unknown", "no answer"


class Delivery(models.Model):
    """One message to one recipient over one channel. Parted by month of `hour_bucket`, kept 90 days.

    It can be claimed when it is open (pending or failed), not merged into another one, and `due_at` has come. A claim
    writes a new `lease` and puts `due_at` to the lease's end: a worker that dies gives it back by doing nothing.
    """

    id = models.BigAutoField(primary_key=True)
    #: The trigger's hour in UTC (AD-3); the table is parted by it, so that `dedup_key` is unique over all parts.
    hour_bucket = models.DateTimeField()
    #: `alerting.keys.dedup_key`
    dedup_key = models.CharField(max_length=200)
    event_id = models.UUIDField()
    event_started_at = models.DateTimeField()
    channel_id = models.BigIntegerField()
    #: The channel's kind, or "breaker" for the trip action.
    kind = models.CharField(max_length=12)
    recipient_hash = models.CharField(max_length=16)
    #: The recipient, encrypted with the key ring: what is under way does not depend on the channel's later edits.
    recipient_sealed = models.TextField()
    #: Masked: `***@example.com`.
    recipient_shown = models.CharField(max_length=100)
    notice = models.CharField(max_length=12, choices=Notice.choices)
    priority = models.SmallIntegerField(choices=Priority.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    due_at = models.DateTimeField()
    #: The claim's fencing token; only who holds it may write the result.
    lease: models.UUIDField[uuid.UUID | None, uuid.UUID | None] = models.UUIDField(null=True)
    attempts = models.SmallIntegerField(default=0)
    #: How often a claim was taken over from a worker that did not come back: each may have been a duplicate.
    taken_over = models.SmallIntegerField(default=0)
    #: How often it waited for a limit, and for which: "channel", "recipient", "global", "provider" or empty.
    waits = models.IntegerField(default=0)
    waits_for = models.CharField(max_length=12, blank=True, default="")
    #: Told in the digest that this delivery carries (AD-7).
    merged_into = models.BigIntegerField(null=True)
    triggered_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    #: The last attempt in one masked sentence, and what the provider calls the message.
    outcome = models.CharField(max_length=300, blank=True, default="")
    provider_id = models.CharField(max_length=200, blank=True, default="")
    #: A signed link of this message was used (AL-6).
    link_used_at = models.DateTimeField(null=True)
    #: A person has dealt with the poison.
    settled_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=200, blank=True, default="")
    settled_note = models.CharField(max_length=1000, blank=True, default="")
    #: The request or task that made it (SLA-5).
    request_id = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ("-id",)
        default_permissions = ("view",)
        permissions = [
            ("retry_delivery", "Can retry deliveries"),
            ("resolve_delivery", "Can resolve poisoned deliveries"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.recipient_shown}: {self.status}"


class Attempt(models.Model):
    """One try of a delivery (AD-4). Parted by month of `at`, kept 90 days; added and read, never rewritten."""

    id = models.BigAutoField(primary_key=True)
    delivery_id = models.BigIntegerField()
    at = models.DateTimeField()
    number = models.SmallIntegerField()
    duration_ms = models.IntegerField()
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    status_code = models.IntegerField(null=True)
    #: What the provider said, masked.
    answer = models.CharField(max_length=300, blank=True, default="")
    next_at = models.DateTimeField(null=True)
    #: The result came after the lease was lost: somebody else has this delivery by now.
    late = models.BooleanField(default=False)

    class Meta:
        ordering = ("-at", "-id")
        default_permissions = ()

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"
