"""What becomes of a delivery after an attempt: decided purely, written in chunks, fenced by the lease (AD-4, AD-5)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from alerting import metrics, waiting
from alerting.channels.base import Answer
from alerting.claiming import OPEN, Claimed, Connection
from alerting.limits import UNLIMITED, Asked
from alerting.models import Outcome, Status

log = logging.getLogger(__name__)

#: Seconds before the second attempt; doubled for each further one.
FIRST_RETRY_SECONDS = 1.0
JITTER = 0.2
#: A trip of the breaker protects: it is tried for about an hour, and never waits long for Redis to come back.
TRIP_ATTEMPTS = 720
TRIP_RETRY_SECONDS = 5.0
#: A provider that asks to wait is asked again, in this time and so often; that uses up none of the attempts.
#: The time begins when the first wait has ended: the provider has named that one itself.
MOST_THROTTLED_SECONDS = 3600.0
MOST_THROTTLES = 100
#: Where it does not say how long: doubled up to this.
THROTTLE_BACKOFF_MAX = 60.0
#: A provider is believed up to this; then it is asked again.
MOST_WAIT_SECONDS = 86_400.0
#: Attempts after which no further doubling: the exponent stays small.
_MOST_DOUBLINGS = 11


@dataclass(frozen=True, slots=True)
class Verdict:
    """The delivery's next status; for a failed one the seconds until the next try.

    `counts`: it was one of its attempts. `rest`: the seconds for which its whole channel waits, as the provider asks.
    """

    status: Status
    again_in: float | None = None
    counts: bool = True
    rest: float | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """How often the provider asked to wait before, and the seconds since the first of these waits ended."""

    times: int = 0
    seconds: float = 0.0


NEVER = Throttled()


@dataclass(slots=True)
class Result:
    """What came of a claimed delivery. `tried`: an attempt was made; else it was set aside without one.

    `began` and `ended` are seconds of PostgreSQL's epoch: its time of the claim, and what passed here since.
    """

    claimed: Claimed
    answer: Answer
    began: float
    ended: float
    tried: bool = True
    triggered_at: float | None = None
    #: What it took from the limits; None if nothing.
    asked: Asked | None = None


def judge(
    answer: Answer, attempt: int, most: int, jitter: float, *, trip: bool = False, throttled: Throttled = NEVER
) -> Verdict:
    """What follows from the answer to attempt number `attempt` (from 1) of at most `most`; jitter from -1 to 1.

    `trip`: it is no message but the breaker's trip, which is tried for longer.
    """
    if answer.outcome == Outcome.DELIVERED:
        return Verdict(Status.DELIVERED)
    if answer.outcome == Outcome.THROTTLED and not trip:
        return _judge_throttled(answer, throttled, jitter)
    if answer.outcome == Outcome.PERMANENT or attempt >= (max(most, TRIP_ATTEMPTS) if trip else most):
        return Verdict(Status.POISON)
    backoff = FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS) * (1 + JITTER * jitter)
    if trip:
        backoff = min(backoff, TRIP_RETRY_SECONDS)
    asked = answer.retry_after or 0.0
    # `min` last: a NaN that a provider's number became is not waited for.
    return Verdict(Status.FAILED, min(MOST_WAIT_SECONDS, asked if asked > backoff else backoff))


def _judge_throttled(answer: Answer, before: Throttled, jitter: float) -> Verdict:
    """The provider works, but has enough for now."""
    if before.times + 1 >= MOST_THROTTLES or before.seconds >= MOST_THROTTLED_SECONDS:
        return Verdict(Status.POISON)
    asked = answer.retry_after
    if asked is None:
        rest = min(THROTTLE_BACKOFF_MAX, FIRST_RETRY_SECONDS * 2.0 ** min(before.times, _MOST_DOUBLINGS))
    else:  # a NaN that a provider's number became is not waited for
        rest = asked if asked > FIRST_RETRY_SECONDS else FIRST_RETRY_SECONDS
    rest = min(MOST_WAIT_SECONDS, rest)
    again_in = min(MOST_WAIT_SECONDS, rest * (1 + waiting.SPREAD * abs(jitter)))
    return Verdict(Status.FAILED, again_in, counts=False, rest=rest)


#: Of each since it last ended: what was retried by hand begins anew.
_THROTTLED = """
SELECT a.delivery_id, count(*) FILTER (WHERE a.outcome = 'throttled'),
    extract(epoch FROM min(coalesce(a.next_at, a.at)))::float8
