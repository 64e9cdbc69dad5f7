"""What Pydantic objects to, in plain words, each sentence with the field that it belongs to."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

#: The field of an objection to the section as a whole.
WHOLE = "__all__"
_SENTENCES = {
    "missing": "This value is missing.",
    "extra_forbidden": "There is no such setting in this section.",
    "bool_type": "Must be on or off (true or false).",
    "int_type": "Must be a whole number.",
    "int_parsing_size": "The number is far too large.",
    "float_type": "Must be a number.",
    "finite_number": "Must be a finite number.",
    "string_type": "Must be text.",
    "time_type": "Must be a time such as 09:30.",
    "time_parsing": "Must be a time such as 09:30.",
    "date_type": "Must be a date such as 2026-12-25.",
    "date_parsing": "Must be a date such as 2026-12-25.",
    "date_from_datetime_parsing": "Must be a date such as 2026-12-25.",
    "date_from_datetime_inexact": "Must be a date without a time, such as 2026-12-25.",
    "list_type": "Must be a list.",
    "string_pattern_mismatch": "Is not of the expected form.",
    "model_type": "Must be an object with the settings of the section.",
    "json_invalid": "The values cannot be read.",
}
_LIMITS = {
    "greater_than_equal": ("ge", "Must be {} or more."),
    "greater_than": ("gt", "Must be more than {}."),
    "less_than_equal": ("le", "Must be {} or less."),
    "less_than": ("lt", "Must be less than {}."),
    "multiple_of": ("multiple_of", "Must be a multiple of {}."),
    "too_long": ("max_length", "At most {} entries are kept."),
    "too_short": ("min_length", "At least {} entries are needed."),
    "string_too_long": ("max_length", "At most {} characters are kept."),
    "string_too_short": ("min_length", "At least {} characters are needed."),
}


def problems_of(error: ValidationError) -> dict[str, list[str]]:
    """Field to sentences. What concerns no field in particular is under `WHOLE`."""
    found: dict[str, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        place = one["loc"]
        field = str(place[0])[:64] if place else WHOLE
        sentence = _sentence(dict(one))
        if len(place) > 1 and isinstance(place[1], int):
            sentence = f"Entry {place[1] + 1}: {sentence[0].lower()}{sentence[1:]}"
        if one["type"] == "objection":
            field = one["ctx"]["field"]
        sentences = found.setdefault(field, [])
        if len(sentences) < 5:  # of a thousand bad entries five say enough
            sentences.append(sentence)
    return found


def limit_text(value: Any) -> str:
    """A bound as people write it: `100,000`, `0.5`."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _sentence(one: dict[str, Any]) -> str:
    kind, context = one["type"], one.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return words.format(limit_text(context[name]))
    if kind in ("literal_error", "enum"):
        return f"Must be one of {context['expected']}."
    text = str(one["msg"]).removeprefix("Value error, ")
    return text if text.endswith((".", "!", "?")) else f"{text}."
