"""The history of the breaker."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class State(models.TextChoices):
    """What the breaker can be. OPEN means trading is allowed, TRIPPED means halted: the platform's wording."""

    OPEN = "OPEN", "trading"
    TRIPPED = "TRIPPED", "halted"
    QUIET_PERIOD = "QUIET_PERIOD", "cooling down"
    UNKNOWN = "UNKNOWN", "halted: state unknown"

    @property
    def tone(self) -> str:
        """Its family of colours on every page."""
        return {State.OPEN: "ok", State.TRIPPED: "bad", State.QUIET_PERIOD: "warn"}.get(self, "unknown")


class Kind(models.TextChoices):
    """What happened to the breaker."""

    TRIP = "trip", "Trip"
    RESET = "reset", "Reset"
    INIT = "init", "Initialised"
    RESTORE = "restore", "Restored"
    QUIET = "quiet", "Quiet period"
    LOST = "lost", "State lost"


class Category(models.TextChoices):
    """The fixed categories of a trip (CB-12)."""

    MANUAL = "manual", "Manual"
    DRAWDOWN = "drawdown", "Drawdown"
    POSITION_LIMIT = "position_limit", "Position limit"
    LATENCY = "latency", "Latency"
    DATA_STALE = "data_stale", "Stale data"
    BROKER_ERRORS = "broker_errors", "Broker errors"
    EXTERNAL = "external", "External"
    OTHER = "other", "Other"


class Source(models.TextChoices):
    """Where a change came from (CB-9)."""

    PORTAL = "portal", "Portal"
    API = "api", "API"
    CLI = "cli", "Command line"
    RULE = "rule", "Alert rule"
    EXTERNAL = "external", "External"


class Transition(models.Model):
    """One change of the breaker's state. Its id is also the event id of its audit entry."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    from_state = models.CharField(max_length=16, choices=State.choices)
    to_state = models.CharField(max_length=16, choices=State.choices)
    reason = models.TextField(blank=True, default="")
    category = models.CharField(max_length=16, choices=Category.choices, default=Category.OTHER)
    source = models.CharField(max_length=16, choices=Source.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    actor_label = models.CharField(max_length=200)
    at = models.DateTimeField()
    #: When PostgreSQL took the row: one clock for all hosts, so it orders rows as they came. `at` is when it happened.
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    #: How long trading was halted; known once it is allowed again.
    halted_for = models.DurationField(null=True, blank=True)

    class Meta:
        ordering = ("-at", "-id")
        default_permissions = ()
        permissions = [
            ("view_breaker", "Can see the circuit breaker"),
            ("trip_breaker", "Can trip the circuit breaker"),
            ("reset_breaker", "Can reset the circuit breaker"),
        ]
        indexes = [
            models.Index(fields=["-at", "-id"], name="circuit_transition_time"),
            models.Index(fields=["-recorded_at"], name="circuit_transition_recorded"),
            models.Index(fields=["kind", "-at"], name="circuit_transition_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor_label}"

    @property
    def tone(self) -> str:
        """The colour family of the state it led to."""
        return State(self.to_state).tone

    @property
    def halted_text(self) -> str:
        """How long it was halted, as `2 h 5 min` or `14 s`; empty for what ended no halt."""
        return duration_text(self.halted_for) if self.halted_for is not None else ""


def duration_text(span: timedelta) -> str:
    """A duration in its two largest units: `3 d 2 h`, `12 min 4 s`, `0 s`."""
    seconds = max(0, int(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
