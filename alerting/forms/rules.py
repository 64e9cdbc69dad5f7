"""What people type about rules. The service judges; the form turns text into values and says in which unit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict

from alerting.channels import KINDS
from alerting.conditions import CONDITIONS, Condition
from alerting.draft import (
    DESCRIPTION_MAX,
    FOR_MAX,
    NAME_MAX,
    OWNER_MAX,
    URL_MAX,
    InvalidFields,
    drafted,
    range_words,
)
from alerting.forms.fields import NO_CHOICE, LabelsField, NumberField, labels_text, line
from alerting.models import Channel, Comparison, Rule, Severity
from alerting.services.rules import GUARDED
from alerting.wording import UNITS, condition_words, threshold_text

COMPARISONS = [
    (Comparison.GT.value, "above (>)"),
    (Comparison.GTE.value, "at or above (≥)"),
    (Comparison.LT.value, "below (<)"),
    (Comparison.LTE.value, "at or below (≤)"),
    (Comparison.EQ.value, "exactly (=)"),
]
SEVERITIES = [(str(severity.value), str(severity.label)) for severity in Severity]
#: The form's field of each of the draft's, where they differ.
FORM_FIELD = {"for_seconds": "for_amount"}


class RuleFilter(forms.Form):
    """The filters of the list; whatever cannot be understood is named, not ignored."""

    q = forms.CharField(
        required=False,
        label="Search",
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "placeholder": "name, owner"}),
    )
    metric = forms.ChoiceField(
        required=False,
        label="Metric",
        choices=[("", "Any metric"), *((name, condition.title) for name, condition in CONDITIONS.items())],
        error_messages=NO_CHOICE,
    )
    severity = forms.ChoiceField(
        required=False,
        label="Severity",
        choices=[("", "Any severity"), *((severity.word, severity.word) for severity in Severity)],
        error_messages=NO_CHOICE,
    )
    enabled = forms.ChoiceField(
        required=False,
        label="State",
        choices=[("", "On or off"), ("yes", "On"), ("no", "Off")],
        error_messages=NO_CHOICE,
    )
    channel = forms.ChoiceField(required=False, label="Channel", error_messages=NO_CHOICE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_filter_%s")
        super().__init__(*args, **kwargs)
        named = [(str(pk), name) for pk, name in Channel.objects.order_by("name").values_list("pk", "name")]
        self.fields["channel"].choices = [("", "Any channel"), ("none", "without a channel"), *named]  # type: ignore[attr-defined]


class RuleForm(forms.Form):
    """A rule about one metric, in that metric's own unit."""

    metric = forms.ChoiceField(
        label="Metric",
        choices=[(name, condition.title) for name, condition in CONDITIONS.items()],
        error_messages=NO_CHOICE,
    )
    name = line(
        "Name", NAME_MAX, "What is wrong when it fires, such as “Orders are slow”.", required=True, autofocus=False
    )
    comparison = forms.ChoiceField(label="Fires when the value is", choices=COMPARISONS, error_messages=NO_CHOICE)
    threshold = NumberField(
        label="Threshold",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "required": True}),
    )
    for_amount = NumberField(
        label="For at least",
        required=False,
        max_length=20,
        help_text="Fires only when the condition has held so long without a break. 0: at once. At most 24 hours.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )
    for_unit = forms.ChoiceField(
        label="Unit",
        required=False,
        choices=[(unit, words) for unit, _, words in reversed(UNITS)],
        error_messages=NO_CHOICE,
    )
    labels = LabelsField(
        label="Only values with these labels (optional)",
        required=False,
    )
    severity = forms.ChoiceField(label="Severity", choices=SEVERITIES, error_messages=NO_CHOICE)
    channels = forms.MultipleChoiceField(
        label="Tell these channels",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "A chosen channel does not exist any more. Choose again."},
    )
    notify_resolved = forms.BooleanField(required=False, label="Tell the same people when it is over")
    trips_breaker = forms.BooleanField(
        required=False, label="Trip the circuit breaker when it fires: all trading is halted"
    )
    description = line("Description (optional)", DESCRIPTION_MAX)
    owner = line("Owner (optional)", OWNER_MAX, "The team that looks after it, such as @platform-team.")
    runbook_url = line(
        "Runbook (optional)", URL_MAX, "An address that says what to do. It stands in every message.", inputmode="url"
    )
    enabled = forms.BooleanField(required=False, label="Switched on")
    expected_version = forms.IntegerField(required=False, min_value=1, max_value=2**31, widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, condition: Condition, may_arm: bool, rule: Rule | None = None, preset: str = "", **kwargs: Any
    ) -> None:
        kwargs.setdefault("auto_id", "id_rule_%s")
        super().__init__(*args, **kwargs)
        self.condition, self.rule, self.preset = condition, rule, preset
        self._suit_metric()
        self.fields["channels"].choices = _channel_choices()  # type: ignore[attr-defined]
        if not may_arm:
            del self.fields["trips_breaker"]
        self.guarded = rule is not None and rule.trips_breaker and not may_arm
        if self.guarded and rule is not None:
            self._guard(rule)

    def _suit_metric(self) -> None:
        condition = self.condition
        threshold = self.fields["threshold"]
        if isinstance(threshold, NumberField):
            threshold.unit = "%" if condition.percent else condition.unit
        unit = "%" if condition.percent else condition.unit
        threshold.label = f"Threshold ({unit})"
        threshold.help_text = range_words(condition) + (f" {self.preset}" if self.preset else "")
        known = f"One name=value a line. Its values carry: {', '.join(condition.labels)}. " if condition.labels else ""
        self.fields["labels"].help_text = f"{known or 'One name=value a line. '}Empty: every value counts."

    def _guard(self, rule: Rule) -> None:
        """Of an armed rule, what decides when it fires is shown and stays."""
        for name in (*GUARDED, "for_amount", "for_unit", *(() if rule.enabled else ("enabled",))):
            if name in self.fields:
                self.fields[name].disabled = True
        if not rule.enabled:
            self.fields["enabled"].help_text = "Only who may arm rules can switch this one on."

    def values(self, rule: Rule | None = None) -> dict[str, Any]:
        """What the service takes; what the form does not hold is as the rule has it."""
        cleaned = self.cleaned_data
        number = cleaned.get("threshold")
        if number is not None and self.condition.percent:
            number /= 100
        found = {
            name: cleaned.get(name)
            for name in ("name", "metric", "comparison", "labels", "notify_resolved", "description", "owner", "enabled")
        }
        return {
            **found,
            "runbook_url": cleaned.get("runbook_url"),
            "threshold": None if number is None else float(number),
            "for_seconds": _seconds(cleaned.get("for_amount"), cleaned.get("for_unit", "")),
            "severity": int(cleaned.get("severity", -1)),
            "channels": tuple(int(pk) for pk in cleaned.get("channels", ())),
            "trips_breaker": cleaned.get("trips_breaker", bool(rule and rule.trips_breaker)),
        }

    def judge_the_rest(self, rule: Rule | None = None) -> None:
        """Of a form with errors: say now what the service would say of the other fields."""
        try:
            drafted(self.values(rule))
        except InvalidFields as refusal:
            for name, sentence in refusal.errors.items():
                field = FORM_FIELD.get(name, name)
                if field in self.fields and field not in self.errors:
                    self.add_error(field, sentence)

    def follow(self, rule: Rule) -> None:
        """Bind the form, shown again with what was typed, to the version that is there now."""
        data: Any = self.data.copy() if isinstance(self.data, QueryDict) else dict(self.data)
        data["expected_version"] = str(rule.version)
        self.data = data


