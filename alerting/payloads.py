"""The portal's own formats: observations, and alerts that a service triggers itself. All of a request or nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models.functions import Lower

from alerting import intake, keys
from alerting.conditions import CONDITIONS, EXTERNAL, Condition
from alerting.errors import InvalidInput
from alerting.intake import place
from alerting.judging import matches
from alerting.models import Origin, Rule, Severity
from alerting.signals import Signal
from opsportal.accounts.actors import Actor, PermissionRefused

_OBSERVATION = frozenset({"metric", "value", "labels", "at"})
_ALERT = frozenset(
    {"name", "status", "severity", "summary", "labels", "annotations", "rule", "alert_id", "triggered_at", "value"}
    | {"generator_url"}
)
_SEVERITIES = {severity.word: severity.value for severity in Severity}
_ALERT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
PUSHED = {name: condition for name, condition in CONDITIONS.items() if condition.pushed and name != EXTERNAL}
#: The annotation that says who sent a direct alert. No sender's own can be called so: theirs have no spaces.
SENT_BY = "sent by"
#: Values this many times beyond what a threshold may be are a mistake of the sender.
BEYOND = 1_000


def observations(body: Any, now: datetime) -> list[Signal]:
    """`{"observations": [{"metric", "value", "labels"?, "at"?}]}`. Raises `InvalidInput`."""
    items = intake.items_of(body, "observations")
    intake.only_known(body, frozenset({"observations"}), "")
    signals = [_observation(item, f"observations[{number}]", now) for number, item in enumerate(items)]
    seen = set()
    for number, signal in enumerate(signals):
        name = (signal.metric, signal.mark, signal.told)
        if name in seen:
            raise InvalidInput(
                f"observations[{number}]",
                "The same metric, labels and time come twice in this request. Give each its own time (`at`).",
            )
        seen.add(name)
    return signals


def alerts(body: Any, now: datetime, *, by: Actor) -> list[Signal]:
    """One alert, or `{"alerts": […]}`. Raises `InvalidInput`, `PermissionRefused` and `django.db.Error`.

    Whoever names a rule that trips the breaker fires it whatever its condition: they must be allowed to trip.
    """
    if isinstance(body, dict) and "alerts" in body:
        items = intake.items_of(body, "alerts")
        intake.only_known(body, frozenset({"alerts"}), "")
        places = [f"alerts[{number}]" for number in range(len(items))]
    elif isinstance(body, dict):
        items, places = [body], [""]
    else:
        raise InvalidInput("alerts", "Send one alert as an object, or an object with a list “alerts”.")
    rules = _rules_named(items, places)
    for rule in rules.values():
        _require_may_name(rule, by)
    sender = intake.masked(by.label)
    signals = [_alert(item, where, rules, now, sender) for item, where in zip(items, places, strict=True)]
    _check_repeats(signals, places, {rule.pk: rule for rule in rules.values()})
    return signals


def _check_repeats(signals: list[Signal], places: list[str], rules: Mapping[int, Rule]) -> None:
    """Of two that could be one episode nobody can say which is the later word."""
    seen: dict[str, set[int | None]] = defaultdict(set)
    for signal, where in zip(signals, places, strict=True):
        before = seen[signal.mark]
        if signal.rule_id in before:
            raise InvalidInput(where, "The same alert, with the same labels, comes twice in this request.")
        before.add(signal.rule_id)
        shared = [rules[one].name for one in before if one is not None and rules[one].metric == EXTERNAL]
        if None in before and shared:
            raise InvalidInput(
                where,
                f"The same alert, with the same labels, comes twice in this request: for the rule “{shared[0]}”, and "
                "for every rule that matches, which is that one too. Send them one after the other.",
            )


def _observation(item: Mapping[str, Any], where: str, now: datetime) -> Signal:
    intake.only_known(item, _OBSERVATION, where)
    metric = item.get("metric")
    condition = PUSHED.get(metric) if isinstance(metric, str) else None
    if condition is None:
        raise InvalidInput(
            place(where, "metric"),
            f"This must be a metric that services send: {', '.join(sorted(PUSHED))}.",
        )
    if "value" not in item:
        raise InvalidInput(place(where, "value"), "This is missing.")
    labels = intake.labels(item["labels"], place(where, "labels")) if "labels" in item else {}
    told = intake.recent(item["at"], place(where, "at"), now) if "at" in item else now
    return Signal(
        metric=condition.name,
        labels=labels,
        value=_sensible(intake.number(item["value"], place(where, "value")), condition, place(where, "value")),
        at=min(told, now),
        told_at=told if told > now else None,
        origin=Origin.OBSERVATION,
        fingerprint=keys.masked_fingerprint(item.get("labels", {}), labels),
    )


def _sensible(value: float, condition: Condition, where: str) -> float:
    if condition.low <= value <= condition.high * BEYOND:
        return value
    raise InvalidInput(
        where,
        f"{value:g} makes no sense for “{condition.title}” ({condition.unit}): it is never less than "
        f"{condition.low:g} nor more than {condition.high * BEYOND:g}. {condition.help}",
    )


def _alert(item: Mapping[str, Any], where: str, rules: Mapping[str, Rule], now: datetime, sender: str) -> Signal:
    intake.only_known(item, _ALERT, where)
    labels = _alert_labels(item, where)
    at = intake.recent(item["triggered_at"], place(where, "triggered_at"), now) if "triggered_at" in item else now
    shown = intake.number(item["value"], place(where, "value")) if "value" in item else None
    summary = ""
    if "summary" in item:
        summary = intake.text(item["summary"], place(where, "summary"), longest=intake.SUMMARY_MAX, blank=True)
    notes = intake.notes(item["annotations"], place(where, "annotations")) if "annotations" in item else {}
    link = intake.url(item["generator_url"], place(where, "generator_url")) if "generator_url" in item else ""
    return Signal(
        metric=EXTERNAL,
        labels=labels,
        value=_status(item.get("status", "firing"), place(where, "status")),
        at=at,
        origin=Origin.DIRECT,
        rule_id=_rule_id(item, where, rules, labels),
        summary=" ".join(summary.split()),
        annotations={**notes, SENT_BY: sender},
        generator_url=link,
        severity=_severity(item["severity"], place(where, "severity")) if "severity" in item else None,
        alert_id=_alert_id(item["alert_id"], place(where, "alert_id")) if "alert_id" in item else "",
        shown_value=shown,
        fingerprint=keys.masked_fingerprint(
            {**item.get("labels", {}), "alertname": " ".join(item["name"].split())}, labels
        ),
    )


def _alert_labels(item: Mapping[str, Any], where: str) -> dict[str, str]:
    if "name" not in item:
        raise InvalidInput(place(where, "name"), "This is missing: what the alert is called.")
    name = " ".join(intake.text(item["name"], place(where, "name"), longest=100).split())
    labels = intake.labels(item["labels"], place(where, "labels")) if "labels" in item else {}
    if labels.get("alertname", name) != name:
        raise InvalidInput(
            place(where, "labels.alertname"), "This is not the alert's name. Leave it out: the name becomes this label."
        )
    return {**labels, "alertname": name}


def _status(value: Any, where: str) -> float:
    if value not in ("firing", "resolved"):
        raise InvalidInput(where, "This must be “firing” or “resolved”.")
    return 1.0 if value == "firing" else 0.0


def _severity(value: Any, where: str) -> int:
    found = _SEVERITIES.get(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidInput(where, f"This must be one of {', '.join(_SEVERITIES)}.")
    return found


def _alert_id(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _ALERT_ID.fullmatch(value):
        raise InvalidInput(
            where,
            "This must be 1 to 100 letters, digits, dots, colons, hyphens and underscores, beginning with a letter or "
            "digit.",
        )
    if intake.masked(value) != value:
        raise InvalidInput(where, "This looks like a key or a person's address or number. Choose another name.")
    return value


def _rules_named(items: list[dict[str, Any]], places: list[str]) -> dict[str, Rule]:
    """The rules that are named, by name in lower case. Raises `InvalidInput` for one that is not there."""
    wanted: dict[str, tuple[str, str]] = {}
    for item, where in zip(items, places, strict=True):
        if "rule" in item:
            shown = intake.text(item["rule"], place(where, "rule"), longest=100)
            wanted.setdefault(item["rule"].lower(), (shown, where))
    if not wanted:
        return {}
    rules = Rule.objects.annotate(lower=Lower("name")).filter(lower__in=list(wanted))
    found: dict[str, Rule] = {rule.name.lower(): rule for rule in rules}
    for key, (shown, where) in wanted.items():
        if key not in found:
            raise InvalidInput(place(where, "rule"), f"There is no rule named “{shown}”.")
        if not found[key].enabled:
            raise InvalidInput(place(where, "rule"), f"The rule “{found[key].name}” is switched off.")
    return found


def _require_may_name(rule: Rule, by: Actor) -> None:
    if not rule.trips_breaker:
        return
    try:
        by.require("circuit.trip_breaker")
    except PermissionRefused as refusal:
        words = f"The rule “{rule.name}” trips the circuit breaker. {refusal.sentence} Nothing of the request was kept."
        raise PermissionRefused(by.label, refusal.missing, scope=refusal.scope, words=words) from None


def _rule_id(item: Mapping[str, Any], where: str, rules: Mapping[str, Rule], labels: Mapping[str, str]) -> int | None:
    if "rule" not in item:
        return None
    rule = rules[item["rule"].lower()]
    if not matches(rule.labels, labels):
        wanted = ", ".join(f"{name}={text}" for name, text in sorted(rule.labels.items()))
        raise InvalidInput(place(where, "labels"), f"The rule “{rule.name}” is only about alerts that carry {wanted}.")
    return rule.pk
