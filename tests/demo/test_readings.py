"""What the demo's services measure, as arithmetic: no process, no clock."""

from __future__ import annotations

from collections.abc import Set
from random import Random

from alerting.conditions import CONDITIONS
from opsportal.demo.readings import OVERTURE, SLOW_SERVICE, STRATEGIES, Readings
from opsportal.demo.roster import BY_NAME

ALL = frozenset(BY_NAME)


def readings(*, pace: float = 0.0, seed: int = 5) -> Readings:
    return Readings(chance=Random(seed), start=0.0, pace=pace)


def seen(
    source: Readings, seconds: range, *, halted: bool = False, running: Set[str] = ALL
) -> dict[tuple[str, str], list[float]]:
    """Each series' values over time, by metric and its label values."""
    values: dict[tuple[str, str], list[float]] = {}
    for second in seconds:
        for item in source.batch(float(second), halted=halted, running=running):
            values.setdefault((item["metric"], "/".join(item["labels"].values())), []).append(item["value"])
    return values


def test_batch__every_value__is_one_that_the_portal_knows() -> None:
    """RUN-3, AL-2: metrics of the catalogue, pushed ones, with their labels, each series once a batch."""
    batch = readings().batch(1.0, halted=False, running=ALL)
    for item in batch:
        condition = CONDITIONS[item["metric"]]
        assert condition.pushed and tuple(item["labels"]) == condition.labels
        assert condition.low <= item["value"] <= condition.high
    assert len({(item["metric"], *item["labels"].items()) for item in batch}) == len(batch)
    assert {item["metric"] for item in batch} == {name for name, one in CONDITIONS.items() if one.pushed} - {
        "external_alert"
    }


def test_quiet__hours__nothing_reaches_its_limit() -> None:
    """RUN-3: without mishaps nobody is woken."""
    for seed in range(3):
        values = seen(readings(seed=seed), range(0, 7200, 2))
        for (metric, labels), found in values.items():
            condition = CONDITIONS[metric]
            assert max(found) < condition.threshold, (metric, labels, max(found))


def test_trouble__by_itself__passes_each_limit_now_and_then_and_goes_back() -> None:
    """RUN-3: a drawdown, a latency and a position pass their limits, and not most of the time."""
    values = seen(readings(pace=1.0), range(0, 4 * 3600, 2))
    for metric in ("drawdown", "latency", "position_limit"):
        limit = CONDITIONS[metric].threshold
        over = [sum(value > limit for value in found) / len(found) for key, found in values.items() if key[0] == metric]
        assert 0 < max(over) < 0.3, (metric, over)


def test_overture__first_minute__a_latency_alert_has_something_to_fire_on() -> None:
    """RUN-3: within a minute of the first push orders are slow, for as long as a rule may want to see it."""
    values = seen(readings(pace=1.0), range(200))
    slow = [second for second, value in enumerate(values[("latency", SLOW_SERVICE)]) if value > 500]
    assert slow == list(range(int(OVERTURE[0]), int(OVERTURE[1])))


def test_halted__positions_go_flat_and_drawdowns_recover() -> None:
    """RUN-3, CB-2: what the platform does when it is halted shows in its values."""
    source = readings(pace=1.0)
    seen(source, range(60))
    source.provoke("drawdown", "pairs", 60.0)
    lossy = seen(source, range(60, 70))
    assert min(lossy[("drawdown", "pairs")]) >= 0.05
    source.heal("pairs")
    values = seen(source, range(70, 250), halted=True)
    for (metric, labels), found in values.items():
        if metric == "position_limit":
            assert found[-1] < 0.3, labels
        if metric == "drawdown":
            assert found[-1] < 0.03, labels


def test_service_down__its_latency_is_silent_prices_grow_old_and_orders_fail() -> None:
    """RUN-3, HM-12: the values fit what the health page shows."""
    source = readings()
    values = seen(source, range(40), running=ALL - {"market-data", "broker-gateway"})
    assert ("latency", "broker-gateway") not in values and ("latency", "market-data") not in values
    assert values[("data_age", "ALFA/primary")][-1] > 30
    assert min(values[("broker_errors", "demo-broker")]) > CONDITIONS["broker_errors"].threshold
    back = seen(source, range(40, 42))
    assert back[("data_age", "ALFA/primary")][-1] < 1


def test_provoke__lasts_a_minute__and_is_told() -> None:
    """RUN-3: what an operator of the demo asks for happens at once, and ends."""
    source = readings()
    source.provoke("latency", "signals", 10.0)
    source.provoke("drawdown", STRATEGIES[0], 10.0)
    values = seen(source, range(10, 90))
    assert min(values[("latency", "signals")][:60]) > 500 > max(values[("latency", "signals")][60:])
    assert min(values[("drawdown", STRATEGIES[0])][:60]) > 0.05
    assert values[("drawdown", STRATEGIES[0])][-1] < 0.05
    assert source.provoked(20.0) == ["drawdown of momentum", "latency of signals"] and source.provoked(80.0) == []
