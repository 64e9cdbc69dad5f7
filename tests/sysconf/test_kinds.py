"""How values are written by people: what a form shows, it reads back unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from sysconf.kinds import Choice, Clock, Day, Kind, Lines, Number, Optional, Switch, Text, Whole


def named(value: Any) -> str:
    """A name that is the same in every process: a kind by its class."""
    return type(value).__name__ if isinstance(value, Kind) else str(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(Switch(), value) for value in (True, False)],
        *[(Whole(), value) for value in (0, -5, 10**17)],
        *[(Number(), value) for value in (0.05, 1e-05, 1e-10, 123_456.789, 100.0, -0.1)],
        *[(Clock(), value) for value in ("09:30", "23:59:59", "00:00")],
        (Day(), "2026-12-25"),
        (Text(), "a, b"),
        (Choice((("1", 1), ("x", "x"))), 1),
        (Lines(Day(), 5), ["2026-12-25", "2026-07-03"]),
        (Lines(Text(), 5), ["a, b", "c"]),
        (Lines(Whole(), 5), []),
        (Optional(Whole()), None),
        (Optional(Whole()), 0),
    ],
    ids=named,
)
def test_value__shown_and_read_back__is_the_same(kind: Kind, value: Any) -> None:
    """CF-1: opening a form and sending it changes nothing."""
    assert kind.parse(kind.text(value)) == value


@pytest.mark.parametrize("kind", [Switch(), Whole(), Number(percent=True), Clock(), Day(), Lines(Day(), 5)], ids=named)
@pytest.mark.parametrize("value", [None, "x", [], {}, True, 1.5, float("nan"), 10**30, [None, 1]], ids=named)
def test_value__stored_wrongly__is_shown_all_the_same(kind: Kind, value: Any) -> None:
    """CF-2: the page must be able to show what is wrong."""
    assert isinstance(kind.text(value), str) and isinstance(kind.words(value), str)
    assert all(isinstance(side, str) for side in kind.change(value, [1]))


def test_number__small_difference__is_visible() -> None:
    """CF-3: a diff with two equal sides hides what changed."""
    kind = Number(percent=True)
    assert kind.change(0.12345678, 0.12345679) == ("0.12345678 (12.345678 %)", "0.12345679 (12.345679 %)")
