"""What a new rule about a metric begins with (AC-1)."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.conditions import Condition
from alerting.wording import value_words
from sysconf.errors import StoredInvalid, Unreadable
from sysconf.selectors import read_section


@dataclass(frozen=True)
class Preset:
    """A threshold, and in words where it comes from."""

    threshold: float
    words: str


def preset_of(condition: Condition) -> Preset:
    """The suggestion for this metric: from the system configuration where there is one. Never raises."""
    usual = value_words(condition.name, condition.threshold)
    if not condition.preset_from:
        return Preset(condition.threshold, f"Suggested: {usual}.")
    try:
        value = getattr(read_section("system_defaults").section, condition.preset_from, None)
    except (StoredInvalid, Unreadable, LookupError):
        value = None
    if not isinstance(value, int | float):
        words = f"Suggested: {usual}, the usual value; the system configuration cannot be read now."
        return Preset(condition.threshold, words)
    words = f"Suggested: {value_words(condition.name, float(value))}, from the system configuration."
    return Preset(float(value), words)
