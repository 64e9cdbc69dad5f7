"""Why a section was not read or not saved."""

from __future__ import annotations

from typing import Any

from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm, WrongState

__all__ = ["Conflict", "InvalidInput", "InvalidValues", "Refused", "StoredInvalid", "Unreadable", "WrongState"]


class InvalidValues(InvalidInput):
    """Values that the section refuses. `errors` has the sentences of each field; the first one stands for all."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        self.errors = errors
        field, sentences = next(iter(errors.items()))
        super().__init__(field, sentences[0])


class Conflict(StaleForm):
    """Somebody saved the section after the form was drawn. Nothing was overwritten (CF-3).

    `base` is what the form was drawn from (None if that version never was), `theirs` what holds now, version `number`.
    """

    def __init__(self, *, base: dict[str, Any] | None, theirs: dict[str, Any], number: int, by: str) -> None:
        self.base, self.theirs, self.number = base, theirs, number
        who = f"{by} has" if by else "Somebody has"
        super().__init__(
            f"{who} changed this section since you opened it (version {number}). Nothing of yours was saved, and "
            "nothing of theirs was lost. Choose which values to go on with."
        )


class StoredInvalid(Refused):
    """What is stored does not fit the section any more. The defaults are never put in its place (CF-2)."""

    status = 503

    def __init__(self, key: str, title: str, number: int, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
        self.key, self.title, self.number, self.values, self.errors = key, title, number, values, errors
        super().__init__(
            f"The stored configuration “{title}” (version {number}) is not valid: {', '.join(errors)}. It is not used, "
            "and no defaults stand in for it. An administrator must correct it under Configuration."
        )


class Unreadable(Refused):
    """Neither PostgreSQL nor Redis has an answer."""

    status = 503
