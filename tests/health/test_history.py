"""Percentiles and uptime over a window, from hours, minutes and raw samples alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from health import history, rollups, sketch
from health.history import WINDOWS, Point, latency_history
from health.models import Progress, Service, Status
from health.rollups import HOUR, MINUTE, floor
from tests.health.history_rows import add_samples, latencies, past_hour

SECOND = timedelta(seconds=1)


def roll_up_until(at: datetime) -> None:
    """As the task would have by 20 s after `at`."""
    Progress.objects.update_or_create(id=1, defaults={"rolled_until": floor(at, HOUR) - 20 * HOUR})
    rollups.roll_up(at + rollups.SETTLE)
    assert rollups.rolled_until() == at


def assert_percentiles(found: Point | history.Summary, given: Sequence[int]) -> None:
    true = numpy.quantile(given, history.SHARES, method="inverted_cdf")
    for got, expected in zip((found.p50_us, found.p95_us, found.p99_us), true, strict=True):
        assert got == pytest.approx(expected, rel=sketch.ALPHA, abs=0.5)


@pytest.fixture
def service(db: None) -> Callable[..., Service]:
    """`service(created_at)`."""

    def made(created_at: datetime, interval: int = 5) -> Service:
        return Service.objects.create(
            name=f"orders-{Service.objects.count()}",
            base_url="http://127.0.0.1:1",
            interval=interval,
            created_at=created_at,
        )

    return made


@pytest.mark.parametrize("rolled", [None, 0, 17, 40, 59], ids=lambda minutes: f"rolled-{minutes}")
def test_latency__rolled_up_so_far_or_not__agrees_with_numpy(db: None, rolled: int | None) -> None:
    """HM-6: samples → minutes → percentiles, and the raw samples of minutes not rolled up, within the sketch's 1 %."""
    start = past_hour()
    now = start + 59 * MINUTE + 58 * SECOND
    given = latencies(720, seed=11)
    add_samples(1, start, given)
    add_samples(2, start, latencies(720, seed=12, median_us=900_000))
    if rolled is not None:
        roll_up_until(start + rolled * MINUTE)
    found = latency_history(1, WINDOWS["1h"], now)
    assert len(found.points) == 60
    assert [point.at for point in found.points] == [start + n * MINUTE for n in range(60)]
    for number, point in enumerate(found.points):
        assert (point.probes, point.up, point.healthy, point.replies) == (12, 12, 12, 12)
        assert_percentiles(point, given[12 * number : 12 * number + 12])
    assert_percentiles(found.summary, given)
    assert (found.summary.probes, found.summary.replies, found.summary.uptime) == (720, 720, 1.0)


def test_latency__of_a_day__merges_minutes_into_steps(db: None) -> None:
    """HM-6: a step's P99 is that of all its replies, not an average of its minutes' P99."""
    start = past_hour()
    given = latencies(2 * 720, seed=13)
    add_samples(1, start, given)
    roll_up_until(start + 110 * MINUTE)
    points = latency_history(1, WINDOWS["24h"], start + 2 * HOUR - SECOND).points
    for number, point in enumerate(points[-8:]):
        assert_percentiles(point, given[180 * number : 180 * number + 180])


@pytest.mark.parametrize("until", [60, 100, 120, 150])
def test_latency__of_a_week__is_the_same_from_hours_minutes_and_samples(db: None, until: int) -> None:
    """HM-6: which of the three a step is read from cannot be seen in it."""
    start = past_hour()
    given = latencies(3 * 720 - 1, seed=14)
    add_samples(1, start, given)
    add_samples(1, start + SECOND, [None] * 30, every=300, status=Status.UNREACHABLE)
    now = start + 3 * HOUR - SECOND
    raw = latency_history(1, WINDOWS["7d"], now)
    uptime = history.uptime([1], now)
    roll_up_until(start + until * MINUTE)
    rolled = latency_history(1, WINDOWS["7d"], now)
    assert rolled.points == raw.points
    assert vars(rolled.summary) == pytest.approx(vars(raw.summary), rel=1e-3)
    assert vars(history.uptime([1], now)[1][7]) == pytest.approx(vars(uptime[1][7]), rel=1e-3)
    assert_percentiles(raw.summary, given)


