"""How many messages may go out: a kind of channel and all of them a minute, a recipient an hour (AD-6).

The counters are Redis's. While it is away, or has lost them, PostgreSQL counts: the attempts of the window and the
claims under way, by one dispatcher at a time. Windows are of PostgreSQL's clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import redis
from django.conf import settings

from alerting.claiming import LEASE_SECONDS, OPEN, Connection
from opsportal.observability.redis_client import redis_client

log = logging.getLogger(__name__)

MINUTE, HOUR = 60, 3600
#: Counters outlive their window: nobody's clock is exact.
_KEPT = {MINUTE: 2 * MINUTE, HOUR: 2 * HOUR}
#: Set while the counters in Redis are complete; a Redis that lost its data lost this too.
MARK = "ratelimit:complete"
#: "opslimit" in ASCII: an advisory lock of the database.
LOCK_KEY = int.from_bytes(b"opslimit", "big")
#: "opsredis" in ASCII: held for a while, shared, by who counts by Redis again; the others then look at once.
BACK_KEY = int.from_bytes(b"opsredis", "big")
#: While Redis is away it is asked so often whether it is back; and so long `BACK_KEY` is held, which is longer.
PROBE_SECONDS = 1.0
BACK_SECONDS = 3.0
#: Not a message: has no limits, and does not count.
UNLIMITED = frozenset(("breaker",))
#: Of deliveries that want to go out, and of all that were claimed with them: "" or the limit of each.
Take = Callable[[Sequence["Asked"], Sequence[int]], list[str]]
REASONS = ("", "recipient", "channel", "global")
_LUA = Path(__file__).with_name("lua")


class NotCounting(Exception):
    """Redis does not answer, or its counters are not complete: nothing was taken."""

    def __init__(self, why: str, *, answered: bool = False) -> None:
        super().__init__(why)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Asked:
    """A delivery that wants to go out. `channel_limit` 0: its kind has none. `at`: seconds of PostgreSQL's epoch.

    `other_hash`: the recipient's under another secret (AD-9); what was sent under it counts as well.
    """

    kind: str
    recipient_hash: str
    channel_limit: int
    recipient_limit: int
    at: float
    other_hash: str = ""

    @property
    def limited(self) -> bool:
        """Whether any limit is for it."""
        return self.kind not in UNLIMITED


@dataclass
class Used:
    """What a window's limits have given so far, by PostgreSQL's count."""

    kinds: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)

    def take(self, asked: Asked, global_limit: int) -> str:
        """Take from all limits and return "", or from none and return the limit that is reached. As the script does."""
        sent = self.recipients[asked.recipient_hash]
        if asked.other_hash:
            sent += self.recipients[asked.other_hash]
        if sent >= asked.recipient_limit:
            return "recipient"
        if asked.channel_limit and self.kinds[asked.kind] >= asked.channel_limit:
            return "channel"
        if self.kinds.total() >= global_limit:
            return "global"
        self.recipients[asked.recipient_hash] += 1
        self.kinds[asked.kind] += 1
        return ""


def ask(kind: str, recipient_hash: str, recipient_class: str, at: float, *, other_hash: str = "") -> Asked:
    """What a delivery of this kind asks for, under the present settings."""
    return Asked(
        kind=kind,
        recipient_hash=recipient_hash,
        channel_limit=settings.ALERT_CHANNEL_LIMITS.get(kind, 0),
        recipient_limit=settings.ALERT_RECIPIENT_LIMITS.get(recipient_class, settings.ALERT_GLOBAL_LIMIT),
        at=at,
        other_hash=other_hash,
    )


def window_end(at: float, limit: str) -> float:
    """When the limit's present window ends; seconds of the epoch."""
    length = HOUR if limit == "recipient" else MINUTE
    return (at // length + 1) * length


def channel_key(kind: str, at: float) -> str:
    """`ratelimit:{channel}:{minute}`, the minute written 202512181405, in UTC."""
    return f"ratelimit:{kind}:{_minute(at)}"


def recipient_key(recipient_hash: str, at: float) -> str:
    """`ratelimit:recipient:{hash}:{hour}`, the hour written 2025121814, in UTC."""
    return f"ratelimit:recipient:{recipient_hash}:{datetime.fromtimestamp(at, UTC):%Y%m%d%H}"


def global_key(at: float) -> str:
    """`ratelimit:global:{minute}`."""
    return f"ratelimit:global:{_minute(at)}"


# ---------------------------------------------------------------- by Redis
def take(asked: Sequence[Asked]) -> list[str]:
    """Of each, in this order: "" when it may go out, else the limit that it is over. One step of Redis for all.

    All are of one claim, and so of the same windows. Raises `NotCounting`.
    """
    limited = [each for each in asked if each.limited]
    if not limited:
        return [""] * len(asked)
    at = limited[0].at
    keys = [MARK, global_key(at)]
    arguments: list[Any] = [settings.ALERT_GLOBAL_LIMIT, _KEPT[MINUTE], _KEPT[HOUR]]
    for each in limited:
        names = (each.recipient_hash, each.other_hash or each.recipient_hash)
        keys += (channel_key(each.kind, at), *(recipient_key(name, at) for name in names))
        arguments += (each.channel_limit, each.recipient_limit)
    try:
        answers = cast(list[Any], _script("limits_take")(keys=keys, args=arguments, client=redis_client()))
    except (redis.RedisError, OSError) as error:
        raise NotCounting(type(error).__name__) from error
    if answers == [-1]:
        raise NotCounting("the counters are gone", answered=True)
    found = iter(answers)
    return [REASONS[int(next(found))] if each.limited else "" for each in asked]


def give_back(reached_nobody: Sequence[Asked], unsent: Sequence[Asked] = ()) -> None:
    """Give the recipient's limit back where the provider surely took nothing, and all limits of what was never sent.

    Never raises: a counter that stays too high errs on the quiet side.
    """
    keys = [recipient_key(each.recipient_hash, each.at) for each in (*reached_nobody, *unsent) if each.limited]
    for each in unsent:
        if each.limited:
            keys.append(global_key(each.at))
            if each.channel_limit:
                keys.append(channel_key(each.kind, each.at))
    if not keys:
        return
    try:
        _script("limits_return")(keys=keys, args=[], client=redis_client())
    except (redis.RedisError, OSError):
        log.debug("alert_limits_not_given_back")


# ---------------------------------------------------------------- by PostgreSQL
_USED = f"""
SELECT kind, recipient_hash, count(*) FILTER (WHERE at >= to_timestamp(%(minute)s)), count(*) FILTER (WHERE reached)
FROM (
    SELECT d.kind, d.recipient_hash, a.at, a.outcome IN ('delivered', 'unknown') AS reached
    FROM alerting_attempt a JOIN alerting_delivery d ON d.id = a.delivery_id
    WHERE a.at >= to_timestamp(%(hour)s)
    UNION ALL
    SELECT kind, recipient_hash, due_at - make_interval(secs => {LEASE_SECONDS}), true FROM alerting_delivery
    WHERE {OPEN} AND lease IS NOT NULL AND due_at > statement_timestamp()
        AND due_at - make_interval(secs => {LEASE_SECONDS}) >= to_timestamp(%(hour)s) AND id <> ALL(%(but)s)
) AS counted WHERE kind <> ALL(%(unlimited)s) GROUP BY kind, recipient_hash
"""  # noqa: S608 - our own constants


def count_used(connection: Connection, at: float, *, but: Sequence[int] = ()) -> Used:
    """What the windows of `at` have given, without the claims on the deliveries `but`. Raises `psycopg.Error`.

    A message that the provider surely did not take counts for its channel and for all, not for its recipient.
    """
    arguments: Mapping[str, Any] = {
        "minute": at // MINUTE * MINUTE,
        "hour": at // HOUR * HOUR,
        "but": list(but),
        "unlimited": list(UNLIMITED),
    }
    used = Used()
    for kind, recipient_hash, in_minute, reached in connection.execute(_USED, arguments):
        used.kinds[kind] += in_minute
        used.recipients[recipient_hash] += reached
    return used


def take_counted(used: Used, asked: Sequence[Asked]) -> list[str]:
    """As `take`, from PostgreSQL's count."""
    return [used.take(each, settings.ALERT_GLOBAL_LIMIT) if each.limited else "" for each in asked]


class _Probe:
    """Whether Redis is back: asked beside the work, for one that hangs takes half a second to say nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = self._running = False
        self._began = -PROBE_SECONDS

    def heard(self, answered: bool) -> None:
        """What somebody has just found."""
        with self._lock:
            self._answers = answered

    def answers(self) -> bool:
        """As it was found last; asks anew if it did not answer then."""
        with self._lock:
            if not self._answers and not self._running and time.monotonic() >= self._began + PROBE_SECONDS:
                self._running, self._began = True, time.monotonic()
                threading.Thread(target=self._ask, name="alerts-redis-probe", daemon=True).start()
            return self._answers

    def _ask(self) -> None:
        try:
            redis_client().ping()
            answered = True
        except (redis.RedisError, OSError):
            answered = False
        with self._lock:
            self._answers, self._running = answered, False


_probe = _Probe()


class Counting:
    """Who counts, for one dispatcher. When Redis is back its counters are completed before they are believed again."""

    def __init__(self) -> None:
        self.by_redis = True
        #: Until when it tells others that Redis is back; 0.0: it does not.
        self._tells_until = 0.0

    def redis_failed(self, why: NotCounting) -> None:
        """From now on PostgreSQL counts."""
        if self.by_redis:
            log.warning("alert_limits_counted_by_postgresql", extra={"why": str(why)})
        self.by_redis = False
        _probe.heard(why.answered)

    def begin(self, connection: Connection) -> Take:
        """At the start of a claim's transaction: what to ask in it. Raises `psycopg.Error`.

        While PostgreSQL counts, dispatchers do so one after the other. Who finds Redis back tells the others, who then
        look at once: so nobody gives by one count what the other has not heard of. In a Redis that comes back with its
        data, somebody who never noticed may take before the first one has completed the counters: the one moment that
        is not exact.
        """
        if not self.by_redis:
            alone = connection.execute(
                "SELECT pg_advisory_xact_lock(%s), pg_try_advisory_xact_lock(%s)", [LOCK_KEY, BACK_KEY]
            ).fetchone()
            told = alone is not None and not alone[1]
            if not ((_probe.answers() or told) and self._recovered(connection)):
                return partial(_take_counted_now, connection)
        elif self._tells_until and time.monotonic() >= self._tells_until:
            connection.execute("SELECT pg_advisory_unlock_shared(%s)", [BACK_KEY])
            self._tells_until = 0.0
        return partial(self._take_by_redis, connection)

    def _take_by_redis(self, connection: Connection, asked: Sequence[Asked], claimed: Sequence[int]) -> list[str]:
        """By Redis; if it does not answer, by PostgreSQL at once: others shall not claim the same to wait as long."""
        try:
            return take(asked)
        except NotCounting as error:
            if error.answered:
                raise
            # Without waiting for them: who has the locks may want a row of this claim.
            free = connection.execute(
                "SELECT pg_try_advisory_xact_lock(%s) AND pg_try_advisory_xact_lock(%s)", [LOCK_KEY, BACK_KEY]
            ).fetchone()
            if not free or not free[0]:
                raise
            self.redis_failed(error)
            return _take_counted_now(connection, asked, claimed)

    def _recovered(self, connection: Connection) -> bool:
        try:
            redis_client().ping()
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            assert row is not None
            _restore(count_used(connection, row[0]), row[0])
        except (redis.RedisError, OSError):
            _probe.heard(False)
            return False
        connection.execute("SELECT pg_advisory_lock_shared(%s)", [BACK_KEY])
        self._tells_until = time.monotonic() + BACK_SECONDS
        self.by_redis = True
        _probe.heard(True)
        log.info("alert_limits_counted_by_redis")
        return True


def _take_counted_now(connection: Connection, asked: Sequence[Asked], claimed: Sequence[int]) -> list[str]:
    return take_counted(count_used(connection, asked[0].at, but=claimed), asked) if asked else []


def _restore(used: Used, at: float) -> None:
    counters = [(global_key(at), used.kinds.total(), MINUTE)]
    counters += [(channel_key(kind, at), number, MINUTE) for kind, number in used.kinds.items()]
    counters += [(recipient_key(name, at), number, HOUR) for name, number in used.recipients.items()]
    arguments: list[Any] = []
    for _, number, window in counters:
        arguments += (number, _KEPT[window])
    _script("limits_restore")(keys=[MARK, *(key for key, _, _ in counters)], args=arguments, client=redis_client())


def _minute(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d%H%M}"


@cache
def _script(name: str) -> Any:
    return redis.Redis().register_script((_LUA / f"{name}.lua").read_text(encoding="utf-8"))
