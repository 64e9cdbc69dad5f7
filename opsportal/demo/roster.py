"""The eight services of the demo platform and what each is like.

Named tuples, not dataclasses: every service is a process of its own that loads this, and `dataclasses` alone costs it
2.5 MB.
"""

from __future__ import annotations

from typing import NamedTuple

DEGRADES = "degrades"
CRASHES = "crashes"
WRONG_TYPE = "answers with a wrong type"


class Latency(NamedTuple):
    """A log-normal distribution in seconds, cut off at `low` and `high`."""

    median: float
    sigma: float
    low: float = 0.0005
    high: float = 1.0


class Mishap(NamedTuple):
    """What befalls a service by itself. Seconds, drawn evenly: `every` of calm, then `lasts` of trouble."""

    kind: str
    every: tuple[float, float] = (240.0, 420.0)
    lasts: tuple[float, float] = (45.0, 75.0)


class Profile(NamedTuple):
    """One service. `operation`: the field of its last operation, one of which happens every `period` seconds.

    `gauges`: what it tells in `details`, each with its least and greatest value.
    """

    name: str
    owner: str
    version: str
    operation: str
    period: float
    latency: Latency
    gauges: tuple[tuple[str, int, int], ...]
    depends_on: tuple[str, ...] = ()
    mishap: Mishap | None = None
    calls_itself: str = ""
    says_ok: bool = False
    """Its status is "ok", which the contract does not know."""


PROFILES = (
    Profile(
        name="market-data",
        owner="Market Data",
        version="4.12.0",
        operation="last_message_at",
        period=0.1,
        latency=Latency(0.003, 0.5),
        gauges=(("symbols", 4, 4), ("messages_per_second", 180, 260)),
        mishap=Mishap(DEGRADES),
    ),
    Profile(
        name="signals",
        owner="Strategy",
        version="2.7.3",
        operation="last_signal_at",
        period=2.0,
        latency=Latency(0.012, 0.4),
        gauges=(("models", 3, 3), ("signals_per_minute", 60, 120)),
        depends_on=("market-data",),
    ),
    Profile(
        name="orders",
        owner="Execution",
        version="5.1.0",
        operation="last_order_at",
        period=1.0,
        latency=Latency(0.008, 0.4),
        gauges=(("open_orders", 0, 40), ("rejected_today", 0, 6)),
        depends_on=("broker-gateway", "risk"),
    ),
    Profile(
        name="risk",
        owner="Risk",
        version="3.0.8",
        operation="last_risk_check_at",
        period=1.0,
        latency=Latency(0.018, 0.35),
        gauges=(("books", 6, 6), ("limits_used_percent", 20, 70)),
    ),
    Profile(
        name="broker-gateway",
        owner="Execution",
        version="1.19.2",
        operation="last_processed_at",
        period=0.5,
        latency=Latency(0.035, 0.6),
        gauges=(("sessions", 2, 2), ("round_trip_ms", 18, 60)),
        mishap=Mishap(CRASHES, every=(280.0, 420.0), lasts=(35.0, 45.0)),
    ),
    Profile(
        name="reconciliation",
        owner="Operations",
        version="0.9.4",
        operation="last_reconciliation_at",
        period=60.0,
        latency=Latency(1.15, 0.2, 0.8, 1.8),
        gauges=(("accounts", 12, 12), ("breaks", 0, 2)),
    ),
    Profile(
        name="pricing",
        owner="Pricing",
        version="2.2.1",
        operation="last_operation_at",
        period=0.5,
        latency=Latency(0.006, 0.5),
        gauges=(("curves", 9, 9), ("quotes_per_second", 40, 90)),
        mishap=Mishap(WRONG_TYPE),
        says_ok=True,
    ),
    Profile(
        name="positions",
        owner="Positions",
        version="6.3.0",
        operation="last_processed_at",
        period=2.0,
        latency=Latency(0.022, 0.45),
        gauges=(("open_positions", 30, 55), ("books", 6, 6)),
        calls_itself="portfolio",
    ),
)
BY_NAME = {profile.name: profile for profile in PROFILES}

MAIL = "mail-sink"
PROVIDERS = "fake-providers"
OUTSIDE = "outside"
"""What operators of the demo call those two together: one process plays them."""
LISTENERS = (*BY_NAME, MAIL, PROVIDERS)
"""All that has a port."""
