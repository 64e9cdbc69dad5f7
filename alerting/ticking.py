"""What happens every second without anybody's doing: the portal reads itself, and time passes (AL-2, AL-3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from django.db import Error, connection

from alerting import catalogue, observing, readings, ticks, upkeep
from alerting.metrics import EVALUATION_FAILURES
from alerting.pressure import has_room
from alerting.signals import Signal

log = logging.getLogger(__name__)

#: One tick at a time, over all processes: the number of PostgreSQL's advisory lock.
LOCK = 7_218_940_118
#: Values that stay the same are evaluated this often, in seconds; changes at once.
ALL_EVERY = 5.0
#: Open alerts are compared with the rules this often, and whenever a rule has changed.
COMPARE_EVERY = 15.0
#: So long senders get to tell again what they could not tell while nobody listened to them.
GRACE = timedelta(minutes=5)


class Ticker:
    """Ticks. What it remembers only saves work: another process, or a new one, does the same."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], float] = {}
        self._all_at = self._compared_at = self._marked_at = float("-inf")
        self._revision: tuple[int, str] | None = None
        self._expires_from: datetime | None = None

    def tick(self, now: datetime) -> bool:
        """One tick; False where another process is at it. A part that fails does not stop the others.

        Raises `django.db.Error` when PostgreSQL is away.
        """
        try:
            return self._tick(now)
        except Error:
            self._expires_from = None
            raise

    def _tick(self, now: datetime) -> bool:
        with _alone() as alone:
            if not alone:
                return False
            seen = catalogue.look(now)
            changed = (seen.number, seen.stamp) != self._revision
            moment = time.monotonic()
            compare = changed or moment - self._compared_at >= COMPARE_EVERY
            parts: list[Callable[[], object]] = [has_room]
            if compare:
                parts += [lambda: upkeep.drop_changed(now), lambda: upkeep.tell_unheard(now)]
            parts += [
                lambda: self._read(now, moment, every=changed),
                lambda: self._expire(now, full=seen.full),
                lambda: upkeep.promote(now),
                lambda: upkeep.tell_muted(now),
            ]
            done = [_guarded(part) for part in parts]
            if compare and all(done):
                self._compared_at, self._revision = moment, (seen.number, seen.stamp)
            return True

    def _expire(self, now: datetime, *, full: bool) -> None:
        """Alerts that were not told again end, but only once they could have been told for a while: not while the
        queue is full, and not at once after that, after a start, or after PostgreSQL was away."""
        if full:
            self._expires_from = None
            return
        self._expires_from = min(self._expires_from or now + GRACE, now + GRACE)
        if now >= self._expires_from:
            upkeep.expire(now)

    def _read(self, now: datetime, moment: float, *, every: bool) -> None:
        found = readings.read(now)
        everything = every or moment - self._all_at >= ALL_EVERY
        marked = {(signal.metric, signal.mark): signal for signal in found.signals}
        told = list(marked.values()) if everything else self._changed(marked)
        observing.take(told, now=now)
        self._values = {mark: signal.value for mark, signal in marked.items()}
        if everything:
            upkeep.drop_unwatched(found.subjects, now, found.lapsed)
            self._all_at = moment
        self._mark(moment)

    def _mark(self, moment: float) -> None:
        """Only here, where all was read and judged: a ticker that sees nothing must not seem to watch."""
        if moment - self._marked_at >= ticks.MARK_EVERY:
            ticks.mark()
            self._marked_at = moment

    def _changed(self, marked: dict[tuple[str, str], Signal]) -> list[Signal]:
        return [signal for mark, signal in marked.items() if self._values.get(mark) != signal.value]


def _guarded(part: Callable[[], object]) -> bool:
    try:
        part()
    except Exception as error:  # one part that fails never stops the others
        if isinstance(error, Error) and not connection.is_usable():
            raise
        EVALUATION_FAILURES.inc()
        log.exception("alert_tick_part_failed")
        return False
    return True


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether nobody else ticks. The lock ends with this connection, whatever ends it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        held = bool(cursor.fetchone()[0])
    try:
        yield held
    finally:
        if held:
            with suppress(Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
