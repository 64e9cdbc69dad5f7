"""The filters of the events as people type them (AL-9)."""

from __future__ import annotations

from typing import Any

from django import forms

from alerting.forms.filters import Filter, MomentField, choice, text
from alerting.models import EventState, Origin, Severity
from alerting.selectors.events import ACTIVE, EventFilters, rule_names
from alerting.selectors.paging import parse_number

#: What a filter of states may say, beyond one state each.
OPEN = "open"
_YES_NO = {"yes": True, "no": False}


class EventFilter(Filter):
    """Every filter is an exact or a range match."""

    rule = choice("Rule", "Any rule", [])
    severity = choice("Severity", "Any severity", [(severity.word, severity.word) for severity in Severity])
    state = choice(
        "State", "Any state", [(OPEN, "open: firing or acknowledged"), *((s.value, str(s.label)) for s in EventState)]
    )
    acknowledged = choice(
        "Acknowledged", "Or not", [("yes", "Acknowledged at some time"), ("no", "Never acknowledged")]
    )
    since = MomentField("Began from (UTC)")
    until = MomentField("Began before (UTC)")
    muted = choice("Held back", "Or not", [("yes", "Held back: nobody was told"), ("no", "Not held back")])
    origin = choice("Told by", "Anybody", [(origin.value, str(origin.label)) for origin in Origin])
    label = text("Label", 300, "Exactly, as name=value, such as service=orders")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "id_events_%s")
        super().__init__(*args, **kwargs)
        rules = [(str(number), name) for number, name in rule_names()]
        asked = str(self.data.get("rule", "")) if self.is_bound else ""
        if asked not in ("", "none") and asked not in dict(rules) and parse_number(asked):
            rules.append((asked, f"rule {asked}, deleted"))
        self.fields["rule"].choices = [("", "Any rule"), ("none", "No rule"), *rules]  # type: ignore[attr-defined]

    def clean_label(self) -> tuple[str, str] | None:
        """A name and a value."""
        typed: str = self.cleaned_data["label"]
        if not typed:
            return None
        name, sign, value = typed.partition("=")
        name, value = name.strip(), value.strip()
        if not sign or not name:
            raise forms.ValidationError("Write a label as name=value, such as service=orders.")
        if not (name + value).isprintable():
            raise forms.ValidationError("No label holds a character that cannot be shown.")
        return name, value

    def filters(self) -> EventFilters:
        """What a valid form asks for."""
        values = self.cleaned_data
        state = values["state"]
        states: tuple[EventState, ...] = ()
        if state:
            states = ACTIVE if state == OPEN else (EventState(state),)
        rule = values["rule"]
        return EventFilters(
            rule=0 if rule == "none" else int(rule) if rule else None,
            severity=next((severity for severity in Severity if severity.word == values["severity"]), None),
            states=states,
            origin=Origin(values["origin"]) if values["origin"] else None,
            acknowledged=_YES_NO.get(values["acknowledged"]),
            muted=_YES_NO.get(values["muted"]),
            label=values["label"],
            since=values["since"],
            until=values["until"],
        )

    @property
    def more_open(self) -> bool:
        """Whether a filter that is usually folded away is filled or wrong."""
        return any(self.data.get(name) or name in self.errors for name in ("muted", "origin", "label"))
