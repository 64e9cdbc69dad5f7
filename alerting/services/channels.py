"""Every change of a channel (AC-2): set up, changed, switched on and off, deleted, tried out.

Settings come as JSON values and are judged by the kind; they are kept sealed, and nothing of them is in an audit entry
or a log but what the kind itself shows, masked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from enum import Enum
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Q
from django.utils import timezone
from pydantic import SecretStr, ValidationError

from alerting import waiting
from alerting.channels import KINDS
from alerting.channels.base import ChannelKind, ChannelSettings
from alerting.channels.opening import CannotUse, open_row, seal_settings
from alerting.claiming import OPEN
from alerting.draft import InvalidFields
from alerting.errors import InvalidInput, StaleForm, WrongState
from alerting.models import Channel, Rule
from alerting.nudging import nudge
from alerting.services import turns
from opsportal.accounts.actors import Actor
from opsportal.accounts.records import plain_text
from opsportal.audit import recorder
from sysconf.wording import WHOLE, problems_of

log = logging.getLogger(__name__)

NAME_MAX = 100
STALE = "Somebody else has changed this channel meanwhile. Nothing was saved: look at it again, then save again."
GONE = "This channel was deleted meanwhile. Nothing was changed."
#: What a dispatcher has just now is passed over, and waited for by nobody: it sees by itself that the channel is off.
_HOLD_NO_LONGER = f"""
UPDATE alerting_delivery AS t SET due_at = statement_timestamp(), waits_for = ''
FROM (
    SELECT id, hour_bucket FROM alerting_delivery
    WHERE channel_id = %s AND {OPEN} AND lease IS NULL AND merged_into IS NULL
        AND (due_at > statement_timestamp() OR waits_for <> '')
    FOR UPDATE SKIP LOCKED
) AS r WHERE t.id = r.id AND t.hour_bucket = r.hour_bucket
"""  # noqa: S608 - our own constants
#: Rules that a refusal names before it says how many more there are.
_NAMED = 5


def create_channel(
    *,
    by: Actor,
    kind: str,
    name: str,
    settings: Mapping[str, Any],
    enabled: bool = True,
    for_unreached: bool = False,
) -> Channel:
    """A channel; with `for_unreached` also in use by every rule that has none. Raises `PermissionRefused` (for those
    rules, too) and `InvalidFields`."""
    by.require("alerting.add_channel")
    if for_unreached:
        by.require("alerting.change_rule")
    found, checked = _judged(kind, name, settings)
    text = _name(name)
    try:
        with transaction.atomic():
            turns.await_turn()
            _require_free(text)
            channel = Channel.objects.create(
                name=text, kind=found.name, sealed=seal_settings(checked), shown=found.shown(checked), enabled=enabled
            )
            rules = _give_to_unreached(channel, by) if for_unreached else []
            details = {"shown": channel.shown, "enabled": enabled, "rules": rules}
            _audit("channel_create", channel, by, details)
    except IntegrityError as error:
        raise _taken(error, text) from None
    log.info("alert_channel_created", extra={"channel_id": channel.pk, "channel_kind": channel.kind})
    return channel


def update_channel(
    channel: Channel, *, by: Actor, name: str, settings: Mapping[str, Any], expected_version: int
) -> list[str]:
    """Change name and settings, which are complete; gives the titles of what changed.

    Raises `PermissionRefused`, `InvalidFields`, `StaleForm` and `WrongState` (it is gone).
    """
    by.require("alerting.change_channel")
    kind, checked = _judged(channel.kind, name, settings)
    text = _name(name)
    try:
        with transaction.atomic():
            turns.await_turn()
            now = _locked(channel, expected_version)
            changed = ([] if now.name == text else ["Name"]) + _differences(now, kind, checked)
            if "Name" in changed:
                _require_free(text, but=now)
            if changed:
                before = {"name": now.name, "shown": now.shown}
                now.name, now.sealed, now.shown = text, seal_settings(checked), kind.shown(checked)
                _save(now, "name", "sealed", "shown")
                after = {"name": now.name, "shown": now.shown}
                _audit("channel_update", now, by, {"changed": changed, "before": before, "after": after})
    except IntegrityError as error:
        raise _taken(error, text) from None
    return changed


def set_enabled(channel: Channel, enabled: bool, *, by: Actor, expected_version: int | None = None) -> bool:
    """Switch it on or off; False if it was so already. What is under way over one that is off goes to the poison queue.

    Raises `PermissionRefused`, `StaleForm` and `WrongState`.
    """
    by.require("alerting.change_channel")
    with transaction.atomic():
        turns.await_turn()
        now = _locked(channel, expected_version)
        if now.enabled == enabled:
            return False
        now.enabled = enabled
        _save(now, "enabled")
        _audit("channel_update", now, by, {"changed": ["Switched on" if enabled else "Switched off"]})
        if not enabled:
            _hold_no_longer(now)
    return True


def delete_channel(channel: Channel, *, by: Actor, expected_version: int | None = None) -> None:
    """Delete one that no rule uses. Raises `PermissionRefused`, `StaleForm`, and `WrongState` with the rules' names."""
    by.require("alerting.delete_channel")
    with transaction.atomic():
        turns.await_turn()
        now = _locked(channel, expected_version)
        rules = list(now.rules.order_by("name").values_list("name", flat=True))
        if rules:
            raise WrongState(
                f"The channel “{now.name}” is in use by {_named(rules)}. Nothing was deleted: take it out of these "
                "rules first, or switch it off."
            )
        _audit("channel_delete", now, by, {"shown": now.shown})
        _end_rest(now)
        _hold_no_longer(now)
        now.delete()


