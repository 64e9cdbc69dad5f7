"""Every change of a silence (AL-7): made, changed, ended early. None is deleted: it says what it held back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic_core import PydanticCustomError

from alerting.draft import LARGEST_ID, InvalidFields, checked_labels
from alerting.errors import InvalidInput, StaleForm, WrongState
from alerting.models import SILENCE_MAX, Rule, Silence
from alerting.services import turns
from alerting.wording import label_words
from opsportal.accounts.actors import Actor
from opsportal.accounts.records import plain_text
from opsportal.accounts.stepup import clean_reason
from opsportal.audit import recorder

REASON_MIN, REASON_MAX, SERVICE_MAX = 5, 300, 100
#: A form may be open for a while before it is sent: a start this far back means now.
GRACE = timedelta(minutes=15)
AHEAD_MAX = timedelta(days=90)
EVERYTHING = (
    "Say what shall be silent: a rule, a service or labels. A silence of everything would hide what nobody expects; "
    "switch rules or channels off instead."
)
STALE = "Somebody else has changed this silence meanwhile. Nothing was saved: look at it again."


@dataclass(frozen=True)
class Wanted:
    """A silence as it shall be: what it matches, why, and when."""

    rule: Rule | None
    service: str
    labels: dict[str, str]
    reason: str
    starts_at: datetime
    ends_at: datetime


def create_silence(*, by: Actor, values: Mapping[str, Any], now: datetime | None = None) -> Silence:
    """Hold messages back. `values`: rule (its number or None), service, labels, reason, starts_at (None for now),
    ends_at.

    Raises `PermissionRefused` and `InvalidFields`.
    """
    by.require("alerting.add_silence")
    wanted = _wanted(values, now or timezone.now())
    with transaction.atomic():
        turns.await_turn()
        silence = Silence.objects.create(**vars(wanted), created_by=by.label[:200])
        _audit("silence_create", silence, by=by, reason=wanted.reason)
    return silence


def update_silence(
    silence: Silence, *, by: Actor, values: Mapping[str, Any], expected: str = "", now: datetime | None = None
) -> list[str]:
    """Change a silence that has not ended; gives the names of what changed. The start of one that runs stays.

    `expected` is `version_of` what the form was drawn from. Raises `PermissionRefused`, `InvalidFields`, `StaleForm`
    and `WrongState` (it has ended).
    """
    by.require("alerting.change_silence")
    now = now or timezone.now()
    with transaction.atomic():
        turns.await_turn()
        row = _locked(silence, now)
        if expected and expected != version_of(row):
            raise StaleForm(STALE)
        wanted = _wanted(values, now, row)
        changed = {name: value for name, value in vars(wanted).items() if getattr(row, name) != value}
        details = {name: {"before": _shown(getattr(row, name)), "after": _shown(new)} for name, new in changed.items()}
        for name, value in changed.items():
            setattr(row, name, value)
        if changed:
            row.save(update_fields=list(changed))
            _audit("silence_update", row, by=by, reason=wanted.reason, details={"changed": details})
    return list(changed)


def end_silence(silence: Silence, *, by: Actor, now: datetime | None = None) -> Silence:
    """End it now, or call it off before it begins: what still fires is told.

    Raises `PermissionRefused` and `WrongState`.
    """
    by.require("alerting.change_silence")
    now = now or timezone.now()
    with transaction.atomic():
        turns.await_turn()
        row = _locked(silence, now)
        row.ended_at, row.ended_by = now, by.label[:200]
        row.save(update_fields=["ended_at", "ended_by"])
        _audit("silence_end", row, by=by, reason=row.reason, details={"suppressed": row.suppressed})
    return row


def end_those_of(rule: Rule, *, by: Actor) -> int:
    """End the silences of a rule that is about to be deleted, part of that change; how many. All keep its name."""
    now = timezone.now()
    rows = list(rule.silences.select_for_update().order_by("pk"))
    ended = [row for row in rows if row.ended_at is None and row.ends_at > now]
    for row in ended:
        row.ended_at, row.ended_by = now, by.label[:200]
    for row in rows:
        row.rule_name = rule.name
        row.save(update_fields=["rule_name", "ended_at", "ended_by"])
    return len(ended)


def version_of(silence: Silence) -> str:
    """Names the state of a row, so that nothing is overwritten unseen."""
    facts = [
        silence.rule_id, silence.service, sorted(silence.labels.items()), silence.reason,
        silence.starts_at.isoformat(), silence.ends_at.isoformat(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _locked(silence: Silence, now: datetime) -> Silence:
    row = Silence.objects.select_for_update(of=("self",)).select_related("rule").filter(pk=silence.pk).first()
    if row is None:
        raise WrongState("This silence is gone. Nothing was changed.")
    if row.ended_at is not None:
        raise WrongState(f"{row.ended_by} ended this silence already. Nothing was changed.")
    if row.ends_at <= now:
        raise WrongState("This silence is over. Nothing was changed: make a new one.")
    return row


def _wanted(values: Mapping[str, Any], now: datetime, row: Silence | None = None) -> Wanted:
    """The checked values. Raises `InvalidFields` with a sentence for each field that is wrong."""
    errors: dict[str, str] = {}

    def judged(field: str, judge: Any, otherwise: Any) -> Any:
        try:
            return judge()
        except InvalidInput as refusal:
            errors[field] = refusal.sentence
        except PydanticCustomError as objection:
            errors[field] = str(objection.context["sentence"]) if objection.context else str(objection)
        return otherwise

    rule = judged("rule", lambda: _rule(values.get("rule")), None)
    service = judged("service", lambda: _service(values.get("service") or ""), "")
    labels = judged("labels", lambda: checked_labels(values.get("labels") or {}), {})
    reason = judged("reason", lambda: _reason(values.get("reason") or ""), "")
    starts_at = judged("starts_at", lambda: _start(values.get("starts_at"), now, row), now)
    ends_at = judged("ends_at", lambda: _end(values.get("ends_at"), starts_at, now), now)
    if not errors.keys() & {"rule", "service", "labels"} and rule is None and not service and not labels:
        errors["rule"] = EVERYTHING
    if errors:
        raise InvalidFields(errors)
    return Wanted(rule, service, labels, reason, starts_at, ends_at)


def _rule(number: Any) -> Rule | None:
    if number in (None, ""):
        return None
    is_number = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= LARGEST_ID
    found = Rule.objects.filter(pk=number).first() if is_number else None
    if found is None:
        raise InvalidInput("rule", "This rule does not exist any more. Choose another one.")
    return found


def _service(text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidInput("service", "The service must be a name.")
    return plain_text("service", text, longest=SERVICE_MAX, name="The service")


def _reason(text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidInput("reason", "The reason must be text.")
    reason = clean_reason(text, minimum=REASON_MIN)
    if len(reason) > REASON_MAX:
        raise InvalidInput("reason", f"The reason has {len(reason):,} characters; at most {REASON_MAX} are kept.")
    return reason


def _start(moment: Any, now: datetime, row: Silence | None) -> datetime:
    if row is not None and row.starts_at <= now:
        return row.starts_at
    if moment is None:
        return now
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidInput("starts_at", "Give the start as a date and time.")
    if moment < now - GRACE:
        raise InvalidInput("starts_at", "The start lies in the past. Leave it empty to start now.")
    if moment > now + AHEAD_MAX:
        raise InvalidInput("starts_at", f"A silence may begin at most {AHEAD_MAX.days} days from now.")
    return max(moment, now)


def _end(moment: Any, starts_at: datetime, now: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidInput("ends_at", "Say until when: a silence without an end is forgotten.")
    if moment <= max(starts_at, now):
        raise InvalidInput("ends_at", "The end must lie after the start, and in the future.")
    if moment - starts_at > SILENCE_MAX:
        raise InvalidInput("ends_at", f"A silence lasts at most {SILENCE_MAX.days} days.")
    return moment


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.name if isinstance(value, Rule) else value


def _audit(event: str, silence: Silence, *, by: Actor, reason: str, details: Mapping[str, Any] | None = None) -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="alert_silence",
        resource_id=str(silence.pk),
        details={
            "rule": silence.rule.name if silence.rule else silence.rule_name or None,
            "service": silence.service,
            "labels": label_words(silence.labels),
            "from": silence.starts_at.isoformat(),
            "until": silence.ends_at.isoformat(),
            **(details or {}),
        },
        reason=reason,
    )
