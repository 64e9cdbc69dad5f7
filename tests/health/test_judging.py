"""Flap control, staleness and cause, as pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.judging import Seen, Track, root_causes, shown_status
from health.models import Status

HEALTHY, DEGRADED, UNHEALTHY = Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY
VIOLATION, UNREACHABLE, STALE, UNKNOWN = Status.VIOLATION, Status.UNREACHABLE, Status.STALE, Status.UNKNOWN


def changes(results: list[Status], *, down_after: int = 2, up_after: int = 1) -> list[tuple[Status, Status]]:
    track = Track()
    found = []
    for at, result in enumerate(results):
        former = track.take(result, float(at), down_after=down_after, up_after=up_after)
        if former is not None:
            found.append((former, track.status))
    return found


def test_track__one_failure_between_good_results__records_nothing() -> None:
    """HM-10: one lost packet is no outage."""
    assert changes([HEALTHY, UNREACHABLE, HEALTHY, UNREACHABLE, HEALTHY]) == [(UNKNOWN, HEALTHY)]


def test_track__two_failures_in_a_row__are_a_change_and_one_good_reply_ends_it() -> None:
    """HM-10: two down, one up by default."""
    assert changes([HEALTHY, UNREACHABLE, UNREACHABLE, HEALTHY]) == [
        (UNKNOWN, HEALTHY),
        (HEALTHY, UNREACHABLE),
        (UNREACHABLE, HEALTHY),
    ]


def test_track__failures_of_different_kinds__count_together_and_the_last_one_names_it() -> None:
    """HM-10: unhealthy and then unreachable is two results down."""
    assert changes([HEALTHY, UNHEALTHY, UNREACHABLE]) == [(UNKNOWN, HEALTHY), (HEALTHY, UNREACHABLE)]


def test_track__unreachable_to_unhealthy__counts_as_better() -> None:
    """HM-10: it answers again, so one result is enough."""
    assert changes([UNREACHABLE, UNREACHABLE, UNHEALTHY])[-1] == (UNREACHABLE, UNHEALTHY)


def test_track__other_counts__are_obeyed() -> None:
    """HM-10: HEALTH_DOWN_AFTER and HEALTH_UP_AFTER."""
    results = [HEALTHY, HEALTHY, HEALTHY, UNREACHABLE, UNREACHABLE, UNREACHABLE, HEALTHY, HEALTHY]
    assert changes(results, down_after=3, up_after=2) == [
        (UNKNOWN, HEALTHY),
        (HEALTHY, UNREACHABLE),
        (UNREACHABLE, HEALTHY),
    ]


def test_track__a_change__began_with_the_first_result_of_its_kind() -> None:
    """HM-8: the outage began when it was first seen, not when it was confirmed."""
    track = Track(status=HEALTHY, since=0.0)
    track.take(UNREACHABLE, 5.0, down_after=2, up_after=1)
    track.take(UNREACHABLE, 7.5, down_after=2, up_after=1)
    assert track.since == 5.0


@given(st.lists(st.sampled_from([HEALTHY, DEGRADED, UNHEALTHY, VIOLATION, UNREACHABLE])))
def test_track__any_results__changes_follow_one_another_and_each_is_one(results: list[Status]) -> None:
    """HM-8, HM-10: the history has no gap: each change starts where the last one ended."""
    found = changes(results)
    for before, after in zip([(UNKNOWN, UNKNOWN), *found], found, strict=False):
        assert after[0] == before[1]
        assert after[0] != after[1]


def seen(
    status: Status, *, reply: float | None = 1.0, probe: float | None = 1.0, unconfirmed: Status | None = None
) -> Seen:
    return Seen(status, unconfirmed, reply, probe, interval=5.0, timeout=5.0)


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        (seen(HEALTHY), HEALTHY),
        (seen(HEALTHY, reply=9.9), HEALTHY),
        (seen(HEALTHY, reply=10.1), STALE),
        (seen(DEGRADED, reply=10.1), STALE),
        (seen(UNHEALTHY, reply=10.1), STALE),
        (seen(HEALTHY, reply=-3.0), STALE),  # a clock that was set back: an age that cannot be
        (seen(HEALTHY, reply=None), UNKNOWN),
        (seen(HEALTHY, reply=6.0, unconfirmed=UNREACHABLE), STALE),
        (seen(HEALTHY, unconfirmed=UNHEALTHY), UNHEALTHY),
        (seen(UNHEALTHY, unconfirmed=HEALTHY), UNHEALTHY),
        (seen(UNREACHABLE, reply=500.0), UNREACHABLE),
        (seen(UNREACHABLE, reply=None, probe=15.0), UNREACHABLE),
        (seen(UNREACHABLE, reply=None, probe=30.0), STALE),
        (seen(UNKNOWN, reply=None, probe=None), UNKNOWN),
        (seen(UNKNOWN, unconfirmed=UNHEALTHY), UNHEALTHY),
    ],
)
def test_shown_status__age_and_doubt__is_never_better_than_what_is_known(known: Seen, shown: Status) -> None:
    """HM-4: nothing older than two intervals is green; a failed fetch marks the cached status stale."""
    assert shown_status(known) == shown


@given(
    st.sampled_from([HEALTHY, DEGRADED, UNHEALTHY, VIOLATION, UNREACHABLE, UNKNOWN]),
    st.floats(0, 1e6) | st.none(),
    st.floats(0, 1e6) | st.none(),
    st.sampled_from([None, HEALTHY, DEGRADED, UNHEALTHY, VIOLATION, UNREACHABLE]),
)
def test_shown_status__anything__is_green_only_when_fresh(
    status: Status, reply: float | None, probe: float | None, unconfirmed: Status | None
) -> None:
    """HM-4: by no combination does old data look healthy."""
    shown = shown_status(Seen(status, unconfirmed, reply, probe, interval=5.0, timeout=5.0))
    if shown in (HEALTHY, DEGRADED):
        assert reply is not None and reply <= 10.0


def test_root_causes__chain_of_failures__leads_to_the_first() -> None:
    """HM-12: signals → orders → gateway: one cause."""
    statuses = {1: UNREACHABLE, 2: UNHEALTHY, 3: DEGRADED, 4: HEALTHY}
    assert root_causes(statuses, {2: [1], 3: [2], 4: [1]}) == {2: 1, 3: 1}


def test_root_causes__several_failing_parents__the_worst_counts() -> None:
    """HM-12: an unreachable parent explains more than an unhealthy one."""
    assert root_causes({1: UNHEALTHY, 2: UNREACHABLE, 3: UNHEALTHY}, {3: [1, 2]}) == {3: 2}


def test_root_causes__broken_contract__is_its_own_doing() -> None:
    """HM-12: a parent that is down does not make a service break its contract."""
    assert root_causes({1: UNREACHABLE, 2: VIOLATION}, {2: [1]}) == {}
    assert root_causes({1: VIOLATION, 2: UNHEALTHY}, {2: [1]}) == {}


def test_root_causes__stale_parent__explains_nothing() -> None:
    """HM-12: what is not known cannot be blamed."""
    assert root_causes({1: STALE, 2: UNHEALTHY}, {2: [1]}) == {}


def test_root_causes__a_circle__ends() -> None:
    """HM-12: forms refuse circles; a row written by hand must not hang a page."""
    assert set(root_causes({1: UNHEALTHY, 2: UNHEALTHY}, {1: [2], 2: [1]})) <= {1, 2}