FROM alerting_attempt a
WHERE a.delivery_id = ANY(%s) AND a.at > statement_timestamp() - interval '4 days' AND a.id > coalesce((
    SELECT max(f.id) FROM alerting_attempt f
    WHERE f.delivery_id = a.delivery_id AND f.next_at IS NULL AND NOT f.late), 0)
GROUP BY a.delivery_id
"""
_UPDATE = f"""
WITH r AS (
    SELECT * FROM unnest(%(id)s::bigint[], %(hour_bucket)s::timestamptz[], %(lease)s::uuid[], %(status)s::text[],
        %(again_in)s::float8[], %(sentence)s::text[], %(provider_id)s::text[], %(tried)s::boolean[],
        %(began)s::float8[], %(duration_ms)s::int[], %(number)s::int[], %(outcome)s::text[], %(status_code)s::int[],
        %(counts)s::boolean[])
        AS r (id, hour_bucket, lease, status, again_in, sentence, provider_id, tried, began, duration_ms, number,
            outcome, status_code, counts)
), done AS (
    UPDATE alerting_delivery AS t SET status = r.status, lease = NULL, outcome = r.sentence,
        attempts = least(t.attempts + (r.tried AND r.counts)::int, 32000),
        waits_for = CASE WHEN r.counts THEN '' ELSE 'provider' END,
        provider_id = CASE WHEN r.provider_id = '' THEN t.provider_id ELSE r.provider_id END,
        due_at = CASE WHEN r.again_in IS NULL THEN t.due_at
            ELSE statement_timestamp() + make_interval(secs => r.again_in) END,
        finished_at = CASE WHEN r.again_in IS NULL THEN statement_timestamp() END
    FROM r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease = r.lease AND t.{OPEN}
    RETURNING t.id, t.channel_id, t.status, t.outcome, r.tried
), members AS (
    -- What could not even be tried may be the fault of the one that carries: the others go out by themselves.
    UPDATE alerting_delivery AS m SET
        status = CASE WHEN done.tried THEN done.status ELSE m.status END,
        outcome = CASE WHEN done.tried THEN done.outcome ELSE m.outcome END,
        finished_at = CASE WHEN done.tried THEN statement_timestamp() END,
        merged_into = CASE WHEN done.tried THEN m.merged_into END,
        waits_for = CASE WHEN done.tried THEN m.waits_for ELSE '' END,
        due_at = CASE WHEN done.tried THEN m.due_at ELSE statement_timestamp() END
    FROM done WHERE %(digests)s AND m.merged_into = done.id AND m.{OPEN} AND done.status IN ('delivered', 'poison')
    RETURNING done.id AS leader, extract(epoch FROM m.triggered_at)::float8 AS triggered_at
), tries AS (
    INSERT INTO alerting_attempt
        (delivery_id, at, number, duration_ms, outcome, status_code, answer, next_at, late)
    SELECT r.id, to_timestamp(r.began), least(r.number, 32000), r.duration_ms, r.outcome, r.status_code, r.sentence,
        CASE WHEN done.id IS NOT NULL THEN statement_timestamp() + make_interval(secs => r.again_in) END,
        done.id IS NULL
    FROM r LEFT JOIN done ON done.id = r.id WHERE r.tried AND (NOT %(again)s OR NOT EXISTS (
        SELECT FROM alerting_attempt a WHERE a.delivery_id = r.id AND a.at = to_timestamp(r.began)))
    RETURNING id
)
SELECT id, ARRAY(SELECT triggered_at FROM members WHERE leader = done.id) FROM done
"""  # noqa: S608 - our own constants


def write(
    connection: Connection,
    results: Sequence[Result],
    *,
    most: int,
    again: bool = False,
    draw: Callable[[], float] = random.random,
) -> list[float | None]:
    """Write what came of each in one transaction, and count it; of each the seconds until it is due again, if it is.

    An attempt whose lease was lost is kept, marked late; it changes nothing else: somebody else has the delivery.
    `again`: nobody knows whether they were written before; attempts are not written twice.
    Raises `psycopg.Error`: then nothing was written, unless the connection broke before PostgreSQL could say so.
    """
    throttled = _throttled_before(connection, results)
    verdicts = [
        judge(
            each.answer,
            each.claimed.attempts + 1,
            most,
            2.0 * draw() - 1.0,
            trip=each.claimed.kind in UNLIMITED,
            throttled=throttled.get(each.claimed.id, NEVER),
        )
        if each.tried
        else Verdict(Status.POISON)
        for each in results
    ]
    arguments = _arguments(results, verdicts) | {"again": again}
    with connection.transaction() if any(verdict.rest for verdict in verdicts) else nullcontext():
        kept = dict(connection.execute(_UPDATE, arguments).fetchall())
        _let_rest(connection, results, verdicts, kept)
    for each, verdict in zip(results, verdicts, strict=True):
        _count(each, verdict, kept.get(each.claimed.id))
        _tell(each, verdict, kept=each.claimed.id in kept)
    return [
        verdict.again_in if each.claimed.id in kept else None for each, verdict in zip(results, verdicts, strict=True)
    ]


def _throttled_before(connection: Connection, results: Sequence[Result]) -> dict[int, Throttled]:
    """What came before, of those that the provider asks to wait."""
    began = {each.claimed.id: each.began for each in results if each.answer.outcome == Outcome.THROTTLED}
    if not began:
        return {}
    rows = connection.execute(_THROTTLED, [list(began)])
    return {each: Throttled(times, began[each] - first) for each, times, first in rows}


def _let_rest(
    connection: Connection, results: Sequence[Result], verdicts: Sequence[Verdict], kept: Mapping[int, Any]
) -> None:
    """What else is due for the same channels would only be told the same."""
    rests: dict[tuple[int, int, str], float] = {}
    for each, verdict in zip(results, verdicts, strict=True):
        row = each.claimed
        if verdict.rest is not None and row.id in kept and row.channel_version is not None:
            key = (row.channel_id, row.channel_version, row.kind)
            rests[key] = max(rests.get(key, 0.0), verdict.rest)
    for (channel_id, version, kind), seconds in sorted(rests.items()):  # in one order: no circle of waiting
        waiting.let_channel_rest(connection, channel_id, version, kind, seconds)


def _arguments(results: Sequence[Result], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    answers = [each.answer for each in results]
    return {
        "id": [each.claimed.id for each in results],
        "hour_bucket": [each.claimed.hour_bucket for each in results],
        "lease": [each.claimed.lease for each in results],
        "status": [str(verdict.status.value) for verdict in verdicts],
        "again_in": [verdict.again_in for verdict in verdicts],
        "sentence": [_fitting(answer.sentence, 300) for answer in answers],
        "provider_id": [_fitting(answer.provider_id, 200) for answer in answers],
        "tried": [each.tried for each in results],
        "began": [each.began for each in results],
        "duration_ms": [max(0, min(2_000_000_000, round((each.ended - each.began) * 1000))) for each in results],
        "number": [each.claimed.attempts + 1 for each in results],
        "outcome": [str(answer.outcome.value) for answer in answers],
        "status_code": [_code(answer.status_code) for answer in answers],
        "counts": [verdict.counts for verdict in verdicts],
        "digests": any(each.claimed.leads for each in results),
    }


def _fitting(text: str, most: int) -> str:
    """What a column takes: a provider's words may hold anything."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _code(code: int | None) -> int | None:
    return code if code is not None and -(2**31) <= code < 2**31 else None


