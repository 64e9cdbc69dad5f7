"""Metrics of the breaker (CB-12)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from circuit.models import Category, State

STATUS_CHECKS = Counter("cb_status_checks_total", "Readings of the breaker from Redis.", ["result"])
TRIPS = Counter("cb_trip_total", "Trips by fixed category.", ["reason"])
RESETS = Counter("cb_reset_total", "Resets, external ones included.")
SPOOL_REFUSED = Counter("cb_spool_refused_total", "Spooled records that could not be understood and were set aside.")
LAST_READ = Gauge(
    "cb_last_read_timestamp_seconds",
    "When any process last read the breaker successfully (Unix time).",
    multiprocess_mode="max",
)
for _category in Category.values:
    TRIPS.labels(_category)  # so that every category exists from the start, at zero


class BreakerCollector:
    """What is read once at each scrape: the state, its staleness, and what waits in the spool."""

    name = "circuit_breaker"

    def __init__(self) -> None:
        self._last_success = time.time()

    def collect(self) -> Iterator[Metric]:
        """One reading; with Redis away `cb_staleness_seconds` grows and the state is UNKNOWN."""
        from circuit import store, wire

        present = State.UNKNOWN
        waiting = 0
        try:
            present = wire.decode(store.read()).state
            waiting = len(store.spooled(count=10_000))
            self._last_success = time.time()
        except store.BreakerUnreachable:
            pass
        state = GaugeMetricFamily("cb_state", "1 for the state the breaker is in.", labels=["state"])
        for candidate in State:
            state.add_metric([candidate.value], float(candidate == present))
        yield state
        yield GaugeMetricFamily(
            "cb_staleness_seconds", "Age of the newest reading of the breaker.", max(0.0, time.time() - self._last_success)
        )
        yield GaugeMetricFamily("cb_spool_length", "Records that wait for PostgreSQL.", waiting)
