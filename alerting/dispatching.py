"""The dispatcher: claims what is due, sends it from threads, writes what came of it (AD-2, AD-14).

One thread of a worker process claims and writes, over one connection; its senders open none. At most as many
deliveries are claimed as can start at once, so that a killed worker holds few back and an urgent one never waits behind
claimed others. Any number of dispatchers may run, on any number of hosts.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import django.db
import psycopg
from django.conf import settings

from alerting import admitting, claiming, limits, metrics, results, sending
from alerting.admitting import Admitted, Wanted
from alerting.channels.base import SEND_SECONDS
from alerting.claiming import LEASE_SECONDS, Connection
from alerting.digests import Looks
from alerting.listening import Listener
from alerting.models import Outcome, Priority
from alerting.results import Result
from alerting.sending import Job
from alerting.shares import Shares

log = logging.getLogger(__name__)

#: Results are written together: so many, or those of so long.
CHUNK = 16
CHUNK_SECONDS = 0.004
#: What a lost nudge leaves is found after this time.
POLL_SECONDS = 1.0
#: Not begun so long after the claim, it is given back: the lease might end, and another send it, before this one does.
BEGIN_SECONDS = LEASE_SECONDS - SEND_SECONDS - 2.0
#: A nudge that comes so soon after a claim waits: while alerts pour in, several are claimed at once.
GATHER_SECONDS = 0.005
#: After PostgreSQL did not answer.
AGAIN_SECONDS = 0.5
_WAKE = object()


class Dispatcher:
    """Sends until it is stopped. `start`, `stop` and `wake` from any thread; the rest is its own thread's."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or settings.ALERT_THREADS
        self._shares = Shares(self._threads, CHUNK)
        self._jobs: queue.SimpleQueue[tuple[Job, float] | None] = queue.SimpleQueue()
        self._arriving: queue.SimpleQueue[Any] = queue.SimpleQueue()
        #: Kinds that the last claim left out because they had their share of the threads.
        self._passed_over: list[str] = []
        self._urgent_passed_over: list[str] = []
        self._done: list[Result] = []
        #: To be given back: they came to a thread too late.
        self._unbegun: list[Job] = []
        self._write_at = 0.0
        #: So many results are written each by itself: one of them was refused.
        self._alone = 0
        self._claim_at = self._claimed_at = 0.0
        #: When to look for what is urgent although there is no room for anything else.
        self._urgent_at = 0.0
        self._looks, self._urgent_looks = Looks(), Looks()
        #: When it last asked for the next due time, and what that was; both monotonic.
        self._looked_at = self._due_at = 0.0
        self._more = False
        self._failing = False
        self._written_before = False
        #: How often it looked and found nothing that it may send.
        self.idle_rounds = 0
        self._end_by = 0.0
        self._ending = threading.Event()
        self._woken = False
        self._connection: Connection | None = None
        self._counting = limits.Counting()
        self._listener = Listener(self.wake)
        self._senders: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._main, name="alerts-dispatcher", daemon=True)

    # ------------------------------------------------------------ from outside
    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def wake(self) -> None:
        """Look for what is due now."""
        if not self._woken:
            self._woken = True
            self._arriving.put(_WAKE)

    def stop(self) -> None:
        """End: finish what is being sent, give back what is not, write what came of it. At most about 12 s."""
        self._end_by = time.monotonic() + SEND_SECONDS + 1.0
        self._ending.set()
        self._arriving.put(_WAKE)
        self._listener.stop()
        if self.alive:
            self._thread.join(SEND_SECONDS + 2.0)

    # ------------------------------------------------------------ the loop
    def _main(self) -> None:
        # What was loaded until now stays for good: collections need not walk it again.
        gc.collect()
        gc.freeze()
        self._listener.start()
        for number in range(self._threads):
            sender = threading.Thread(target=self._send, name=f"alerts-sender-{number}", daemon=True)
            sender.start()
            self._senders.append(sender)
        log.info("alert_dispatcher_started", extra={"threads": self._threads})
        try:
            while not self._finished():
                self._guarded_round()
        finally:
            for _ in self._senders:
                self._jobs.put(None)
            self._disconnect()
            django.db.connections.close_all()
            log.info("alert_dispatcher_ended")

    def _finished(self) -> bool:
        if not self._ending.is_set():
            return False
        if time.monotonic() > self._end_by:
            return True
        try:
            self._return_unbegun()
        except psycopg.Error:
            self._disconnect()  # their leases will end
        return not self._shares.any_under_way and not self._done

    def _return_unbegun(self) -> None:
        with contextlib.suppress(queue.Empty):
            while (taken := self._jobs.get_nowait()) is not None:
                self._take(taken[0])
        self._give_back()

    def _give_back(self) -> None:
        unbegun, self._unbegun = self._unbegun, []
        if not unbegun:
            return
        claiming.give_back(self._connected(), [job.claimed for job in unbegun])
        if self._counting.by_redis:
            limits.give_back([], unsent=[job.asked for job in unbegun])
        self._claim_at = self._urgent_at = 0.0

    def _guarded_round(self) -> None:
        try:
            self._collect()
            self._give_back()
            if self._done and (len(self._done) >= CHUNK or time.monotonic() >= self._write_at):
                outage = self._failing
                self._write()
                while outage and self._done:  # of what waited long, others must not find the claim ended
                    self._write()
            now = time.monotonic()
            if not self._ending.is_set() and self._any_from(now) <= now:
                self._claim()
            elif not self._ending.is_set() and self._urgent_from(now) <= now:
                self._claim_urgent()
        except (psycopg.Error, django.db.Error, OSError) as error:
            self._fail("postgresql", error)
        except Exception as error:  # whatever it is, the next round may do better; beat cannot mend a dead loop
            self._fail("dispatcher", error)

    def _fail(self, what: str, error: Exception) -> None:
        metrics.DISPATCHER_FAILURES.labels(what).inc()
        if not self._failing:
            log.error("alert_dispatcher_failing", exc_info=error if what == "dispatcher" else None,
                      extra={"what": what, "error": type(error).__name__})  # fmt: skip
        self._failing = True
        self._disconnect()
        django.db.connections.close_all()
        self._more = False
        self._claim_at = self._urgent_at = self._write_at = time.monotonic() + AGAIN_SECONDS

    def _collect(self) -> None:
        """Wait for a result, a nudge, or the next thing to do; take all results that are there."""
        now = time.monotonic()
        until = now + 0.1 if self._ending.is_set() else self._claims_from(now)
        if self._done:
            until = min(until, self._write_at)
        try:
            self._take(self._arriving.get(timeout=max(0.0, until - now)))
            while len(self._done) < 4 * CHUNK:
                self._take(self._arriving.get_nowait())
        except queue.Empty:
            return

    def _take(self, arrived: Any) -> None:
        if arrived is _WAKE:
            self._woken = False
            if not self._failing:
                gathered = self._claimed_at + GATHER_SECONDS
                self._claim_at, self._urgent_at = min(self._claim_at, gathered), min(self._urgent_at, gathered)
            return
        kind = arrived.claimed.kind  # of a result, or of a job that was not begun
        self._shares.end([kind])
        if kind in self._passed_over and kind not in self._shares.full(self._shares.least):
            self._claim_at = 0.0
        if kind in self._urgent_passed_over and not self._failing:
            self._urgent_at = 0.0
        if isinstance(arrived, Job):
            self._unbegun.append(arrived)
        else:
            self._add(arrived)

    def _add(self, result: Result) -> None:
        if not self._done and not self._failing:
            self._write_at = time.monotonic() + CHUNK_SECONDS
        self._done.append(result)

    # ------------------------------------------------------------ claiming
    def _claims_from(self, now: float) -> float:
        """When the next claim may be made as things are; a result that comes before changes them."""
        return min(self._any_from(now), self._urgent_from(now))

    def _takes_none(self) -> bool:
        """PostgreSQL takes no results: it would give no claims either, and they are to be written first."""
        return len(self._done) >= self._threads or (self._failing and bool(self._done))

    def _any_from(self, now: float) -> float:
        if self._takes_none() or self._shares.room() < (self._shares.least if self._more else 1):
            return now + POLL_SECONDS
        return now if self._more else self._claim_at

    def _urgent_from(self, now: float) -> float:
        if not self._shares.keeps_some or self._takes_none() or self._shares.urgent_room() < 1:
            return now + POLL_SECONDS
        return self._urgent_at

    def _claim(self) -> None:
        full = self._passed_over = self._shares.full(self._shares.least)
        most = self._shares.most(self._shares.room(), full)
        admitted = self._admit(Wanted(most, full, self._looks))
        if admitted is None:
            return
        claimed = admitted.claimed
        self.idle_rounds += not claimed
        self._more = admitted.more
        if not self._more:
            self._claim_at = self._next_due(self._connected())
            if not full:  # it has seen all that is urgent
                self._urgent_at = time.monotonic() + POLL_SECONDS
        elif claimed and claimed[-1].priority <= Priority.CRITICAL:
            self._urgent_at = 0.0  # there may be more of it
        elif not full:
            self._urgent_at = time.monotonic() + POLL_SECONDS

    def _claim_urgent(self) -> None:
        """What must not wait for the kinds that hang: there is a thread for it."""
        room = self._shares.urgent_room()
        full = self._urgent_passed_over = self._shares.full(1)
        if room > 1:
            wanted = Wanted(self._shares.most(room - 1, full), full, self._urgent_looks, Priority.CRITICAL)
        else:
            wanted = Wanted(self._shares.most(room, full), full, self._urgent_looks, Priority.ACTION)
        admitted = self._admit(wanted)
        if admitted is not None:
            self._urgent_at = 0.0 if admitted.more else time.monotonic() + POLL_SECONDS

    def _admit(self, wanted: Wanted) -> Admitted | None:
        """Claim and hand to the threads. None: nothing was claimed, for Redis does not count; again, by PostgreSQL."""
        self._claimed_at = time.monotonic()
        try:
            admitted = admitting.admit(self._connected(), self._counting, wanted)
        except limits.NotCounting as error:
            self._counting.redis_failed(error)
            self._claim_at = self._urgent_at = 0.0
            return None
        self._failing = False
        for result in admitted.unsendable:
            self._add(result)
        self._hand_over(admitted)
        return admitted

    def _hand_over(self, admitted: Admitted) -> None:
        self._shares.begin(job.claimed.kind for job in admitted.ready)
        for job in admitted.ready:
            self._jobs.put((job, admitted.at))

    def _next_due(self, connection: Connection) -> float:
        """When to look again. Asked once a second: what comes meanwhile is nudged, or was written here."""
        now = time.monotonic()
        if now >= self._looked_at + POLL_SECONDS or self._due_at <= now:
            due = claiming.next_due(connection)
            self._looked_at = now
            self._due_at = now + (POLL_SECONDS if due is None else min(POLL_SECONDS, max(0.0, due)))
        return min(self._due_at, self._looked_at + POLL_SECONDS)

    # ------------------------------------------------------------ sending
    def _send(self) -> None:
        while (taken := self._jobs.get()) is not None:
            job, claimed_at = taken
            if time.monotonic() < claimed_at + BEGIN_SECONDS:
                self._arriving.put(sending.send(job, claimed_at=claimed_at))
            else:
                log.warning("alert_claim_too_old", extra={"delivery": job.claimed.id, "channel": job.claimed.kind})
                self._arriving.put(job)

    # ------------------------------------------------------------ writing
    def _write(self) -> None:
        chunk = self._done[: 1 if self._alone else 4 * CHUNK]
        try:
            written = self._write_chunk(chunk)
        except (psycopg.DataError, psycopg.IntegrityError):
            if len(chunk) > 1:  # one of them is refused: each by itself
                self._alone = len(chunk)
                self._write_at = 0.0
                return
            written = self._write_plainly(self._connected(), chunk[0])
        del self._done[: len(chunk)]
        self._alone = max(0, self._alone - len(chunk))
        self._write_at = 0.0 if self._alone else time.monotonic() + CHUNK_SECONDS
        again = [moment for moment in written if moment is not None]
        if again:
            self._due_at = min(self._due_at, time.monotonic() + min(again))
            self._claim_at = min(self._claim_at, self._due_at)
            self._urgent_at = min(self._urgent_at, self._due_at)
        self._not_taken(chunk)

    def _write_chunk(self, chunk: Sequence[Result]) -> list[float | None]:
        """Seconds until each is due again."""
        connection = self._connected()
        try:
            written = results.write(connection, chunk, most=settings.ALERT_MAX_ATTEMPTS, again=self._written_before)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self._written_before = True  # or was it? The next time looks.
            raise
        self._written_before = self._failing = False
        return written

    def _write_plainly(self, connection: Connection, result: Result) -> list[float | None]:
        """A result that PostgreSQL refuses, as what can surely be written."""
        log.exception("alert_result_not_written", extra={"delivery": result.claimed.id})
        result.answer = type(result.answer)(result.answer.outcome, "What the provider said could not be kept.")
        return results.write(connection, [result], most=settings.ALERT_MAX_ATTEMPTS, again=False)

    def _not_taken(self, chunk: Sequence[Result]) -> None:
        """A recipient's limit counts messages that may have arrived."""
        reached = (Outcome.DELIVERED, Outcome.UNKNOWN)
        back = [each.asked for each in chunk if each.tried and each.asked and each.answer.outcome not in reached]
        if back and self._counting.by_redis:
            limits.give_back(back)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = claiming.connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
