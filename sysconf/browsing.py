"""The configuration as the pages show it: sections, versions, conflicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db import Error

from sysconf import kinds
from sysconf.changes import Change, Setting, described, diff, settings_of
from sysconf.errors import InvalidValues, StoredInvalid, Unreadable
from sysconf.models import Version
from sysconf.sections import Section, all_sections
from sysconf.selectors import newest_stored, read_section, validated
from sysconf.wording import WHOLE

PAGE_SIZE = 25
READ_ONLY = (
    "PostgreSQL does not answer. These are the last values in the cache, which services read as well; nothing can be "
    "changed until the database is back."
)


@dataclass(frozen=True)
class Shown:
    """A section as it holds now. `errors` are those of stored values that are not valid; `notice` says what is away."""

    section: type[Section]
    values: dict[str, Any]
    version: int
    changed_at: datetime | None
    by: str
    reason: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)
    notice: str = ""

    @property
    def key(self) -> str:
        """The section's key."""
        return self.section.key

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The values for people."""
        return settings_of(self.section, self.values) if self.values else ()

    @property
    def flagged(self) -> tuple[Setting, ...]:
        """Those on the dangerous side of their default."""
        return tuple(setting for setting in self.settings if setting.flag)

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """What is not valid: label and sentence."""
        return labelled(self.section, self.errors)


@dataclass(frozen=True)
class VersionRow:
    """One line of the history."""

    number: int
    at: datetime
    by: str
    reason: str
    restored_from: int | None
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Clash:
    """One field of a conflict: what it was, what they and you made of it. `take` is the suggestion, if any."""

    field: str
    label: str
    base: str
    theirs: str
    yours: str
    take: str


def shown_sections() -> list[Shown]:
    """All sections, by title."""
    return [shown_section(section) for section in all_sections()]


def shown_section(section: type[Section]) -> Shown:
    """The section for its page; with PostgreSQL away from the cache, and then read-only. Never raises for either."""
    try:
        stored = newest_stored(section)
    except Error:
        return _from_cache_alone(section)
    try:
        values = validated(section, stored.values).to_values()
        errors: dict[str, list[str]] = {}
    except InvalidValues as problem:
        values, errors = stored.values, problem.errors
    return Shown(section, values, stored.number, stored.changed_at, stored.by, stored.reason, errors)


def _from_cache_alone(section: type[Section]) -> Shown:
    try:
        reading = read_section(section.key)
    except StoredInvalid as problem:
        return Shown(section, problem.values, problem.number, None, "", errors=problem.errors, notice=READ_ONLY)
    except Unreadable as problem:
        return Shown(section, {}, 0, None, "", notice=problem.sentence)
    return Shown(section, reading.values, reading.version, reading.changed_at, reading.by, notice=READ_ONLY)


def history_page(section: type[Section], number: str | None) -> Page[Version] | None:
    """The versions, newest first; None with PostgreSQL away."""
    rows = Version.objects.filter(section=section.key).order_by("-number")
    try:
        page: Page[Version] = Paginator(rows, PAGE_SIZE).get_page(number)
        page.object_list = list(page.object_list)
    except Error:
        return None
    return page


def version_row(section: type[Section], row: Version) -> VersionRow:
    """One version for people."""
    return VersionRow(row.number, row.at, row.by_label, row.reason, row.restored_from, described(section, row.changes))


def labelled(section: type[Section], errors: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """Errors with the names that people know."""
    names = {WHOLE: "The section"} | {name: section.label(name) for name in section.model_fields}
    return tuple((names.get(name, name), " ".join(said)) for name, said in errors.items())


def clashes(
    section: type[Section], *, base: Mapping[str, Any] | None, theirs: Mapping[str, Any], yours: Mapping[str, Any]
) -> list[Clash]:
    """The fields in which yours and theirs differ; what only one side has touched is suggested."""
    found = []
    for name in diff(theirs, yours):
        if name not in section.model_fields:
            continue
        kind = kinds.kind_of(section, name)
        take = ""
        if base is not None and name in base:
            touched = diff(base, yours), diff(base, theirs)
            take = {(True, False): "yours", (False, True): "theirs"}.get((name in touched[0], name in touched[1]), "")
        found.append(
            Clash(
                name,
                section.label(name),
                kind.words(base[name]) if base is not None and name in base else "not known",
                kind.words(theirs[name]) if name in theirs else "missing",
                kind.words(yours.get(name)),
                take,
            )
        )
    return found
