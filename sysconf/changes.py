"""What an edit changes, and what of it is dangerous (CF-3, CF-4). Nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sysconf import kinds
from sysconf.sections import Section

_ABSENT = object()


@dataclass(frozen=True)
class Change:
    """One field's old and new value, as people read them. `why` says what makes it dangerous; empty if nothing does."""

    field: str
    label: str
    old: str
    new: str
    why: str = ""


@dataclass(frozen=True)
class Setting:
    """One field's present value as people read it. `flag` says that it is on the dangerous side of its default."""

    field: str
    label: str
    words: str
    flag: str = ""
    why: str = ""


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Field to [old, new] for what differs; None for a side that does not have the field."""
    names = [*new, *(name for name in old if name not in new)]
    return {
        name: [old.get(name), new.get(name)]
        for name in names
        if not _same(old.get(name, _ABSENT), new.get(name, _ABSENT))
    }


def described(section: type[Section], changes: Mapping[str, list[Any]]) -> tuple[Change, ...]:
    """The changes for people, dangerous ones first; also of fields that the section no longer has."""
    found = []
    for name, (old, new) in changes.items():
        if name not in section.model_fields:
            found.append(
                Change(name, f"{name} (no longer a setting)", str(old), "removed" if new is None else str(new))
            )
            continue
        before, after = kinds.kind_of(section, name).change(old, new)
        found.append(Change(name, section.label(name), before, after, danger_of(section, name, old, new)))
    places = {name: place for place, name in enumerate(section.model_fields)}  # PostgreSQL keeps no order of fields
    return tuple(sorted(found, key=lambda change: (not change.why, places.get(change.field, len(places)))))


def danger_of(section: type[Section], name: str, old: Any, new: Any) -> str:
    """What makes this edit of the field dangerous; empty if nothing does."""
    return " ".join(mark.why for mark in section.dangers(name) if mark.applies(old, new))


def dangers(section: type[Section], changes: Mapping[str, list[Any]]) -> tuple[str, ...]:
    """The fields whose change asks for step-up."""
    return tuple(
        name
        for name, (old, new) in changes.items()
        if name in section.model_fields and danger_of(section, name, old, new)
    )


def settings_of(section: type[Section], values: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The values for people, with a flag where one is on the dangerous side of its default."""
    defaults = section.defaults()
    found = []
    for name in section.model_fields:
        kind = kinds.kind_of(section, name)
        if name not in values:
            found.append(Setting(name, section.label(name), "missing"))
            continue
        value = values[name]
        marks = [
            mark
            for mark in section.dangers(name)
            if _known(value, defaults[name]) and mark.holds(value, defaults[name])
        ]
        flag = ""
        if marks:
            flag = {"off": "switched off", "on": "switched on"}.get(
                marks[0].when, f"{marks[0].when} from {kind.words(defaults[name])}"
            )
        found.append(Setting(name, section.label(name), kind.words(value), flag, " ".join(mark.why for mark in marks)))
    return tuple(found)


def _known(value: Any, default: Any) -> bool:
    """Whether the value can be compared with its default at all; a stored one may be anything."""
    numbers = isinstance(value, int | float) and isinstance(default, int | float)
    return type(value) is type(default) or (numbers and not isinstance(value, bool))


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: a switch is no number."""
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)
