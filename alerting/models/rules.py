"""What people have asked to be told of."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from alerting.models.channels import Channel


class Severity(models.IntegerChoices):
    """How bad it is; the lower, the more urgent."""

    CRITICAL = 0, "critical"
    WARNING = 1, "warning"
    INFO = 2, "info"

    @property
    def word(self) -> str:
        """Its name in the API, in labels and as a filter."""
        return str(self.label)

    @property
    def tone(self) -> str:
        """Its family of colours on every page."""
        return {Severity.CRITICAL: "bad", Severity.WARNING: "warn"}.get(self, "info")


class Comparison(models.TextChoices):
    """How a value is compared with the threshold."""

    GT = "gt", ">"
    GTE = "gte", "≥"
    LT = "lt", "<"
    LTE = "lte", "≤"
    EQ = "eq", "="


class Rule(models.Model):
    """A condition, and what happens when it holds (AL-1)."""

    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True, default="")
    #: A name in `alerting.conditions.CONDITIONS`.
    metric = models.CharField(max_length=40)
    comparison = models.CharField(max_length=3, choices=Comparison.choices)
    threshold = models.FloatField()
    severity = models.SmallIntegerField(choices=Severity.choices, default=Severity.WARNING)
    #: Seconds that the condition must hold before anybody is told.
    for_seconds = models.PositiveIntegerField(default=0)
    #: Labels that a value must carry, all of them: {"service": "orders"}. Empty matches every value.
    labels = models.JSONField(default=dict, blank=True)
    channels = models.ManyToManyField(Channel, blank=True, related_name="rules")
    enabled = models.BooleanField(default=True)
    notify_resolved = models.BooleanField(default=True)
    trips_breaker = models.BooleanField(default=False)
    owner = models.CharField(max_length=100, blank=True, default="")
    runbook_url = models.CharField(max_length=500, blank=True, default="")
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        permissions = [("arm_rule", "Can give a rule the trip action")]
        constraints = [
            models.UniqueConstraint(Lower("name"), name="alerting_rule_name"),
            models.CheckConstraint(condition=Q(severity__range=(0, 2)), name="alerting_rule_severity"),
            models.CheckConstraint(condition=Q(comparison__in=Comparison.values), name="alerting_rule_comparison"),
        ]

    def __str__(self) -> str:
        return self.name
