"""Step-up: what a dangerous action asks for beyond the permission (CB-6, CF-4).

Today a reason and a tick; a fresh second factor joins here, and every caller has it at once.
"""

from __future__ import annotations

from opsportal.accounts.actors import Actor
from opsportal.accounts.refusals import InvalidInput
from opsportal.observability.sanitise import mask_text

#: The least a reason has where what was checked must be said (CB-6, AK-5), in characters after trimming.
STEP_UP_REASON_MIN = 20
REASON_MAX = 1_000


def clean_reason(reason: str, *, minimum: int = 1, field: str = "reason") -> str:
    """The reason, trimmed, with e-mail addresses, phone numbers and keys masked. Raises `InvalidInput`."""
    text = " ".join(reason.split())
    if "\x00" in text:
        raise InvalidInput(field, "The reason contains a character that cannot be stored (NUL). Type it again.")
    if not text:
        raise InvalidInput(field, "Give a reason: the people who come after you need it.")
    if len(text) < minimum:
        raise InvalidInput(
            field, f"The reason has {len(text)} characters; at least {minimum} are needed to say what was checked."
        )
    if len(text) > REASON_MAX:
        raise InvalidInput(field, f"The reason has {len(text):,} characters; at most {REASON_MAX:,} are kept.")
    return mask_text(text)


def step_up(by: Actor, *, reason: str, acknowledged: bool, confirm: str) -> str:
    """The cleaned reason of a dangerous action that `by` has confirmed; `confirm` says what the tick stands for.

    Raises `InvalidInput` for `reason` or `acknowledged`.
    """
    text = clean_reason(reason, minimum=STEP_UP_REASON_MIN)
    if acknowledged is not True:
        raise InvalidInput("acknowledged", confirm)
    return text
