"""The switches that decide whether trading is real, and what stops it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from sysconf.sections.base import Section
from sysconf.sections.marks import Dangerous, Unit


class SystemDefaults(Section):
    """Dry run, the breaker and its drawdown threshold."""

    key: ClassVar[str] = "system_defaults"
    title: ClassVar[str] = "System defaults"
    description: ClassVar[str] = "Whether orders are real, and what halts trading by itself."

    dry_run: Annotated[bool, Dangerous.when_off("Orders become real: they go to the broker and cost money.")] = Field(
        True, title="Dry run", description="On: strategies run, no order goes to the broker."
    )
    circuit_breaker_enabled: Annotated[
        bool, Dangerous.when_off("Nothing halts trading by itself any more; only a trip by hand does.")
    ] = Field(True, title="Circuit breaker", description="Off: only a trip by hand halts trading.")
    drawdown_threshold: Annotated[
        float,
        Dangerous.when_raised("Trading goes on through larger losses before it is halted."),
        Unit("fraction", percent=True),
    ] = Field(0.05, ge=0.01, le=0.50, title="Drawdown threshold", description="The loss at which trading is halted.")
