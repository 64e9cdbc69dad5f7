"""From what is due to what goes out now: claims, limits and refusals in one transaction (AD-2, AD-6)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import django.db
import psycopg

from alerting import claiming, digests, limits, metrics, sending, waiting
from alerting.claiming import Claimed, Connection
from alerting.models import Priority
from alerting.results import Result
from alerting.sending import Job, Unsendable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the threads have room for: at most so many, of the kinds in `full` none but actions, none less urgent."""

    most: int
    full: Sequence[str]
    least_urgent: Priority = Priority.INFO
    #: Whether to look, too, for recipients whose hour has ended and whose waiting messages go out as one.
    with_digests: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was claimed, at `at` on the monotonic clock; of it, what goes out now and what can never be sent."""

    claimed: Sequence[Claimed] = ()
    ready: Sequence[Job] = ()
    unsendable: Sequence[Result] = ()
    at: float = 0.0


def admit(connection: Connection, counting: limits.Counting, wanted: Wanted) -> Admitted:
    """Claim what is due and is within its limits; what is over one is put off.

    One transaction: a lease that others see has its place in the limits. Raises `limits.NotCounting` (nothing was
    claimed: Redis does not count; again, by PostgreSQL's count) and `psycopg.Error`.
    """
    if not counting.by_redis and not claiming.is_any_due(connection):
        return Admitted()  # before waiting for one's turn to count
    with connection.transaction():
        take = counting.begin(connection)
        at = time.monotonic()
        claimed = _claim(connection, wanted)
        ready, unsendable = _within_limits(connection, claimed, take)
    _tell(claimed, unsendable)
    return Admitted(claimed, ready, unsendable, at)


def _claim(connection: Connection, wanted: Wanted) -> list[Claimed]:
    claimed = claiming.claim(connection, wanted.most, full=wanted.full, least_urgent=wanted.least_urgent)
    if wanted.with_digests and len(claimed) < wanted.most:
        waiting.put_off_recoveries(connection)
        claimed += digests.claim_digests(connection, wanted.most - len(claimed), full=list(wanted.full))
    return claimed


def _within_limits(
    connection: Connection, claimed: Sequence[Claimed], take: limits.Take
) -> tuple[list[Job], list[Result]]:
    jobs, unsendable = [], []
    for row in claimed:
        try:
            jobs.append(sending.prepare(row))
            claiming.leave_out_broken(connection, row)
        except Unsendable as error:
            unsendable.append(sending.set_aside(row, str(error), now=row.at))
        except (django.db.Error, psycopg.Error, OSError, MemoryError):
            raise  # is not this row's fault
        except Exception:
            log.exception("alert_delivery_not_prepared", extra={"delivery": row.id})
            unsendable.append(sending.set_aside(row, sending.BROKEN, now=row.at))
    reasons = take([job.asked for job in jobs], [row.id for row in claimed])
    refused = [(job.claimed, reason) for job, reason in zip(jobs, reasons, strict=True) if reason]
    if refused:
        waiting.put_off(connection, refused)
    return [job for job, reason in zip(jobs, reasons, strict=True) if not reason], unsendable


def _tell(claimed: Sequence[Claimed], unsendable: Sequence[Result]) -> None:
    for row in claimed:
        if row.was_taken:
            metrics.TAKEN_OVER.labels(row.kind).inc()
            log.warning("alert_claim_taken_over", extra={"delivery": row.id, "channel": row.kind})
    for result in unsendable:
        metrics.SET_ASIDE.labels(result.claimed.kind).inc()
        log.warning("alert_delivery_set_aside", extra={"delivery": result.claimed.id, "why": result.answer.sentence})
