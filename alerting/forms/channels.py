"""What people type about channels, beside their settings (`alerting.forms.settings`)."""

from __future__ import annotations

from typing import Any

from django import forms

from alerting.forms.fields import line
from alerting.services.channels import NAME_MAX


class ChannelForm(forms.Form):
    """The name, and for a new one what shall use it. `unreached`: how many rules have no channel."""

    name = line(
        "Name", NAME_MAX, "How people call it, such as “desk by e-mail”. It stands in lists and logs.", required=True
    )
    enabled = forms.BooleanField(required=False, initial=True, label="Switched on")
    for_unreached = forms.BooleanField(required=False)
    expected_version = forms.IntegerField(required=False, min_value=1, max_value=2**31, widget=forms.HiddenInput)

    def __init__(self, *args: Any, unreached: int = 0, is_new: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_channel_%s")
        super().__init__(*args, **kwargs)
        if not is_new:
            del self.fields["enabled"]
        if not is_new or not unreached:
            del self.fields["for_unreached"]
        else:
            which = (
                "the rule that has no channel yet"
                if unreached == 1
                else f"the {unreached:,} rules that have no channel yet"
            )
            self.fields["for_unreached"].label = f"Also use it for {which}"

    def follow(self, version: int) -> None:
        """Bind the form, shown again with what was typed, to the version that is there now."""
        typed: Any = self.data
        data = typed.copy()
        data["expected_version"] = str(version)
        self.data = data
