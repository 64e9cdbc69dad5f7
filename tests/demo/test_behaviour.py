"""How a service of the demo behaves, as arithmetic: no process, no clock."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from health.contract import Broken, HealthReply, parse_reply
from opsportal.demo.behaviour import BROKEN, DEGRADED, DOWN, SLOW, TARDY, Behaviour, Spells, drawn
from opsportal.demo.roster import BY_NAME, PROFILES, Latency

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def service(name: str, *, pace: float | None = None) -> Behaviour:
    return Behaviour(BY_NAME[name], chance=Random(5), start=0.0, pace=pace)


def body(behaviour: Behaviour, now: float = 0.0, at: datetime = NOON, **parents: str) -> bytes:
    given = {name.replace("_", "-"): said for name, said in parents.items()}
    return json.dumps(behaviour.reply(now, at, given).body).encode()


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "pricing"])
def test_reply__every_service_but_pricing__keeps_the_contract(name: str) -> None:
    """RUN-3, HM-3: its proper last-operation field, not in the future, and a version."""
    reply = parse_reply(body(service(name)))
    assert reply.status == "healthy" and reply.version
    operated = getattr(reply, BY_NAME[name].operation)
    assert NOON - timedelta(seconds=BY_NAME[name].period) <= operated <= NOON
    assert reply.service == ("portfolio" if name == "positions" else name)


def test_roster__last_operation_fields__are_of_the_contract() -> None:
    """HM-3, HM-7: all different kinds of work are shown."""
    assert {profile.operation for profile in PROFILES} <= set(HealthReply.model_fields)
    assert len({profile.operation for profile in PROFILES}) >= 6


def test_reply__pricing__breaks_the_contract__now_and_then_by_a_wrong_type() -> None:
    """RUN-3, HM-3: a word the contract does not know, and at times fields of the wrong type."""
    pricing = service("pricing", pace=1.0)
    fields = set()
    for second in range(0, 3600, 5):
        with pytest.raises(Broken) as broken:
            parse_reply(body(pricing, float(second)))
        fields.add(broken.value.field)
    assert "status" in fields and len(fields) > 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [(DOWN, "unhealthy"), ("unhealthy", "unhealthy"), ("degraded", "degraded"), (TARDY, "degraded"), ("ok", "healthy")],
)
def test_reply__parent_in_trouble__is_in_trouble_and_says_which(said: str, expected: str) -> None:
    """RUN-3, HM-12: a dependant suffers with its parent, and its work stands still while that is down."""
    orders = service("orders")
    before = parse_reply(body(orders, risk="healthy", broker_gateway="healthy"))
    later = NOON + timedelta(minutes=1)
    reply = orders.reply(0.0, later, {"risk": "healthy", "broker-gateway": said})
    assert reply.body["status"] == expected
    assert reply.code == (503 if expected == "unhealthy" else 200)
    assert ("broker-gateway" in reply.body["details"].get("reason", "")) is (expected != "healthy")
    moved = parse_reply(json.dumps(reply.body).encode()).last_order_at != before.last_order_at
    assert moved is (expected != "unhealthy")


def test_reply__trading_halted__orders_sends_none() -> None:
    """CB-2: it is healthy, yet its last order grows old."""
    orders = service("orders")
    before = parse_reply(body(orders))
    orders.halted = True
    after = parse_reply(body(orders, at=NOON + timedelta(minutes=1)))
    assert after.status == "healthy" and after.last_order_at == before.last_order_at
    assert after.details["trading"] == "halted"


def test_modes__operator_of_the_demo__slow_degraded_broken() -> None:
    """RUN-3: what is asked for happens, until it is taken back."""
    risk = service("risk")
    risk.modes = frozenset({SLOW, DEGRADED})
    assert risk.delay() >= 2.0 and parse_reply(body(risk)).status == "degraded"
    risk.modes = frozenset({BROKEN})
    with pytest.raises(Broken):
        parse_reply(body(risk))
    risk.modes = frozenset()
    assert risk.delay() < 1.0 and parse_reply(body(risk)).status == "healthy"


def test_spells__an_hour__calm_first_and_within_their_bounds() -> None:
    """RUN-3: trouble comes about as often and lasts as long as the roster says."""
    spells = Spells((240.0, 420.0), (45.0, 75.0), chance=Random(3), start=100.0)
    seen = [spells.trouble(100.0 + second) for second in range(4 * 3600)]
    edges = [second for second in range(1, len(seen)) if seen[second] != seen[second - 1]]
    lengths = [later - earlier for earlier, later in zip([0, *edges], edges, strict=False)]
    assert not seen[0]
    assert all(239 <= length <= 421 for length in lengths[::2])
    assert all(44 <= length <= 76 for length in lengths[1::2])
    assert len(edges) > 40


def test_spells__ended__a_whole_calm_follows() -> None:
    """RUN-3: `drain` ends a stall that came by itself."""
    spells = Spells((10.0, 10.0), (5.0, 5.0), chance=Random(3), start=0.0)
    assert spells.trouble(11.0)
    spells.end(11.0)
    assert not spells.trouble(20.9) and spells.trouble(21.0)


def test_no_mishaps__a_day__nothing_happens_by_itself() -> None:
    """RUN-3: for those who want a quiet demo."""
    services: list[Any] = [service(name) for name in BY_NAME]
    for second in range(0, 86_400, 30):
        assert not any(behaviour.crashes(float(second)) for behaviour in services)
        assert all(behaviour.reply(float(second), NOON, {}).body["status"] != "degraded" for behaviour in services)


def test_drawn__many__are_log_normal_within_bounds() -> None:
    """RUN-3, HM-6: percentiles have something to tell apart."""
    chance = Random(11)
    latency = Latency(0.02, 0.5, high=0.2)
    taken = sorted(drawn(latency, chance) for _ in range(4000))
    assert statistics.median(taken) == pytest.approx(0.02, rel=0.05)
    assert taken[int(0.99 * 4000)] > 2.5 * taken[2000]
    assert latency.low <= taken[0] and taken[-1] <= latency.high
    slow = [drawn(BY_NAME["reconciliation"].latency, chance) for _ in range(1000)]
    assert min(slow) >= 0.8 and max(slow) <= 1.8
