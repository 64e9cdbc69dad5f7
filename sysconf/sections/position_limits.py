"""How much may be held and ordered."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sysconf.sections.base import Section
from sysconf.sections.marks import Dangerous, Unit

_MORE_AT_RISK = Dangerous.when_raised("A higher limit lets the strategies put more at risk.")


class PositionLimits(Section):
    """Limits over all strategies."""

    key: ClassVar[str] = "position_limits"
    title: ClassVar[str] = "Position limits"
    description: ClassVar[str] = "The most that strategies may hold and order together."

    max_position_per_symbol: Annotated[int, _MORE_AT_RISK, Unit("shares")] = Field(
        1_000, ge=1, le=100_000, title="Largest position in one symbol"
    )
    max_notional_total: Annotated[int, _MORE_AT_RISK, Unit("US dollars")] = Field(
        100_000, ge=1_000, le=10_000_000, title="Largest notional value in total"
    )
    max_open_orders: Annotated[int, _MORE_AT_RISK, Unit("orders")] = Field(
        10, ge=1, le=1_000, title="Most open orders at a time"
    )
