"""Samples as the sweeper writes them, at times of a test's choosing, and latencies as services have them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from health.models import Status
from health.rollups import HOUR, floor


def past_hour(hours: int = 3) -> datetime:
    """A full hour that is over, young enough for its samples to be kept."""
    return floor(datetime.now(UTC), HOUR) - hours * HOUR


def add_samples(
    service_id: int,
    start: datetime,
    latencies: Iterable[int | None],
    *,
    every: float = 5.0,
    status: Status = Status.HEALTHY,
    planned: bool = False,
) -> None:
    """One sample every so many seconds; a latency of None was not answered."""
    rows = [
        (service_id, start + timedelta(seconds=every * number), latency, status.value, planned)
        for number, latency in enumerate(latencies)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO health_sample (service_id, at, latency_us, status, planned) VALUES (%s, %s, %s, %s, %s)", rows
        )


def latencies(count: int, seed: int, *, median_us: int = 4000) -> list[int]:
    """Drawn from a lognormal distribution, with a slow tail."""
    draw = random.Random(seed)
    return [
        int(median_us * draw.lognormvariate(0, 0.5) * (20 if draw.random() < 0.03 else 1)) + 1 for _ in range(count)
    ]


def rows_of(table: str) -> list[tuple[Any, ...]]:
    """Everything in a table, in order."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY service_id, 2")
        return list(cursor.fetchall())
