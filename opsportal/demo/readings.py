"""What the demo's services measure and tell the portal: drawdowns, positions, latencies. No I/O, no clock.

It fits the story of the platform: while trading is halted positions are closed and drawdowns recover; a service that is
down makes prices old or orders fail.
"""

from __future__ import annotations

import math
from collections.abc import Set
from random import Random
from typing import Any

from opsportal.demo.behaviour import Spells
from opsportal.demo.platform import SYMBOLS

STRATEGIES = ("momentum", "mean-reversion", "pairs")
SERVICES = {"orders": 24.0, "broker-gateway": 40.0, "signals": 14.0, "market-data": 5.0}
"""Whose latency is told, and its usual milliseconds."""
FEED = "primary"
BROKER = "demo-broker"

DRAWDOWN = "drawdown"
LATENCY = "latency"
PROVOKED_SECONDS = {DRAWDOWN: 60.0, LATENCY: 60.0}
"""How long it lasts when an operator of the demo asks for it."""
#: The first trouble, so that within a minute of the first start there is something to see: from, until.
OVERTURE = (12.0, 180.0)
SLOW_SERVICE = "orders"


class Wander:
    """A value that wanders about `home` and is drawn towards where it is pulled. Seconds, never backwards."""

    def __init__(self, home: float, spread: float, *, chance: Random, low: float = 0.0, pull: float = 0.15) -> None:
        self.home, self.spread, self.low, self.pull = home, spread, low, pull
        self.value = home
        self._chance = chance

    def step(self, elapsed: float, towards: float | None = None) -> float:
        """Its value after so many seconds."""
        goal = self.home if towards is None else towards
        kept = math.exp(-self.pull * elapsed)
        noise = self._chance.gauss(0.0, self.spread) * math.sqrt(max(0.0, 1.0 - kept * kept))
        self.value = max(self.low, goal + (self.value - goal) * kept + noise)
        return self.value


class Readings:
    """All of them. `start`: seconds of the clock that `batch` is given. `pace`: of trouble by itself; 0: none."""

    def __init__(self, *, chance: Random, start: float, pace: float = 1.0) -> None:
        self._chance = chance
        self._last = start
        self._overture = tuple(start + moment for moment in OVERTURE) if pace else (math.inf, math.inf)
        self._provoked: dict[tuple[str, str], float] = {}
        self._drawdowns = {name: Wander(0.018, 0.006, chance=chance, pull=0.08) for name in STRATEGIES}
        self._positions = {
            (strategy, symbol): Wander(chance.uniform(0.35, 0.6), 0.08, chance=chance, pull=0.05)
            for strategy in STRATEGIES
            for symbol in SYMBOLS
        }
        self._losing = {name: self._spells(start, pace, (3600.0, 7200.0), (60.0, 90.0)) for name in STRATEGIES}
        self._piling = self._spells(start, pace, (2400.0, 4800.0), (40.0, 60.0))
        self._dawdling = self._spells(start, pace, (1500.0, 3000.0), (40.0, 70.0))
        self._piled = ("momentum", SYMBOLS[0])
        self._silent = 0.0

    def provoke(self, what: str, subject: str, now: float) -> None:
        """Make a drawdown of this strategy, or a latency of this service, begin now; it lasts a minute."""
        self._provoked[(what, subject)] = now + PROVOKED_SECONDS[what]

    def heal(self, subject: str) -> None:
        """End what was provoked of this strategy or service."""
        self._provoked = {key: until for key, until in self._provoked.items() if key[1] != subject}

    def provoked(self, now: float) -> list[str]:
        """What was asked for and still lasts, for people."""
        return [f"{what} of {subject}" for (what, subject), until in sorted(self._provoked.items()) if now < until]

    def batch(self, now: float, *, halted: bool, running: Set[str]) -> list[dict[str, Any]]:
        """One value of each, as `POST /api/v1/observations` takes them. `running`: the services that are alive."""
        elapsed, self._last = min(max(now - self._last, 0.0), 30.0), now
        return [
            *self._drawdown_values(now, elapsed, halted),
            *self._position_values(now, elapsed, halted),
            *self._latency_values(now, running),
            *self._data_ages(elapsed, running),
            self._broker_errors(running, halted),
        ]

    def _spells(
        self, start: float, pace: float, every: tuple[float, float], lasts: tuple[float, float]
    ) -> Spells | None:
        return Spells(every, lasts, chance=self._chance, start=start, pace=pace) if pace else None

    def _asked_for(self, what: str, subject: str, now: float) -> bool:
        return now < self._provoked.get((what, subject), -math.inf)

    def _drawdown_values(self, now: float, elapsed: float, halted: bool) -> list[dict[str, Any]]:
        values = []
        for name, wander in self._drawdowns.items():
            spells = self._losing[name]
            losing = spells is not None and spells.trouble(now) and not halted
            towards = 0.004 if halted else 0.064 if losing else None
            wander.pull = 0.12 if losing or halted else 0.08
            value = wander.step(elapsed, towards)
            if self._asked_for(DRAWDOWN, name, now):  # at once: who asks for it is looking
                value = wander.value = max(value, 0.062)
            values.append(_value(DRAWDOWN, round(min(value, 0.12), 4), strategy=name))
        return values

    def _position_values(self, now: float, elapsed: float, halted: bool) -> list[dict[str, Any]]:
        piling = self._piling is not None and self._piling.trouble(now)
        values = []
        for (strategy, symbol), wander in self._positions.items():
            full = piling and (strategy, symbol) == self._piled
            value = wander.step(elapsed, 0.0 if halted else 1.12 if full else None)
            value = min(value, 1.25 if full else 0.96)
            values.append(_value("position_limit", round(value, 3), strategy=strategy, symbol=symbol))
        return values

    def _latency_values(self, now: float, running: Set[str]) -> list[dict[str, Any]]:
        dawdling = self._dawdling is not None and self._dawdling.trouble(now)
        first, last = self._overture
        values = []
        for service, usual in SERVICES.items():
            if service not in running:
                continue
            slow = service == SLOW_SERVICE and (dawdling or first <= now < last)
            if slow or self._asked_for(LATENCY, service, now):
                value = self._chance.uniform(720.0, 1150.0)
            else:
                value = self._chance.lognormvariate(math.log(usual), 0.35)
            values.append(_value(LATENCY, round(value, 1), service=service))
        return values

    def _data_ages(self, elapsed: float, running: Set[str]) -> list[dict[str, Any]]:
        fresh = "market-data" in running
        self._silent = 0.0 if fresh else self._silent + elapsed
        return [
            _value("data_age", round(self._silent + self._chance.uniform(0.05, 0.6), 2), symbol=symbol, feed=FEED)
            for symbol in SYMBOLS
        ]

    def _broker_errors(self, running: Set[str], halted: bool) -> dict[str, Any]:
        broken = "broker-gateway" not in running and not halted
        return _value(
            "broker_errors", self._chance.randint(5, 9) if broken else self._chance.randrange(2), broker=BROKER
        )


def _value(metric: str, value: float, **labels: str) -> dict[str, Any]:
    return {"metric": metric, "value": value, "labels": labels}
