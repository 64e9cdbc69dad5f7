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
from alerting.digests import Held, Looks
from alerting.models import Priority
from alerting.results import Result
from alerting.sending import Job, KeyAwaited, Unsendable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the threads have room for: at most so many, none of the kinds in `full`, none less urgent."""

    most: int
    full: Sequence[str]
    #: When to look, too, for recipients whose hour has ended and whose waiting messages go out as one.
    looks: Looks
    least_urgent: Priority = Priority.INFO


@dataclass(frozen=True, slots=True)
class Admitted:
    """What was claimed, at `at` on the monotonic clock; of it, what goes out now and what can never be sent."""

    claimed: Sequence[Claimed] = ()
    ready: Sequence[Job] = ()
    unsendable: Sequence[Result] = ()
    at: float = 0.0
    #: Whether there may be more of what was wanted.
    more: bool = False


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
        fresh = claiming.claim(connection, wanted.most, full=wanted.full, least_urgent=wanted.least_urgent)
        claimed, looked = fresh, False
        if wanted.least_urgent > Priority.ACTION and wanted.looks.are_due(claimed, wanted.full):
            claimed, looked = _with_digests(connection, wanted, fresh)
        ready, unsendable = _within_limits(connection, waiting.put_off_resting(connection, claimed), take)
    if looked:
        wanted.looks.looked(claimed, wanted.full)
    _tell(fresh, unsendable)
    return Admitted(claimed, ready, unsendable, at, more=max(len(fresh), len(claimed)) >= wanted.most)


def _with_digests(connection: Connection, wanted: Wanted, fresh: list[Claimed]) -> tuple[list[Claimed], bool]:
    """With the digests that are due; what is less urgent and finds no room with them is given back.

    Of what is as urgent a digest goes first: it has waited for its hour, and would else wait for the next. And whether
    it may wait a while before digests are looked for again: not where they took all the room.
    """
    if len(fresh) < wanted.most:
        waiting.put_off_recoveries(connection)
    due = digests.find_due(connection, wanted.most, full=wanted.full, least_urgent=wanted.least_urgent)
    if not due:
        return fresh, True
    wanting: list[Held | Claimed] = [*due, *fresh]
    kept = sorted(wanting, key=lambda one: one.priority)[: wanted.most]  # of equals, the digest is first
    stay = [one for one in kept if isinstance(one, Claimed)]
    claiming.give_back(connection, fresh[len(stay) :])
    led = [row for one in kept if isinstance(one, Held) for row in digests.claim_digest(connection, one)]
    return sorted([*stay, *led], key=lambda row: (row.priority, not row.leads)), len(led) < wanted.most


def _within_limits(
    connection: Connection, claimed: Sequence[Claimed], take: limits.Take
) -> tuple[list[Job], list[Result]]:
    jobs, unsendable, locked = [], [], []
    for row in claimed:
        try:
            job = sending.prepare(row)
            while claiming.leave_out_broken(connection, row):
                job = sending.prepare(row)  # anew: its key is that of what it does tell
            jobs.append(job)
        except KeyAwaited:
            locked.append(row)
        except Unsendable as error:
            unsendable.append(sending.set_aside(row, str(error), now=row.at))
        except (django.db.Error, psycopg.Error, OSError, MemoryError):
            raise  # is not this row's fault
        except Exception:
            log.exception("alert_delivery_not_prepared", extra={"delivery": row.id})
            unsendable.append(sending.set_aside(row, sending.BROKEN, now=row.at))
    if locked:
        waiting.put_off_for_key(connection, locked)
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
