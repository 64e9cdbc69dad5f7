"""Why a trip or a reset did not happen. Each says it in plain words; nothing was changed unless it says otherwise."""

from __future__ import annotations

from datetime import datetime


class Refused(Exception):
    """A request that was refused. `sentence` is for people."""

    status = 409

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class WrongState(Refused):
    """The breaker is not in the state that the request needs. Says who changed it and when, where known."""

    def __init__(self, sentence: str, *, by: str = "", at: datetime | None = None) -> None:
        self.by, self.at = by, at
        super().__init__(sentence)


class StaleForm(Refused):
    """The breaker changed after the form was drawn."""


class InvalidInput(Refused):
    """A field is missing or wrong. `field` names it."""

    status = 422

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
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
