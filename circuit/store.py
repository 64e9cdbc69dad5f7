"""Talks to Redis about the breaker: one atomic read, one atomic compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import redis

from circuit import metrics, wire
from circuit.wire import Snapshot
from opsportal.observability.redis_client import redis_client

_LUA = Path(__file__).with_name("lua") / "transition.lua"


class BreakerUnreachable(Exception):
    """Redis did not answer, so the breaker can be neither read nor changed from here."""


class CooldownActive(Exception):
    """A reset came less than a minute after the last one. `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"{seconds} s left")


class BreakerChanged(Exception):
    """The breaker is no longer what the caller saw; nothing was changed. Read it again."""


@dataclass(frozen=True)
class Change:
    """New texts for the keys; None leaves a key as it is, and adds nothing to spool and history."""

    note: str
    spool: str | None = None
    state: str | None = None
    reason: str | None = None
    at: str | None = None
    cooldown_seconds: int = 0
    history: str | None = None
    history_score: float = 0.0


def read() -> Snapshot:
    """The breaker's keys in one atomic read. Raises `BreakerUnreachable`."""
    try:
        values = redis_client().mget(wire.STATE_KEY, wire.REASON_KEY, wire.AT_KEY, wire.NOTE_KEY)
    except (redis.RedisError, OSError, UnicodeDecodeError) as error:
        raise BreakerUnreachable(type(error).__name__) from error
    metrics.LAST_READ.set_to_current_time()
    return Snapshot(*cast(list[Any], values))


def write(seen: Snapshot, change: Change) -> str:
    """Apply the change if the breaker still is what was seen; returns the id of the spool entry, if any.

    Raises `BreakerChanged`, `CooldownActive`, `BreakerUnreachable`.
    """
    keys = [
        wire.STATE_KEY,
        wire.REASON_KEY,
        wire.AT_KEY,
        wire.NOTE_KEY,
        wire.SPOOL_KEY,
        wire.COOLDOWN_KEY,
        wire.HISTORY_KEY,
    ]
    arguments: list[Any] = [
        *map(_optional, (seen.state, seen.at, seen.note)),
        *map(_optional, (change.state, change.reason, change.at, change.note)),
        _optional(change.spool),
        change.cooldown_seconds,
        _optional(change.history),
        change.history_score,
        wire.HISTORY_LENGTH,
    ]
    try:
        answer = cast(list[Any], _script()(keys=keys, args=arguments, client=redis_client()))
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error
    verdict = cast(Literal["ok", "changed", "cooldown"], answer[0])
    if verdict == "changed":
        raise BreakerChanged
    if verdict == "cooldown":
        raise CooldownActive(max(1, -(-int(answer[1]) // 1000)))
    return str(answer[1])


def end_cooldown() -> None:
    """Let the next reset through: the one that started the cooldown has failed. Raises `BreakerUnreachable`."""
    try:
        redis_client().delete(wire.COOLDOWN_KEY)
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error


def forget_spooled(entry_id: str) -> None:
    """Remove a spool entry whose record is safely in PostgreSQL. Raises `BreakerUnreachable`."""
    try:
        redis_client().xdel(wire.SPOOL_KEY, entry_id)
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error


def spool_length() -> int:
    """How many records wait for PostgreSQL. Raises `BreakerUnreachable`."""
    try:
        return int(cast(Any, redis_client().xlen(wire.SPOOL_KEY)))
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error


def set_aside(entry_id: str, text: str) -> None:
    """Move a spool entry that cannot be understood out of the way of the others. Raises `BreakerUnreachable`."""
    try:
        with redis_client().pipeline(transaction=True) as steps:
            steps.xadd(wire.SPOOL_REFUSED_KEY, {"transition": text})
            steps.xdel(wire.SPOOL_KEY, entry_id)
            steps.execute()
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error


def spooled(*, until: str = "+", count: int = 100) -> list[tuple[str, str]]:
    """The oldest spool entries as (entry id, text): at most `count`, up to and with entry id `until`.

    An entry id begins with the time of writing in epoch milliseconds, which may stand alone as `until`.
    Raises `BreakerUnreachable`.
    """
    try:
        entries = cast(list[Any], redis_client().xrange(wire.SPOOL_KEY, max=until, count=count))
    except (redis.RedisError, OSError) as error:
        raise BreakerUnreachable(type(error).__name__) from error
    return [(entry_id, fields.get("transition", "")) for entry_id, fields in entries]


def _optional(value: str | None) -> str:
    return "-" if value is None else "=" + value


@cache
def _script() -> Any:
    return redis.Redis().register_script(_LUA.read_text(encoding="utf-8"))
