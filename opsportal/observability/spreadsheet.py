"""Text that people will open in a spreadsheet."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(text: str) -> str:
    """The text so that no spreadsheet runs it: before a leading =, +, -, @, tab or return comes an apostrophe."""
    return "'" + text if text.startswith(_FORMULA) else text
