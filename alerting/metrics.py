"""The metrics of alerting (AD-13). Labels come from finite sets: channel is a kind."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

# Past 60 s, by which the promise is judged (AD-11), up to the hour that a recipient's limit may hold a message back.
LATENCY_BUCKETS = (
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 90.0, 120.0, 300.0, 900.0, 3600.0, float("inf"),
)  # fmt: skip

ATTEMPTS = Counter("alert_delivery_attempts_total", "Attempts, by what came of them.", ["channel", "status"])
LATENCY = Histogram(
    "alert_delivery_latency_seconds",
    "From the trigger to the provider's confirmation.",
    ["channel"],
    buckets=LATENCY_BUCKETS,
)
THROTTLED = Counter("alert_throttle_total", "Deliveries that had to wait, by limit.", ["channel", "limit"])
DROPPED = Counter("alert_dropped_total", "Deliveries that nobody will get, and why.", ["channel", "reason"])
QUEUE_FULL = Counter("alert_queue_full_total", "Requests with alerts that were refused because too many wait.")
TOO_MANY_OPEN = Counter(
    "alert_too_many_open_total", "Requests with alerts that were refused because too many are open."
)
RETRIES = Counter("alert_retry_total", "Attempts after the first.", ["channel"])
TAKEN_OVER = Counter(
    "alert_claims_taken_over_total", "Claims of workers that did not come back; each may be a duplicate.", ["channel"]
)
LATE = Counter(
    "alert_late_results_total", "Attempts that ended after their claim was lost; each may be a duplicate.", ["channel"]
)
SET_ASIDE = Counter("alert_set_aside_total", "Deliveries that could not even be tried.", ["channel"])
DISPATCHER_FAILURES = Counter(
    "alert_dispatcher_failures_total", "Rounds of the dispatcher that failed, by what did not answer.", ["what"]
)
OBSERVATIONS = Counter("alert_observations_total", "Observations that were taken, by metric.", ["metric"])
EVENTS = Counter("alert_events_total", "Events by what they became.", ["severity", "state"])
EVALUATION_FAILURES = Counter("alert_evaluation_failures_total", "Rules or rows that were set aside with an error.")
