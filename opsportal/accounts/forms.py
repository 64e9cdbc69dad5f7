"""What people type about people: filters, new users, names, strategies, reasons.

No field is required here and none judges: the services do, with one sentence for every door.
"""

from __future__ import annotations

from typing import Any

from django import forms

from opsportal.accounts import people, strategies
from opsportal.accounts.models import Strategy, User
from opsportal.accounts.roles import Role
from opsportal.accounts.stepup import REASON_MAX

ROLES = [(role.value, role.value) for role in Role]


class PeopleFilter(forms.Form):
    """The filters of the list; whatever cannot be understood is named, not ignored."""

    q = forms.CharField(
        required=False,
        label="Name contains",
        max_length=people.NAME_MAX,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        required=False,
        choices=[("", "Any role"), *ROLES, ("superuser", "superuser"), ("none", "no role")],
    )
    strategy = forms.ModelChoiceField(required=False, queryset=Strategy.objects.all(), empty_label="Any strategy")
    state = forms.ChoiceField(
        required=False, choices=[("", "Enabled or not"), ("enabled", "Enabled"), ("disabled", "Disabled")]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_filter_%s")
        super().__init__(*args, **kwargs)


def _line(label: str, longest: int, help_text: str = "", **attributes: Any) -> forms.CharField:
    attributes = {"maxlength": longest, "autocomplete": "off", **attributes}
    return forms.CharField(
        label=label, required=False, strip=False, help_text=help_text, widget=forms.TextInput(attrs=attributes)
    )


class NewUserForm(forms.Form):
    """A new user. The password is made by the portal."""

    username = _line(
        "User name",
        people.NAME_MAX,
        "Letters, digits and @ . + - _ It cannot be changed later: the audit log knows people by it.",
        required=True,
        autocapitalize="none",
        spellcheck="false",
    )
    first_name = _line("First name (optional)", people.NAME_MAX)
    last_name = _line("Last name (optional)", people.NAME_MAX)
    email = _line("E-mail address (optional)", people.EMAIL_MAX, inputmode="email")
    role = forms.ChoiceField(
        choices=ROLES, initial=Role.VIEWER.value, help_text="Each role may all that the one before may."
    )
    strategies = forms.ModelMultipleChoiceField(
        queryset=Strategy.objects.filter(retired=False), required=False, widget=forms.CheckboxSelectMultiple
    )


class EditForm(forms.Form):
    """A form that carries what it was drawn with in fields named `expected_…`."""

    def follow(self) -> None:
        """Bind the form, shown again with what was typed, to what is there now."""
        data = dict(self.data.items())
        for name in self.fields:
            if name.startswith("expected_"):
                data[name] = str(self.initial[name])
        self.data = data


class UserForm(EditForm):
    """The names and the e-mail address of a user. The address that is kept is not sent back to the browser (AC-5)."""

    expected_first_name = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    expected_last_name = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    first_name = _line("First name", people.NAME_MAX)
    last_name = _line("Last name", people.NAME_MAX)
    email = _line("New e-mail address", people.EMAIL_MAX, inputmode="email")
    remove_email = forms.BooleanField(required=False, label="Remove the e-mail address")

    def __init__(self, user: User, data: Any = None) -> None:
        names = {"first_name": user.first_name, "last_name": user.last_name}
        super().__init__(data, initial={**names, **{f"expected_{name}": text for name, text in names.items()}})
        if user.email:
            domain = user.email.rpartition("@")[2]
            self.fields["email"].help_text = f"Now ***@{domain}. Leave this empty to keep it."
        else:
            self.fields["email"].help_text = "None is kept."
            del self.fields["remove_email"]


class ReasonForm(forms.Form):
    """Why something is done."""

    reason = forms.CharField(
        label="Reason",
        required=False,
        strip=False,
        help_text="A few words for the audit log.",
        widget=forms.Textarea(attrs={"rows": 2, "maxlength": REASON_MAX, "required": True, "autocomplete": "off"}),
    )


class StrategyForm(forms.Form):
    """A strategy's name and what it is."""

    name = _line("Name", strategies.NAME_MAX, required=True)
    description = _line("Description (optional)", strategies.DESCRIPTION_MAX)


class StrategyEditForm(StrategyForm, EditForm):
    """The same for one that exists: it can be retired and brought back."""

    expected_name = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    expected_description = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    expected_retired = forms.BooleanField(required=False, widget=forms.HiddenInput)
    retired = forms.BooleanField(
        required=False, label="Retired: nobody is granted it any more. Who has it keeps it until it is revoked."
    )

    def __init__(self, strategy: Strategy, data: Any = None) -> None:
        facts = {"name": strategy.name, "description": strategy.description, "retired": strategy.retired}
        super().__init__(data, initial={**facts, **{f"expected_{name}": fact for name, fact in facts.items()}})
