"""What follows from an answer, and how it is written (AD-4, AD-5)."""

from __future__ import annotations

import math

import pytest

from alerting import claiming, results
from alerting.channels.base import Answer
from alerting.models import Attempt, Channel, Delivery, Outcome, Status
from alerting.results import MOST_THROTTLES, TRIP_ATTEMPTS, TRIP_RETRY_SECONDS, Result, Throttled, judge
from tests.alerting.outgoing import queue

T, U, P, H, D = Outcome.TRANSIENT, Outcome.UNKNOWN, Outcome.PERMANENT, Outcome.THROTTLED, Outcome.DELIVERED


@pytest.mark.parametrize(
    ("outcome", "attempt", "status", "again_in"),
    [
        (D, 1, Status.DELIVERED, None),
        (D, 3, Status.DELIVERED, None),
        (T, 1, Status.FAILED, 1.0),
        (U, 2, Status.FAILED, 2.0),
        (H, 1, Status.FAILED, 1.0),
        (T, 3, Status.POISON, None),
        (P, 1, Status.POISON, None),
    ],
)
def test_judge__three_attempts__1_2_then_poison(
    outcome: Outcome, attempt: int, status: Status, again_in: float | None
) -> None:
    """AD-5: transient ones twice more, permanent ones never."""
    verdict = judge(Answer(outcome), attempt, 3, 0.0)
    assert (verdict.status, verdict.again_in) == (status, again_in)


def test_judge__maximum_is_raised__doubles_with_jitter() -> None:
    """AD-5: 4 s is waited only where more than three attempts are allowed; 20 % more or less."""
    assert judge(Answer(T), 3, 9, 0.0).again_in == 4.0
    assert judge(Answer(T), 3, 9, -1.0).again_in == pytest.approx(3.2)
    assert judge(Answer(T), 3, 9, 1.0).again_in == pytest.approx(4.8)
    assert judge(Answer(T), 19, 20, 1.0).again_in <= 3600  # type: ignore[operator]


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(None, 1.0), (0.2, 1.0), (40.0, 40.0), (7200.0, 7200.0), (1e9, 86_400.0), (math.inf, 86_400.0), (math.nan, 1.0)],
)
def test_judge__provider_asks_to_wait__is_waited_for_a_day_at_most(asked: float | None, waited: float) -> None:
    """AD-5: the longer of the two; nonsense is none."""
    assert judge(Answer(H, retry_after=asked), 1, 3, 0.0).again_in == waited


@pytest.mark.parametrize(
    ("before", "status", "again_in"),
    [
        (Throttled(), Status.FAILED, 1.0),
        (Throttled(3, 20.0), Status.FAILED, 8.0),
        (Throttled(20, 900.0), Status.FAILED, 60.0),
        (Throttled(5, 3600.0), Status.POISON, None),
        (Throttled(MOST_THROTTLES - 1, 5.0), Status.POISON, None),
    ],
)
def test_judge__provider_asks_to_wait__uses_up_no_attempt(
    before: Throttled, status: Status, again_in: float | None
) -> None:
    """AD-5: the provider works; it is asked for an hour, or a hundred times, the third attempt being long past."""
    verdict = judge(Answer(H), 3, 3, 0.0, throttled=before)
    assert (verdict.status, verdict.again_in, verdict.counts) == (status, again_in, status == Status.POISON)


@pytest.mark.parametrize("jitter", [-1.0, -0.3, 0.0, 1.0])
def test_judge__provider_says_how_long__never_before_that(jitter: float) -> None:
    """AD-5: `Retry-After` is obeyed; jitter is upwards only, and does not grow with the number of times."""
    verdict = judge(Answer(H, retry_after=20.0), 1, 3, jitter, throttled=Throttled(9, 60.0))
    assert verdict.again_in == 20.0 * (1 + abs(jitter) / 2) and verdict.rest == 20.0


@pytest.mark.parametrize(("again", "attempts"), [(True, 1), (False, 2)], ids=["looked", "did not look"])
def test_write__nobody_knows_whether_it_was_written__no_attempt_twice(
    transactional_db: None, again: bool, attempts: int
) -> None:
    """AD-4: the connection broke at the commit; the second time looks first. Else the row would count a late result."""
    channel = Channel.objects.create(name="desk", kind="webhook", sealed="")
    queue(channel, ["https://example.com/1"])
    connection = claiming.connect()
    try:
        (claimed,) = claiming.claim(connection, 5)
        result = Result(claimed, Answer(D, "Taken."), began=claimed.at, ended=claimed.at + 0.02)
        results.write(connection, [result], most=3)
        results.write(connection, [result], most=3, again=again)
    finally:
        connection.close()
    assert Attempt.objects.count() == attempts
    assert Delivery.objects.get().status == Status.DELIVERED and Delivery.objects.get().attempts == 1


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, Outcome.UNKNOWN, Outcome.THROTTLED])
def test_judge__a_trip_that_could_not_be_made__is_tried_for_an_hour(outcome: Outcome) -> None:
    """AL-5, AD-5: an outage of Redis must not cost the protection: no three attempts, and never a long wait."""
    waits = [judge(Answer(outcome), attempt, 3, 0.0, trip=True).again_in for attempt in range(1, TRIP_ATTEMPTS)]
    assert all(wait is not None and wait <= TRIP_RETRY_SECONDS for wait in waits)
    assert sum(filter(None, waits)) > 3500
    assert judge(Answer(outcome), TRIP_ATTEMPTS, 3, 0.0, trip=True).status == Status.POISON
    assert judge(Answer(Outcome.PERMANENT), 1, 3, 0.0, trip=True).status == Status.POISON