@pytest.mark.parametrize(
    ("key", "points", "step"), [("15m", 15, 1), ("1h", 60, 1), ("6h", 72, 5), ("24h", 96, 15), ("7d", 84, 120)]
)
def test_window__of_each_length__has_its_steps_up_to_now(db: None, key: str, points: int, step: int) -> None:
    """HM-6: 15 m, 1 h, 6 h, 24 h, 7 d; steps begin at full multiples, the last one holds this moment."""
    now = past_hour() + 7 * MINUTE + 13 * SECOND
    found = latency_history(1, WINDOWS[key], now).points
    assert len(found) == points
    assert {later.at - earlier.at for earlier, later in pairwise(found)} == {step * MINUTE}
    assert found[-1].at <= now < found[-1].at + step * MINUTE
    assert found[-1].at == floor(now, step * MINUTE)
    assert found[0] == Point(found[0].at)


def test_latency__minutes_without_a_probe__are_gaps(db: None) -> None:
    """HM-6: nothing is drawn where nothing was measured, and a failed probe has no latency."""
    start = past_hour()
    add_samples(1, start, [1000] * 12)
    add_samples(1, start + 2 * MINUTE, [None] * 12, status=Status.UNREACHABLE)
    roll_up_until(start + 10 * MINUTE)
    first, second, third = latency_history(1, WINDOWS["15m"], start + 14 * MINUTE).points[:3]
    assert first.p50_us == pytest.approx(1000, rel=0.01)
    assert first.probes == 12
    assert second == Point(start + MINUTE)
    assert (third.p50_us, third.p99_us, third.probes, third.replies, third.unreachable) == (None, None, 12, 0, 12)


def test_latency__without_any_sample__is_empty_and_says_so(db: None) -> None:
    """HM-6."""
    summary = latency_history(1, WINDOWS["1h"], past_hour()).summary
    assert (summary.p50_us, summary.uptime, summary.probes, summary.down_seconds) == (None, None, 0, 0.0)


@pytest.mark.parametrize("key", ["1h", "7d"])
def test_latency__late_samples__are_in_at_once_and_only_once(db: None, key: str) -> None:
    """HM-6, Q-4: also before their minutes are rolled up anew."""
    start = past_hour()
    add_samples(1, start, [1000] * 720)
    roll_up_until(start + HOUR)
    add_samples(1, start + 20 * MINUTE + SECOND, [1000, 1000])
    rollups.reopen(start + 20 * MINUTE + SECOND)
    found = latency_history(1, WINDOWS[key], start + HOUR - SECOND)
    assert found.summary.probes == found.summary.replies == 722


@pytest.mark.parametrize("rolled", [0, 1, 60])
def test_latency__samples_after_the_moment_asked_for__are_not_in(db: None, rolled: int) -> None:
    """HM-6: a reading of a moment is the same whenever it is made."""
    start = past_hour()
    add_samples(1, start, [1000] * 24)
    roll_up_until(start + rolled * MINUTE)
    assert latency_history(1, WINDOWS["15m"], start + 61 * SECOND).summary.probes == 13


def test_uptime__planned_work__is_not_counted(service: Callable[..., Service]) -> None:
    """HM-8, HM-11: down during planned work is neither up nor down; degraded is up."""
    start = past_hour()
    pk = service(start).pk
    add_samples(pk, start, [1000] * 60)
    add_samples(pk, start + 5 * MINUTE, [1000] * 30, status=Status.DEGRADED)
    add_samples(pk, start + 10 * MINUTE, [None] * 60, status=Status.UNREACHABLE, planned=True)
    add_samples(pk, start + 15 * MINUTE, [None] * 10, status=Status.UNREACHABLE)
    roll_up_until(start + 20 * MINUTE)
    for found in (
        latency_history(pk, WINDOWS["1h"], start + 30 * MINUTE).summary,
        history.uptime([pk], start + 30 * MINUTE)[pk][1],
    ):
        assert found.uptime == pytest.approx(90 / 100)
        assert found.down_seconds == pytest.approx(60)


def test_uptime__still_down_in_this_minute__counts_as_long_as_it_lasts(service: Callable[..., Service]) -> None:
    """HM-8: five seconds of outage are not shown as a minute."""
    start = past_hour()
    pk = service(start).pk
    add_samples(pk, start, [None, None, None], status=Status.UNREACHABLE)
    assert history.uptime([pk], start + 12 * SECOND)[pk][1].down_seconds == pytest.approx(12)