def _count(result: Result, verdict: Verdict, members: Sequence[float] | None) -> None:
    """`members`: when what it carried was triggered; None: its lease was lost."""
    kind = result.claimed.kind
    if not result.tried:
        return
    metrics.ATTEMPTS.labels(kind, result.answer.outcome.value).inc()
    if result.claimed.attempts:
        metrics.RETRIES.labels(kind).inc()
    if members is None:
        metrics.LATE.labels(kind).inc()
    elif verdict.status == Status.DELIVERED and result.triggered_at is not None:
        for triggered_at in (result.triggered_at, *members):
            metrics.LATENCY.labels(kind).observe(max(0.0, result.ended - triggered_at))


def _tell(result: Result, verdict: Verdict, *, kept: bool) -> None:
    """A line for each attempt. What went well is told for who debugs: there is much of it, and a line costs a quarter
    of what sending a message costs."""
    row = result.claimed
    poisoned = kept and verdict.status == Status.POISON
    level = logging.DEBUG if kept and result.answer.outcome == Outcome.DELIVERED else logging.WARNING
    if not log.isEnabledFor(level):
        return
    told: dict[str, Any] = {
        "delivery": row.id,
        "channel": row.kind,
        "attempt": row.attempts + 1,
        "outcome": result.answer.outcome.value,
        "request_id": row.request_id,
    }
    if result.tried:
        log.log(level, "alert_attempt", extra=told if kept else {**told, "late": True})
    if poisoned:
        log.warning("alert_poisoned", extra=told)
