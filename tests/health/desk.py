"""What a sweep would have left: the registry, the snapshot in Redis, samples, minutes and changes in PostgreSQL."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.urls import reverse

from health import store
from health.models import Service, Status
from health.selectors import forget_grid
from health.service_page import forget_drawn
from health.store import Record
from opsportal.observability.probes import probe_postgresql, probe_redis

WHY = {
    Status.DEGRADED: ("said_so", "", "It calls itself degraded."),
    Status.UNHEALTHY: ("said_so", "", "It calls itself unhealthy."),
    Status.VIOLATION: ("field", "status", "`status` is “ok”; it must be healthy, degraded or unhealthy."),
    Status.UNREACHABLE: ("refused", "", "The connection was refused."),
}


class Desk:
    """Services and what is known of them: `desk.has("orders", Status.DEGRADED)`, then `desk.tell()`."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        probe_postgresql.forget()  # what an earlier test's fault left behind
        probe_redis.forget()

    def has(
        self, name: str, status: Status = Status.HEALTHY, *needs: Service, owner: str = "", **known: Any
    ) -> Service:
        """A registered service that the sweep knows in this status; `known`: fields of its record."""
        row = Service.objects.create(name=name, base_url=f"http://{name}.internal:8080", owner=owner)
        row.depends_on.set(needs)
        replied = status != Status.UNREACHABLE
        cause, field, sentence = WHY.get(status, ("", "", ""))
        values: dict[str, Any] = {
            "status": status,
            "since_age": 600_000,
            "reply_status": status if replied else Status.HEALTHY,
            "reply_age": 1_000 if replied else 90_000,
            "probe_age": 1_000,
            "latency_us": 12_300 if replied else None,
            "cause": cause,
            "field": field,
            "sentence": sentence,
            "version": "1.4.2",
            "last_operation_at": (datetime.now(UTC) - timedelta(seconds=7)).isoformat(),
            "last_operation": "last_order_at",
        }
        self.records[row.pk] = Record(**(values | known))
        return row

    def becomes(self, service: Service, status: Status) -> None:
        """Another status, told at once."""
        cause, field, sentence = WHY.get(status, ("", "", ""))
        record = self.records[service.pk]
        record.status, record.cause, record.field, record.sentence = status, cause, field, sentence
        record.since_age = 0
        self.tell()

    def tell(self, **about: Any) -> None:
        """Write registry and snapshot as a sweep does; what this process remembers of them is forgotten."""
        store.publish_registry()
        store.write_records(self.records.items(), about)
        forget_grid()
        forget_drawn()


def sampled(service: Service, *, minutes: int, every: int = 5, latency_us: int | None = 20_000) -> None:
    """Raw samples of the last minutes, up to now, one each `every` seconds; without latency they are unreachable."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO health_sample (service_id, at, status, latency_us, planned)
            SELECT %s, clock_timestamp() - number * %s * interval '1 second', %s, %s, false
            FROM generate_series(0, %s) AS number""",
            [
                service.pk,
                every,
                Status.HEALTHY if latency_us else Status.UNREACHABLE,
                latency_us,
                minutes * 60 // every - 1,
            ],
        )
    forget_drawn()


def changed(service: Service, *, minutes_ago: float, former: Status, status: Status, **more: Any) -> None:
    """One recorded change of status."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    cause, field, sentence = WHY.get(status, ("", "", ""))
    values: dict[str, Any] = {
        "service_id": service.pk, "service_name": service.name, "at": at, "began_at": at - timedelta(seconds=5),
        "from_status": former, "to_status": status, "cause": cause, "field": field, "sentence": sentence,
        "caused_by_id": None, "planned": False,
    } | more  # fmt: skip
    with connection.cursor() as cursor:
        columns = ", ".join(values)
        cursor.execute(
            f"INSERT INTO health_transition ({columns}) VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
        )
    forget_drawn()


def signed_in(user: Any) -> Client:
    """A browser without JavaScript in which this user is signed in."""
    client = Client()
    client.force_login(user, backend="opsportal.accounts.backends.CachedUserBackend")
    return client


def text(client: Client, path: str, **query: str) -> str:
    """The page there, which must be one."""
    answer = client.get(path, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def service_url(name: str) -> str:
    """The page of a service."""
    return reverse("admin:health_service", args=[name])


def shown(html: str) -> list[str]:
    """The names in the grid, in order."""
    return re.findall(r'<span class="cell__name">([^<]+)</span>', html)
