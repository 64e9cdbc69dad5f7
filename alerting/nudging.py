"""The nudge: tells the dispatchers that something is due. A hint; who misses it finds the rows a second later."""

from __future__ import annotations

import contextlib

import redis

from opsportal.observability.redis_client import redis_client

#: The Redis pub/sub channel that idle dispatchers listen to.
WAKE = "alerting:wake"


def nudge() -> None:
    """Wake the dispatchers. To be called after the commit. Never raises: the beat tick does the same a second later."""
    with contextlib.suppress(redis.RedisError, OSError):
        redis_client().publish(WAKE, "1")
