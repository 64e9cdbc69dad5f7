"""What people have asked not to be told of, for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from alerting.models.rules import Rule

SILENCE_MAX = timedelta(days=7)


class Silence(models.Model):
    """Holds the messages of matching events back (AL-7). What is given of `rule`, `service` and `labels` must match.

    An event that is still firing when its silence ends is told then.
    """

    #: Stays when the rule is deleted: a silence tells what it held back, and without this number it would fit more.
    rule = models.ForeignKey(
        Rule, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="silences"
    )
    #: What the rule was called when it was deleted.
    rule_name = models.CharField(max_length=100, blank=True, default="", db_default="", editable=False)
    service = models.CharField(max_length=100, blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=300)
    created_by = models.CharField(max_length=200, editable=False)
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("until")
    #: Set when somebody ended it early.
    ended_at = models.DateTimeField(null=True, editable=False)
    ended_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    #: Events whose messages it held back.
    suppressed = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-starts_at", "-id")
        indexes = [models.Index(fields=["ends_at"], name="alerting_silence_ends")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="alerting_silence_has_length"),
            models.CheckConstraint(
                condition=Q(ends_at__lte=F("starts_at") + SILENCE_MAX), name="alerting_silence_at_most_7_days"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} ({self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%H:%M} UTC)"

    def runs(self, now: datetime) -> bool:
        """Whether it holds messages back at `now`."""
        return self.starts_at <= now < (self.ended_at or self.ends_at)