def test_uptime__over_days__is_that_of_the_time_named(service: Callable[..., Service]) -> None:
    """HM-8: one day, seven, thirty: what is in the shorter is in the longer."""
    now = past_hour(1)
    pk, other = service(now - timedelta(days=60)).pk, service(now).pk
    with connection.cursor() as cursor:
        for days, up in ((0.5, 60), (3, 30), (20, 0), (40, 0)):
            cursor.execute(
                "INSERT INTO health_hour VALUES (%s, %s, 60, %s, 0, 60, 0, 0, 0, 0, %s, 60, '')",
                [pk, floor(now - timedelta(days=days), HOUR), up, 60 - up],
            )
    Progress.objects.update_or_create(id=1, defaults={"rolled_until": now})
    found = history.uptime([pk, other], now)
    assert [found[pk][days].uptime for days in (1, 7, 30)] == [1.0, 90 / 120, 90 / 180]
    assert [found[pk][days].down_seconds for days in (1, 7, 30)] == [0, 1800, 5400]
    assert found[pk][1].measured == pytest.approx(1 / 24)
    assert found[other][30] == history.Uptime(None, None, 0.0)


@pytest.mark.parametrize(
    ("interval", "count", "expected"),
    [(5, 360, 0.5), (5, 720, 1.0), (300, 12, 1.0), (300, 6, 0.5)],
)
def test_measured__of_a_new_service__is_a_share_of_the_time_it_is_known(
    service: Callable[..., Service], interval: int, count: int, expected: float
) -> None:
    """HM-8: "measured 50 % of the time", also of a service that is probed every five minutes only."""
    start = past_hour()
    pk = service(start, interval).pk
    add_samples(pk, start, [1000] * count, every=interval)
    now = start + HOUR + 4 * SECOND
    assert latency_history(pk, WINDOWS["24h"], now).summary.measured == pytest.approx(expected, abs=0.02)
    roll_up_until(start + HOUR)
    assert latency_history(pk, WINDOWS["7d"], now).summary.measured == pytest.approx(expected, abs=0.02)


def _plan(read: Callable[[], Any], table: str) -> str:
    """The plan of the statement on this table that `read` makes."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        read()
    (statement,) = [query["sql"] for query in captured.captured_queries if table in query["sql"]]
    with connection.cursor() as cursor:
        # A table of a few rows is read whole whatever its indexes.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + statement)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_latency__of_a_quarter_of_an_hour__touches_only_its_parts(db: None) -> None:
    """HM-6, HM-9: of a day's and ninety days' parts only those of the window are read, and by index."""
    start = past_hour()
    with connection.cursor() as cursor:
        for hours in range(-3, 4):
            cursor.execute("SELECT health_ensure_partition('health_sample', %s)", [start + hours * HOUR])
        for days in range(-3, 2):
            cursor.execute("SELECT health_ensure_partition('health_minute', %s)", [start + timedelta(days=days)])
    Progress.objects.update_or_create(id=1, defaults={"rolled_until": start + 40 * MINUTE})
    plan = _plan(lambda: latency_history(1, WINDOWS["15m"], start + 45 * MINUTE), "health_sample")
    read = {word for word in plan.split() if word.startswith(("health_sample_", "health_minute_", "health_hour_"))}
    assert {f"health_sample_{start:%Y%m%d%H}", f"health_minute_{start:%Y%m%d}"} == {
        word for word in read if not word.endswith("_idx") and word not in ("health_minute_1", "health_sample_1")
    }
    assert "Index Cond: (service_id" in plan or "Index Cond: ((service_id" in plan
    assert "Seq Scan" not in plan


def test_latency__of_a_week__reads_hours(db: None) -> None:
    """HM-6: a week is 168 rows and not 10,080."""
    start = past_hour()
    Progress.objects.update_or_create(id=1, defaults={"rolled_until": start + 40 * MINUTE})
    with CaptureQueriesContext(connection) as captured:
        latency_history(1, WINDOWS["7d"], start + 45 * MINUTE)
    (statement,) = [query["sql"] for query in captured.captured_queries if "health_hour" in query["sql"]]
    assert f"minute >= '{start:%Y-%m-%d %H:%M:%S}" in statement
    assert len(captured) == 3
