"""The demo's streams on the real Redis: they fill, are drained, and now and then are not."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import redis as redis_client

from opsportal.demo.platform import ORDERS
from opsportal.demo.streams import BEHIND, FLOWS, KEYS, MARKET_DATA, SIGNALS, Streams
from opsportal.embedded.environment import portal_environment

ALL = frozenset(flow.producer for flow in FLOWS)


class Desk:
    """Streams, and a clock that goes up by half a second a step."""

    def __init__(self, redis: redis_client.Redis, pace: float = 0.0) -> None:
        self.redis: Any = redis
        self.now = 0.0
        self.streams = Streams(redis, chance=Random(9), start=0.0, pace=pace)

    def run(self, seconds: float, running: frozenset[str] = ALL) -> None:
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.streams.step(self.now, running)

    def group(self, key: str, name: str) -> tuple[int, int]:
        """Lag and pending."""
        found = {group["name"]: group for group in self.redis.xinfo_groups(key)}
        return found[name]["lag"], found[name]["pending"]


@pytest.fixture
def desk(redis: redis_client.Redis) -> Desk:
    return Desk(redis)


def test_streams__a_minute__fill_at_their_rates_and_are_drained(desk: Desk) -> None:
    """RUN-3, HM-5: lag stays at nothing, a few are pending."""
    desk.run(60)
    assert desk.redis.xlen(MARKET_DATA) == 600 and desk.redis.xlen(SIGNALS) == 120
    for flow in FLOWS:
        for group in flow.groups:
            lag, pending = desk.group(flow.key, group)
            assert lag == 0 and 0 <= pending <= 10, (flow.key, group)
    assert desk.group(MARKET_DATA, "strategy")[1] > 0


def test_streams__stalled__lag_and_pending_grow__drained__they_go(desk: Desk) -> None:
    """RUN-3, HM-5: the pending are bounded by what a consumer takes at a time; the rest is lag."""
    desk.run(5)
    desk.streams.stall(MARKET_DATA)
    desk.run(60)
    lag, pending = desk.group(MARKET_DATA, "strategy")
    assert pending == BEHIND and lag > 400
    assert desk.group(SIGNALS, "execution")[0] == 0
    assert "stalled" in "; ".join(desk.streams.describe(MARKET_DATA, desk.now))
    desk.streams.drain(MARKET_DATA, desk.now)
    desk.run(1.5)
    lag, pending = desk.group(MARKET_DATA, "strategy")
    assert lag == 0 and pending <= 10


def test_streams__by_themselves__stall_now_and_then_and_catch_up(redis: redis_client.Redis) -> None:
    """RUN-3: over an hour every group falls behind and recovers, gradually."""
    desk = Desk(redis, pace=4.0)
    worst: dict[tuple[str, str], int] = {}
    ended: set[tuple[str, str]] = set()
    for _ in range(150):
        desk.run(2)
        for key, name in ((MARKET_DATA, "strategy"), (MARKET_DATA, "risk"), (SIGNALS, "execution")):
            behind = sum(desk.group(key, name))
            if behind <= 10 and worst.get((key, name), 0) > 30:
                ended.add((key, name))
            worst[key, name] = max(worst.get((key, name), 0), behind)
    assert min(worst.values()) >= 20
    assert {(MARKET_DATA, "strategy"), (MARKET_DATA, "risk")} <= ended


def test_streams__producer_down__does_not_fill(desk: Desk) -> None:
    """RUN-3: no market data comes from a dead service."""
    desk.run(5, ALL - {"market-data"})
    assert desk.redis.xlen(MARKET_DATA) == 0 and desk.redis.xlen(SIGNALS) == 10


def test_streams__trimmed_past_a_stalled_group__lag_still_returns_to_nothing(desk: Desk) -> None:
    """HM-5: a stall longer than the stream is kept does not spoil its figures for ever."""
    desk.run(1)
    desk.streams.stall(MARKET_DATA)
    desk.run(600)
    assert desk.redis.xlen(MARKET_DATA) < 5200
    desk.streams.drain(MARKET_DATA, desk.now)
    desk.run(2)
    assert desk.group(MARKET_DATA, "risk")[0] == 0


def test_streams__redis_lost_its_data__groups_are_made_again(desk: Desk) -> None:
    """RUN-1: one step says so, the next goes on."""
    desk.run(5)
    desk.redis.flushall()
    with pytest.raises(redis_client.ResponseError, match="NOGROUP"):
        desk.run(0.5)
    desk.run(5)
    assert desk.group(SIGNALS, "execution")[0] == 0


def test_streams__second_start__works_off_what_the_first_had_taken(desk: Desk, redis: redis_client.Redis) -> None:
    """RUN-1: what was pending when it was killed does not stay pending."""
    desk.run(5)
    desk.streams.stall(SIGNALS)
    desk.run(30)
    before = desk.group(SIGNALS, "execution")[1]
    again = Desk(redis)
    again.run(1)
    assert before > 30 and again.group(SIGNALS, "execution")[1] <= 5


def test_make_run__streams_of_the_demo__are_watched(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """RUN-3, HM-5: by default; what the caller's environment says wins."""
    monkeypatch.delenv("HEALTH_STREAMS", raising=False)
    assert portal_environment(tmp_path, {}, 8000)["HEALTH_STREAMS"] == ",".join(KEYS)
    assert ORDERS in KEYS
    monkeypatch.setenv("HEALTH_STREAMS", "mine")
    assert portal_environment(tmp_path, {}, 8000)["HEALTH_STREAMS"] == "mine"
