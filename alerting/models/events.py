"""What happened: one event for each episode of a rule and a label set (AL-3)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

from alerting.models.rules import Comparison, Severity


class EventState(models.TextChoices):
    """Where an event is in its life. One that was resolved without `fired_at` never got past pending."""

    PENDING = "pending", "pending"
    FIRING = "firing", "firing"
    ACKNOWLEDGED = "acknowledged", "acknowledged"
    RESOLVED = "resolved", "resolved"

    @property
    def tone(self) -> str:
        """Its family of colours on every page."""
        return {
            EventState.PENDING: "info",
            EventState.FIRING: "bad",
            EventState.ACKNOWLEDGED: "warn",
        }.get(self, "ok")


class Origin(models.TextChoices):
    """Who told us."""

    OBSERVATION = "observation", "observation"
    DIRECT = "direct", "direct trigger"
    PROMETHEUS = "prometheus", "Prometheus"
    ALERTMANAGER = "alertmanager", "Alertmanager"
    GRAFANA = "grafana", "Grafana"
    PORTAL = "portal", "the portal itself"
    TEST = "test", "a test"


class Series(models.Model):
    """One metric with one set of labels, and the newest value that was seen of it."""

    metric = models.CharField(max_length=40)
    labels = models.JSONField(default=dict)
    #: `alerting.signals.Signal.mark` of the labels, which may be kept masked.
    fingerprint = models.CharField(max_length=32)
    last_at = models.DateTimeField(null=True)
    last_value = models.FloatField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["metric", "fingerprint"], name="alerting_series_once")]

    def __str__(self) -> str:
        return f"{self.metric} {self.labels}"


class Event(models.Model):
    """An episode: from the first bad value to the recovery. Its table is parted by month of `started_at`, kept 90 days.

    Rule's name, condition, owner and runbook are copies: an event tells what held then, also when the rule is gone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    #: When the condition began to hold.
    started_at = models.DateTimeField()
    rule_id = models.BigIntegerField(null=True)
    rule_name = models.CharField(max_length=100)
    severity = models.SmallIntegerField(choices=Severity.choices)
    state = models.CharField(max_length=12, choices=EventState.choices)
    origin = models.CharField(max_length=12, choices=Origin.choices)
    #: Names the alert in dedup keys (AD-3): the caller's own id of a direct trigger, else the event's id as text.
    alert_id = models.CharField(max_length=100)
    metric = models.CharField(max_length=40)
    labels = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=32)
    comparison = models.CharField(max_length=3, choices=Comparison.choices)
    threshold = models.FloatField()
    value = models.FloatField(null=True)
    #: One line that says what is wrong.
    summary = models.CharField(max_length=300)
    annotations = models.JSONField(default=dict)
    owner = models.CharField(max_length=100, blank=True, default="")
    runbook_url = models.CharField(max_length=500, blank=True, default="")
    generator_url = models.CharField(max_length=500, blank=True, default="")
    #: When it fired: latency and the hour bucket count from here. None while pending, and if it never fired.
    triggered_at = models.DateTimeField(null=True)
    #: Why nobody was told: "silence:12", "maintenance:7" or "cause:orders"; empty when somebody was.
    muted_by = models.CharField(max_length=120, blank=True, default="")
    #: When its deliveries were made; None while muted, and for a rule without channels.
    notified_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True, default="")
    acknowledgment_note = models.CharField(max_length=1000, blank=True, default="")
    resolved_at = models.DateTimeField(null=True)
    #: Empty: it recovered by itself.
    resolved_by = models.CharField(max_length=200, blank=True, default="")
    #: Why a person resolved it.
    resolved_note = models.CharField(max_length=1000, blank=True, default="")

    class Meta:
        ordering = ("-started_at", "-id")
        default_permissions = ("view",)
        permissions = [("acknowledge_event", "Can acknowledge and resolve alerts")]

    def __str__(self) -> str:
        return f"{self.rule_name}: {self.summary}"


class Episode(models.Model):
    """The open episode of a rule and label set; there is at most one (AL-3). Gone when the event is resolved."""

    #: `alerting.keys.episode_key`.
    key = models.CharField(primary_key=True, max_length=64)
    event_id = models.UUIDField(unique=True)
    event_started_at = models.DateTimeField()
    rule_id = models.BigIntegerField(null=True)
    #: False while pending.
    firing = models.BooleanField(default=False)
    #: When a pending one fires unless it recovers before.
    due_at = models.DateTimeField(null=True)
    #: From when a pending one waits where that is not its event's start: what began it came late.
    waits_from = models.DateTimeField(null=True)
    #: When it resolves by itself unless it is told again (Prometheus' `endsAt`).
    expires_at = models.DateTimeField(null=True)
    #: Firing, and its messages are held back; looked at again until that ends.
    muted = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["rule_id"], name="alerting_episode_rule"),
            models.Index(fields=["due_at"], name="alerting_episode_due", condition=models.Q(firing=False)),
            models.Index(
                fields=["expires_at"], name="alerting_episode_expires", condition=models.Q(expires_at__isnull=False)
            ),
            models.Index(fields=["muted"], name="alerting_episode_muted", condition=models.Q(muted=True)),
        ]

    def __str__(self) -> str:
        return self.key
