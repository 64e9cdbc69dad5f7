"""What people type about services and planned work, with the objections of `health.rules` beside the fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils import timezone

from health import rules
from health.models import MAINTENANCE_MAX, Maintenance, Service
from health.services import CHANGED_MEANWHILE, version_of
from opsportal.accounts.refusals import InvalidInput


class VersionedForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form that knows which state of its row it was drawn from, and refuses when the row has moved on."""

    version = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.present_version = version_of(self.instance) if self.instance.pk else ""
        self.initial["version"] = self.present_version

    def judged(self, name: str, rule: Callable[[Any], Any]) -> Any:
        """The field's value as the rule keeps it; its objection becomes the field's error."""
        try:
            return rule(self.cleaned_data[name])
        except InvalidInput as refusal:
            raise forms.ValidationError(refusal.sentence) from None

    def clean(self) -> dict[str, Any]:
        """Nothing is overwritten unseen."""
        super().clean()
        if self.present_version and self.cleaned_data.get("version") != self.present_version:
            raise forms.ValidationError(CHANGED_MEANWHILE)
        return self.cleaned_data


class ServiceForm(VersionedForm):
    """One service."""

    class Meta:
        model = Service
        fields = (*rules.PLAIN_FIELDS, "depends_on")
        error_messages = {
            "name": {
                "unique": "There is already a service of this name.",
                "required": "Give the name by which the service calls itself.",
            },
            "base_url": {"required": "Give the address of the service, for example http://orders:8080."},
        }
        widgets = {"base_url": AdminTextInputWidget, "runbook_url": AdminTextInputWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "depends_on" in self.fields:
            others = Service.objects.exclude(pk=self.instance.pk)
            self.fields["depends_on"].queryset = others  # type: ignore[attr-defined]

    def clean_base_url(self) -> str:
        """As `rules.clean_base_url`."""
        return str(self.judged("base_url", rules.clean_base_url))

    def clean_owner(self) -> str:
        """As `rules.clean_owner`."""
        return str(self.judged("owner", rules.clean_owner))

    def clean_runbook_url(self) -> str:
        """As `rules.clean_runbook_url`."""
        return str(self.judged("runbook_url", rules.clean_runbook_url))

    def clean_interval(self) -> int:
        """As `rules.clean_interval`."""
        return int(self.judged("interval", rules.clean_interval))

    def clean_timeout(self) -> float:
        """As `rules.clean_timeout`."""
        return float(self.judged("timeout", rules.clean_timeout))

    def clean_depends_on(self) -> Any:
        """As `rules.check_dependencies`."""
        parents = self.cleaned_data["depends_on"]
        service = self.instance if self.instance.pk else None
        self.judged("depends_on", lambda chosen: rules.check_dependencies(service, chosen))
        return parents


class MaintenanceForm(VersionedForm):
    """One maintenance window."""

    class Meta:
        model = Maintenance
        fields = ("services", "starts_at", "ends_at", "reason")
        labels = {"starts_at": "From (UTC)", "ends_at": "Until (UTC)"}
        help_texts = {"ends_at": f"At most {MAINTENANCE_MAX.days} days after the start."}
        error_messages = {
            "services": {"required": "Choose at least one service."},
            "starts_at": {"required": "Say when the work begins."},
            "ends_at": {"required": "Say when the work ends."},
            "reason": {"required": "Say what is being done: everybody on the desk will see it."},
        }

    def clean_reason(self) -> str:
        """As `rules.clean_reason`."""
        return str(self.judged("reason", rules.clean_reason))

    def clean(self) -> dict[str, Any]:
        """As `rules.check_window`. Work that has begun has no field for its start."""
        values = super().clean()
        starts_at, ends_at = values.get("starts_at") or self.instance.starts_at, values.get("ends_at")
        if starts_at and ends_at:
            try:
                rules.check_window(starts_at, ends_at, timezone.now())
            except InvalidInput as refusal:
                self.add_error(refusal.field if refusal.field in self.fields else None, refusal.sentence)
        return values
