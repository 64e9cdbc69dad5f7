"""Why something about alerts did not happen."""

from __future__ import annotations

from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm, WrongState

__all__ = ["InvalidInput", "QueueFull", "Refused", "StaleForm", "WrongState"]


class QueueFull(Refused):
    """So many deliveries wait that no new alert is taken (AD-8). Nothing of the request was kept."""

    status = 503
    retry_after = 60

    def __init__(self) -> None:
        super().__init__(
            "Too many deliveries are waiting, so no new alerts are taken now. Nothing of this request was kept. "
            "Send it again in a minute."
        )
