"""When the market is open."""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from sysconf.sections.base import Section, objection
from sysconf.sections.marks import ClockTime, TimeZone


def _in_order(days: list[date]) -> list[date]:
    return sorted(set(days))


class TradingHours(Section):
    """Regular hours, extended hours and holidays."""

    key: ClassVar[str] = "trading_hours"
    title: ClassVar[str] = "Trading hours"
    description: ClassVar[str] = "When strategies may trade."

    market_open: ClockTime = Field(time(9, 30), title="Market opens", description="In the time zone below.")
    market_close: ClockTime = Field(time(16, 0), title="Market closes", description="Later than the opening.")
    timezone: TimeZone = Field("America/New_York", title="Time zone")
    pre_market_enabled: bool = Field(False, title="Pre-market trading", description="Trade before the opening.")
    after_hours_enabled: bool = Field(False, title="After-hours trading", description="Trade after the close.")
    holidays: Annotated[list[date], AfterValidator(_in_order)] = Field(
        [], max_length=500, title="Holidays", description="Days without trading."
    )

    @model_validator(mode="after")
    def _close_after_open(self) -> Self:
        if self.market_close <= self.market_open:
            raise objection("market_close", f"The market must close later than it opens ({self.market_open:%H:%M}).")
        return self
