"""A small trading platform: it reads the breaker before each pretend order and sometimes trips it by itself.

It knows nothing of the portal. It talks to Redis as the platform's own services do, in the dialect it was built for.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import redis

log = logging.getLogger(__name__)

STATE = "circuit_breaker:state"
REASON = "circuit_breaker:last_trip_reason"
AT = "circuit_breaker:last_trip_at"
ORDERS = "demo:orders"
SYMBOLS = ("ALFA", "BRAV", "CHAR", "DELT")
REASONS = (
    "Drawdown 5.3 % is above the limit of 5.0 %",
    "Three orders in a row were rejected by the broker",
    "Market data of ALFA is 12 s old",
)


@dataclass
class Platform:
    """One order a second while trading is allowed; a trip of its own about every `trip_every` orders (0: never)."""

    client: redis.Redis
    dialect: str = "canonical"
    trip_every: int = 600
    chance: random.Random = field(default_factory=random.Random)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    refused: int = 0
    sent: int = 0

    def trading_allowed(self) -> bool:
        """Whether the breaker says OPEN; a Redis that does not answer means no."""
        try:
            raw = str(self.client.get(STATE) or "")
        except redis.RedisError:
            return False
        try:
            return bool((json.loads(raw)["state"] if raw.startswith("{") else raw) == "OPEN")
        except (ValueError, KeyError, TypeError):
            return False

    def step(self) -> str:
        """One look and, if allowed, one order or one trip: `refused`, `sent` or `tripped`."""
        if not self.trading_allowed():
            self.refused += 1
            return "refused"
        if self.trip_every and self.chance.randrange(self.trip_every) == 0:
            self.trip(self.chance.choice(REASONS))
            return "tripped"
        order = {"symbol": self.chance.choice(SYMBOLS), "quantity": str(self.chance.randrange(1, 100))}
        self.client.xadd(ORDERS, order, maxlen=1000, approximate=True)  # type: ignore[arg-type]
        self.sent += 1
        return "sent"

    def trip(self, reason: str) -> None:
        """What a risk service does: straight into Redis, without asking anybody."""
        at = self.now().isoformat()
        state = "TRIPPED"
        if self.dialect == "json":
            state = json.dumps({"state": state, "tripped_at": at, "trip_reason": reason, "trip_count_today": 1})
        with self.client.pipeline(transaction=True) as steps:
            steps.mset({STATE: state, REASON: reason, AT: at})
            steps.execute()
        log.warning("demo_platform_tripped", extra={"reason": reason})
