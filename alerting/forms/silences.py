"""What people type about silences. The service judges."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from alerting.forms.fields import NO_CHOICE, LabelsField, labels_text, line
from alerting.models import Rule, Silence
from alerting.services.silences import REASON_MAX, SERVICE_MAX, version_of

UNTIL, TOMORROW = "until", "tomorrow"
LASTING = [
    ("60", "1 hour"),
    ("240", "4 hours"),
    (TOMORROW, "until 08:00 UTC the next day"),
    ("1440", "24 hours"),
    ("10080", "7 days, the most"),
    (UNTIL, "until the time below"),
]
_MORNING = time(8, 0, tzinfo=UTC)
_FORMAT = "%Y-%m-%dT%H:%M"


def _moment(label: str, help_text: str = "") -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        help_text=help_text,
        input_formats=[_FORMAT, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(format=_FORMAT, attrs={"type": "datetime-local", "autocomplete": "off"}),
        error_messages={"invalid": "Type a date and time such as 2026-12-24 18:30."},
    )


class SilenceForm(forms.Form):
    """What shall be silent, why, and for how long."""

    rule = forms.ChoiceField(label="Rule", required=False, error_messages={"invalid_choice": "There is no such rule."})
    service = line(
        "Service", SERVICE_MAX, "The service's name, as alerts carry it in the label “service”.", spellcheck="false"
    )
    labels = LabelsField(
        label="Labels",
        required=False,
        help_text="One name=value a line; all of them must fit, as must rule and service.",
    )
    reason = line("Reason", REASON_MAX, "A few words: everybody on the desk sees them.", required=True)
    starts_at = _moment("From (UTC)", "Empty: from now on.")
    lasts = forms.ChoiceField(label="For how long", choices=LASTING, initial="60", error_messages=NO_CHOICE)
    ends_at = _moment("Until (UTC)", "Counts only with “until the time below”. At most 7 days after the start.")
    expected = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, silence: Silence | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_silence_%s")
        super().__init__(*args, **kwargs)
        rules = [(str(pk), name) for pk, name in Rule.objects.order_by("name").values_list("pk", "name")]
        self.fields["rule"].choices = [("", "Any rule"), *rules]  # type: ignore[attr-defined]
        self.silence = silence
        if silence is not None and silence.starts_at <= timezone.now():
            del self.fields["starts_at"]

    def values(self, now: datetime) -> dict[str, Any]:
        """What the service takes."""
        cleaned = self.cleaned_data
        starts_at = cleaned.get("starts_at")
        ends_at = _end(cleaned["lasts"], cleaned["ends_at"], self._begins(starts_at, now))
        if self.silence is not None:
            starts_at, ends_at = _kept(self.silence.starts_at, starts_at), _kept(self.silence.ends_at, ends_at)
        return {
            "rule": int(cleaned["rule"]) if cleaned["rule"] else None,
            "service": cleaned["service"],
            "labels": cleaned["labels"],
            "reason": cleaned["reason"],
            "starts_at": starts_at,
            "ends_at": ends_at,
        }

    def _begins(self, starts_at: datetime | None, now: datetime) -> datetime:
        if self.silence is not None and self.silence.starts_at <= now:
            return now  # "4 hours" of one that runs are four hours from now
        return starts_at or now

    def follow(self, silence: Silence) -> None:
        """Bind the form, shown again with what was typed, to what is there now."""
        typed: Any = self.data
        data = typed.copy()
        data["expected"] = version_of(silence)
        self.data = data


def silence_initial(silence: Silence) -> dict[str, Any]:
    """The silence as the form holds it."""
    return {
        "rule": str(silence.rule_id or ""),
        "service": silence.service,
        "labels": labels_text(silence.labels),
        "reason": silence.reason,
        "starts_at": silence.starts_at,
        "lasts": UNTIL,
        "ends_at": silence.ends_at,
        "expected": version_of(silence),
    }


def _kept(present: datetime, typed: datetime | None) -> datetime | None:
    """What is there, where nobody changed it: the form shows no seconds."""
    return present if typed == present.replace(second=0, microsecond=0) else typed


def _end(lasts: str, ends_at: datetime | None, begins: datetime) -> datetime | None:
    try:
        if lasts == UNTIL:
            return ends_at
        if lasts == TOMORROW:
            return datetime.combine(begins.astimezone(UTC).date() + timedelta(days=1), _MORNING)
        return begins + timedelta(minutes=int(lasts))
    except OverflowError:
        return None
