"""The queue, the poison, the silences and the open events at scrape time (AD-13, SLA-2)."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric

from alerting.claiming import OPEN
from alerting.models import EventState, Severity
from alerting.ticks import AGE

# Merged deliveries wait as well, and it is the oldest trigger that people wait for.
_READ = f"""
SELECT q.depth, coalesce(q.oldest, 0),
    (SELECT count(*) FROM alerting_delivery WHERE status = 'poison' AND settled_at IS NULL),
    g.closed, g.age,
    (SELECT count(*) FROM alerting_silence
        WHERE starts_at <= now() AND ends_at > now() AND (ended_at IS NULL OR ended_at > now()))
FROM (SELECT count(*) AS depth, extract(epoch FROM now() - min(triggered_at))::float8 AS oldest
    FROM alerting_delivery WHERE {OPEN}) AS q,
    (SELECT closed, {AGE} AS age FROM alerting_gate WHERE id = 1) AS g
"""  # noqa: S608 - our own constants
_EVENTS = "SELECT severity, state, count(*) FROM alerting_event WHERE state <> 'resolved' GROUP BY severity, state"


class AlertingCollector:
    """What is read once at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """The values; with PostgreSQL away none of them."""
        with connection.cursor() as cursor:
            cursor.execute(_READ)
            depth, oldest, poison, closed, tick_age, silences = cursor.fetchone()
            cursor.execute(_EVENTS)
            counted = {(severity, state): number for severity, state, number in cursor.fetchall()}
        yield GaugeMetricFamily("alert_queue_depth", "Deliveries that are not finished.", depth)
        yield GaugeMetricFamily(
            "alert_queue_oldest_seconds", "Time since the trigger of the oldest unfinished delivery.", max(0.0, oldest)
        )
        yield GaugeMetricFamily("alert_poison_queue_size", "Deliveries that need a person.", poison)
        # The row is settled by the next request; this is what that request will find.
        refuses = depth >= (settings.ALERT_QUEUE_RESUME if closed else settings.ALERT_QUEUE_FULL)
        yield GaugeMetricFamily("alert_queue_gate_closed", "1 while new alerts are refused.", float(refuses))
        yield GaugeMetricFamily(
            "alert_tick_age_seconds", "Time since the portal last looked at what it watches itself.", tick_age
        )
        yield GaugeMetricFamily("alert_silences_active", "Silences that hold messages back now.", silences)
        events = GaugeMetricFamily("alert_events_open", "Events that are not resolved.", labels=["severity", "state"])
        for severity in Severity:
            for state in EventState:
                if state != EventState.RESOLVED:
                    events.add_metric([severity.word, state.value], counted.get((severity.value, state.value), 0))
        yield events
