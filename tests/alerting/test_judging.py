"""What values make of an episode (AL-3): by examples, and against a slow model that is obviously right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.happenings import NO_RULE
from alerting.judging import Move, Standing, breaks, judge, matches

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def life(values: list[tuple[int, bool]], for_seconds: int) -> list[tuple[int, Move]]:
    """The moves that `judge` makes of values, given as second and badness, in order."""
    standing: Standing | None = None
    moves = []
    for second, bad in values:
        standing, made = judge(standing, bad=bad, at=at(second), for_seconds=for_seconds)
        moves += [(second, move) for move in made]
    return moves


def model(values: list[tuple[int, bool]], for_seconds: int) -> list[tuple[int, Move]]:
    """The same, told from each run of bad values as a whole."""
    moves: list[tuple[int, Move]] = []
    runs: list[list[int]] = []
    for place, (second, bad) in enumerate(values):
        if bad and (place == 0 or not values[place - 1][1]):
            runs.append([])
        if bad:
            runs[-1].append(second)
        elif runs and place and values[place - 1][1]:
            runs[-1].append(-second)  # where it ended
    for run in runs:
        bad_at = [second for second in run if second >= 0]
        moves.append((bad_at[0], Move.BEGIN))
        held = [second for second in bad_at if second - bad_at[0] >= for_seconds]
        if held:
            moves.append((held[0], Move.FIRE))
        if run[-1] < 0:
            moves.append((-run[-1], Move.RESOLVE))
    return moves


@given(
    values=st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=40, unique_by=lambda v: v[0]).map(sorted),
    for_seconds=st.sampled_from([0, 1, 5, 30]),
)
def test_judge__any_values__as_the_model_says(values: list[tuple[int, bool]], for_seconds: int) -> None:
    """AL-3: begins with the first bad value, fires when it held long enough, resolves with the first good one."""
    assert life(values, for_seconds) == model(values, for_seconds)


@pytest.mark.parametrize(("held", "fires"), [(29, False), (30, True), (31, True)])
def test_judge__held_just_about_long_enough__fires_at_the_edge(held: int, fires: bool) -> None:
    """AL-1: `for` is met when it has passed, not later."""
    assert ((held, Move.FIRE) in life([(0, True), (held, True)], 30)) == fires


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        ("gt", False, False, True),
        ("gte", False, True, True),
        ("lt", True, False, False),
        ("lte", True, True, False),
        ("eq", False, True, False),
    ],
)
def test_breaks__comparison__as_its_sign_says(comparison: str, below: bool, equal: bool, above: bool) -> None:
    """AL-1: gt, gte, lt, lte, eq."""
    rule = replace(NO_RULE, comparison=comparison, threshold=0.05)
    assert [breaks(rule, value) for value in (0.049, 0.05, 0.051)] == [below, equal, above]


@pytest.mark.parametrize(
    ("wanted", "labels", "fits"),
    [
        ({}, {}, True),
        ({}, {"a": "1"}, True),
        ({"a": "1"}, {"a": "1", "b": "2"}, True),
        ({"a": "1"}, {"a": "2"}, False),
        ({"a": "1", "b": "2"}, {"a": "1"}, False),
        ({"a": ""}, {}, False),
    ],
)
def test_matches__labels__all_that_are_wanted(wanted: dict[str, str], labels: dict[str, str], fits: bool) -> None:
    """AL-1: a label match."""
    assert matches(wanted, labels) == fits
