"""The filters of the log as people type them: the page's, the export's and the command line's."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django import forms

from opsportal.audit.actions import ACTIONS, RESOURCE_TYPES, label_of
from opsportal.audit.models import EventType, Outcome
from opsportal.audit.search import Filters
from opsportal.observability.client_ip import as_known

_EVENTS = sorted((name, label_of(name)) for name in ACTIONS)
_YEARS = range(2000, 2200)


class _DateTimeInput(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1", "autocomplete": "off"}, format="%Y-%m-%dT%H:%M:%S")


class _Suggesting(forms.TextInput):
    """A text input that offers values; any other may be typed."""

    template_name = "audit/_suggesting.html"

    def __init__(self, values: tuple[str, ...], **attrs: Any) -> None:
        self._values = values
        super().__init__(attrs)

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_values"
        context["widget"]["attrs"]["list"] = list_id
        return {**context, "list_id": list_id, "suggested": self._values}


def _text(label: str, length: int, help_text: str = "", widget: forms.Widget | None = None) -> forms.CharField:
    return forms.CharField(
        required=False, label=label, max_length=length, help_text=help_text,
        widget=widget or forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"max_length": f"Longer than anything in the log: at most {length} characters."},
    )  # fmt: skip


def _choice(label: str, anything: str, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    wrong = "The log knows no such value: choose one from the list."
    return forms.ChoiceField(
        required=False, label=label, choices=[("", anything), *choices], error_messages={"invalid_choice": wrong}
    )


def _moment(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        widget=_DateTimeInput(),
        error_messages={"invalid": "Not a time. Write it as 2026-01-31T14:30, in UTC."},
    )


class EntryFilter(forms.Form):
    """Every filter is an exact, prefix or range match; what cannot be understood is named, not ignored."""

    who = _text("Who", 201, "Exact name; end with * for all that begin so")
    event = _choice("Action", "Any action", _EVENTS)
    event_type = _choice("Type", "Any type", EventType.choices)
    outcome = _choice("Outcome", "Any outcome", Outcome.choices)
    resource_type = _text("Resource type", 64, widget=_Suggesting(RESOURCE_TYPES, autocomplete="off"))
    resource_id = _text("Resource id", 255)
    ip = _text("IP address or network", 64, "10.1.2.3 or 10.0.0.0/8")
    request_id = _text("Request id", 255)
    since = _moment("From (UTC)")
    until = _moment("Before (UTC)")

    def __init__(self, *args: Any, names: Sequence[str] = (), **kwargs: Any) -> None:
        """`names` are suggested for `who`; any other may be typed."""
        kwargs.setdefault("auto_id", "id_audit_%s")
        super().__init__(*args, **kwargs)
        if names:
            self.fields["who"].widget = _Suggesting(tuple(names), autocomplete="off", spellcheck="false")

    def clean_who(self) -> str:
        """A name, or the beginning of one."""
        text: str = self.cleaned_data["who"]
        if text == "*":
            raise forms.ValidationError("Type at least one character before the *.")
        return text

    def clean_ip(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        """One address counts as a network of one."""
        text: str = self.cleaned_data["ip"]
        if not text:
            return None
        if "%" in text:
            raise forms.ValidationError("Leave out the % and what follows: the log keeps addresses without a zone.")
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise forms.ValidationError(
                "Not an address such as 10.1.2.3, nor a network such as 10.0.0.0/8 or 2001:db8::/32."
            ) from None
        return as_known(network)

    def clean_since(self) -> datetime | None:
        """A moment of this century or the next."""
        return self._moment("since")

    def clean_until(self) -> datetime | None:
        """As above."""
        return self._moment("until")

    def clean(self) -> dict[str, Any]:
        """An id alone says nothing; a time range has its end after its beginning."""
        values = self.cleaned_data
        if values.get("resource_id") and not values.get("resource_type") and "resource_type" not in self.errors:
            self.add_error("resource_type", "Give the type too: the same id may belong to several.")
        since, until = values.get("since"), values.get("until")
        if since and until and since >= until:
            self.add_error("until", "This is not after “From”.")
        return values

    def filters(self) -> Filters:
        """What a valid form asks for."""
        values = self.cleaned_data
        named = {name: values[name] for name in self.fields if name != "ip"}
        return Filters(network=values["ip"], **named)

    def given(self) -> dict[str, str]:
        """The filters that were filled, as they were typed: for links, file names and the audit entry of an export."""
        return {name: self.data[name] for name in self.fields if self.data.get(name)}

    def _moment(self, name: str) -> datetime | None:
        moment: datetime | None = self.cleaned_data[name]
        if moment and moment.year not in _YEARS:
            raise forms.ValidationError(f"The year must be from {_YEARS[0]} to {_YEARS[-1]}.")
        return moment.astimezone(UTC) if moment else None
