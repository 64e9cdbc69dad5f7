"""The one Redis client of a process.

Time-outs are short because a page must answer while Redis does not (CB-10): half a second to connect, half
a second to read, and a single second attempt when the connection had gone stale.
"""

import os
import threading

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

TIMEOUT_SECONDS = 0.5

_lock = threading.Lock()
_clients: dict[tuple[int, str], redis.Redis] = {}


def redis_client() -> redis.Redis:
    """The process-wide client of `settings.REDIS_URL`, decoding replies to text.

    Thread-safe, made anew after a fork and when the setting changes. Connecting and reading take at most
    0.5 s each; a command is tried once more on a new connection when the old one was dropped.

    Raises (on use): `redis.RedisError` and its `ConnectionError` and `TimeoutError`.
    """
    key = (os.getpid(), settings.REDIS_URL)
    client = _clients.get(key)
    if client is not None:
        return client
    with _lock:
        if key not in _clients:
            # Clients of a parent process or an earlier URL: their sockets are not ours to use.
            _clients.clear()
            _clients[key] = _build(settings.REDIS_URL)
        return _clients[key]


def _build(url: str) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        # A dropped connection is made anew once; a time-out is not repeated: the caller has waited enough.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        # Notices of Redis Enterprise: a round trip at each connect, and they may stretch the time-outs above.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return client
