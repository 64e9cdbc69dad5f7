"""What people type: trip, reset, restore, and the filters of the history."""

from __future__ import annotations

from typing import Any

from django import forms

from circuit.models import Category, Kind, Source
from opsportal.accounts.stepup import REASON_MAX, STEP_UP_REASON_MIN

_MANUAL_CATEGORIES = [choice for choice in Category.choices if choice[0] != Category.EXTERNAL]


def _reason(minimum: int, help_text: str) -> forms.CharField:
    return forms.CharField(
        label="Reason",
        required=False,  # the service judges it, with one sentence for page, API and command line
        strip=False,
        help_text=help_text,
        widget=forms.Textarea(
            attrs={"rows": 3, "maxlength": REASON_MAX, "minlength": minimum, "required": True, "autocomplete": "off"}
        ),
    )


class TripForm(forms.Form):
    """Why trading is halted."""

    category = forms.ChoiceField(label="Category", choices=_MANUAL_CATEGORIES, initial=Category.MANUAL)
    reason = _reason(1, "A few words; everybody on the desk will see them.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_trip_%s")
        super().__init__(*args, **kwargs)


class ResetForm(forms.Form):
    """Why trading may go on."""

    expected_version = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    reason = _reason(
        STEP_UP_REASON_MIN,
        f"What was checked, {STEP_UP_REASON_MIN} characters at least. It goes into the audit log.",
    )
    acknowledged = forms.BooleanField(
        required=False, label="I have checked why trading was halted, and it is safe to go on."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_reset_%s")
        super().__init__(*args, **kwargs)

    def decide_on(self, version: str) -> None:
        """Bind the form, also one that is shown again, to the state that the page shows."""
        self.initial["expected_version"] = version
        if self.is_bound:
            self.data = {**self.data.dict(), "expected_version": version}  # type: ignore[attr-defined]


class RestoreForm(ResetForm):
    """Why the last recorded state is still the right one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_restore_%s")
        super().__init__(*args, **kwargs)
        self.fields["acknowledged"].label = "I have checked with the platform that this state is the right one."


class HistoryFilter(forms.Form):
    """The filters of the history; whatever cannot be understood is named, not ignored."""

    kind = forms.ChoiceField(required=False, choices=[("", "Any change"), *Kind.choices])
    source = forms.ChoiceField(required=False, choices=[("", "Any source"), *Source.choices])
    actor = forms.CharField(required=False, label="Who", max_length=150)
    q = forms.CharField(required=False, label="Reason contains", max_length=100)
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_history_%s")
        super().__init__(*args, **kwargs)
