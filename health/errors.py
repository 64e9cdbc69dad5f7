"""Why a change of the registry or of planned work did not happen. Each says it in plain words; nothing was changed."""

from __future__ import annotations


class Refused(Exception):
    """A change that was refused. `sentence` is for people."""

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
    """What was asked for does not fit what is there: a window that has ended, a service that is gone."""


class StaleForm(Refused):
    """Somebody changed the same thing after the form was drawn."""
