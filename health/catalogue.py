"""The registry and the planned work as the sweeper and the dashboards use them: one value, from PostgreSQL or Redis."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from health.models import Maintenance, Service

#: Planned work that begins within this time is known ahead, should PostgreSQL be away when it begins.
AHEAD = timedelta(days=1)


class Known(BaseModel):
    """One enabled service."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    url: str
    owner: str
    runbook_url: str
    interval: float
    timeout: float
    depends_on: tuple[int, ...] = ()


class Window(BaseModel):
    """One planned work and the services it is on."""

    model_config = ConfigDict(frozen=True)

    services: tuple[int, ...]
    starts_at: datetime
    ends_at: datetime
    reason: str


class Catalogue(BaseModel):
    """Every enabled service, by name, and the planned work of now and the coming day."""

    model_config = ConfigDict(frozen=True)

    services: tuple[Known, ...] = ()
    windows: tuple[Window, ...] = ()

    @cached_property
    def parents(self) -> dict[int, tuple[int, ...]]:
        """Service to the services it depends on."""
        return {known.id: known.depends_on for known in self.services if known.depends_on}

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """Service to those that depend on it."""
        found: dict[int, list[int]] = defaultdict(list)
        for child, parents in self.parents.items():
            for parent in parents:
                found[parent].append(child)
        return dict(found)

    @cached_property
    def names(self) -> dict[int, str]:
        """Service to its name."""
        return {known.id: known.name for known in self.services}

    def planned(self, now: datetime) -> dict[int, Window]:
        """Service to the planned work that is going on; of several the one that ends last."""
        running = sorted((w for w in self.windows if w.starts_at <= now < w.ends_at), key=lambda w: w.ends_at)
        return {service: window for window in running for service in window.services}


def load_catalogue(now: datetime | None = None) -> Catalogue:
    """Read it from PostgreSQL: three queries. Raises `django.db.Error`."""
    now = now or datetime.now(UTC)
    services = Service.objects.filter(enabled=True).order_by("name")
    depends: dict[int, list[int]] = defaultdict(list)
    for child, parent in Service.depends_on.through.objects.values_list("from_service_id", "to_service_id"):
        depends[child].append(parent)
    windows = Maintenance.objects.filter(ends_at__gt=now, starts_at__lt=now + AHEAD).prefetch_related("services")
    return Catalogue(
        services=tuple(
            Known(
                id=service.pk,
                name=service.name,
                url=service.health_url,
                owner=service.owner,
                runbook_url=service.runbook_url,
                interval=service.interval,
                timeout=service.timeout,
                depends_on=tuple(sorted(depends[service.pk])),
            )
            for service in services
        ),
        windows=tuple(
            Window(
                services=tuple(service.pk for service in window.services.all()),
                starts_at=window.starts_at,
                ends_at=window.ends_at,
                reason=window.reason,
            )
            for window in windows
        ),
    )
