"""The cache is never older than the last save, whoever is slow, dead or away (CF-2)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
from django.db import connections, transaction

from sysconf import services, store, tasks
from sysconf.errors import Unreadable
from sysconf.models import Version
from sysconf.sections import find_section
from sysconf.selectors import entry_of, forget_outage, read_section, stored_reading
from tests.sysconf.desk import DEFAULTS, HOURS, LIMITS, save, values

ENTRY, GATE = f"system_config:{HOURS}", f"system_config_version:{HOURS}"


@pytest.fixture(autouse=True)
def _committed(transactional_db: None) -> None:
    """What is saved is committed: other connections see it."""


@pytest.fixture
def notices(redis: redis_client.Redis) -> Iterator[Any]:
    """A service that listens; `notices()` are the announcements since the last look."""
    listener = redis.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("system_config")
    listener.get_message(timeout=1)

    def heard() -> list[dict[str, Any]]:
        found = []
        while message := listener.get_message(timeout=0.3):
            found.append(json.loads(message["data"]))
        return found

    yield heard
    listener.close()


def opening() -> str:
    return str(read_section(HOURS).values["market_open"])


def test_read__first__fills_redis_for_the_platform(redis: redis_client.Redis) -> None:
    """CF-2: section, version, values as JSON under the promised key, for 5 minutes; the next reader has it from there."""
    save(HOURS, market_open="08:00")
    redis.flushall()
    assert read_section(HOURS).source == "database"
    entry = json.loads(redis.get(ENTRY) or "")
    assert (entry["section"], entry["version"], entry["values"]) == (HOURS, 1, values(HOURS))
    assert 290 < redis.ttl(ENTRY) <= 300
    reading = read_section(HOURS)
    assert (reading.source, reading.version, reading.by, reading.values) == ("cache", 1, "desk", values(HOURS))
    assert reading.changed_at == Version.objects.get().at
    assert set(reading.touched) == {"market_open"}


def test_read__never_saved__is_the_defaults(redis: redis_client.Redis) -> None:
    """CF-1: version 0, by nobody, cached too."""
    for source in ("database", "cache"):
        reading = read_section(HOURS)
        assert (reading.source, reading.version, reading.changed_at, reading.by) == (source, 0, None, "")
        assert reading.values == values(HOURS)


def test_save__is_in_redis_and_announced_at_once(redis: redis_client.Redis, notices: Any) -> None:
    """CF-2, CF-5: the new values lie there, and whoever listens is told section and version."""
    read_section(HOURS)
    save(HOURS, market_open="08:00")
    assert json.loads(redis.get(ENTRY) or "")["values"]["market_open"] == "08:00"
    assert redis.get(GATE) == "1"
    assert notices() == [{"section": HOURS, "version": 1}]
    assert services.settle_cache() == [LIMITS, DEFAULTS]  # these have no gate yet; this one needs nothing
    assert services.settle_cache() == [] and notices() == []


def test_slow_reader__fills_after_the_save__is_turned_away(redis: redis_client.Redis) -> None:
    """CF-2: what was read before a save never comes back over it."""
    section = find_section(HOURS)
    assert section
    read_section(HOURS)
    slow = stored_reading(section)  # reads version 0, and then is kept waiting
    save(HOURS, market_open="08:00")
    redis.delete(ENTRY)
    assert store.fill(HOURS, slow.version, entry_of(slow)) is False
    assert opening() == "08:00"


def test_slow_reader__while_the_save_commits__leaves_nothing_stale(redis: redis_client.Redis) -> None:
    """CF-2: between gate and commit readers see the old values, and leave them nowhere."""
    read_section(HOURS)
    seen: list[str] = []

    def read() -> None:
        seen.append(opening())
        connections.close_all()

    with transaction.atomic():
        save(HOURS, market_open="08:00")
        reader = threading.Thread(target=read)
        reader.start()
        reader.join()
        assert redis.get(ENTRY) is None
    assert seen == ["09:30"]
    assert opening() == "08:00"


def test_saver__killed_after_the_commit__readers_are_right_and_the_notice_comes(
    redis: redis_client.Redis, notices: Any
) -> None:
    """CF-2, CF-5: version committed, gate raised, then nothing: no fill, no notice."""
    read_section(HOURS)
    store.raise_gate(HOURS, 1)
    Version.objects.create(section=HOURS, number=1, values=values(HOURS, market_open="08:00"), changes={}, reason="x")
    assert opening() == "08:00" and notices() == []
    assert HOURS in services.settle_cache()
    assert notices() == [{"section": HOURS, "version": 1}]


def test_save__rolled_back__the_gate_comes_down_again(redis: redis_client.Redis) -> None:
    """CF-2: a save that failed costs the cache a few seconds, not for good."""
    read_section(HOURS)

    class Failed(Exception):
        """The rest of somebody's transaction."""

    with pytest.raises(Failed), transaction.atomic():
        save(HOURS, market_open="08:00")
        raise Failed
    assert redis.get(GATE) == "1"
    assert opening() == "09:30" and redis.get(ENTRY) is None
    tasks.settle()
    assert redis.get(GATE) == "0"
    assert json.loads(redis.get(ENTRY) or "")["version"] == 0


