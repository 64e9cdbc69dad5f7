"""Depth of streams and task queues, from a real Redis."""

from __future__ import annotations

import pytest
import redis as redis_client

from health.queues import Group, Stream, read_queues
from opsportal.embedded import EmbeddedRedis


@pytest.fixture(autouse=True)
def _streams(settings: object) -> None:
    settings.HEALTH_STREAMS = ["orders", "missing", "text"]  # type: ignore[attr-defined]


def test_queues__stream_with_a_group__shows_length_lag_and_pending(redis: redis_client.Redis) -> None:
    """HM-5: XLEN, lag and pending of each consumer group."""
    for number in range(5):
        redis.xadd("orders", {"n": str(number)})
    redis.xgroup_create("orders", "risk", id="0")
    redis.xreadgroup("risk", "one", {"orders": ">"}, count=3)
    (orders, *_) = read_queues(0).streams
    assert orders == Stream("orders", exists=True, length=5, groups=(Group("risk", lag=2, pending=3, consumers=1),))


def test_queues__stream_that_lost_entries__says_lag_is_not_known(redis: redis_client.Redis) -> None:
    """HM-5: Redis itself cannot tell the lag then; a number would be made up."""
    ids = [redis.xadd("orders", {"n": str(number)}) for number in range(5)]
    redis.xgroup_create("orders", "risk", id="0")
    redis.xreadgroup("risk", "one", {"orders": ">"}, count=1)
    redis.xdel("orders", str(ids[3]))
    assert read_queues(0).streams[0].groups[0].lag is None


def test_queues__missing_key_and_other_kind__are_told_apart(redis: redis_client.Redis) -> None:
    """HM-5: a stream nobody wrote yet is no fault; a key of another kind is said to be one."""
    redis.set("text", "not a stream")
    found = {stream.name: stream for stream in read_queues(0).streams}
    assert not found["missing"].exists and not found["missing"].problem
    assert found["text"].problem == "This key is not a stream."


def test_queues__tasks_that_wait__are_counted(redis: redis_client.Redis) -> None:
    """HM-5: Celery's queues are Redis lists."""
    redis.rpush("celery", "{}", "{}")
    assert {queue.name: queue.length for queue in read_queues(0).celery} == {"celery": 2, "health": 0, "alerts": 0}


def test_queues__redis_down__are_not_available(redis_server: EmbeddedRedis) -> None:
    """HM-5, Q-4: no number is shown that was not read."""
    with redis_server.stopped():
        assert not read_queues(0).available
