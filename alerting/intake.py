"""Reads what services send: every value with its place, every objection a sentence that names it (Q-5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from alerting.errors import InvalidInput
from opsportal.observability.sanitise import mask_text

MOST_ITEMS = 1_000
MOST_LABELS = 30
LABEL_NAME_MAX = 100
LABEL_VALUE_MAX = 500
ANNOTATION_MAX = 2_000
SUMMARY_MAX = 300
URL_MAX = 500
#: A sender's clock may be ahead by so much, and a value or an alert may be so old.
AHEAD = timedelta(seconds=60)
OLDEST = timedelta(hours=1)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}", re.ASCII)
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)


def items_of(body: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects that the body holds under this name, 1 to 1,000 of them."""
    found = body.get(name) if isinstance(body, dict) else None
    if not isinstance(found, list):
        raise InvalidInput(name, f"Send an object with a list “{name}”.")
    if not 1 <= len(found) <= MOST_ITEMS:
        raise InvalidInput(name, f"There are {len(found):,} items; send 1 to {MOST_ITEMS:,} in one request.")
    for place, item in enumerate(found):
        if not isinstance(item, dict):
            raise InvalidInput(f"{name}[{place}]", "This must be an object.")
    return found


def only_known(item: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse fields that nobody reads: a mistyped name must not pass for an omitted one."""
    for name in item:
        if name not in known:
            raise InvalidInput(
                place(where, masked(str(name))[:50]), f"There is no such field. There are: {', '.join(sorted(known))}."
            )


def place(where: str, name: str) -> str:
    """`observations[17].value`."""
    return f"{where}.{name}" if where else name


def text(value: Any, where: str, *, longest: int, blank: bool = False) -> str:
    """Text without control characters, masked as all text is that people will see (AC-5)."""
    if not isinstance(value, str):
        raise InvalidInput(where, "This must be text.")
    if "\x00" in value:
        raise InvalidInput(where, "A NUL character cannot be kept.")
    if len(value) > longest:
        raise InvalidInput(where, f"This has {len(value):,} characters; at most {longest:,} are kept.")
    if not blank and not value.strip():
        raise InvalidInput(where, "This must not be empty.")
    return masked(value)[:longest]


def masked(value: str) -> str:
    """Text with credentials and personal data masked. Most of it is short and has neither `@` nor much else."""
    return value if value.isascii() and value.isalpha() else mask_text(value)


def number(value: Any, where: str) -> float:
    """A finite number; `true` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(where, "This must be a number.")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found):
        raise InvalidInput(
            where, "This must be a finite number: NaN, infinities and numbers beyond 1e308 are not kept."
        )
    return found


def instant(value: Any, where: str) -> datetime:
    """An ISO 8601 time with its zone, in UTC."""
    if not isinstance(value, str) or len(value) > 64:
        raise InvalidInput(where, "This must be a time such as 2025-12-18T14:00:00Z.")
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(where, "This must be a time with its zone, such as 2025-12-18T14:00:00Z.")


def recent(value: Any, where: str, now: datetime) -> datetime:
    """A time that is neither ahead of our clock by more than 60 s nor older than an hour."""
    found = instant(value, where)
    if found > now + AHEAD:
        raise InvalidInput(
            where, f"This lies in the future: it is {now:%Y-%m-%dT%H:%M:%SZ} here. Is the sender's clock right?"
        )
    if found < now - OLDEST:
        raise InvalidInput(where, "This is more than an hour ago. What is so old is not evaluated any more.")
    return found


def labels(value: Any, where: str) -> dict[str, str]:
    """At most 30 labels; one with an empty value is no label, as Prometheus has it."""
    return _pairs(value, where, most=MOST_LABELS, longest=LABEL_VALUE_MAX, what="label")


def notes(value: Any, where: str) -> dict[str, str]:
    """At most 30 texts for people."""
    return _pairs(value, where, most=MOST_LABELS, longest=ANNOTATION_MAX, what="annotation")


def _pairs(value: Any, where: str, *, most: int, longest: int, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(where, f"This must be an object of {what}s: names and texts.")
    if len(value) > most:
        raise InvalidInput(where, f"There are {len(value):,} {what}s; at most {most} are kept.")
    found = {}
    for name, content in value.items():
        if not _LABEL_NAME.fullmatch(name):
            raise InvalidInput(
                where,
                f"The name of a {what} has letters, digits and underscores, begins with no digit and is at most "
                f"{LABEL_NAME_MAX} characters long; “{masked(name)[:30]}” is none.",
            )
        kept = masked_name(name)
        cleaned = text(content, place(where, kept), longest=longest, blank=True)
        if cleaned:
            found[kept] = cleaned
    return found


def is_label_name(name: str) -> bool:
    """Whether any door takes a label of this name: Prometheus has other characters than ours in them, too."""
    return 1 <= len(name) <= LABEL_NAME_MAX and name.isprintable()


def masked_name(name: str) -> str:
    """A label's name as it is kept: masked, as all that people will see."""
    return masked(name)[:LABEL_NAME_MAX]


def url(value: Any, where: str) -> str:
    """An http or https address; may be empty."""
    found = text(value, where, longest=URL_MAX, blank=True).strip()
    if found and not _URL.fullmatch(found):
        raise InvalidInput(where, "This must be an http or https address.")
    return found


def url_or_nothing(value: Any) -> str:
    """The address, if it is one that people may be led to."""
    if not isinstance(value, str) or len(value) > URL_MAX or not _URL.fullmatch(value):
        return ""
    return masked(value)[:URL_MAX]
