"""How one service of the demo behaves: its latencies, its mishaps, and what it says of itself. No I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from opsportal.demo.roster import CRASHES, DEGRADES, WRONG_TYPE, Latency, Profile

SLOW = "slow"
DEGRADED = "degrade"
BROKEN = "break"
MODES = frozenset({SLOW, DEGRADED, BROKEN})
"""What an operator of the demo can make of a service, until `heal`."""

SLOW_LATENCY = Latency(2.5, 0.2, 2.0, 3.5)
DOWN = "down"
TARDY = "slow to answer"
"""What a dependent finds of a service beside the three statuses of a reply."""

HTTP_STATUS = {"unhealthy": 503}


class Spells:
    """Calm and trouble in turn, from `start` on: calm first. All times in seconds of one clock that only goes up."""

    def __init__(
        self,
        every: tuple[float, float],
        lasts: tuple[float, float],
        *,
        chance: Random,
        start: float,
        pace: float = 1.0,
    ) -> None:
        self._every, self._lasts = every, lasts
        self._chance, self._pace = chance, pace
        self._trouble = False
        self._turn = start + self._drawn(every)

    def trouble(self, now: float) -> bool:
        """Whether there is trouble at `now`, which must not be earlier than in the last call."""
        while now >= self._turn:
            self._trouble = not self._trouble
            self._turn += self._drawn(self._lasts if self._trouble else self._every)
        return self._trouble

    def end(self, now: float) -> None:
        """Calm from now on; the next trouble comes after a whole calm."""
        self._trouble = False
        self._turn = now + self._drawn(self._every)

    def _drawn(self, bounds: tuple[float, float]) -> float:
        return self._chance.uniform(*bounds) / self._pace


def drawn(latency: Latency, chance: Random) -> float:
    """Seconds to take over one reply."""
    return min(max(chance.lognormvariate(math.log(latency.median), latency.sigma), latency.low), latency.high)


class Reply(NamedTuple):
    """A health reply: its HTTP status and its JSON object."""

    code: int
    body: dict[str, Any]


class Behaviour:
    """One service. `pace` makes its mishaps follow one another so many times faster; None: it has none.

    `modes` and `halted` are set from outside: what an operator of the demo wants of it, and whether trading is halted
    (then orders sends none).
    """

    def __init__(self, profile: Profile, *, chance: Random, start: float, pace: float | None = 1.0) -> None:
        self.profile = profile
        self.modes: frozenset[str] = frozenset()
        self.halted = False
        self._chance = chance
        self._gauges = {name: chance.randint(low, high) for name, low, high in profile.gauges}
        self._last_operation: float | None = None
        mishap = profile.mishap
        self._spells = (
            Spells(mishap.every, mishap.lasts, chance=chance, start=start, pace=pace) if mishap and pace else None
        )

    def delay(self) -> float:
        """Seconds to take over the next reply."""
        return drawn(SLOW_LATENCY if SLOW in self.modes else self.profile.latency, self._chance)

    def crashes(self, now: float) -> bool:
        """Whether it dies now."""
        return self._in_trouble(CRASHES, now)

    def reply(self, now: float, at: datetime, parents: Mapping[str, str]) -> Reply:
        """What it says of itself at the time `at`. `now`: the clock of the mishaps.

        `parents`: for each service it depends on what that one said (a status), DOWN or TARDY.
        """
        status, reason = self._condition(now, parents)
        details: dict[str, Any] = {"reason": reason} if reason else {}
        if self.halted and self.profile.operation == "last_order_at":
            details["trading"] = "halted"
        body = {
            "status": status,
            "service": self.profile.calls_itself or self.profile.name,
            "version": self.profile.version,
            "timestamp": at.isoformat(timespec="milliseconds"),
            self.profile.operation: self._operated(at, works=status != "unhealthy"),
            "details": details | self._measured(),
        }
        return Reply(HTTP_STATUS.get(status, 200), self._bent(body, now))

    def _in_trouble(self, kind: str, now: float) -> bool:
        mishap = self.profile.mishap
        return mishap is not None and mishap.kind == kind and self._spells is not None and self._spells.trouble(now)

    def _condition(self, now: float, parents: Mapping[str, str]) -> tuple[str, str]:
        for name, said in parents.items():
            if said == DOWN:
                return "unhealthy", f"{name} does not answer"
            if said == "unhealthy":
                return "unhealthy", f"{name} is unhealthy"
        for name, said in parents.items():
            if said in ("degraded", TARDY):
                return "degraded", f"{name} is {said}"
        if DEGRADED in self.modes:
            return "degraded", "told to degrade by an operator of the demo"
        if self._in_trouble(DEGRADES, now):
            return "degraded", "3 of 4 feeds connected, prices up to 2 s old"
        return "healthy", ""

    def _operated(self, at: datetime, *, works: bool) -> str | None:
        """The time of its last operation, which stands still while it cannot work."""
        if works and not (self.halted and self.profile.operation == "last_order_at"):
            period = self.profile.period
            self._last_operation = math.floor(at.timestamp() / period) * period
        if self._last_operation is None:
            return None
        return datetime.fromtimestamp(self._last_operation, UTC).isoformat(timespec="milliseconds")

    def _measured(self) -> dict[str, int]:
        for name, low, high in self.profile.gauges:
            step = max(1, (high - low) // 10)
            self._gauges[name] = min(max(self._gauges[name] + self._chance.randint(-step, step), low), high)
        return dict(self._gauges)

    def _bent(self, body: dict[str, Any], now: float) -> dict[str, Any]:
        """The body as a service gives it that has not read the contract, or has forgotten it."""
        if BROKEN in self.modes or self.profile.says_ok:
            body["status"] = "ok"
        if self._in_trouble(WRONG_TYPE, now):
            body |= {"status": "healthy", "version": 221, self.profile.operation: "a moment ago"}
        return body
