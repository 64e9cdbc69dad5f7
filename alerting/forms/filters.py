"""What the filters of events and of deliveries share. Whatever cannot be understood is named, not ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms

from alerting.forms.fields import NO_CHOICE
from opsportal.accounts.stepup import REASON_MAX
from opsportal.observability.sanitise import mask_text

_YEARS = range(2000, 2200)
#: Of a filter no more is told.
_SHOWN = 60


class MomentField(forms.DateTimeField):
    """A moment in UTC, of this century or the next."""

    def __init__(self, label: str) -> None:
        widget = forms.DateTimeInput(
            attrs={"type": "datetime-local", "step": "1", "autocomplete": "off"}, format="%Y-%m-%dT%H:%M:%S"
        )
        wrong = {"invalid": "Not a time. Write it as 2026-01-31T14:30, in UTC."}
        super().__init__(required=False, label=label, widget=widget, error_messages=wrong)

    def clean(self, value: Any) -> datetime | None:
        """The moment."""
        moment: datetime | None = super().clean(value)
        if moment and moment.year not in _YEARS:
            raise forms.ValidationError(f"The year must be from {_YEARS[0]} to {_YEARS[-1]}.")
        return moment.astimezone(UTC) if moment else None


def choice(label: str, anything: str, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    """One of these, or anything."""
    return forms.ChoiceField(required=False, label=label, choices=[("", anything), *choices], error_messages=NO_CHOICE)


def text(label: str, length: int, help_text: str = "") -> forms.CharField:
    """A line of text to look for."""
    return forms.CharField(
        required=False, label=label, max_length=length, help_text=help_text,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"max_length": f"Longer than anything there is: at most {length} characters."},
    )  # fmt: skip


class Filter(forms.Form):
    """A form of filters: a range of time has its end after its beginning."""

    def clean(self) -> dict[str, Any]:
        """As above."""
        values = self.cleaned_data
        since, until = values.get("since"), values.get("until")
        if since and until and since >= until:
            self.add_error("until", "This is not after “From”.")
        return values

    def given(self) -> dict[str, str]:
        """The filters that were filled, as they were typed: for links to further pages."""
        return {name: self.data[name] for name in self.fields if self.data.get(name)}

    @property
    def told(self) -> str:
        """The filters that were filled in words, in a line; empty for none."""
        return ", ".join(
            f"{self.fields[name].label}: {self._shown(name, typed)}" for name, typed in self.given().items()
        )

    def _shown(self, name: str, typed: str) -> str:
        choices = dict(getattr(self.fields[name], "choices", ()))
        words = str(choices[typed]).partition(":")[0] if typed in choices else mask_text(typed)
        return words[:_SHOWN]


class NoteForm(forms.Form):
    """A note that goes with an action, and into the audit log. The service judges it."""

    note = forms.CharField(
        label="Note",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "maxlength": REASON_MAX, "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, needed: bool = False, help_text: str = "", **kwargs: Any) -> None:
        """`needed`: the browser asks for it too."""
        kwargs.setdefault("auto_id", "id_%s")
        super().__init__(*args, **kwargs)
        self.fields["note"].help_text = help_text
        if needed:
            self.fields["note"].widget.attrs |= {"required": True}
        else:
            self.fields["note"].label = "Note (may be left empty)"

    def typed(self) -> str:
        """What was typed; an empty text for what no field can hold, which the field says itself."""
        return str(self.cleaned_data.get("note", "")) if self.is_valid() else ""
