"""The process-wide Redis client: quick to give up, quick to come back."""

from __future__ import annotations

import multiprocessing
import time

import pytest
import redis

from opsportal.embedded import EmbeddedRedis
from opsportal.observability.redis_client import redis_client


def test_redis_client__asked_twice__is_one_client_that_decodes() -> None:
    """One pool a process."""
    client = redis_client()
    client.set("k", "ü")
    assert client is redis_client()
    assert client.get("k") == "ü"


def test_redis_client__redis_restarted__reconnects_by_itself(redis_server: EmbeddedRedis) -> None:
    """A connection that went stale is no error."""
    redis_client().set("k", "v")
    with redis_server.stopped():
        with pytest.raises(redis.ConnectionError):
            redis_client().get("k")
    assert redis_client().ping()


def test_redis_client__redis_hangs__gives_up_within_its_time(redis_server: EmbeddedRedis) -> None:
    """CB-10: a page must answer while Redis does not."""
    redis_client().ping()
    with redis_server.paused():
        started = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            redis_client().get("k")
        with pytest.raises(redis.TimeoutError):
            redis_client().get("k")
        assert time.monotonic() - started < 3
    assert redis_client().ping()


def test_redis_client__after_a_fork__is_a_new_one() -> None:
    """Parent and child must not read each other's replies."""
    parent = redis_client()
    parent.ping()
    receive, send = multiprocessing.get_context("fork").Pipe(duplex=False)

    def child() -> None:
        send.send((redis_client() is parent, bool(redis_client().ping())))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert receive.poll(10)
    assert receive.recv() == (False, True)
    process.join(10)
    assert parent.ping()
