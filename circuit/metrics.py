"""Metrics of the breaker (CB-12)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from circuit.models import Category

STATUS_CHECKS = Counter("cb_status_checks_total", "Readings of the breaker from Redis.", ["result"])
TRIPS = Counter("cb_trip_total", "Trips by fixed category.", ["reason"])
RESETS = Counter("cb_reset_total", "Resets, external ones included.")
SPOOL_REFUSED = Counter("cb_spool_refused_total", "Spooled records that could not be understood and were set aside.")
LAST_READ = Gauge(
    "cb_last_read_timestamp_seconds",
    "When any process last read the breaker (Unix time).",
    multiprocess_mode="max",
)
for _category in Category.values:
    TRIPS.labels(_category)  # so that every category exists from the start, at zero
