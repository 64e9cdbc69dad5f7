"""What becomes of a delivery after an attempt: decided purely, written in chunks, fenced by the lease (AD-4, AD-5)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alerting import metrics
from alerting.channels.base import Answer
from alerting.claiming import OPEN, Claimed, Connection
from alerting.limits import UNLIMITED, Asked
from alerting.models import Outcome, Status

#: Seconds before the second attempt; doubled for each further one.
FIRST_RETRY_SECONDS = 1.0
JITTER = 0.2
#: A trip of the breaker protects: it is tried for about an hour, and never waits long for Redis to come back.
TRIP_ATTEMPTS = 720
TRIP_RETRY_SECONDS = 5.0
#: No provider is waited for longer than this, whatever it asks.
MOST_WAIT_SECONDS = 3600.0
#: Attempts after which no further doubling: the exponent stays small.
_MOST_DOUBLINGS = 11


@dataclass(frozen=True, slots=True)
class Verdict:
    """The delivery's next status; for a failed one the seconds until the next try."""

    status: Status
    again_in: float | None = None


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


def judge(answer: Answer, attempt: int, most: int, jitter: float, *, trip: bool = False) -> Verdict:
    """What follows from the answer to attempt number `attempt` (from 1) of at most `most`; jitter from -1 to 1.

    `trip`: it is no message but the breaker's trip, which is tried for longer.
    """
    if answer.outcome == Outcome.DELIVERED:
        return Verdict(Status.DELIVERED)
    if answer.outcome == Outcome.PERMANENT or attempt >= (max(most, TRIP_ATTEMPTS) if trip else most):
        return Verdict(Status.POISON)
    backoff = FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS) * (1 + JITTER * jitter)
    if trip:
        backoff = min(backoff, TRIP_RETRY_SECONDS)
    asked = answer.retry_after or 0.0
    # `min` last: a NaN that a provider's number became is not waited for.
    return Verdict(Status.FAILED, min(MOST_WAIT_SECONDS, asked if asked > backoff else backoff))


_UPDATE = f"""
WITH r AS (
    SELECT * FROM unnest(%(id)s::bigint[], %(hour_bucket)s::timestamptz[], %(lease)s::uuid[], %(status)s::text[],
        %(again_in)s::float8[], %(sentence)s::text[], %(provider_id)s::text[], %(tried)s::boolean[],
        %(began)s::float8[], %(duration_ms)s::int[], %(number)s::int[], %(outcome)s::text[], %(status_code)s::int[])
        AS r (id, hour_bucket, lease, status, again_in, sentence, provider_id, tried, began, duration_ms, number,
            outcome, status_code)
), done AS (
    UPDATE alerting_delivery AS t SET status = r.status, lease = NULL, outcome = r.sentence,
        attempts = least(t.attempts + r.tried::int, 32000), waits_for = '',
        provider_id = CASE WHEN r.provider_id = '' THEN t.provider_id ELSE r.provider_id END,
        due_at = CASE WHEN r.again_in IS NULL THEN t.due_at
            ELSE statement_timestamp() + make_interval(secs => r.again_in) END,
        finished_at = CASE WHEN r.again_in IS NULL THEN statement_timestamp() END
    FROM r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket AND t.lease = r.lease AND t.{OPEN}
    RETURNING t.id, t.status, t.outcome
), members AS (
    UPDATE alerting_delivery AS m SET status = done.status, outcome = done.outcome,
        finished_at = statement_timestamp()
    FROM done WHERE %(digests)s AND m.merged_into = done.id AND m.{OPEN} AND done.status IN ('delivered', 'poison')
    RETURNING m.id
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
SELECT id FROM done
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
    verdicts = [
        judge(
            each.answer, each.claimed.attempts + 1, most, 2.0 * draw() - 1.0, trip=each.claimed.kind in UNLIMITED
        )
        if each.tried
        else Verdict(Status.POISON)
        for each in results
    ]
    arguments = _arguments(results, verdicts) | {"again": again}
    kept = {row[0] for row in connection.execute(_UPDATE, arguments)}
    for each, verdict in zip(results, verdicts, strict=True):
        _count(each, verdict, kept=each.claimed.id in kept)
    return [
        verdict.again_in if each.claimed.id in kept else None for each, verdict in zip(results, verdicts, strict=True)
    ]


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
        "digests": any(each.claimed.leads for each in results),
    }


def _fitting(text: str, most: int) -> str:
    """What a column takes: a provider's words may hold anything."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _code(code: int | None) -> int | None:
    return code if code is not None and -(2**31) <= code < 2**31 else None


def _count(result: Result, verdict: Verdict, *, kept: bool) -> None:
    kind = result.claimed.kind
    if not result.tried:
        return
    metrics.ATTEMPTS.labels(kind, result.answer.outcome.value).inc()
    if result.claimed.attempts:
        metrics.RETRIES.labels(kind).inc()
    if not kept:
        metrics.LATE.labels(kind).inc()
    elif verdict.status == Status.DELIVERED and result.triggered_at is not None:
        metrics.LATENCY.labels(kind).observe(max(0.0, result.ended - result.triggered_at))
