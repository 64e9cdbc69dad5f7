"""Metrics of the audit log (AU-7)."""

from prometheus_client import Counter, Histogram

WRITE_LATENCY = Histogram(
    "audit_write_latency_seconds",
    "From the call that records an audit entry to the commit of its transaction.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ACTIONS_TOTAL = Counter("admin_action_total", "Audited actions.", ["action"])
EVENTS_TOTAL = Counter("audit_log_events_total", "Audit entries by kind and outcome.", ["event_type", "outcome"])
CHECKPOINT_FAILURES = Counter(
    "audit_checkpoint_failures_total", "Chain heads that could not be written to the second sink."
)
