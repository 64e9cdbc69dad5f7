"""The sweep (HM-2): one asyncio loop in a thread of a worker process probes every service when it is due.

Each service is probed by itself, at most once at a time, so a slow one delays no other. All times in here are
readings of the monotonic clock; only planned work is compared with the calendar.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientSession
from django.conf import settings

from health import errands
from health.archive import Change, Sample
from health.catalogue import Catalogue, Known
from health.judging import explains, root_cause
from health.leading import Leadership
from health.metrics import CHECK_DURATION, CHECKS, TRANSITIONS, UNMEASURED
from health.models import Status
from health.outbox import Outbox
from health.probes.base import ProbeResult, Target
from health.probes.http import open_session, probe
from health.slots import Slot
from health.stalls import Stalls, raise_file_limit

log = logging.getLogger(__name__)

#: New services begin one after the other, so that their replies do not queue up in our own loop and measure us instead
#: of them: 20 ms apart, closer when there are many, over a second or 2 ms each, but within most of an interval.
SPACING_SECONDS = 0.02
SPREAD_SECONDS = 1.0
LEAST_SPACING_SECONDS = 0.002
SPREAD = 0.8
#: So many begin before the loop turns to replies again. Without a bound a sweep that fell behind begins thousands in
#: one go, takes that for a pause of its own, voids what it measured, and begins them all again.
LAUNCH_AT_ONCE = 25
#: What is due within this time begins together, which saves waking up for each: of five hundred 25, about 2 ms of our
#: own work; of fifty two or three.
LOOK_AHEAD_SECONDS = 0.05
SHORT_SECONDS = 0.1
PUBLISH_SECONDS = 0.5
LEAD_SECONDS = 2.0
RELOAD_SECONDS = 30.0
ALL_STATES_SECONDS = 30.0
LAST_WORDS_SECONDS = 2.0

Ask = Callable[[ClientSession, Target], Awaitable[ProbeResult]]


class Sweeper:
    """Sweeps while it leads; otherwise it stands by. `start` and `stop` from any thread; the rest is the loop's own."""

    def __init__(self, ask: Ask = probe) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._ask = ask
        self._leadership = Leadership(self.holder)
        self._outbox = Outbox()
        self._stalls = Stalls()
        self._redis = ThreadPoolExecutor(1, "health-snapshot")
        self._catalogue = Catalogue()
        self._slots: dict[int, Slot] = {}
        self._statuses: dict[int, Status] = {}
        self._planned: frozenset[int] = frozenset()
        self._due: list[tuple[float, int]] = []
        self._dirty: set[int] = set()
        self._removed: set[int] = set()
        self._under_way = 0
        self._generation = ""
        self._late = 0.0
        self._leads = False
        self._most = raise_file_limit()
        self._thread = threading.Thread(target=self._main, name="health-sweep", daemon=True)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event
        self._reload_now: asyncio.Event
        self._session: ClientSession

    # ------------------------------------------------------------ from outside
    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def leads(self) -> bool:
        """Whether it is the one that sweeps."""
        return self._leads

    def start(self) -> None:
        """Begin in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End, writing what can be written and letting another sweeper lead at once. Takes a few seconds at most."""
        if self.loop is not None and self.alive:
            self.loop.call_soon_threadsafe(self._cancel)
            self._thread.join(3 * LAST_WORDS_SECONDS)

    # ------------------------------------------------------------ the loop
    def _main(self) -> None:
        # What was loaded until now stays for good: collections need not walk it again, 50 ms at a time.
        gc.collect()
        gc.freeze()
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            log.info("health_sweep_ended")
        except BaseExceptionGroup:
            # The next tick of beat starts another sweeper.
            log.exception("health_sweep_failed")
        finally:
            self._leads = False
            self._redis.shutdown(wait=False)
            self._outbox.close(LAST_WORDS_SECONDS)
            self._leadership.release(LAST_WORDS_SECONDS)

    def _cancel(self) -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._wake, self._reload_now = asyncio.Event(), asyncio.Event()
        async with open_session() as self._session, asyncio.TaskGroup() as tasks:
            for part in (
                self._stalls.watch(),
                self._lead(),
                self._keep_catalogue(),
                self._launch(),
                self._publish(),
                self._outbox.deliver(),
            ):
                tasks.create_task(part)

    async def _lead(self) -> None:
        while True:
            leads = await self._leadership.check(leading=self._leads)
            if leads and not self._leads:
                await self._take_over()
            elif self._leads and not leads:
                log.warning("health_sweep_stands_by", extra={"holder": self.holder})
            self._leads = leads
            self._wake.set()
            await asyncio.sleep(LEAD_SECONDS)

    async def _take_over(self) -> None:
        """Go on from where the last sweeper was: the snapshot, or PostgreSQL's record of it."""
        self._slots.clear()
        self._statuses.clear()
        self._due.clear()
        await self._in_thread(self._outbox.thread, errands.keep_partitions)
        catalogue, records = await self._in_thread(self._redis, errands.left_in_redis)
        await self._reload(fallback=catalogue)
        if not records:
            records = await self._in_thread(self._outbox.thread, errands.left_in_postgresql)
        now = time.monotonic()
        for service_id, slot in self._slots.items():
            if service_id in records:
                stamped = records[service_id]
                slot.restore(stamped.record, stamped.age_ms, now)
                self._statuses[service_id] = slot.track.status
        self._dirty.update(self._slots)
        log.info("health_sweep_leads", extra={"holder": self.holder, "services": len(self._slots)})

    # ------------------------------------------------------------ the registry
    async def _keep_catalogue(self) -> None:
        while True:
            await _event_within(self._reload_now, RELOAD_SECONDS)
            self._reload_now.clear()
            if self._leads:
                await self._reload()

    async def _reload(self, fallback: Catalogue | None = None) -> None:
        """The registry anew from PostgreSQL; while that does not answer, what is known stays."""
        loaded = await self._in_thread(self._outbox.thread, errands.load)
        if loaded is not None:
            await self._in_thread(self._redis, errands.copy_registry, loaded)
        self._adopt(loaded or fallback or self._catalogue)

    def _adopt(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._note_planned()
        known = {service.id: service for service in catalogue.services}
        gone = self._slots.keys() - known.keys()
        self._removed |= gone
        for service_id in gone:
            del self._slots[service_id]
            self._statuses.pop(service_id, None)
        shortest = min((service.interval for service in catalogue.services), default=1.0)
        spread = min(SPREAD * shortest, max(SPREAD_SECONDS, LEAST_SPACING_SECONDS * len(known)))
        spacing = min(SPACING_SECONDS, spread / max(1, len(known)))
        begin = time.monotonic()
        for service in catalogue.services:
            slot = self._slots.get(service.id)
            if slot is None:
                slot = self._slots[service.id] = _slot(service, due=begin)
                self._plan(slot, begin)
                begin += spacing
                self._dirty.add(service.id)
                self._removed.discard(service.id)
            elif slot.known != service:
                slot.known, slot.target = service, _target(service)
                slot.duration = CHECK_DURATION.labels(service.name)
                self._plan(slot, time.monotonic())

    def _note_planned(self) -> None:
        self._planned = frozenset(self._catalogue.planned(datetime.now(UTC)))

    # ------------------------------------------------------------ probing
    def _plan(self, slot: Slot, due: float) -> None:
        slot.due = due
        heapq.heappush(self._due, (due, slot.known.id))
        self._wake.set()

    async def _launch(self) -> None:
        while True:
            self._wake.clear()
            now, launched = time.monotonic(), 0
            while (
                launched < LAUNCH_AT_ONCE and self._leads and self._due and self._due[0][0] <= now + LOOK_AHEAD_SECONDS
            ):
                due, service_id = heapq.heappop(self._due)
                slot = self._slots.get(service_id)
                if slot is None or slot.task is not None or slot.due != due:
                    continue
                if self._under_way >= self._most:
                    self._plan(slot, now + 0.1)  # no file descriptor for it: our limit, not its failure
                    break
                self._late = max(self._late, now - due)
                launched += 1
                self._under_way += 1
                slot.task = asyncio.create_task(self._check(slot))
            next_due = self._due[0][0] - time.monotonic() if self._leads and self._due else 1.0
            if launched == LAUNCH_AT_ONCE:
                await asyncio.sleep(0)
            elif next_due < SHORT_SECONDS:
                await asyncio.sleep(max(0.001, next_due))  # cheaper than listening for news as well
            else:
                await _event_within(self._wake, min(next_due, 1.0))

    async def _check(self, slot: Slot) -> None:
        started = time.monotonic()
        try:
            result = await self._ask(self._session, slot.target)
        finally:
            slot.task = None
            self._under_way -= 1
        now = time.monotonic()
        if not self._leads or self._slots.get(slot.known.id) is not slot:
            return
        if self._stalls.between(started, now):
            # We were held up, not the service: nothing was measured.
            UNMEASURED.inc()
            self._plan(slot, now)
            return
        self._judge(slot, result, now, duration=now - started)
        due = slot.due + slot.known.interval
        if slot.track.unconfirmed and not result.status.is_up:
            due = min(due, now + slot.known.interval / 2)  # a first bad result is looked at again soon
        self._plan(slot, max(due, now))

    def _judge(self, slot: Slot, result: ProbeResult, now: float, *, duration: float) -> None:
        known, track = slot.known, slot.track
        planned = known.id in self._planned
        slot.duration.observe(duration)
        CHECKS.labels(result.status.word).inc()
        self._outbox.add_sample(Sample(known.id, now, result.status.value, result.latency_us, planned))
        slot.take(result, now)
        former = track.take(
            result.status, now, down_after=settings.HEALTH_DOWN_AFTER, up_after=settings.HEALTH_UP_AFTER
        )
        self._statuses[known.id] = track.candidate if track.unconfirmed else track.status
        self._dirty.add(known.id)
        if former is not None:
            self._changed(slot, former, result, now, planned=planned)

    def _changed(self, slot: Slot, former: Status, result: ProbeResult, now: float, *, planned: bool) -> None:
        service_id, status = slot.known.id, slot.track.status
        TRANSITIONS.labels(status.word).inc()
        root = root_cause(service_id, self._statuses, self._catalogue.parents)
        self._outbox.add_change(
            Change(
                service_id=service_id,
                service_name=slot.known.name,
                at=now,
                began=slot.track.since or now,
                from_status=former.value,
                to_status=status.value,
                cause=result.cause.value,
                field=result.field,
                sentence=result.sentence,
                caused_by=root if root != service_id else None,
                planned=planned,
                explains=tuple(self._explained_by(service_id)),
            )
        )
        self._outbox.set_states({service_id: slot.record(now)})
        log.info("health_status_changed", extra={"service": slot.known.name, "status": status.word})

    def _explained_by(self, service_id: int) -> list[int]:
        """Everything whose trouble this service's accounts for, directly or through others."""
        found: list[int] = []
        waiting = [service_id]
        while waiting:
            parent = waiting.pop()
            for child in self._catalogue.children.get(parent, ()):
                if child not in found and explains(self._status(parent), self._status(child)):
                    found.append(child)
                    waiting.append(child)
        return found

    def _status(self, service_id: int) -> Status:
        return self._statuses.get(service_id, Status.UNKNOWN)

    # ------------------------------------------------------------ telling
    async def _publish(self) -> None:
        """The snapshot, as soon as there is news; a sign of life each second; everything now and then."""
        all_at = said_at = 0.0
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            if not self._leads:
                continue
            now = time.monotonic()
            if now - all_at > ALL_STATES_SECONDS:
                all_at = now
                self._dirty.update(self._slots)
                self._outbox.set_states({key: slot.record(now) for key, slot in self._slots.items() if slot.probed})
            if now - said_at > 1.0:
                self._note_planned()
            elif not self._dirty:
                continue
            if await self._tell(now):
                said_at = now

    async def _tell(self, now: float) -> bool:
        dirty, self._dirty = self._dirty, set()
        removed, self._removed = self._removed, set()
        records = [(key, slot.record(now)) for key in dirty if (slot := self._slots.get(key)) and slot.probed]
        about = {
            "holder": self.holder,
            "services": len(self._slots),
            "waiting": self._outbox.waiting,
            "dropped": self._outbox.dropped,
            "late_ms": round(self._late * 1000),
        }
        self._late = 0.0
        told = await self._in_thread(self._redis, errands.write_snapshot, records, about, removed)
        if told is None:
            self._dirty |= dirty
            self._removed |= removed
            return False
        if told != self._generation:
            if self._generation:
                self._reload_now.set()
            self._generation = told
        return True

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
        assert self.loop is not None
        return await self.loop.run_in_executor(pool, work, *arguments)


async def _event_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _slot(known: Known, *, due: float) -> Slot:
    return Slot(known, _target(known), CHECK_DURATION.labels(known.name), due)


def _target(known: Known) -> Target:
    return Target(known.id, known.name, known.url, known.timeout)
