"""Metrics of the health monitor (HM-13)."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from health.models import Status

CHECK_DURATION = Histogram(
    "health_check_duration_seconds",
    "Time of one check of a service, retry included, answered or not.",
    ["service"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
)
CHECKS = Counter("health_checks_total", "Checks by what they found.", ["status"])
TRANSITIONS = Counter("health_transitions_total", "Recorded changes of status.", ["to_status"])
UNMEASURED = Counter(
    "health_unmeasured_total", "Checks whose result was thrown away because the sweeper itself was held up."
)
SAMPLES_DROPPED = Counter("health_samples_dropped_total", "Samples lost because PostgreSQL was away too long.")
CLOCK_JUMPS = Counter("health_clock_jumps_total", "Jumps of the host's clock by more than two seconds.")
for _status in Status:
    if _status not in (Status.UNKNOWN, Status.STALE):
        CHECKS.labels(_status.word)
        TRANSITIONS.labels(_status.word)