def initial_of(values: dict[str, Any]) -> dict[str, Any]:
    """Values of a rule as the form holds them."""
    amount, unit = _amount(values["for_seconds"])
    return {
        **values,
        "threshold": threshold_text(values["metric"], values["threshold"]),
        "for_amount": str(amount),
        "for_unit": unit,
        "labels": labels_text(values["labels"]),
        "severity": str(int(values["severity"])),
        "channels": [str(pk) for pk in values["channels"]],
    }


def preset_initial(condition: Condition, threshold: float) -> dict[str, Any]:
    """What a new rule about this metric begins with."""
    return {
        "metric": condition.name,
        "comparison": condition.comparison,
        "threshold": threshold_text(condition.name, threshold),
        "for_amount": "0",
        "for_unit": "s",
        "severity": str(Severity.WARNING.value),
        "notify_resolved": True,
        "enabled": True,
    }


def rule_condition_words(rule: Rule) -> str:
    """The rule's condition, for people."""
    return condition_words(rule.metric, rule.comparison, rule.threshold, rule.for_seconds, rule.labels)


def _channel_choices() -> list[tuple[str, str]]:
    choices = []
    for channel in Channel.objects.defer("sealed").order_by("name"):
        kind = KINDS[channel.kind].title if channel.kind in KINDS else channel.kind
        off = "" if channel.enabled else ", switched off"
        choices.append((str(channel.pk), f"{channel.name} ({kind}{off})"))
    return choices


def _amount(seconds: int) -> tuple[int, str]:
    for unit, size, _ in UNITS:
        if seconds and seconds % size == 0:
            return seconds // size, unit
    return 0, "s"


def _seconds(amount: Decimal | None, unit: str) -> int:
    """Whole seconds; what is no such number, or far too large, is one that the draft refuses."""
    size = next((size for name, size, _ in UNITS if name == unit), 1)
    seconds = (amount or Decimal(0)) * size
    return int(seconds) if seconds == int(seconds) and 0 <= seconds <= FOR_MAX else -1
