"""How deep the queues are: the platform's Redis streams and Celery's lists (HM-5)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import redis
from django.conf import settings

from opsportal.observability.redis_client import redis_client

#: The queues of our own workers; each is a Redis list of this name.
CELERY_QUEUES = ("celery", "health", "alerts")


@dataclass(frozen=True)
class Group:
    """A consumer group of a stream. `lag`: entries not yet delivered to it; None where Redis cannot tell."""

    name: str
    lag: int | None
    pending: int
    consumers: int


@dataclass(frozen=True)
class Stream:
    """A stream. It may not exist yet, or be a key of another kind: `problem` then says so."""

    name: str
    exists: bool = False
    length: int = 0
    groups: tuple[Group, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class CeleryQueue:
    """Tasks that wait for a worker."""

    name: str
    length: int


@dataclass(frozen=True)
class Queues:
    """All of them in one reading; not `available` while Redis does not answer."""

    streams: tuple[Stream, ...] = ()
    celery: tuple[CeleryQueue, ...] = ()
    available: bool = False


_lock = threading.Lock()
_shared: tuple[float, Queues] = (float("-inf"), Queues())


def read_queues(max_age: float = 1.0) -> Queues:
    """The streams of `HEALTH_STREAMS` and Celery's queues, at most `max_age` seconds old. Never raises."""
    global _shared
    with _lock:
        if time.monotonic() - _shared[0] > max_age:
            _shared = (time.monotonic(), _read())
        return _shared[1]


def forget_queues() -> None:
    """Drop what this process remembers; for tests."""
    global _shared
    _shared = (float("-inf"), Queues())


def _read() -> Queues:
    names = settings.HEALTH_STREAMS
    try:
        with redis_client().pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(name)
                pipe.xlen(name)
                pipe.xinfo_groups(name)
            for queue in CELERY_QUEUES:
                pipe.llen(queue)
            found = pipe.execute(raise_on_error=False)
    except (redis.RedisError, OSError):
        return Queues()
    lengths = found[3 * len(names) :]
    if any(isinstance(item, redis.ConnectionError | redis.TimeoutError) for item in found):
        return Queues()
    return Queues(
        streams=tuple(_stream(name, *found[3 * at : 3 * at + 3]) for at, name in enumerate(names)),
        celery=tuple(
            CeleryQueue(name, length if isinstance(length, int) else 0)
            for name, length in zip(CELERY_QUEUES, lengths, strict=True)
        ),
        available=True,
    )


def _stream(name: str, exists: Any, length: Any, groups: Any) -> Stream:
    if not exists:
        return Stream(name)
    if isinstance(length, Exception) or isinstance(groups, Exception):
        return Stream(name, exists=True, problem="This key is not a stream.")
    return Stream(
        name,
        exists=True,
        length=length,
        groups=tuple(_group(group) for group in cast(list[dict[str, Any]], groups)),
    )


def _group(group: dict[str, Any]) -> Group:
    # Redis before 7 has no lag; later ones say nil after entries were deleted from the middle of the stream.
    return Group(str(group["name"]), group.get("lag"), int(group["pending"]), int(group["consumers"]))
