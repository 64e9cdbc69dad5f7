"""Why a trip or a reset did not happen."""

from __future__ import annotations

from datetime import datetime

from opsportal.accounts import refusals
from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm

__all__ = ["CannotReach", "InvalidInput", "Refused", "StaleForm", "TooSoon", "WrongState"]


class WrongState(refusals.WrongState):
    """The breaker is not in the state that the request needs. Says who changed it and when, where known."""

    def __init__(self, sentence: str, *, by: str = "", at: datetime | None = None) -> None:
        self.by, self.at = by, at
        super().__init__(sentence)


class TooSoon(Refused):
    """A second reset within a minute. `seconds` is how long to wait."""

    status = 429

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(
            f"The breaker was reset less than a minute ago. Wait {seconds} s, look at why it tripped again, then reset."
        )


class CannotReach(Refused):
    """Redis or PostgreSQL does not answer, and the request needs it."""

    status = 503
