"""The platform's Redis streams: filled by its services, drained by consumer groups that now and then lag behind."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from random import Random
from typing import Any

import redis

from opsportal.demo.behaviour import Spells
from opsportal.demo.platform import ORDERS, SYMBOLS

MARKET_DATA = "demo:market-data"
SIGNALS = "demo:signals"
CONSUMER = "demo-1"
BEHIND = 100
"""How many entries a stalled consumer has taken and not yet acknowledged; the rest waits in the stream (lag)."""
FLOOD = 5000
CATCH_UP = 4.0
"""A consumer that has fallen behind reads so many times faster than its stream fills."""


@dataclass(frozen=True)
class Flow:
    """One stream: who fills it, with how many entries a second (0: somebody else does), and who reads it."""

    key: str
    producer: str
    rate: float
    groups: tuple[str, ...]
    expected: float
    """Entries a second that its readers are made for."""
    keep: int = 5000


FLOWS = (
    Flow(MARKET_DATA, "market-data", 10.0, ("strategy", "risk"), 10.0),
    Flow(SIGNALS, "signals", 2.0, ("execution",), 2.0),
    Flow(ORDERS, "orders", 0.0, ("execution", "risk"), 1.0),
)
KEYS = tuple(flow.key for flow in FLOWS)


@dataclass
class Reader:
    """A consumer group with its one consumer."""

    flow: Flow
    group: str
    stalls: Spells | None
    held: bool = False
    hurry: bool = False
    taken: list[str] = field(default_factory=list)

    def stalled(self, now: float) -> bool:
        """Whether it does not work off what it has taken."""
        return self.held or (self.stalls is not None and self.stalls.trouble(now))


class Streams:
    """Call `step` about twice a second. `pace`: how many times faster consumers stall by themselves; 0: they do not."""

    def __init__(self, client: redis.Redis, *, chance: Random, start: float, pace: float = 1.0) -> None:
        self._client: Any = client
        self._chance = chance
        self._last = start
        self._due = {flow.key: 0.0 for flow in FLOWS}
        self._prepared = False
        self._readers = [
            Reader(flow, group, self._spells(start, pace) if pace else None) for flow in FLOWS for group in flow.groups
        ]

    def step(self, now: float, running: Set[str]) -> None:
        """Fill by what is due since the last step and let every reader work. A service that is down fills nothing.

        Raises redis.RedisError; what could not be done then is left out, as a platform would lose it.
        """
        elapsed, self._last = min(now - self._last, 5.0), now
        try:
            if not self._prepared:
                self._prepare()
            self._fill(elapsed, running)
            self._drain(now, elapsed)
        except redis.RedisError:  # NOGROUP too: Redis has lost its data
            self._prepared = False
            raise

    def stall(self, key: str) -> None:
        """Its readers stop working until `drain`."""
        for reader in self._of(key):
            reader.held, reader.hurry = True, False

    def drain(self, key: str, now: float) -> None:
        """Its readers work again and catch up at once."""
        for reader in self._of(key):
            reader.held, reader.hurry = False, True
            if reader.stalls is not None:
                reader.stalls.end(now)

    def describe(self, key: str, now: float) -> list[str]:
        """Its length, and for each group lag, pending and whether it is stalled. Raises redis.RedisError."""
        words = [f"{self._client.xlen(key)} entries"]
        groups = {group["name"]: group for group in self._client.xinfo_groups(key)} if self._client.exists(key) else {}
        for reader in self._of(key):
            found = groups.get(reader.group, {})
            stalled = ", stalled" if reader.stalled(now) else ""
            words.append(f"{reader.group} lag {found.get('lag', 0)} pending {found.get('pending', 0)}{stalled}")
        return words

    def _of(self, key: str) -> list[Reader]:
        return [reader for reader in self._readers if reader.flow.key == key]

    def _spells(self, start: float, pace: float) -> Spells:
        return Spells((240.0, 480.0), (30.0, 75.0), chance=self._chance, start=start, pace=pace)

    def _prepare(self) -> None:
        """The groups exist, and what an earlier run had taken is worked off."""
        for reader in self._readers:
            key, group = reader.flow.key, reader.group
            try:
                self._client.xgroup_create(key, group, id="$", mkstream=True)
            except redis.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            found = self._client.xreadgroup(group, CONSUMER, {key: "0"})
            reader.taken = [entry for _, entries in found for entry, _ in entries]
        self._prepared = True

    def _fill(self, elapsed: float, running: Set[str]) -> None:
        with self._client.pipeline(transaction=False) as steps:
            for flow in FLOWS:
                if not flow.rate or flow.producer not in running:
                    continue
                self._due[flow.key] += flow.rate * elapsed
                whole = int(self._due[flow.key])
                self._due[flow.key] -= whole
                for _ in range(whole):
                    steps.xadd(flow.key, self._entry(flow.key), maxlen=flow.keep, approximate=True)
            steps.execute()

    def _entry(self, key: str) -> dict[str, str]:
        symbol = self._chance.choice(SYMBOLS)
        if key == MARKET_DATA:
            bid = self._chance.uniform(90, 110)
            return {"symbol": symbol, "bid": f"{bid:.2f}", "ask": f"{bid + 0.02:.2f}"}
        return {
            "symbol": symbol,
            "side": self._chance.choice(("buy", "sell")),
            "strength": f"{self._chance.random():.3f}",
        }

    def _drain(self, now: float, elapsed: float) -> None:
        """Acknowledge what was taken in the step before, take the next: so a few are always pending, none for long."""
        busy: list[tuple[Reader, int]] = []
        with self._client.pipeline(transaction=False) as steps:
            for reader in self._readers:
                count = self._appetite(reader, now, elapsed)
                if not reader.stalled(now) and reader.taken:
                    steps.xack(reader.flow.key, reader.group, *reader.taken)
                    reader.taken = []
                if count > 0:
                    busy.append((reader, count))
            steps.execute()
            for reader, count in busy:
                steps.xreadgroup(reader.group, CONSUMER, {reader.flow.key: ">"}, count=count)
            for (reader, count), found in zip(busy, steps.execute(), strict=True):
                taken = [entry for _, entries in found for entry, _ in entries]
                reader.taken += taken
                reader.hurry &= len(taken) == count

    def _appetite(self, reader: Reader, now: float, elapsed: float) -> int:
        """How many entries it would take now."""
        if reader.hurry:
            return FLOOD
        count = round(reader.flow.expected * elapsed * CATCH_UP) + 1
        if reader.stalled(now):
            return min(count, BEHIND - len(reader.taken))
        return count
