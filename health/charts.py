"""The latency chart and its status band: geometry alone, no drawing, no clock, no database (HM-6).

The drawing is as wide as its page: what lies along the time axis is a percentage or a thousandth of the width, what
lies along the value axis is in pixels. So letters keep their size on a phone, and nothing is placed by inline style.
Latencies are on a logarithmic axis: P50 and P99 of one service lie far apart, and twice as slow looks alike in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from health.history import Point
from health.wording import latency_text, share_text

WIDTH = 1000
TOP, BOTTOM, HEIGHT = 16, 208, 220
BAND_HEIGHT, TIMES_HEIGHT = 24, 22
MOST_MARKS, MOST_TICKS = 7, 8
TICK_SECONDS = (60, 300, 600, 1800, 3600, 4 * 3600, 86_400)
DAY = 86_400

#: How tall each state is drawn in the band: the worse, the taller, so that it is told without its colour.
BAND_HEIGHTS = {"up": 7, "degraded": 12, "planned": 12, "partly": 18, "down": 24}
BAND_WORDS = {
    "up": "up",
    "degraded": "degraded",
    "planned": "planned work",
    "partly": "partly down",
    "down": "down",
    "none": "not probed",
}
PERCENTILES: tuple[tuple[str, str, Callable[[Point], int | None]], ...] = (
    ("P50", "p50", lambda point: point.p50_us),
    ("P95", "p95", lambda point: point.p95_us),
    ("P99", "p99", lambda point: point.p99_us),
)


@dataclass(frozen=True)
class Line:
    """One percentile. `path`: SVG path data, WIDTH x HEIGHT, broken where there was no reply."""

    name: str
    key: str
    path: str
    spoken: str


@dataclass(frozen=True)
class Mark:
    """A line across at a round latency. `y` in pixels."""

    y: float
    text: str


@dataclass(frozen=True)
class Tick:
    """A moment on the time axis. `x` in per cent; `minor` ones are left out where there is little room."""

    x: str
    anchor: str
    text: str
    at: datetime
    shape: str
    minor: bool


@dataclass(frozen=True)
class Bar:
    """A run of equal states in the band. `x` and `width` in per cent, `y` and `height` in pixels."""

    x: str
    width: str
    y: int
    height: int
    state: str


@dataclass(frozen=True)
class Row:
    """One step of time: a line of the table, and what is shown under the pointer."""

    x: str
    width: str
    at: str
    at_text: str
    p50: str
    p95: str
    p99: str
    replies: int
    probes: int
    up: str
    state: str
    spoken: str


@dataclass(frozen=True)
class Chart:
    """Everything the template draws: lines, the band `band_y` below the top, the times under it, all in pixels.

    Without any reply in the window `lines` and `marks` are empty, and the band is at the top.
    """

    plot_height: int
    band_y: int
    band_height: int
    times_y: int
    height: int
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    rows: tuple[Row, ...]


def build_chart(points: Sequence[Point], step: timedelta) -> Chart:
    """The chart of these points, oldest first and each `step` long; no point at all gives an empty one."""
    known = [value for point in points for _, _, of in PERCENTILES if (value := of(point)) is not None]
    low, high = _domain(known) if known else (1.0, 10.0)
    lines = [_line(name, key, [of(point) for point in points], low, high) for name, key, of in PERCENTILES if known]
    band_y = HEIGHT if known else 0
    return Chart(
        plot_height=HEIGHT,
        band_y=band_y,
        band_height=BAND_HEIGHT,
        times_y=band_y + BAND_HEIGHT + 15,
        height=band_y + BAND_HEIGHT + TIMES_HEIGHT,
        lines=tuple(lines),
        marks=tuple(Mark(_y(value, low, high), _round_text(value)) for value in _marks(low, high)) if known else (),
        ticks=tuple(_ticks(points, step)),
        bars=tuple(_bars(points)),
        rows=tuple(_row(number, point, points, step) for number, point in enumerate(points)),
    )


def state_of(point: Point) -> str:
    """A word of BAND_WORDS: the worst that happened in this step; `down` when half of its probes or more failed."""
    if not point.probes:
        return "none"
    down = point.probes - point.up - point.planned_down
    if down * 2 >= point.probes:
        return "down"
    if down > 0:
        return "partly"
    if point.planned_down:
        return "planned"
    return "degraded" if point.degraded else "up"


# ---------------------------------------------------------------- the value axis
#: 1, 2, 5, 10, … µs to 500 s: where a line across may be, and where the axis begins and ends.
ROUND_LATENCIES = tuple(float(10**power * factor) for power in range(9) for factor in (1, 2, 5))


def _domain(values: Sequence[int]) -> tuple[float, float]:
    lowest, highest = max(1, min(values)), max(1, *values)
    low = max(index for index, value in enumerate(ROUND_LATENCIES) if value <= lowest)
    high = next((index for index, value in enumerate(ROUND_LATENCIES) if value >= highest), len(ROUND_LATENCIES) - 1)
    # Three steps at least, ten times: a service of steady latency is a quiet line, not noise blown up.
    low, high = min(low, len(ROUND_LATENCIES) - 4), max(high, low + 3)
    return ROUND_LATENCIES[low], ROUND_LATENCIES[min(high, len(ROUND_LATENCIES) - 1)]


def _marks(low: float, high: float) -> list[float]:
    every = [value for value in ROUND_LATENCIES if low <= value <= high]
    if len(every) <= MOST_MARKS:
        return every
    return [value for value in every if math.log10(value).is_integer()]


def _y(value: float, low: float, high: float) -> float:
    share = math.log(max(value, low) / low) / math.log(high / low)
    return round(BOTTOM - share * (BOTTOM - TOP), 1)


def _round_text(microseconds: float) -> str:
    milliseconds = microseconds / 1000
    return f"{milliseconds / 1000:g} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def _line(name: str, key: str, values: Sequence[int | None], low: float, high: float) -> Line:
    step = WIDTH / len(values)
    path = []
    for known, run in groupby(enumerate(values), key=lambda pair: pair[1] is not None):
        places = [(round((at + 0.5) * step, 1), _y(value, low, high)) for at, value in run if value is not None]
        if known and len(places) == 1:  # a single point would not be seen: a dash as long as its step instead
            path.append(f"M{places[0][0] - 0.4 * step:g} {places[0][1]:g}h{0.8 * step:g}")
        elif known:
            path.append("M" + "L".join(f"{x:g} {y:g}" for x, y in places))
    shown = [value for value in values if value is not None]
    spoken = f"{name} from {latency_text(min(shown))} to {latency_text(max(shown))}, last {latency_text(shown[-1])}."
    return Line(name, key, "".join(path), spoken)


# ---------------------------------------------------------------- the time axis
def _percent(share: float) -> str:
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"


def _ticks(points: Sequence[Point], step: timedelta) -> Iterator[Tick]:
    if not points:
        return
    start, end = points[0].at.timestamp(), (points[-1].at + step).timestamp()
    size = next((each for each in TICK_SECONDS if (end - start) / each <= MOST_TICKS), TICK_SECONDS[-1])
    first = math.ceil(start / size)
    for number in range(first, math.floor(end / size) + 1):
        share = (number * size - start) / (end - start)
        at = datetime.fromtimestamp(number * size, UTC)
        yield Tick(
            x=_percent(share),
            anchor="start" if share < 0.04 else "end" if share > 0.96 else "middle",
            text=f"{at:%a %H:%M}" if size == DAY else f"{at:%H:%M}",
            at=at,
            shape="day" if size == DAY else "time",
            minor=(number - first) % 2 == 1,
        )


def _bars(points: Sequence[Point]) -> Iterator[Bar]:
    number = 0
    for state, run in groupby(points, key=state_of):
        length = len(list(run))
        if state != "none":
            height = BAND_HEIGHTS[state]
            yield Bar(
                x=_percent(number / len(points)),
                width=_percent(length / len(points)),
                y=BAND_HEIGHT - height,
                height=height,
                state=state,
            )
        number += length


# ---------------------------------------------------------------- the table
def _row(number: int, point: Point, points: Sequence[Point], step: timedelta) -> Row:
    state = state_of(point)
    p50, p95, p99 = (latency_text(of(point)) for _, _, of in PERCENTILES)
    counted = point.probes - point.planned_down
    until = point.at + step
    span = f"{point.at.astimezone(UTC):%-d %b, %H:%M} to {until.astimezone(UTC):%H:%M} UTC"
    if not point.probes:
        spoken = f"{span}: not probed"
    elif not point.replies:
        spoken = f"{span}: no reply to {point.probes} probe{'s' if point.probes > 1 else ''}, {BAND_WORDS[state]}"
    else:
        spoken = f"{span}: P50 {p50}, P95 {p95}, P99 {p99} of {point.replies} replies, {BAND_WORDS[state]}"
    return Row(
        x=_percent(number / len(points)),
        width=_percent(1 / len(points)),
        at=point.at.isoformat(),
        at_text=f"{point.at.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC",
        p50=p50,
        p95=p95,
        p99=p99,
        replies=point.replies,
        probes=point.probes,
        up=share_text(point.up / counted) if counted > 0 else "–",
        state=BAND_WORDS[state],
        spoken=spoken,
    )
