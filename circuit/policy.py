"""What the system configuration says of the breaker (CF-1). A trip by hand never depends on any of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sysconf.errors import StoredInvalid, Unreadable
from sysconf.kinds import percent_text
from sysconf.sections.system_defaults import SystemDefaults
from sysconf.selectors import read_section


@dataclass(frozen=True)
class Policy:
    """The settings of the breaker. When they cannot be read, automatic trips count: fail safe."""

    automatic_trips: bool = True
    switched_off_by: str = ""
    switched_off_at: datetime | None = None
    drawdown_limit: str = ""
    problem: str = ""

    @property
    def switched_off(self) -> str:
        """By whom and since when, as a part of a sentence; empty while automatic trips count."""
        if self.automatic_trips:
            return ""
        by = f" by {self.switched_off_by}" if self.switched_off_by else ""
        since = f" since {self.switched_off_at:%H:%M:%S} UTC on {self.switched_off_at:%-d %b %Y}" if by else ""
        return f"switched off in the configuration{by}{since}"

    @property
    def notices(self) -> tuple[str, ...]:
        """What whoever looks at the breaker must know."""
        if self.problem:
            return (f"{self.problem} Until it can be read again, automatic trips work.",)
        if self.switched_off:
            return (f"The breaker is {self.switched_off}: automatic trips are ignored. A trip by hand still works.",)
        return ()


def read_policy() -> Policy:
    """The settings as they hold now. Never raises."""
    try:
        reading = read_section(SystemDefaults.key)
    except (StoredInvalid, Unreadable) as refusal:
        return Policy(problem=refusal.sentence)
    settings: Any = reading.section
    touch = reading.touched.get("circuit_breaker_enabled")
    return Policy(
        automatic_trips=settings.circuit_breaker_enabled,
        switched_off_by=touch.by if touch else "",
        switched_off_at=touch.at if touch else None,
        drawdown_limit=percent_text(settings.drawdown_threshold),
    )
