"""Every change of the configuration (CF-2, CF-3, CF-4).

A save takes the lock of its section, compares the version that the editor saw with the newest, and writes version and
audit entry in one transaction. Before the commit it raises the gate of the cache, so that no reader can fill in what it
read before; after the commit it fills and announces. Whatever of that Redis misses, `settle_cache` makes up for.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from django.db import Error, transaction

from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason, step_up
from opsportal.audit import recorder
from sysconf import locks, store
from sysconf.changes import dangers, diff
from sysconf.errors import Conflict, InvalidInput, InvalidValues, StoredInvalid
from sysconf.models import Version
from sysconf.sections import Section, all_sections, find_section
from sysconf.selectors import Stored, entry_of, newest_stored, stored_reading, validated, values_of_version
from sysconf.wording import WHOLE

log = logging.getLogger(__name__)

#: What the tick of a dangerous change stands for.
CONFIRM = "Tick the box to confirm that you know what this change means."


@dataclass(frozen=True)
class Saved:
    """A version that was saved. `cached` is False when Redis was away: services may read the old values meanwhile."""

    section: str
    number: int
    changes: dict[str, list[Any]]
    cached: bool


def save_section(
    key: str,
    values: dict[str, Any],
    *,
    by: Actor,
    reason: str,
    base_version: int,
    acknowledged: bool = False,
    restored_from: int | None = None,
) -> Saved:
    """Save a section's values, all of them, as its next version.

    `base_version` is the version that the editor saw. `restored_from` names an earlier version whose values these are.

    Raises `PermissionRefused`, `LookupError` for an unknown section, `InvalidValues`, `InvalidInput` (nothing to save,
    reason, acknowledgement), `Conflict` when somebody else has saved since, and `django.db.Error`.
    """
    by.require("sysconfig.change_section")
    section = find_section(key)
    if section is None:
        raise LookupError(key)
    wanted = _complete(section, values)
    try:
        with transaction.atomic():
            locks.hold(key)
            newest = newest_stored(section)
            _require_base(section, newest, base_version)
            changes = diff(newest.values, wanted)
            text = _judged(section, changes, by=by, reason=reason, acknowledged=acknowledged)
            if restored_from is not None:
                _require_restored(section, restored_from, wanted)
            number = newest.number + 1
            _write(section, number, wanted, changes, by=by, reason=text, restored_from=restored_from)
            cached = _before_commit(key, number)
            transaction.on_commit(lambda: _after_commit(section, number))
    except Conflict as refusal:
        _note_failure(section, by, reason, refusal)
        raise
    log.warning("sysconfig_saved", extra={"section": key, "version": number, "action": "config_update"})
    return Saved(key, number, changes, cached)


def _complete(section: type[Section], values: dict[str, Any]) -> dict[str, Any]:
    """The values as they are stored. Raises `InvalidValues`; a missing one is refused, not reset to its default."""
    wanted = validated(section, values).to_values()
    missing = {name: ["This value is missing."] for name in wanted if name not in values}
    if missing:
        raise InvalidValues(missing)
    _refuse_unstorable(wanted)
    return wanted


def _require_base(section: type[Section], newest: Stored, base_version: int) -> None:
    if base_version == newest.number:
        return
    base = values_of_version(section, base_version) if base_version >= 0 else None
    raise Conflict(base=base, theirs=newest.values, number=newest.number, by=newest.by)


def _judged(
    section: type[Section], changes: dict[str, list[Any]], *, by: Actor, reason: str, acknowledged: bool
) -> str:
    """The cleaned reason of a change that may be made."""
    if not changes:
        raise InvalidInput(WHOLE, "These are the present values: there is nothing to save.")
    if dangers(section, changes):
        return step_up(by, reason=reason, acknowledged=acknowledged, confirm=CONFIRM)
    return clean_reason(reason)


def _require_restored(section: type[Section], number: int, wanted: dict[str, Any]) -> None:
    """A restoration says so only if it is one: the values are those of that version, completed by newer settings."""
    earlier = values_of_version(section, number)
    if earlier is None:
        raise InvalidInput(WHOLE, f"There is no version {number} of this section to restore.")
    if validated(section, earlier).to_values() != wanted:
        raise InvalidInput(WHOLE, f"These are not the values of version {number}. Save them as a change of their own.")


def _write(
    section: type[Section],
    number: int,
    values: dict[str, Any],
    changes: dict[str, list[Any]],
    *,
    by: Actor,
    reason: str,
    restored_from: int | None,
) -> None:
    Version.objects.create(
        section=section.key,
        number=number,
        values=values,
        changes=changes,
        by=by.user,
        by_label=by.label,
        reason=reason,
        restored_from=restored_from,
    )
    details: dict[str, Any] = {"section": section.key, "version": number, "changes": changes}
    if restored_from is not None:
        details["restored_from"] = restored_from
    recorder.record(
        "config_update" if restored_from is None else "config_restore",
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type="config_section",
        resource_id=section.key,
        details=details,
        reason=reason,
    )


def _refuse_unstorable(values: Any, field: str = WHOLE) -> None:
    """PostgreSQL keeps no NUL and no half of a surrogate pair, and its JSON no number beyond any use."""
    if isinstance(values, dict):
        for name, value in values.items():
            _refuse_unstorable(value, name if field == WHOLE else field)
    elif isinstance(values, list):
        for value in values:
            _refuse_unstorable(value, field)
    elif isinstance(values, str):
        if "\x00" in values or any("\ud800" <= letter <= "\udfff" for letter in values):
            raise InvalidValues({field: ["This contains a character that cannot be stored. Type it again."]})
    elif isinstance(values, int) and abs(values) >= 10**18:
        raise InvalidValues({field: ["The number is far too large."]})


def _before_commit(key: str, number: int) -> bool:
    try:
        store.raise_gate(key, number)
    except store.CacheUnreachable as error:
        log.warning("sysconfig_cache_behind", extra={"section": key, "cause": str(error)})
        return False
    return True


def _after_commit(section: type[Section], number: int) -> None:
    try:
        reading = stored_reading(section)
        store.fill(section.key, reading.version, entry_of(reading))
        store.tell(section.key, number)
    except (store.CacheUnreachable, StoredInvalid, Error) as error:
        # The version is saved, and nothing older gets into the cache. `settle_cache` does the rest.
        log.warning("sysconfig_not_announced", extra={"section": section.key, "cause": type(error).__name__})


def settle_cache() -> list[str]:
    """Put right what Redis missed: gates, entries, notices. Returns the sections that needed it.

    Meant to run every few seconds. Raises `store.CacheUnreachable` and `django.db.Error`.
    """
    sections = all_sections()
    seen = store.look([section.key for section in sections])
    newest = {
        row.section: row.number
        for row in Version.objects.order_by("section", "-number").distinct("section").only("section", "number")
    }
    return [
        section.key
        for section, cached in zip(sections, seen, strict=True)
        if _is_behind(cached, newest.get(section.key, 0)) and _settle(section)
    ]


def _is_behind(cached: store.Cached, number: int) -> bool:
    right = str(number)
    if cached.gate != right or (cached.told or "0") != right:
        return True
    if cached.entry is None:
        return False
    try:
        return bool(json.loads(cached.entry)["version"] != number)
    except (ValueError, TypeError, KeyError, RecursionError):
        return True


def _settle(section: type[Section]) -> bool:
    """False when a save is under way: it puts everything right itself, or the next round does."""
    with transaction.atomic():
        if not locks.hold_if_free(section.key):
            return False
        seen = store.look([section.key])[0]
        try:
            reading = stored_reading(section)
            number, entry = reading.version, entry_of(reading)
        except StoredInvalid as problem:
            number, entry = problem.number, ""
        if not store.settle(section.key, seen, number, entry):
            return False
    if (seen.told or "0") != str(number):
        store.tell(section.key, number)
    log.warning("sysconfig_cache_settled", extra={"section": section.key, "version": number})
    return True


def _note_failure(section: type[Section], by: Actor, reason: str, refusal: Conflict) -> None:
    """Audit an edit that met another one, where that is possible; the refusal stands either way."""
    try:
        recorder.record(
            "config_update",
            event_type="admin",
            outcome="failed",
            actor=by.user,
            actor_label=by.label,
            resource_type="config_section",
            resource_id=section.key,
            details={"section": section.key, "refused": f"version {refusal.number} was saved in the meantime"},
            reason=reason.replace("\x00", "")[:1_000],
        )
    except Error:
        log.warning("refused_attempt_not_audited", extra={"action": "config_update"})
