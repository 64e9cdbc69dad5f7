"""Finds telephone numbers in text without eating timestamps, ids, prices or order numbers.

A run of digits alone is never taken for a telephone number: it needs a leading plus, an area code in
brackets, or the grouping that only telephone numbers have.
"""

import re

_PLUS = r"(?:\+|%2[Bb])"
_BEFORE = r"(?<![\w.:/+*-])"
_BEFORE_PLUS = r"(?<![\w.+*-])"
_AFTER = r"(?![\w*-]|[.:,/]\d)"

# +15551234567
_E164 = rf"{_BEFORE_PLUS}{_PLUS}[1-9]\d{{7,14}}+{_AFTER}"
# +44 20 7946 0958, +1-555-123-4567: one separator throughout, or it is a column of figures.
_GROUPED = rf"{_BEFORE_PLUS}{_PLUS}[1-9]\d{{0,2}}+([ .-])\d{{1,5}}+(?:\1\d{{2,6}}+){{1,5}}+{_AFTER}"
# (555) 123-4567, +1 (555) 123-4567, +44 (0)20 7946 0958
_COUNTRY = rf"(?:{_BEFORE_PLUS}{_PLUS}[1-9]\d{{0,2}}+[ .-]?)?"
_BRACKETED = (
    rf"{_COUNTRY}(?<![\w)])\(\d{{1,5}}\)[ .-]?\d{{2,4}}+(?:[ -]\d{{3,4}}+){{1,2}}+{_AFTER}"
    rf"|{_BEFORE}\(\d{{3}}\)[ .-]?\d{{3}}[.-]\d{{4}}{_AFTER}"
)
# 555-123-4567, 1-555-123-4567, 555.123.4567, 555 123 4567
_AMERICAN = rf"{_BEFORE}(?:1([ .-])\d{{3}}\2\d{{3}}\2\d{{4}}|\d{{3}}([ .-])\d{{3}}\3\d{{4}}){_AFTER}"
# 020 7946 0958, 0161-496-0345, 07700 900123
_TRUNK = rf"{_BEFORE}(?:0\d{{2,4}}([ -])\d{{3,4}}\4\d{{3,4}}|07\d{{3}} \d{{6}}){_AFTER}"

_PHONE = re.compile("|".join((_E164, _GROUPED, _BRACKETED, _AMERICAN, _TRUNK)), re.ASCII)
_LEAST_DIGITS = 8
_MOST_DIGITS = 15


def mask_phones(text: str) -> str:
    """`text` with each telephone number replaced by ``***`` and its last 4 digits. Linear time."""
    return _PHONE.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    shown = match.group(0).replace("%2B", "+").replace("%2b", "+")
    digits = "".join(c for c in shown if c.isdigit())
    if not _LEAST_DIGITS <= len(digits) <= _MOST_DIGITS:
        return match.group(0)
    return "***" + digits[-4:]
