"""Which of several sweepers sweeps. PostgreSQL's lock and a lease in Redis, so that either may be away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from health import store
from opsportal.observability.leader import LeaderLock

# "opshealt" in ASCII. Advisory locks are per database, so two portals on one server do not meet.
LOCK_KEY = int.from_bytes(b"opshealt", "big")
ASK_SECONDS = 2.0


def decide(lock: bool | None, lease: bool | None, *, leading: bool) -> bool:
    """Whether to sweep, from what the lock and the lease say: ours, somebody else's, or None: no answer.

    Whoever answers must agree. With both away nobody else can learn anything either: it stays as it was.
    """
    if lock is None and lease is None:
        return leading
    return lock is not False and lease is not False


class Leadership:
    """Asks for the lock and the lease without ever holding the sweep up: each in a thread of its own."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._lock = LeaderLock(LOCK_KEY, application_name="opsportal-health")
        self._threads = {name: ThreadPoolExecutor(1, f"health-{name}") for name in ("lock", "lease")}
        self._asked: dict[str, Future[bool | None]] = {}

    async def check(self, *, leading: bool) -> bool:
        """Whether this sweeper leads now; takes what is free. At most about 4 s. Never raises."""
        lock = await self._ask("lock", self._lock.ask)
        # The lease only for who may have the lock: else the one that has it would wait for the lease to end.
        lease = await self._ask("lease", self._hold_lease) if lock is not False else False
        leads = decide(lock, lease, leading=leading)
        if not leads and lock:
            await self._ask("lock", self._give_up_lock)
        return leads

    def release(self, seconds: float) -> None:
        """Let another one lead at once; waits at most `seconds` for PostgreSQL and Redis to hear of it."""
        said = [self._threads["lock"].submit(self._give_up_lock), self._threads["lease"].submit(self._give_up_lease)]
        for thread in self._threads.values():
            thread.shutdown(wait=False)
        wait(said, timeout=seconds)

    async def _ask(self, name: str, question: Callable[[], bool | None]) -> bool | None:
        """The answer, or None when there is none in time; a question that still hangs is not asked twice."""
        before = self._asked.get(name)
        if before is not None and not before.done():
            return None
        asked = self._asked[name] = self._threads[name].submit(question)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(asked))
        except TimeoutError:
            return None

    def _hold_lease(self) -> bool | None:
        try:
            return store.hold_lease(self._holder)
        except store.HealthUnreachable:
            return None

    def _give_up_lock(self) -> bool | None:
        self._lock.release()
        return False

    def _give_up_lease(self) -> bool | None:
        store.release_lease(self._holder)
        return False
