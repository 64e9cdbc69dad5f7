"""Why something that somebody asked for did not happen. Each says it in plain words."""

from __future__ import annotations


class Refused(Exception):
    """A request that was refused. `sentence` is for people. Nothing was changed unless it says otherwise."""

    status = 409

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class InvalidInput(Refused):
    """A value is missing or wrong. `field` names it."""

    status = 422

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
        super().__init__(sentence)


class WrongState(Refused):
    """What was asked for does not fit what is there."""


class StaleForm(Refused):
    """What the form showed was changed after it was drawn."""
