"""Metrics that are right under several processes (SLA-2).

Processes write their counters into files of `PROMETHEUS_MULTIPROC_DIR`, which one scrape adds up. A value that
lives in PostgreSQL or Redis is not a process's: it is read at scrape time, once, by a registered collector.
"""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

log = structlog.stdlib.get_logger(__name__)

TASK_FAILURES = Counter("celery_task_failures_total", "Tasks that ended with an exception.", ["task"])
COLLECTOR_ERRORS = Counter(
    "metrics_collector_errors_total", "Scrapes in which a collector failed and its values are missing.", ["collector"]
)

_LIVE_GAUGE_FILE = re.compile(r"gauge_live[a-z]*_(\d+)\.db")


class _ScrapeCollector(Collector):
    """Runs another collector so that its failure costs only its own values."""

    def __init__(self, collector: Collector, name: str) -> None:
        self._collector = collector
        self._name = name
        self._failing = False

    def collect(self) -> Iterator[Metric]:
        """The collector's values, or none when it fails; the failure is counted, and logged once until it ends."""
        try:
            metrics = list(self._collector.collect())
        except Exception:
            COLLECTOR_ERRORS.labels(collector=self._name).inc()
            if not self._failing:
                log.exception("metrics_collector_failed", collector=self._name)
            self._failing = True
            return
        if self._failing:
            log.info("metrics_collector_recovered", collector=self._name)
        self._failing = False
        yield from metrics


_scrape_collectors: dict[str, _ScrapeCollector] = {}
_register_lock = threading.Lock()


def register_scrape_collector(collector: Collector, *, name: str | None = None) -> None:
    """Have `collector.collect()` called once a scrape, in the process that answers it.

    `name` (the class's by default) is its label in `metrics_collector_errors_total`; registering a name again
    replaces the earlier collector.
    """
    label = name or type(collector).__name__
    with _register_lock:
        _scrape_collectors[label] = _ScrapeCollector(collector, label)


def scrape_registry() -> CollectorRegistry:
    """A registry of everything there is to scrape now: the scrape-time collectors, then the processes' sums."""
    registry = CollectorRegistry(auto_describe=False)
    # First, so that their failures are in the counters of the same scrape.
    for collector in list(_scrape_collectors.values()):
        registry.register(collector)
    directory = multiprocess_directory()
    if directory is None:
        registry.register(REGISTRY)  # type: ignore[arg-type]
    else:
        forget_dead_processes(directory)
        MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry


def latest_value(name: str) -> float | None:
    """The value of a gauge without labels over all processes, as its multiprocess mode says; None if there is none."""
    registry = CollectorRegistry(auto_describe=False)
    directory = multiprocess_directory()
    if directory is None:
        return REGISTRY.get_sample_value(name)
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry.get_sample_value(name)


def multiprocess_directory() -> Path | None:
    """Where the processes write their values; None in a process on its own."""
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    return Path(path) if path and Path(path).is_dir() else None


def forget_process(pid: int) -> None:
    """Drop the live gauges of a process that is going; its counters stay, they happened."""
    if multiprocess_directory() is not None:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def forget_dead_processes(directory: Path) -> None:
    """Drop the live gauges of processes that were killed and could not say goodbye.

    The directory belongs to one machine or container: its process ids are those seen here.
    """
    for path in directory.glob("gauge_live*.db"):
        found = _LIVE_GAUGE_FILE.fullmatch(path.name)
        if found and not _is_alive(int(found.group(1))):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's, yet there
    return True
