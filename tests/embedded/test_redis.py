"""The embedded Redis: kept data, refused strangers, and crashes survived (RUN-1, RUN-2)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsportal.embedded import EmbeddedRedis

NO_RETRY = Retry(NoBackoff(), 0)


@contextmanager
def connected(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=2)
    try:
        yield client
    finally:
        client.close()


def test_restart__after_clean_stop__keeps_data_and_port(redis_instance: EmbeddedRedis) -> None:
    """RUN-1: Redis keeps its data too, by its append-only file."""
    before = redis_instance.port
    with connected(redis_instance) as client:
        client.set("kept_by_stop", "1")
    with redis_instance.stopped(), connected(redis_instance) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    with connected(redis_instance) as client:
        assert client.get("kept_by_stop") == "1"
    assert redis_instance.port == before


def test_restart__after_kill_9__keeps_data(redis_instance: EmbeddedRedis) -> None:
    """RUN-1: safe after kill -9."""
    with connected(redis_instance) as client:
        client.set("kept_by_kill", "1")
    with redis_instance.killed():
        pass
    with connected(redis_instance) as client:
        assert client.get("kept_by_kill") == "1"


def test_restart__append_only_file_cut_short__loses_only_the_last_command(
    redis_instance: EmbeddedRedis,
) -> None:
    """RUN-1: a write that a crash cut in half is no obstacle."""
    with connected(redis_instance) as client:
        client.set("whole", "1")
    redis_instance.stop()
    newest = max((redis_instance.folder / "appendonlydir").glob("*.incr.aof"), key=lambda f: f.stat().st_mtime)
    with newest.open("ab") as stream:
        stream.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    redis_instance.start()
    with connected(redis_instance) as client:
        assert client.get("whole") == "1"


def test_start__left_over_of_a_crash__is_ended_first(redis_instance: EmbeddedRedis) -> None:
    """RUN-1: two servers must never write one append-only file."""
    old = redis_instance.pid
    second = EmbeddedRedis(redis_instance.folder)
    second.start()
    try:
        assert old is not None
        assert old != second.pid
        assert not redis_instance.is_running
        assert not psutil.pid_exists(old)
    finally:
        second.stop()
        redis_instance.start()


def test_sign_in__wrong_or_no_password__is_refused(redis_instance: EmbeddedRedis) -> None:
    """RUN-2: nobody else on this machine may write the breaker's keys."""
    assert redis_instance.port is not None
    for password in (None, "guess"):
        client = redis.Redis(port=redis_instance.port, password=password, retry=NO_RETRY)
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()


def test_password__is_in_no_argument_and_no_open_file(redis_instance: EmbeddedRedis) -> None:
    """RUN-2: `ps` shows arguments to everybody."""
    assert redis_instance.pid is not None
    assert redis_instance.password not in " ".join(psutil.Process(redis_instance.pid).cmdline())
    for name in ("redis.conf", "server.json"):
        assert stat.S_IMODE((redis_instance.folder / name).stat().st_mode) == 0o600


def test_settings__are_those_of_a_store_not_a_cache(redis_instance: EmbeddedRedis) -> None:
    """CB-2: the breaker's keys are never evicted, and survive."""
    with connected(redis_instance) as client:
        for name, value in (
            ("maxmemory-policy", "noeviction"),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("bind", "127.0.0.1"),
        ):
            assert client.config_get(name) == {name: value}


def test_paused__hangs_and_comes_back(redis_instance: EmbeddedRedis) -> None:
    """Q-4: the fault tests' own tool: alive, and silent."""
    client = redis.Redis.from_url(redis_instance.url, socket_timeout=0.2, retry=NO_RETRY)
    with redis_instance.paused(), pytest.raises(redis.TimeoutError):
        client.ping()
    assert client.ping()
    client.close()
