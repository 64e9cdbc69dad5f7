"""/metrics: right under several processes, whole when a part fails, closed where a token is set."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pytest_django import Settings

from opsportal.observability import metrics


class Counting(Collector):
    """Counts how often it is asked, and fails when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fail = False

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        yield GaugeMetricFamily("test_queue_depth", "From the database.", value=self.asked)
        if self.fail:
            raise RuntimeError("redis://:pw@h/0 went away")


@pytest.fixture
def counting() -> Iterator[Counting]:
    collector = Counting()
    metrics.register_scrape_collector(collector, name="counting")
    yield collector
    metrics._scrape_collectors.pop("counting")


@pytest.fixture(autouse=True)
def _own_collectors_only() -> Iterator[None]:
    """The domains' collectors are their own tests' concern."""
    kept = dict(metrics._scrape_collectors)
    metrics._scrape_collectors.clear()
    yield
    metrics._scrape_collectors.clear()
    metrics._scrape_collectors.update(kept)


def values(text: str) -> dict[str, float]:
    """Each sample of an exposition, labels in its name."""
    return {
        sample.name + "".join(f"|{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics__scrape_collector__is_asked_once_a_scrape(client: Client, counting: Counting) -> None:
    """SLA-2: values computed from the database are collected once, not per process."""
    first = client.get("/metrics")
    assert first.status_code == 200
    assert first["Content-Type"].startswith("text/plain")
    assert counting.asked == 1
    got = values(first.content.decode())
    assert got["test_queue_depth"] == 1
    assert any(name.startswith("django_http_requests_total_by_method") for name in got)
    assert values(client.get("/metrics").content.decode())["test_queue_depth"] == 2


def test_metrics__collector_fails__the_rest_is_served_and_it_is_counted(
    client: Client, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """SLA-2: half a collector's values are none; the failure is in the same scrape, and one line in the log."""
    name = "metrics_collector_errors_total|collector=counting"
    before = values(client.get("/metrics").content.decode()).get(name, 0.0)
    counting.fail = True
    with caplog.at_level(logging.INFO, logger="opsportal.observability.metrics"):
        for _ in range(3):
            answer = client.get("/metrics")
        counting.fail = False
        client.get("/metrics")
    got = values(answer.content.decode())
    assert answer.status_code == 200
    assert "test_queue_depth" not in got
    assert got[name] == before + 3
    assert any(sample.startswith("python_info") for sample in got)
    lines = [r.msg["event"] for r in caplog.records if isinstance(r.msg, dict) and r.msg.get("collector") == "counting"]
    assert lines == ["metrics_collector_failed", "metrics_collector_recovered"]


def test_metrics__openmetrics_asked_for__is_given(client: Client) -> None:
    """Content is negotiated as Prometheus expects."""
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.rstrip().endswith(b"# EOF")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", "Basic scrape-token", "scrape-token", "Bearer scrape-tokenx", "Bearer ü"],
)
def test_metrics__token_set_and_not_given__is_refused(client: Client, settings: Settings, header: str | None) -> None:
    """METRICS_TOKEN closes the page to whoever does not have it."""
    settings.METRICS_TOKEN = "scrape-token"
    answer = client.get("/metrics", headers={} if header is None else {"authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert b"python_info" not in answer.content


def test_metrics__token_given__is_served(client: Client, settings: Settings) -> None:
    """METRICS_TOKEN opens the page to Prometheus."""
    settings.METRICS_TOKEN = "scrape-token"
    assert client.get("/metrics", headers={"authorization": "Bearer scrape-token"}).status_code == 200


def test_metrics__post__is_refused(client: Client) -> None:
    """Machines read here; nobody writes."""
    assert client.post("/metrics").status_code == 405


COUNTING_PROCESS = """
import sys
from prometheus_client import Counter, Gauge
Counter("test_work_total", "Work.").inc(int(sys.argv[1]))
Gauge("test_busy", "Busy.", multiprocess_mode="livesum").set(int(sys.argv[1]))
print("done", flush=True)
sys.stdin.readline()
"""


def test_metrics__several_processes_one_killed__counters_add_up_and_its_gauge_goes(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLA-2: right under several web processes and workers, kill -9 included."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTING_PROCESS, str(amount)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for amount in (2, 3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        got = values(client.get("/metrics").content.decode())
        assert (got["test_work_total"], got["test_busy"]) == (5, 5)
        processes[0].kill()
        processes[0].wait()
        got = values(client.get("/metrics").content.decode())
        assert (got["test_work_total"], got["test_busy"]) == (5, 3)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
