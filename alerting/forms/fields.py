"""Fields that several forms of alerting share: numbers as people write them, durations, labels one a line."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django import forms

from alerting.draft import LABELS_MAX

#: Django's own sentence would show what was sent.
NO_CHOICE = {"invalid_choice": "There is no such choice."}
_TEXT_MAX = 10_000
_NUMBER = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})", re.ASCII)
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]{0,15})?", re.ASCII)


def line(label: str, longest: int, help_text: str = "", **attributes: Any) -> forms.CharField:
    """One line of text; the service judges it."""
    attributes = {"maxlength": longest, "autocomplete": "off", **attributes}
    return forms.CharField(
        label=label, required=False, strip=False, help_text=help_text, widget=forms.TextInput(attrs=attributes)
    )


class NumberField(forms.CharField):
    """A number in digits; `unit` may stand behind it. Gives a `Decimal`, or None for nothing."""

    unit = ""

    def clean(self, value: Any) -> Any:
        """The number."""
        text = (super().clean(value) or "").strip()
        text = text.removesuffix(self.unit).strip() if self.unit else text
        if not text:
            return None
        if _GROUPED.fullmatch(text):
            text = text.replace(",", "")
        if not _NUMBER.fullmatch(text):
            raise forms.ValidationError("Type a number in digits, with a point before decimals: 500 or 2.5.")
        return Decimal(text)


class LabelsField(forms.CharField):
    """`name=value`, one a line; a name that could be misread stands in quotes. Gives a dict; the service judges names
    and values."""

    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off", "autocapitalize": "none"})

    def clean(self, value: Any) -> Any:
        """Names with their values."""
        text = super().clean(value) or ""
        if len(text) > _TEXT_MAX:
            raise forms.ValidationError(f"The labels are longer than {_TEXT_MAX:,} characters.")
        labels: dict[str, str] = {}
        lines = [(number, part) for number, part in enumerate(text.splitlines(), 1) if part.strip()]
        if len(lines) > LABELS_MAX:
            raise forms.ValidationError(f"These are {len(lines):,} labels; at most {LABELS_MAX} can be matched.")
        for number, part in lines:
            name, sign, wanted = _split(part.strip())
            wanted = wanted.strip().strip('"')
            if not sign or not name or not wanted:
                raise forms.ValidationError(f"Line {number}: write a label as name=value, such as service=orders.")
            if name in labels:
                raise forms.ValidationError(f"Line {number}: this label is named twice.")
            labels[name] = wanted
        return labels


def labels_text(labels: dict[str, str]) -> str:
    """Labels as the field holds them."""
    return "\n".join(f"{_quoted(name)}={value}" for name, value in labels.items())


def _split(part: str) -> tuple[str, str, str]:
    if part.startswith('"'):
        with suppress(ValueError):
            name, end = json.JSONDecoder().raw_decode(part)
            rest = part[end:].lstrip()
            return name, rest[:1] if rest.startswith("=") else "", rest[1:]
    name, sign, wanted = part.partition("=")
    return name.strip(), sign, wanted


def _quoted(name: str) -> str:
    plain = name == name.strip() and "=" not in name and not name.startswith('"')
    return name if plain else json.dumps(name, ensure_ascii=False)
