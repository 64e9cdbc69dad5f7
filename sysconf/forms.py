"""The form of a section, made from its class (CF-1, CF-6). Nothing here knows any particular section."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from opsportal.accounts.stepup import REASON_MAX, STEP_UP_REASON_MIN
from sysconf import kinds
from sysconf.sections.base import Section
from sysconf.wording import limit_text

#: Characters of one setting that are looked at; holidays of centuries fit.
_LONGEST = 200_000


class SettingField(forms.CharField):
    """A setting as it is written in the form; its kind turns the text into a JSON value."""

    def __init__(self, kind: kinds.Kind, **options: Any) -> None:
        self.kind = kind
        super().__init__(required=False, **options)

    def clean(self, value: Any) -> Any:
        """The JSON value; Pydantic judges it afterwards."""
        if value is None:
            raise ValidationError("This value is missing.")
        if len(str(value)) > _LONGEST:
            raise ValidationError(f"This is far too long: {len(str(value)):,} characters.")
        try:
            return self.kind.parse(super().clean(value))
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SectionForm(forms.Form):
    """The settings of one section, each under a name that nothing else of the page can have."""

    prefix = "set"
    about: type[Section]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            widget = field.widget
            if isinstance(widget, forms.Select) and self[name].value() not in {value for value, _ in widget.choices}:
                # Without it the browser would show, and send, the first choice for a value that is none.
                widget.choices = [("", "Choose…"), *widget.choices]

    @classmethod
    def showing(cls, values: Mapping[str, Any]) -> SectionForm:
        """An unbound form with these JSON values."""
        return cls(initial={name: cls.kind(name).text(values.get(name)) for name in cls.base_fields})

    @classmethod
    def retyped(cls, typed: Mapping[str, Any]) -> SectionForm:
        """An unbound form with what was typed before, not judged again."""
        return cls(initial={name: typed.get(f"{cls.prefix}-{name}", "") for name in cls.base_fields})

    @classmethod
    def kind(cls, name: str) -> kinds.Kind:
        """How this setting is written."""
        return kinds.kind_of(cls.about, name)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """Names and texts of all settings, for hidden inputs."""
        return [(self[name].html_name, str(self[name].value() or "")) for name in self.fields]

    def values(self) -> dict[str, Any]:
        """The JSON values of a valid form."""
        return {name: self.cleaned_data[name] for name in self.fields}

    def add_errors(self, errors: Mapping[str, list[str]]) -> None:
        """Show the sentences beside their fields; what fits no field of the form above all."""
        for field, sentences in errors.items():
            for sentence in sentences:
                self.add_error(field if field in self.fields else None, sentence)


class ReviewForm(forms.Form):
    """Why the change is made, and the tick of a dangerous one."""

    reason = forms.CharField(label="Reason", required=False, strip=False)
    acknowledged = forms.BooleanField(required=False, label="I know what this means, and it is meant.")

    def __init__(self, *args: Any, dangerous: bool, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_review_%s")
        super().__init__(*args, **kwargs)
        minimum = STEP_UP_REASON_MIN if dangerous else 1
        self.fields["reason"].widget = forms.Textarea(
            attrs={"rows": 3, "maxlength": REASON_MAX, "minlength": minimum, "required": True, "autocomplete": "off"}
        )
        self.fields["reason"].help_text = (
            f"What was checked, {minimum} characters at least. It stays in the history and the audit log."
            if dangerous
            else "A few words. They stay in the history and the audit log."
        )
        if not dangerous:
            del self.fields["acknowledged"]


@lru_cache(maxsize=64)
def section_form(section: type[Section]) -> type[SectionForm]:
    """The form class of a section. Raises `TypeError` for a field whose type no form can hold."""
    fields: dict[str, Any] = {name: _field(section, name) for name in section.model_fields}
    made: type[SectionForm] = type(f"{section.__name__}Form", (SectionForm,), fields)
    made.about = section
    return made


def _field(section: type[Section], name: str) -> SettingField:
    kind = kinds.kind_of(section, name)
    return SettingField(
        kind, label=section.label(name), help_text=_hint(section, name, kind), widget=_widget(kind), strip=True
    )


def _hint(section: type[Section], name: str, kind: kinds.Kind) -> str:
    parts = [section.model_fields[name].description or ""]
    if isinstance(kind, kinds.Number) and kind.percent:
        parts.append("A fraction: 0.05 is 5 %.")
    if isinstance(kind, kinds.Whole | kinds.Number):
        unit = "" if isinstance(kind, kinds.Number) and kind.percent else f" {kind.unit}".rstrip()
        if kind.low is not None and kind.high is not None:
            parts.append(f"From {limit_text(kind.low)} to {limit_text(kind.high)}{unit}.")
        elif unit:
            parts.append(f"In{unit}.")
    if isinstance(kind, kinds.Lines):
        parts.append(
            f"One a line, as 2026-12-25; at most {kind.most:,}."
            if isinstance(kind.entry, kinds.Day)
            else f"One a line; at most {kind.most:,}."
        )
    return " ".join(part for part in parts if part)


def _widget(kind: kinds.Kind) -> forms.Widget:
    if isinstance(kind, kinds.Optional):
        widget = _widget(kind.inner)
        widget.attrs.pop("required", None)
        return widget
    if isinstance(kind, kinds.Switch):
        return forms.Select(choices=[(kinds.ON, "On"), (kinds.OFF, "Off")])
    if isinstance(kind, kinds.Choice):
        return forms.Select(choices=[(name, name) for name, _ in kind.options])
    if isinstance(kind, kinds.Whole):
        return forms.NumberInput(attrs=_bounds(kind.low, kind.high, "1"))
    if isinstance(kind, kinds.Number):
        return forms.NumberInput(attrs=_bounds(kind.low, kind.high, "any"))
    if isinstance(kind, kinds.Clock):
        return forms.TimeInput(attrs={"type": "time", "required": True})
    if isinstance(kind, kinds.Day):
        return forms.DateInput(attrs={"type": "date", "required": True})
    if isinstance(kind, kinds.Lines):
        return forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "autocomplete": "off"})
    return forms.TextInput(attrs={"maxlength": kind.longest} if isinstance(kind, kinds.Text) and kind.longest else {})


def _bounds(low: Any, high: Any, step: str) -> dict[str, Any]:
    bounds = {"min": low, "max": high}
    return {"step": step, "required": True} | {name: value for name, value in bounds.items() if value is not None}
