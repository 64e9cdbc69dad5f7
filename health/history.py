"""What one service was over a window of time: percentiles and uptime (HM-6, HM-8). Reads PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from health import sketch
from health.models import Service
from health.rollups import COUNTS, DOWN_SQL, HOUR, MINUTE, floor, minutes_of_samples, rolled_until

SHARES = (0.50, 0.95, 0.99)
UPTIME_DAYS = (1, 7, 30)


@dataclass(frozen=True)
class Window:
    """A length of time and the steps it is shown in, both in seconds."""

    seconds: int
    step: int

    @property
    def points(self) -> int:
        """How many steps it has."""
        return self.seconds // self.step


WINDOWS = {
    "15m": Window(15 * 60, 60),
    "1h": Window(3600, 60),
    "6h": Window(6 * 3600, 300),
    "24h": Window(24 * 3600, 900),
    "7d": Window(7 * 86_400, 7200),
}


@dataclass(frozen=True)
class Point:
    """One step that begins at `at`. Percentiles in µs, within 1 %; None without a reply: a gap is never filled in.

    `probes` = healthy + degraded + unhealthy + violation + unreachable; `up` = healthy + degraded; `planned_down`:
    not up, during planned work; `replies`: probes that were answered, be it badly.
    """

    at: datetime
    p50_us: int | None = None
    p95_us: int | None = None
    p99_us: int | None = None
    probes: int = 0
    up: int = 0
    planned_down: int = 0
    replies: int = 0
    degraded: int = 0
    unhealthy: int = 0
    violation: int = 0
    unreachable: int = 0

    @property
    def healthy(self) -> int:
        """Probes that found it healthy."""
        return self.up - self.degraded


@dataclass(frozen=True)
class Uptime:
    """How well a service did over some time.

    `uptime`: share (0 to 1) of the probes that found it up, planned work not counted; None without such probes.
    `measured`: share of the time that was probed, by finished minutes, since the service is known; None before the
    first is over. `down_seconds`: time neither up nor planned, as far as measured, to about one interval of probes.
    """

    uptime: float | None
    measured: float | None
    down_seconds: float


@dataclass(frozen=True)
class Summary(Uptime):
    """A whole window as one step: its percentiles are those of all its replies together."""

    p50_us: int | None
    p95_us: int | None
    p99_us: int | None
    probes: int
    replies: int


@dataclass(frozen=True)
class LatencyHistory:
    """Every step of the window, oldest first; the last is the one that `now` lies in, and is not over yet."""

    points: tuple[Point, ...]
    summary: Summary


def latency_history(service_id: int, window: Window, now: datetime) -> LatencyHistory:
    """Percentiles, counts and uptime of one service, up to `now`. Raises `django.db.Error`."""
    step = timedelta(seconds=window.step)
    start = floor(now, step) - step * (window.points - 1)
    merged: Counter[int] = Counter()
    total = _Tally()
    found: dict[datetime, Point] = {}
    for at, encoded, *counts, tally in _steps(service_id, step, start, now):
        bins = sketch.bins(encoded)
        merged.update(bins)
        total += tally
        found[at] = Point(at, *_percentiles(bins), **dict(zip(COUNTS, counts, strict=True)))
    every = (start + step * number for number in range(window.points))
    points = tuple(found.get(at) or Point(at) for at in every)
    known = _registered([service_id]).get(service_id, _Registered())
    judged = known.judge(total, start, now)
    p50, p95, p99 = _percentiles(merged)
    summary = Summary(
        uptime=judged.uptime,
        measured=judged.measured,
        down_seconds=judged.down_seconds,
        p50_us=p50,
        p95_us=p95,
        p99_us=p99,
        probes=total.probes,
        replies=merged.total(),
    )
    return LatencyHistory(points, summary)


def uptime(service_ids: Iterable[int], now: datetime) -> dict[int, dict[int, Uptime]]:
    """For each service its Uptime over each of UPTIME_DAYS, by the number of days.

    They begin at a full hour: a day is 24 to 25 hours. Raises `django.db.Error`.
    """
    ids = list(service_ids)
    starts = {days: floor(now, HOUR) - timedelta(days=days) for days in UPTIME_DAYS}
    tallies: dict[tuple[int, int], _Tally] = {}
    for service_id, band, tally in _bands(ids, starts, now):
        # What lies in the last day lies in the last seven as well.
        for days in (days for days in UPTIME_DAYS if days >= band):
            tallies[service_id, days] = tallies.get((service_id, days), _Tally()) + tally
    known = _registered(ids)
    return {
        service_id: {
            days: known.get(service_id, _Registered()).judge(tallies.get((service_id, days), _Tally()), start, now)
            for days, start in starts.items()
        }
        for service_id in ids
    }


# ---------------------------------------------------------------- sums over minutes
@dataclass(frozen=True)
class _Tally:
    """Sums over some minutes of one service. `finished`: minutes with a probe that are over. `down`: in minutes."""

    finished: int = 0
    first: datetime | None = None
    probes: int = 0
    up: int = 0
    planned_down: int = 0
    down: float = 0.0

    def __add__(self, other: _Tally) -> _Tally:
        return _Tally(
            self.finished + other.finished,
            min((first for first in (self.first, other.first) if first), default=None),
            self.probes + other.probes,
            self.up + other.up,
            self.planned_down + other.planned_down,
            self.down + other.down,
        )


@dataclass(frozen=True)
class _Registered:
    """What the registry says of a service; as it stands here, of one that was removed."""

    created_at: datetime | None = None
    interval: int = 60

    def judge(self, tally: _Tally, start: datetime, now: datetime) -> Uptime:
        counted = tally.probes - tally.planned_down
        begun = max(start, min(floor(at, MINUTE) for at in (self.created_at, tally.first, now) if at))
        expected = (floor(now, MINUTE) - begun) / MINUTE
        # A minute with a probe stands for the whole interval of a service that is probed less often.
        stands_for = max(1.0, self.interval / 60)
        return Uptime(
            uptime=tally.up / counted if counted else None,
            measured=min(1.0, tally.finished * stands_for / expected) if expected > 0 else None,
            down_seconds=tally.down * stands_for * 60,
        )


def _registered(ids: Sequence[int]) -> dict[int, _Registered]:
    rows = Service.objects.filter(pk__in=ids).values_list("pk", "created_at", "interval")
    return {pk: _Registered(created_at, interval) for pk, created_at, interval in rows}


def _steps(service_id: int, step: timedelta, start: datetime, now: datetime) -> list[tuple[Any, ...]]:
    """Of each step that has a probe: its beginning, its merged sketch, COUNTS, and a _Tally."""
    rows = _read(
        f"""
        SELECT date_bin(%(step)s, at, '2000-01-01 00:00+00') AS step, string_agg(sketch, ''::bytea), {_SUMS}, {_TALLY}
        FROM spans GROUP BY step
        """,  # noqa: S608  (constants of this module)
        {"step": step},
        [service_id],
        start,
        now,
        hours=step >= HOUR,
    )
    split = 2 + len(COUNTS)
    return [(*row[:split], _Tally(*row[split:])) for row in rows]


def _bands(ids: Sequence[int], starts: dict[int, datetime], now: datetime) -> list[tuple[int, int, _Tally]]:
    """Of each service and each of UPTIME_DAYS: the sums of what is younger than that, and older than the one before."""
    cases = " ".join(f"WHEN at >= %(start{days})s THEN {days}" for days in starts)
    rows = _read(
        f"SELECT service_id, CASE {cases} END AS band, {_TALLY} FROM spans GROUP BY service_id, band",  # noqa: S608
        {f"start{days}": start for days, start in starts.items()},
        ids,
        min(starts.values()),
        now,
        hours=True,
    )
    return [(service_id, band, _Tally(*sums)) for service_id, band, *sums in rows]


_COUNTED = ", ".join(COUNTS)
_SUMS = ", ".join(f"sum({name})" for name in COUNTS)
#: The fields of _Tally.
_TALLY = "sum(finished), min(first), sum(probes), sum(up), sum(planned_down), sum(down)"
#: The minute that is not over has been down for as long as it has lasted, and does not count as measured.
_OF_MINUTES = f"""
    SELECT service_id, minute AS at, {_COUNTED}, ({DOWN_SQL})
        * CASE WHEN minute < %(minute)s THEN 1 ELSE extract(epoch FROM %(now)s - minute)::float8 / 60 END AS down,
        (minute < %(minute)s)::int AS finished, minute AS first, sketch
