"""The chart's geometry and the words for figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.charts import BOTTOM, MOST_TICKS, TOP, Chart, build_chart, state_of
from health.history import WINDOWS, Point
from health.wording import count_text, latency_text, share_text, span_text

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def point(number: int = 0, p50: int | None = None, **more: Any) -> Point:
    """A minute with twelve probes, all answered and up unless told otherwise."""
    values: dict[str, Any] = {"probes": 12, "up": 12, "replies": 12 if p50 else 0}
    if p50:
        values |= {"p50_us": p50, "p95_us": p50 * 3, "p99_us": p50 * 10}
    return Point(MIDNIGHT + number * MINUTE, **(values | more))


def chart(*values: int | None) -> Chart:
    return build_chart([point(number, value) for number, value in enumerate(values)], MINUTE)


def test_lines__a_step_without_reply__is_a_gap_and_never_bridged() -> None:
    """HM-6: two runs of two points each, with nothing drawn between them."""
    p50 = chart(4000, 5000, None, 4000, 4000).lines[0]
    assert p50.path.count("M") == 2 and p50.path.count("L") == 2
    runs = p50.path.split("M")[1:]
    assert [run.split(" ")[0] for run in runs] == ["100", "700"]


def test_lines__one_reply_between_gaps__is_still_seen() -> None:
    """HM-6: a single measurement is a dash, for a point without length is not drawn by any browser."""
    assert "h" in chart(None, 4000, None).lines[0].path


@pytest.mark.parametrize("low", [1, 730, 4000, 1_000_000])
def test_axis__any_latency__lies_between_round_marks(low: int) -> None:
    """HM-6: every line lies within the plot, among two to seven labelled marks with units."""
    drawn = chart(low, low + 1, None, low)
    heights = [float(part.split(" ")[1].split("h")[0]) for line in drawn.lines for part in line.path[1:].replace("M", "L").split("L")]  # fmt: skip
    assert all(TOP <= height <= BOTTOM for height in heights)
    assert 2 <= len(drawn.marks) <= 7
    assert all(mark.text.endswith((" ms", " s")) for mark in drawn.marks)
    assert [mark.y for mark in drawn.marks] == sorted((mark.y for mark in drawn.marks), reverse=True)


@given(st.lists(st.one_of(st.none(), st.integers(1, 2**31 - 1)), min_size=1, max_size=96))
def test_chart__any_latencies__can_be_drawn(values: list[int | None]) -> None:
    """HM-6: from 1 µs to the largest that is stored; nothing leaves the plot downwards, percentages stay within 100."""
    points = [point(number, None, p50_us=v, p95_us=v, p99_us=v) for number, v in enumerate(values)]
    drawn = build_chart(points, MINUTE)
    assert bool(drawn.lines) == any(values)
    assert all(0 <= float(row.x[:-1]) <= 100 for row in drawn.rows)
    assert len(drawn.rows) == len(values)


@pytest.mark.parametrize("key", WINDOWS)
def test_times__every_window__has_few_round_ticks(key: str) -> None:
    """HM-6: three to nine moments, at full minutes, hours or days, in order."""
    window = WINDOWS[key]
    step = timedelta(seconds=window.step)
    start = datetime(2026, 3, 2, 9, 7, tzinfo=UTC)
    drawn = build_chart([Point(start + number * step) for number in range(window.points)], step)
    assert 2 <= len(drawn.ticks) <= MOST_TICKS + 1
    assert all(tick.at.second == 0 for tick in drawn.ticks)
    places = [float(tick.x[:-1]) for tick in drawn.ticks]
    assert places == sorted(places) and places[0] >= 0 and places[-1] <= 100
    assert {tick.shape for tick in drawn.ticks} == ({"day"} if key == "7d" else {"time"})


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"probes": 0, "up": 0}, "none"),
        ({}, "up"),
        ({"degraded": 1}, "degraded"),
        ({"up": 11, "unreachable": 1}, "partly"),
        ({"up": 6, "unreachable": 6}, "down"),
        ({"up": 0, "unreachable": 12}, "down"),
        ({"up": 0, "unreachable": 12, "planned_down": 12}, "planned"),
        ({"up": 0, "unreachable": 12, "planned_down": 5}, "down"),
    ],
)
def test_band__what_happened__has_its_state(given: dict[str, int], state: str) -> None:
    """HM-8, HM-11: the worst of a step counts; planned work is no failure; no probe is no state."""
    assert state_of(point(**given)) == state


def test_band__states__differ_in_height_and_runs_are_joined() -> None:
    """Q-1, HM-8: a state is told without its colour; unmeasured time is left empty."""
    down = {"up": 0, "unreachable": 12}
    points = [point(0), point(1), point(2, **down), point(3, probes=0, up=0), point(4, up=11)]
    bars = build_chart(points, MINUTE).bars
    assert [(bar.state, bar.x, bar.width) for bar in bars] == [
        ("up", "0%", "40%"),
        ("down", "40%", "20%"),
        ("partly", "80%", "20%"),
    ]
    assert bars[0].height < bars[2].height < bars[1].height


def test_chart__no_reply_at_all__has_no_line_but_its_band() -> None:
    """HM-6: nothing is invented; the band moves to the top."""
    drawn = chart(None, None)
    assert drawn.lines == () and drawn.marks == () and drawn.band_y == 0
    assert drawn.rows[0].p50 == "–"


def test_rows__spoken__say_when_how_fast_and_how_it_was() -> None:
    """Q-1, HM-6: what the pointer shows, and a line of the table."""
    rows = build_chart([point(0, 4200), point(1, None, up=0, unreachable=12), point(2, probes=0, up=0)], MINUTE).rows
    assert rows[0].spoken == "2 Mar, 00:00 to 00:01 UTC: P50 4.2 ms, P95 13 ms, P99 42 ms of 12 replies, up"
    assert rows[1].spoken == "2 Mar, 00:01 to 00:02 UTC: no reply to 12 probes, down"
    assert rows[2].spoken == "2 Mar, 00:02 to 00:03 UTC: not probed"
    assert [row.up for row in rows] == ["100 %", "0.0 %", "–"]


def test_words__figures__are_short_and_never_flatter() -> None:
    """HM-6, HM-8: units always; 99.996 % is not rounded up to 100 %."""
    assert [latency_text(us) for us in (None, 850, 4200, 9_960, 421_000, 1_420_000)] == [
        "–", "0.85 ms", "4.2 ms", "10 ms", "421 ms", "1.42 s",
    ]  # fmt: skip
    assert [share_text(share) for share in (None, 1.0, 0.99996, 0.9987, 0.5, 0.0)] == [
        "–", "100 %", "99.99 %", "99.87 %", "50.0 %", "0.0 %",
    ]  # fmt: skip
    assert [span_text(seconds) for seconds in (None, 0, 59, 3600, 7_505, 90_061)] == [
        "", "0 s", "59 s", "1 h", "2 h 5 min", "1 d 1 h",
    ]  # fmt: skip
    assert [count_text(number, "probe", "probes") for number in (0, 1, 120_420)] == ["0 probes", "1 probe", "120,420 probes"]  # fmt: skip
