"""The registry of services, planned work on them, and what was found."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

DEFAULT_INTERVAL = 5
DEFAULT_TIMEOUT = 5.0
MAINTENANCE_MAX = timedelta(days=7)


class Status(models.IntegerChoices):
    """What a service is. STALE is only shown, never stored: the last reply, grown too old to be believed."""

    UNKNOWN = 0, "unknown"
    HEALTHY = 1, "healthy"
    DEGRADED = 2, "degraded"
    UNHEALTHY = 3, "unhealthy"
    VIOLATION = 4, "contract violation"
    UNREACHABLE = 5, "unreachable"
    STALE = 6, "stale"

    @property
    def word(self) -> str:
        """Its name in the API, in metrics and as a filter: `healthy`, …, `violation`, `unreachable`."""
        return self.name.lower()

    @property
    def tone(self) -> str:
        """Its family of colours on every page."""
        return {
            Status.HEALTHY: "ok",
            Status.DEGRADED: "warn",
            Status.UNHEALTHY: "bad",
            Status.VIOLATION: "info",
            Status.UNREACHABLE: "bad",
        }.get(self, "unknown")

    @property
    def icon(self) -> str:
        """Its shape in icons.svg: each status has a shape of its own."""
        return f"health-{self.word}"

    @property
    def is_up(self) -> bool:
        """Whether the service does its work, be it slowly: what uptime counts."""
        return self in (Status.HEALTHY, Status.DEGRADED)


class Service(models.Model):
    """A service of the platform that answers `GET {base_url}/health` (HM-1)."""

    name = models.CharField(
        max_length=100,
        unique=True,
        help_text="The name that the service gives itself in its health reply.",
        validators=[
            RegexValidator(
                r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z",
                "Letters, digits, dots, hyphens and underscores only, beginning with a letter or digit.",
            )
        ],
    )
    base_url = models.CharField(
        "base URL", max_length=500, help_text="For example http://orders:8080; the portal adds /health."
    )
    owner = models.CharField(max_length=100, blank=True, help_text="The team that looks after it.")
    runbook_url = models.CharField(
        "runbook", max_length=500, blank=True, help_text="Where it says what to do when it is in trouble."
    )
    interval = models.PositiveSmallIntegerField(
        default=DEFAULT_INTERVAL,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds between two probes, 1 to 3600.",
    )
    timeout = models.FloatField(
        default=DEFAULT_TIMEOUT,
        validators=[MinValueValidator(0.1), MaxValueValidator(60.0)],
        help_text="Seconds to wait for a reply, 0.1 to 60.",
    )
    enabled = models.BooleanField(default=True, help_text="Off: it is not probed; its history stays.")
    depends_on = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="dependants",
        help_text="While one of these is down, this one's trouble is shown as caused by it.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def health_url(self) -> str:
        """Where its health reply is."""
        return f"{self.base_url.rstrip('/')}/health"


class Maintenance(models.Model):
    """Planned work: alerts from these services are muted while it lasts (HM-11)."""

    services = models.ManyToManyField(Service, related_name="maintenances")
    starts_at = models.DateTimeField("from")
    ends_at = models.DateTimeField("until")
    reason = models.CharField(max_length=300, help_text="What is being done; everybody on the desk will see it.")
    planned_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-starts_at", "-id")
        verbose_name = "maintenance window"
        indexes = [models.Index(fields=["ends_at"], name="health_maintenance_ends")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="health_maintenance_has_length")
        ]

    def __str__(self) -> str:
        return f"{self.reason} ({self.starts_at:%Y-%m-%d %H:%M} to {self.ends_at:%H:%M} UTC)"

    def runs(self, now: datetime) -> bool:
        """Whether the work is going on."""
        return self.starts_at <= now < self.ends_at


class ServiceState(models.Model):
    """The last recorded status of a service: what a restarted sweeper goes on from."""

    service = models.OneToOneField(Service, primary_key=True, on_delete=models.CASCADE, related_name="state")
    status = models.SmallIntegerField(choices=Status.choices, default=Status.UNKNOWN)
    since = models.DateTimeField(null=True)
    replied_at = models.DateTimeField(null=True, help_text="When the last valid reply came.")
    reply_status = models.SmallIntegerField(choices=Status.choices, default=Status.UNKNOWN)
    latency_us = models.IntegerField(null=True)
    probed_at = models.DateTimeField(null=True)
    cause = models.CharField(max_length=16, blank=True, default="")
    field = models.CharField(max_length=100, blank=True, default="")
    sentence = models.CharField(max_length=300, blank=True, default="")
    version = models.CharField(max_length=100, blank=True, default="")
    last_operation_at = models.DateTimeField(null=True)
    last_operation = models.CharField(max_length=40, blank=True, default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.service_id}: {Status(self.status).label}"


class Transition(models.Model):
    """One recorded change of a service's status (HM-8). Its table is partitioned by month and kept 90 days."""

    service = models.ForeignKey(Service, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    service_name = models.CharField(max_length=100)
    #: When the change was recorded, and when the first result of the new kind came (flap control lies between).
    at = models.DateTimeField()
    began_at = models.DateTimeField()
    from_status = models.SmallIntegerField(choices=Status.choices)
    to_status = models.SmallIntegerField(choices=Status.choices)
    cause = models.CharField(max_length=16, blank=True, default="")
    field = models.CharField(max_length=100, blank=True, default="")
    sentence = models.CharField(max_length=300, blank=True, default="")
    #: The service whose failure explains this one (HM-12).
    caused_by = models.ForeignKey(
        Service, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    #: It happened during planned work (HM-11).
    planned = models.BooleanField(default=False)

    class Meta:
        ordering = ("-at", "-id")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.service_name}: {Status(self.from_status).label} to {Status(self.to_status).label}"


class Progress(models.Model):
    """One row: up to which minute the raw samples are rolled up."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    rolled_until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="health_progress_one_row")]

    def __str__(self) -> str:
        return f"rolled up until {self.rolled_until:%Y-%m-%d %H:%M} UTC"