def left_without(channel: Channel) -> list[Rule]:
    """The rules that would tell nobody with this channel off: switched on, with no other channel that is on."""
    others = Count("channels", filter=Q(channels__enabled=True) & ~Q(channels__pk=channel.pk))
    users = Rule.objects.filter(pk__in=channel.rules.filter(enabled=True).values("pk"))
    return list(users.annotate(others=others).filter(others=0).order_by("name"))


def unreached_rules() -> int:
    """How many rules have no channel."""
    return Rule.objects.filter(channels__isnull=True).count()


def default_values(kind: ChannelKind) -> dict[str, Any]:
    """What a setting is that nobody has given, as JSON values; required ones have none."""
    fields = kind.Settings.model_fields.items()
    return {
        name: _plain(info.get_default(call_default_factory=True)) for name, info in fields if not info.is_required()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return value.value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def judged_settings(kind: ChannelKind, settings: Mapping[str, Any]) -> ChannelSettings:
    """The settings as the kind accepts them. Raises `InvalidFields`; no sentence repeats a value."""
    try:
        return kind.Settings.model_validate_json(json.dumps({**default_values(kind), **settings}, allow_nan=False))
    except ValidationError as error:
        problems = problems_of(error)
        raise InvalidFields({field: " ".join(sentences) for field, sentences in problems.items()}) from None
    except (ValueError, TypeError, RecursionError):
        raise InvalidFields({WHOLE: "The settings cannot be read: one of them is no value of JSON."}) from None


def objections(kind: str, name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """What would be refused: field to sentence, those of settings as `settings.…`. Nothing is changed."""
    try:
        _judged(kind, name, settings)
    except InvalidFields as refusal:
        return refusal.errors
    return {}


def _hold_no_longer(channel: Channel) -> None:
    """Let dispatchers take at once what waits over this channel, so that it becomes poison with the reason."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLD_NO_LONGER, [channel.pk])
    transaction.on_commit(nudge)


def _judged(kind: str, name: str, settings: Mapping[str, Any]) -> tuple[ChannelKind, ChannelSettings]:
    """Kind and settings, with every error at once, also of the name."""
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise InvalidFields({"kind": f"There is no such kind of channel. There are: {', '.join(KINDS)}."})
    errors: dict[str, str] = {}
    checked = None
    try:
        _name(name)
    except InvalidInput as refusal:
        errors[refusal.field] = refusal.sentence
    try:
        checked = judged_settings(found, settings)
    except InvalidFields as refusal:
        errors |= {f"settings.{field}": sentence for field, sentence in refusal.errors.items()}
    if errors or checked is None:
        raise InvalidFields(errors)
    return found, checked


def _name(name: Any) -> str:
    text = plain_text("name", name if isinstance(name, str) else "", longest=NAME_MAX, name="The name")
    if not text:
        raise InvalidInput("name", "Give the channel a name, such as “desk by e-mail”.")
    return text


def _locked(channel: Channel, expected_version: int | None) -> Channel:
    now = Channel.objects.select_for_update().filter(pk=channel.pk).first()
    if now is None:
        raise WrongState(GONE)
    if expected_version is not None and now.version != expected_version:
        raise StaleForm(STALE)
    return now


def _save(channel: Channel, *fields: str) -> None:
    channel.version, channel.changed_at = channel.version + 1, timezone.now()
    channel.save(update_fields=[*fields, "version", "changed_at"])
    _end_rest(channel)


def _end_rest(channel: Channel) -> None:
    """What waits because the provider asked for it waits no longer: what it said was said to what was set before."""
    with connection.cursor() as cursor:
        waiting.end_rests(cursor, [channel.pk])
    transaction.on_commit(nudge)


def _differences(now: Channel, kind: ChannelKind, checked: ChannelSettings) -> list[str]:
    """Titles of the settings that differ; all of them where what is kept cannot be read any more."""
    fields = kind.Settings.model_fields
    try:
        present = open_row(now).settings
    except CannotUse:
        return [info.title or name for name, info in fields.items()]
    return [info.title or name for name, info in fields.items() if getattr(present, name) != getattr(checked, name)]


def _give_to_unreached(channel: Channel, by: Actor) -> list[str]:
    """Every rule without a channel gets this one, each with its own entry."""
    unreached = Rule.objects.filter(channels__isnull=True).values("pk")
    rules = list(Rule.objects.select_for_update().filter(pk__in=unreached).order_by("pk"))
    for rule in rules:
        rule.channels.add(channel)
        rule.version, rule.changed_at = rule.version + 1, timezone.now()
        rule.save(update_fields=["version", "changed_at"])
        recorder.record(
            "alert_rule_update",
            event_type="admin",
            actor=by.user,
            actor_label=by.label,
            resource_type="alert_rule",
            resource_id=str(rule.pk),
            details={"name": rule.name, "changed": {"channels": {"before": [], "after": [channel.name]}}},
        )
    return [rule.name for rule in rules]


def _named(rules: list[str]) -> str:
    more = len(rules) - _NAMED
    words = ", ".join(f"“{name}”" for name in rules[:_NAMED])
    return f"the rules {words} and {more} more" if more > 0 else f"the rule{'s' if len(rules) > 1 else ''} {words}"


def _require_free(name: str, *, but: Channel | None = None) -> None:
    others = Channel.objects.filter(name__iexact=name)
    if others.exclude(pk=but.pk).exists() if but else others.exists():
        raise _name_is_taken(name)


def _taken(error: IntegrityError, name: str) -> Exception:
    constraint = str(getattr(getattr(error.__cause__, "diag", None), "constraint_name", ""))
    # The database's own message quotes the row: it must not travel on.
    return (
        _name_is_taken(name)
        if constraint == "alerting_channel_name"
        else IntegrityError(f"the channel could not be written: {constraint}")
    )


def _name_is_taken(name: str) -> InvalidInput:
    return InvalidFields({"name": f"There is a channel “{name}” already, in these or other capitals."})


def _audit(event: str, channel: Channel, by: Actor, details: Mapping[str, Any]) -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="alert_channel",
        resource_id=str(channel.pk),
        details={"name": channel.name, "kind": channel.kind, **details},
    )