"""  # noqa: S608  (constants of this module and of health.rollups)
_RAW = f"""
    {_OF_MINUTES} FROM (
        {minutes_of_samples("service_id = ANY(%(ids)s) AND at >= %(edge)s AND at <= %(now)s")}
    ) AS raw
"""
_MINUTES = f"""
    {_OF_MINUTES} FROM health_minute
    WHERE service_id = ANY(%(ids)s) AND minute >= %(minutes_from)s AND minute < %(edge)s
"""
_HOURS = f"""
    SELECT service_id, hour AS at, {_COUNTED}, down, minutes AS finished,
        hour + (60 - minutes) * interval '1 minute' AS first, sketch
    FROM health_hour WHERE service_id = ANY(%(ids)s) AND hour >= %(start)s AND hour < %(minutes_from)s
"""  # noqa: S608  (constants of this module and of health.rollups)


def _read(
    statement: str, given: dict[str, Any], ids: Sequence[int], start: datetime, now: datetime, *, hours: bool
) -> list[Any]:
    """Rows of a statement over `spans`: hours (if wanted), minutes and raw samples of these services, none twice.

    Columns: service_id, at, COUNTS, down (minutes), finished (minutes), first (minute with a probe), sketch.
    """
    # Read first and put in as literals, so that only the parts needed are planned. Should the roll-up go on between
    # the two statements: what it read is still there. The minute of `now` is never read as a whole.
    edge = max(start, min(rolled_until() or start, floor(now, MINUTE)))
    minutes_from = max(start, floor(edge, HOUR)) if hours else start
    spans = [_RAW] + [_MINUTES] * (minutes_from < edge) + [_HOURS] * (start < minutes_from)
    bounds = {"start": start, "minutes_from": minutes_from, "edge": edge, "minute": floor(now, MINUTE), "now": now}
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH spans AS ({' UNION ALL '.join(spans)}) {statement}", {**given, **bounds, "ids": list(ids)}
        )
        return list(cursor.fetchall())


def _percentiles(bins: Counter[int]) -> tuple[int | None, int | None, int | None]:
    found = sketch.quantiles(bins, SHARES)
    return (found[0], found[1], found[2]) if found else (None, None, None)