def test_settle__during_a_save__keeps_out(redis: redis_client.Redis) -> None:
    """CF-2: whoever puts things right never lowers the gate of a save that has not committed."""
    read_section(HOURS)
    settled: list[list[str]] = []

    def settle() -> None:
        settled.append(services.settle_cache())
        connections.close_all()

    with transaction.atomic():
        save(HOURS, market_open="08:00")
        other = threading.Thread(target=settle)
        other.start()
        other.join()
        assert redis.get(GATE) == "1"
    assert HOURS not in settled[0]
    assert opening() == "08:00"


def test_settle__a_save_began_since_it_looked__writes_nothing(redis: redis_client.Redis) -> None:
    """CF-2: also where its lock was lost on the way."""
    read_section(HOURS)
    seen = store.look([HOURS])[0]
    store.raise_gate(HOURS, 1)
    assert store.settle(HOURS, seen, 0, "old") is False
    assert redis.get(ENTRY) is None and redis.get(GATE) == "1"


def test_save__redis_away__works_and_settles_when_it_is_back(redis: redis_client.Redis, redis_server: Any) -> None:
    """CF-2: the save counts, and says that services may be behind; the next round puts Redis right."""
    read_section(HOURS)
    before = {key: str(redis.get(key)) for key in (ENTRY, GATE)}
    with redis_server.stopped():
        saved = save(HOURS, market_open="08:00")
        assert not saved.cached
        reading = read_section(HOURS)
        assert (reading.source, reading.values["market_open"]) == ("database", "08:00")
        tasks.settle()  # a round in vain is logged, not raised
    for key, text in before.items():
        redis.set(key, text)  # as a Redis has it that keeps its data
    assert opening() == "09:30", "what the page warns of"
    tasks.settle()
    assert opening() == "08:00"
    assert redis.get(GATE) == "1"
    assert services.settle_cache() == []


def test_redis__lost_its_data__old_reading_does_not_get_in(redis: redis_client.Redis) -> None:
    """CF-2: without a gate nobody knows what is old; the first reader under the lock sets it."""
    section = find_section(HOURS)
    assert section
    slow = stored_reading(section)
    save(HOURS, market_open="08:00")
    redis.flushall()
    assert store.fill(HOURS, slow.version, entry_of(slow)) is False
    assert opening() == "08:00" and redis.get(GATE) == "1"


@pytest.mark.parametrize(
    "entry",
    ["", "{", "[]", "null", '{"version": 1}', '{"section":"x","version":0,"values":{},"changed_at":1,"by":"","touched":{}}',
     '{"section":"trading_hours","version":0,"values":{"market_open":"25:00"},"changed_at":null,"by":"","touched":{}}'],
)  # fmt: skip
def test_entry__nonsense__is_passed_over(redis: redis_client.Redis, entry: str) -> None:
    """CF-2: what lies in Redis is judged as the database's values are, and never believed otherwise."""
    save(HOURS, market_open="08:00")
    redis.set(ENTRY, entry)
    reading = read_section(HOURS)
    assert (reading.source, reading.values["market_open"]) == ("database", "08:00")


@pytest.mark.parametrize("key", [ENTRY, GATE, f"opsportal:sysconfig:attempt:{HOURS}"])
def test_keys__of_another_type__are_put_right(redis: redis_client.Redis, key: str) -> None:
    """CF-2: a key spoilt by somebody costs the cache, not the answer, until the next round."""
    save(HOURS, market_open="08:00")
    redis.delete(key)
    redis.lpush(key, "spoilt")
    assert opening() == "08:00"
    save(HOURS, market_open="07:00")
    assert opening() == "07:00"
    services.settle_cache()
    assert read_section(HOURS).source in ("cache", "database")
    assert opening() == "07:00" and redis.get(GATE) == "2"
    assert read_section(HOURS).source == "cache"


def test_postgresql__away__the_cache_answers_and_then_nothing_does(
    redis: redis_client.Redis, postgres_server: Any
) -> None:
    """CF-2: from Redis while it has it; afterwards a refusal in plain words, never the defaults."""
    save(HOURS, market_open="08:00")
    with postgres_server.stopped():
        connections.close_all()
        reading = read_section(HOURS)
        assert (reading.source, reading.values["market_open"]) == ("cache", "08:00")
        redis.delete(ENTRY)
        for _ in range(2):
            with pytest.raises(Unreadable, match="cannot be read"):
                read_section(HOURS)
    with pytest.raises(Unreadable):
        read_section(HOURS)  # left alone for a moment: nobody queues for time-outs
    forget_outage()
    assert opening() == "08:00"
