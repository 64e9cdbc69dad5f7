"""Every change of a rule (AL-1): made, changed, switched on and off, deleted.

A rule that trips the breaker is armed: whoever may not arm rules cannot change what decides when it fires, and cannot
switch it on. They may switch it off, and change whom it tells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from alerting.draft import InvalidFields, RuleDraft, drafted
from alerting.errors import InvalidInput, StaleForm, WrongState
from alerting.models import Channel, Rule
from alerting.services import silences, turns
from alerting.wording import condition_words
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.audit import recorder

log = logging.getLogger(__name__)

ARM = "alerting.arm_rule"
GONE = "This rule was deleted meanwhile. Nothing was changed."
STALE = (
    "Somebody else has changed this rule meanwhile. Nothing was saved: compare what is below with what it is now, and "
    "save again if it is still meant."
)
#: What decides when a rule fires; of an armed one only who may arm it changes these.
GUARDED = ("metric", "comparison", "threshold", "for_seconds", "labels")
_FIELDS = tuple(name for name in RuleDraft.model_fields if name != "channels")


def create_rule(*, by: Actor, values: Mapping[str, Any]) -> Rule:
    """A rule. Raises `PermissionRefused` (also for the trip action without the permission), and `InvalidFields`."""
    by.require("alerting.add_rule")
    draft = drafted(values)
    if draft.trips_breaker:
        by.require(ARM)
    try:
        with transaction.atomic():
            turns.await_turn()
            channels = _locked_channels(draft)
            _require_free(draft.name)
            rule = Rule.objects.create(**_columns(draft))
            rule.channels.set(channels)
            details = {field: _plain(getattr(draft, field)) for field in _FIELDS}
            _audit("alert_rule_create", rule, by, {**details, "channels": [channel.name for channel in channels]})
    except IntegrityError as error:
        raise _taken(error, draft.name) from None
    log.info("alert_rule_created", extra={"rule": rule.pk, "action": "alert_rule_create"})
    return rule


def update_rule(rule: Rule, *, by: Actor, values: Mapping[str, Any], expected_version: int) -> list[str]:
    """Change a rule to `values`, which are complete. Gives the names of the fields that changed.

    Raises `PermissionRefused`, `InvalidFields`, `StaleForm` when it is of another version by now, and `WrongState` when
    it is gone.
    """
    by.require("alerting.change_rule")
    draft = drafted(values)
    try:
        with transaction.atomic():
            turns.await_turn()
            now = _locked(rule, expected_version)
            channels = _locked_channels(draft)
            changed = _changes(now, draft, channels)
            _require_may_change(now, draft, changed, by)
            if "name" in changed:
                _require_free(draft.name, but=now)
            if changed:
                _write(now, draft, channels, changed)
                _audit("alert_rule_update", now, by, {"changed": changed})
    except IntegrityError as error:
        raise _taken(error, draft.name) from None
    return list(changed)


def set_enabled(rule: Rule, enabled: bool, *, by: Actor, expected_version: int | None = None) -> bool:
    """Switch a rule on or off; False if it was so already. Its open alerts end when it is switched off.

    Raises `PermissionRefused`, also for switching an armed rule on without the permission to arm one, `StaleForm` and
    `WrongState`.
    """
    by.require("alerting.change_rule")
    with transaction.atomic():
        turns.await_turn()
        now = _locked(rule, expected_version)
        if now.enabled == enabled:
            return False
        if enabled and now.trips_breaker and not by.may(ARM):
            raise _armed(by, now, "switch it on")
        now.enabled, now.version, now.changed_at = enabled, now.version + 1, timezone.now()
        now.save(update_fields=["enabled", "version", "changed_at"])
        _audit("alert_rule_update", now, by, {"changed": {"enabled": {"before": not enabled, "after": enabled}}})
    return True


def delete_rule(rule: Rule, *, by: Actor, expected_version: int | None = None) -> None:
    """Delete a rule. Its open alerts and its silences end; what it fired and what they held back stays in the history.

    Raises `PermissionRefused`, `StaleForm`, and `WrongState` when it is gone already.
    """
    by.require("alerting.delete_rule")
    with transaction.atomic():
        turns.await_turn()
        now = _locked(rule, expected_version)
        details = {
            "condition": condition_words(now.metric, now.comparison, now.threshold, now.for_seconds, now.labels),
            "channels": [channel.name for channel in now.channels.all()],
            "silences": silences.end_those_of(now, by=by),
            "trips_breaker": now.trips_breaker,
        }
        _audit("alert_rule_delete", now, by, details)
        now.delete()
    log.info("alert_rule_deleted", extra={"rule": rule.pk, "action": "alert_rule_delete"})


def copied_values(rule: Rule) -> dict[str, Any]:
    """What a copy of the rule begins with: switched off, without the trip action, under a name that is free."""
    number, name = 2, f"{rule.name[:85]} (copy)"
    while Rule.objects.filter(name__iexact=name).exists():
        number, name = number + 1, f"{rule.name[:85]} (copy {number})"
    return {**current_values(rule), "name": name, "enabled": False, "trips_breaker": False}


def current_values(rule: Rule) -> dict[str, Any]:
    """The rule as `values`."""
    channels = tuple(rule.channels.values_list("pk", flat=True))
    return {field: getattr(rule, field) for field in _FIELDS} | {"channels": channels}


def is_guarded(rule: Rule, by: Actor) -> bool:
    """Whether the rule is armed and this person may not arm: then `GUARDED` stays as it is."""
    return rule.trips_breaker and not by.may(ARM)


def _locked(rule: Rule, expected_version: int | None) -> Rule:
    now = Rule.objects.select_for_update().filter(pk=rule.pk).first()
    if now is None:
        raise WrongState(GONE)
    if expected_version is not None and now.version != expected_version:
        raise StaleForm(STALE)
    return now


def _locked_channels(draft: RuleDraft) -> list[Channel]:
    """The chosen channels, which nobody can delete meanwhile."""
    found = list(Channel.objects.select_for_update(no_key=True).filter(pk__in=draft.channels).order_by("pk"))
    if len(found) < len(draft.channels):
        raise InvalidFields({"channels": "A chosen channel does not exist any more. Choose again."})
    return found


def _columns(draft: RuleDraft) -> dict[str, Any]:
    return {field: _plain(getattr(draft, field)) for field in _FIELDS}


def _plain(value: Any) -> Any:
    """Without the enums of the draft."""
    return value.value if hasattr(value, "value") else value


def _changes(now: Rule, draft: RuleDraft, channels: list[Channel]) -> dict[str, dict[str, Any]]:
    """Field to what it was and what it shall be."""
    found = {}
    for field, after in _columns(draft).items():
        before = getattr(now, field)
        if before != after:
            found[field] = {"before": before, "after": after}
    had = list(now.channels.order_by("pk"))
    if [channel.pk for channel in had] != [channel.pk for channel in channels]:
        found["channels"] = {
            "before": [channel.name for channel in had],
            "after": [channel.name for channel in channels],
        }
    return found


def _require_may_change(now: Rule, draft: RuleDraft, changed: Mapping[str, Any], by: Actor) -> None:
    if "trips_breaker" in changed:
        by.require(ARM)
    if not now.trips_breaker or by.may(ARM):
        return
    if any(field in changed for field in GUARDED):
        raise _armed(by, now, "change its condition")
    if "enabled" in changed and draft.enabled:
        raise _armed(by, now, "switch it on")


def _armed(by: Actor, rule: Rule, what: str) -> PermissionRefused:
    words = f"The rule “{rule.name}” trips the circuit breaker, so only who may arm rules can {what}. Ask an admin."
    return PermissionRefused(by.label, ARM, words=words)


def _write(now: Rule, draft: RuleDraft, channels: list[Channel], changed: Mapping[str, Any]) -> None:
    columns = [field for field in changed if field != "channels"]
    for field in columns:
        setattr(now, field, _plain(getattr(draft, field)))
    now.version, now.changed_at = now.version + 1, timezone.now()
    now.save(update_fields=[*columns, "version", "changed_at"])
    if "channels" in changed:
        now.channels.set(channels)


def _require_free(name: str, *, but: Rule | None = None) -> None:
    others = Rule.objects.filter(name__iexact=name)
    if others.exclude(pk=but.pk).exists() if but else others.exists():
        raise _name_is_taken(name)


def _taken(error: IntegrityError, name: str) -> Exception:
    """The same for whoever came second; anything else is no matter of names."""
    constraint = str(getattr(getattr(error.__cause__, "diag", None), "constraint_name", ""))
    return _name_is_taken(name) if constraint == "alerting_rule_name" else error


def _name_is_taken(name: str) -> InvalidInput:
    return InvalidFields({"name": f"There is a rule “{name}” already, in these or other capitals."})


def _audit(event: str, rule: Rule, by: Actor, details: dict[str, Any]) -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="alert_rule",
        resource_id=str(rule.pk),
        details={"name": rule.name, **details},
    )
