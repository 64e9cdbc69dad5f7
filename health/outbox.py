"""What waits to be written into PostgreSQL. Kept, in order, while PostgreSQL is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from django.db import DataError, Error, IntegrityError, close_old_connections, connection

from health import archive, metrics
from health.archive import Change, Sample
from health.store import Record

log = logging.getLogger(__name__)

#: About half an hour of 500 services at 5 s; 30 MB.
MOST_SAMPLES = 200_000
CHUNK = 5_000
FLUSH_SECONDS = 1.0
AGAIN_SECONDS = 1.0
#: So long a sample should not wait: PostgreSQL hangs.
OVERDUE_SECONDS = 5.0


@dataclass(frozen=True)
class Batch:
    """What is written in one transaction."""

    samples: list[Sample] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    states: dict[int, Record] = field(default_factory=dict)

    def singles(self) -> Iterator[Batch]:
        """Each row on its own."""
        yield from (Batch(samples=[sample]) for sample in self.samples)
        yield from (Batch(changes=[change]) for change in self.changes)
        yield from (Batch(states={service_id: record}) for service_id, record in self.states.items())


class Outbox:
    """Filled by the sweep's loop, emptied by `deliver` through one thread, so that the sweep never waits."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()
        self._changes: deque[Change] = deque()
        self._states: dict[int, Record] = {}
        #: The one thread that speaks to PostgreSQL, with a connection of its own.
        self.thread = ThreadPoolExecutor(1, "health-archive")
        self.failing = False
        self.dropped = 0

    def add_sample(self, sample: Sample) -> None:
        """Keep a sample; the oldest one goes, and is counted, when there are too many."""
        self._samples.append(sample)
        if len(self._samples) > MOST_SAMPLES:
            self._samples.popleft()
            self.dropped += 1
            metrics.SAMPLES_DROPPED.inc()

    def add_change(self, change: Change) -> None:
        """Keep a change of status."""
        self._changes.append(change)

    def set_states(self, states: dict[int, Record]) -> None:
        """Keep the newest state of each service."""
        self._states |= states

    @property
    def waiting(self) -> int:
        """Samples that PostgreSQL has not taken, while it refuses or does not answer; 0 in good order."""
        if not self._samples:
            return 0
        overdue = time.monotonic() - self._samples[0].at > OVERDUE_SECONDS
        return len(self._samples) if self.failing or overdue else 0

    async def deliver(self) -> None:
        """Write what is there, for ever. What fails is put back in its place and tried again."""
        loop = asyncio.get_running_loop()
        while True:
            more = len(self._samples) > CHUNK and not self.failing
            await asyncio.sleep(0 if more else AGAIN_SECONDS if self.failing else FLUSH_SECONDS)
            batch = self._take()
            if batch and not await loop.run_in_executor(self.thread, self._write, batch):
                self._put_back(batch)

    def close(self, seconds: float) -> None:
        """Write what is left, if PostgreSQL takes it within `seconds`. To be called when the loop has ended."""
        while (batch := self._take()) and not self.failing:
            self.thread.submit(self._write, batch)
        closed = self.thread.submit(_close)
        self.thread.shutdown(wait=False)
        wait([closed], timeout=seconds)

    def _take(self) -> Batch | None:
        samples = [self._samples.popleft() for _ in range(min(CHUNK, len(self._samples)))]
        changes = [self._changes.popleft() for _ in range(len(self._changes))]
        states, self._states = self._states, {}
        return Batch(samples, changes, states) if samples or changes or states else None

    def _put_back(self, batch: Batch) -> None:
        self._samples.extendleft(reversed(batch.samples))
        self._changes.extendleft(reversed(batch.changes))
        self._states = batch.states | self._states

    def _write(self, batch: Batch) -> bool:
        """In the thread: whether PostgreSQL took it, or part of it was so wrong that it never will."""
        try:
            close_old_connections()
            _write(batch)
        except (DataError, IntegrityError):
            self._write_singly(batch)
        except Error as error:
            connection.close()
            if not self.failing:
                log.warning("health_archive_waits", extra={"cause": type(error).__name__})
            self.failing = True
            return False
        if self.failing:
            log.info("health_archive_goes_on")
        self.failing = False
        return True

    def _write_singly(self, batch: Batch) -> None:
        """One bad row must not stop the others: it is set aside in the log."""
        for single in batch.singles():
            try:
                _write(single)
            except Error as error:
                self.dropped += len(single.samples)
                log.error("health_row_set_aside", extra={"row": repr(single)[:500], "cause": type(error).__name__})


def _write(batch: Batch) -> None:
    archive.write(batch.samples, batch.changes, list(batch.states.items()), time.monotonic())


def _close() -> None:
    """Django's connection is the thread's own: only the thread itself can close it."""
    connection.close()
