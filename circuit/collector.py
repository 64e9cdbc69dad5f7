"""The breaker's values at scrape time (CB-12)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from circuit import store, wire
from circuit.models import State
from opsportal.observability.metrics import latest_value


class BreakerCollector:
    """What is read once at each scrape: the state, its staleness, and what waits in the spool."""

    def collect(self) -> Iterator[Metric]:
        """One reading; with Redis away `cb_staleness_seconds` grows and the state is UNKNOWN."""
        present = State.UNKNOWN
        waiting = 0
        try:
            present = wire.decode(store.read()).state
            waiting = store.spool_length()
        except store.BreakerUnreachable:
            pass
        state = GaugeMetricFamily("cb_state", "1 for the state the breaker is in.", labels=["state"])
        for candidate in State:
            state.add_metric([candidate.value], float(candidate == present))
        yield state
        yield GaugeMetricFamily(
            "cb_staleness_seconds",
            "Age of the newest reading of the breaker by any process.",
            max(0.0, time.time() - (latest_value("cb_last_read_timestamp_seconds") or 0.0)),
        )
        yield GaugeMetricFamily("cb_spool_length", "Records that wait for PostgreSQL.", waiting)
