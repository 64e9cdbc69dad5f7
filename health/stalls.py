"""Tells when this process itself was held up: a measurement across such a time says nothing about a service."""

from __future__ import annotations

import asyncio
import logging
import resource
import time

from health.metrics import CLOCK_JUMPS

log = logging.getLogger(__name__)

BEAT_SECONDS = 0.25
STALL_SECONDS = 0.5
JUMP_SECONDS = 2.0
#: Descriptors kept for everything that is not a probe.
SPARE_FILES = 100
WANTED_FILES = 65_536


class Stalls:
    """A pulse of the event loop. A process that was stopped, swapped out or starved misses beats."""

    def __init__(self) -> None:
        self._beat = time.monotonic()
        self._held_up_until = float("-inf")

    async def watch(self) -> None:
        """Beat for ever, noting missed beats and jumps of the host's clock."""
        self._beat = time.monotonic()
        offset = time.time() - self._beat
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            if now - self._beat - BEAT_SECONDS > STALL_SECONDS:
                self._held_up_until = now
                log.warning("health_sweep_held_up", extra={"seconds": round(now - self._beat, 1)})
            self._beat = now
            drift = time.time() - now - offset
            if abs(drift) > JUMP_SECONDS:
                CLOCK_JUMPS.inc()
                log.warning("clock_jumped", extra={"seconds": round(drift, 1)})
                offset += drift

    def between(self, started: float, finished: float) -> bool:
        """Whether the loop was held up between these two readings of the monotonic clock."""
        return started < self._held_up_until or finished - self._beat > BEAT_SECONDS + STALL_SECONDS


def raise_file_limit() -> int:
    """Allow this process as many open files as it may have; how many probes may then be under way at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            log.warning("health_file_limit_stays", extra={"limit": soft})
    return max(SPARE_FILES, soft - SPARE_FILES)
