"""Why something about alerts did not happen."""

from __future__ import annotations

from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm, WrongState

__all__ = ["InvalidInput", "QueueFull", "Refused", "StaleForm", "TooManyOpen", "WrongState"]


class QueueFull(Refused):
    """So many deliveries wait that no new alert is taken (AD-8). `kept`: what became of the request."""

    status = 503
    retry_after = 60

    def __init__(self, kept: str = "Nothing of this request was kept.") -> None:
        super().__init__(
            f"Too many deliveries are waiting, so no new alerts are taken now. {kept} Send it again in a minute."
        )


class TooManyOpen(QueueFull):
    """So many alerts from outside are open that no new one is taken. `kept`: what became of the request."""

    def __init__(self, most: int, kept: str = "Nothing of this request was kept.") -> None:
        Refused.__init__(
            self,
            f"{most:,} alerts from outside are open, and no more are taken. {kept} Resolve what is over, or stop what "
            "sends so many.",
        )
