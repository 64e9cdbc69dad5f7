"""What people type: the filters of the list, a new key, the reason of a revocation."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict
from django.urls import reverse_lazy

from apikeys.draft import DAYS_MAX, NAME_MAX
from apikeys.models import KeyState
from apikeys.selectors import WARN_DAYS
from apikeys.wire import KEY_FORM, PREFIX_LENGTH
from opsportal.accounts.models import User
from opsportal.accounts.scopes import SCOPES
from opsportal.accounts.stepup import REASON_MAX, STEP_UP_REASON_MIN
from opsportal.observability.sanitise import mask_text

_NETWORKS_TEXT_MAX = 10_000
#: Django's own sentence would show what was sent.
_NO_CHOICE = {"invalid_choice": "There is no such choice."}


def prefix_of_key(text: str) -> str:
    """The text with every whole key in it cut to its prefix."""
    return KEY_FORM.sub(lambda match: match.group()[:PREFIX_LENGTH], text)


def masked(data: QueryDict) -> QueryDict:
    """What was typed, to be shown again: without any key that was pasted by mistake."""
    shown = data.copy()
    for name in shown:
        shown.setlist(name, [mask_text(value) if "tp_" in value else value for value in shown.getlist(name)])
    return shown


class KeyFilter(forms.Form):
    """The filters of the list; whatever cannot be understood is named, not ignored."""

    q = forms.CharField(
        required=False,
        label="Search",
        max_length=150,
        widget=forms.TextInput(attrs={"placeholder": "name, prefix, owner"}),
    )
    state = forms.ChoiceField(
        required=False,
        label="State",
        choices=[("", "Any state"), *((state.value, str(state.label).capitalize()) for state in KeyState)],
        error_messages=_NO_CHOICE,
    )
    scope = forms.ChoiceField(
        required=False,
        label="Scope",
        choices=[("", "Any scope"), *((scope.name, scope.name) for scope in SCOPES)],
        error_messages=_NO_CHOICE,
    )
    expiring = forms.ChoiceField(
        required=False,
        label="Expires",
        choices=[
            ("", "At any time"),
            *((str(days), f"Within {days} day{'s' if days > 1 else ''}") for days in reversed(WARN_DAYS)),
        ],
        error_messages=_NO_CHOICE,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_keys_%s")
        super().__init__(*args, **kwargs)


class _Networks(forms.CharField):
    """One address or network a line; commas do as well."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if len(text) > _NETWORKS_TEXT_MAX:
            raise forms.ValidationError(f"The list is longer than {_NETWORKS_TEXT_MAX:,} characters.")
        return [line.strip() for line in text.replace(",", "\n").splitlines()]


class KeyForm(forms.Form):
    """A new key. The service judges the values, with one sentence for page and command line."""

    owner = forms.CharField(
        label="Owner",
        max_length=150,
        help_text="The user name. The key can never do more than its owner may at that moment.",
        widget=forms.TextInput(
            attrs={
                "list": "owner-names",
                "autocomplete": "off",
                "spellcheck": "false",
                "hx-get": reverse_lazy("admin:apikeys_owners"),
                "hx-trigger": "input changed delay:200ms",
                "hx-target": "#owner-names",
                "hx-sync": "this:replace",
            }
        ),
        error_messages={"required": "Say whose key it is."},
    )
    name = forms.CharField(
        label="Name",
        required=False,
        strip=False,
        help_text="Who uses it and for what, such as “risk engine, production”. It stands in lists and logs.",
        widget=forms.TextInput(attrs={"maxlength": NAME_MAX, "required": True, "autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        required=False,
        choices=[(scope.name, f"{scope.name}: {scope.allows}") for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "There is no such scope."},
    )
    expires_in_days = forms.CharField(
        label="Expires after (days)",
        required=False,
        initial="365",
        help_text=f"1 to {DAYS_MAX:,}; empty for a key without end.",
        widget=forms.NumberInput(attrs={"min": 1, "max": DAYS_MAX, "step": 1, "inputmode": "numeric"}),
    )
    networks = _Networks(
        label="Allowed networks",
        required=False,
        help_text="One address or network a line, such as 10.20.0.0/16 or 2001:db8::/32; empty for anywhere.",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_key_%s")
        super().__init__(*args, **kwargs)

    def clean_owner(self) -> User:
        """The user of exactly this name."""
        name = self.cleaned_data["owner"].strip()
        owner = User.objects.filter(username=name).first()
        if owner is None:
            raise forms.ValidationError("There is no user of this name. Type the first letters and choose.")
        return owner


class RevokeForm(forms.Form):
    """Why the key ends."""

    reason = forms.CharField(
        label="Reason",
        required=False,
        strip=False,
        help_text=f"What happened, {STEP_UP_REASON_MIN} characters at least. It goes into the audit log.",
        widget=forms.Textarea(
            attrs={
                "rows": 3,
                "maxlength": REASON_MAX,
                "minlength": STEP_UP_REASON_MIN,
                "required": True,
                "autocomplete": "off",
            }
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_revoke_%s")
        super().__init__(*args, **kwargs)
