"""The services' health and the queues' depth at scrape time."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from health.queues import read_queues
from health.selectors import SHARED_SECONDS, health_grid


class HealthCollector:
    """What is read once at each scrape; a service's state is what the grid shows, stale included."""

    def collect(self) -> Iterator[Metric]:
        """States, ages, and the depth of streams and queues."""
        grid = health_grid(SHARED_SECONDS)
        state = GaugeMetricFamily(
            "health_service_state", "1 for the state that the service is shown in.", labels=["service", "state"]
        )
        age = GaugeMetricFamily("health_reply_age_seconds", "Age of the last reply.", labels=["service"])
        for cell in grid.cells:
            state.add_metric([cell.name, cell.status.word], 1.0)
            if cell.replied_at:
                seconds = (grid.read_at - cell.replied_at).total_seconds() + grid.age()
                age.add_metric([cell.name], max(0.0, seconds))
        yield state
        yield age
        swept = GaugeMetricFamily("health_sweep_age_seconds", "Time since the sweep last reported.")
        if grid.swept_at:
            swept.add_metric([], max(0.0, (grid.read_at - grid.swept_at).total_seconds() + grid.age()))
        yield swept
        yield from _queues()


def _queues() -> Iterator[Metric]:
    queues = read_queues()
    length = GaugeMetricFamily("redis_stream_length", "Entries of a watched stream.", labels=["stream"])
    lag = GaugeMetricFamily(
        "redis_stream_group_lag", "Entries not yet delivered to a consumer group.", labels=["stream", "group"]
    )
    pending = GaugeMetricFamily(
        "redis_stream_group_pending", "Entries delivered and not acknowledged.", labels=["stream", "group"]
    )
    for stream in queues.streams:
        if stream.problem or not stream.exists:
            continue
        length.add_metric([stream.name], stream.length)
        for group in stream.groups:
            if group.lag is not None:
                lag.add_metric([stream.name, group.name], group.lag)
            pending.add_metric([stream.name, group.name], group.pending)
    celery = GaugeMetricFamily("celery_queue_length", "Tasks that wait for a worker.", labels=["queue"])
    for queue in queues.celery:
        celery.add_metric([queue.name], queue.length)
    yield from (length, lag, pending, celery)
