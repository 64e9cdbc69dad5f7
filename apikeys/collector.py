"""Counts of keys at scrape time: once, not per process (AK-8, SLA-2)."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric

from apikeys.selectors import count_by_state, expiring


class KeyCollector:
    """How many keys there are, and how many end soon."""

    def collect(self) -> Iterator[Metric]:
        """Two queries. Fails with PostgreSQL down, which costs only these values."""
        now = timezone.now()
        total = GaugeMetricFamily("api_keys_total", "API keys by state.", labels=["state"])
        for state, number in count_by_state(now).items():
            total.add_metric([state.value], number)
        yield total
        ending = GaugeMetricFamily(
            "api_keys_expiring",
            "API keys of active owners that end within 14, 3 and 1 days; those of 1 day are among those of 3.",
            labels=["within"],
        )
        for days, number in expiring(now).within:
            ending.add_metric([f"{days}d"], number)
        yield ending
