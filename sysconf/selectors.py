"""Reads of the configuration. The only thing written here is the cache."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.db import Error, connection, transaction
from django.utils.dateparse import parse_datetime
from pydantic import ValidationError

from sysconf import locks, store
from sysconf.errors import InvalidValues, StoredInvalid, Unreadable
from sysconf.models import Version
from sysconf.sections import Section, all_sections, find_section
from sysconf.sections.system_defaults import SystemDefaults
from sysconf.wording import WHOLE, problems_of

log = logging.getLogger(__name__)

#: After PostgreSQL did not answer, it is not asked again for this long: a dashboard must not wait for each time-out.
OUTAGE_SECONDS = 5.0


@dataclass(frozen=True)
class Touch:
    """The last change of one field."""

    at: datetime
    by: str


@dataclass(frozen=True)
class Reading:
    """A section as it holds now. Version 0 are the defaults: nobody has saved it yet.

    `source` is `cache` when Redis answered; then PostgreSQL was not asked, and may even be away. `touched` has the
    fields that were ever changed.
    """

    section: Section
    version: int
    source: Literal["cache", "database"]
    changed_at: datetime | None
    by: str
    touched: dict[str, Touch]

    @property
    def values(self) -> dict[str, Any]:
        """The JSON values."""
        return self.section.to_values()


@dataclass(frozen=True)
class Stored:
    """The newest version of a section as PostgreSQL has it, valid or not."""

    number: int
    values: dict[str, Any]
    changed_at: datetime | None = None
    by: str = ""
    reason: str = ""


_AWAY = "The configuration “{}” cannot be read: PostgreSQL does not answer, and the cache in Redis has nothing either."


@dataclass
class _Outage:
    """Until when (monotonic seconds) PostgreSQL is left alone."""

    ends: float = float("-inf")


_outage = _Outage()


def forget_outage() -> None:
    """Ask PostgreSQL again at once; for tests."""
    _outage.ends = float("-inf")


def validated(section: type[Section], values: Any) -> Section:
    """The section out of JSON values. Raises `InvalidValues` with plain sentences."""
    try:
        return section.from_values(values)
    except ValidationError as error:
        raise InvalidValues(problems_of(error)) from None
    except (ValueError, TypeError, RecursionError):
        raise InvalidValues({WHOLE: ["The values cannot be read: one of them is no value of JSON."]}) from None


def read_section(key: str) -> Reading:
    """The section as it holds now: from Redis, else from PostgreSQL.

    Raises `StoredInvalid` when what is stored is not valid, `Unreadable` when neither server answers, and `LookupError`
    for a section that does not exist.
    """
    section = _known(key)
    try:
        cached = store.look([key])[0]
    except store.CacheUnreachable:
        cached = None
    return _from_cache(section, cached) or _from_database(section, cached)


def broken_sections() -> list[StoredInvalid]:
    """Sections whose stored values are not valid; a section that cannot be read at all is left out."""
    sections = all_sections()
    cached: Iterable[store.Cached | None]
    try:
        cached = store.look([section.key for section in sections])
    except store.CacheUnreachable:
        cached = [None] * len(sections)
    broken = []
    for section, found in zip(sections, cached, strict=True):
        try:
            _from_cache(section, found) or _from_database(section, found)
        except StoredInvalid as problem:
            broken.append(problem)
        except Unreadable:
            break  # neither server answers; the next one would not either
    return broken


def header_state() -> Literal["", "dry_run", "unreadable"]:
    """What the header of every page must say. Never raises."""
    try:
        defaults = read_section(SystemDefaults.key).section
    except (StoredInvalid, Unreadable):
        return "unreadable"
    return "dry_run" if isinstance(defaults, SystemDefaults) and defaults.dry_run else ""


def _known(key: str) -> type[Section]:
    section = find_section(key)
    if section is None:
        raise LookupError(key)
    return section


def _from_cache(section: type[Section], cached: store.Cached | None) -> Reading | None:
    """The reading, or None for what was not written by this version of the portal, or by nobody."""
    if cached is None or cached.entry is None:
        return None
    try:
        entry = json.loads(cached.entry)
        return Reading(
            section=validated(section, entry["values"]),
            version=int(entry["version"]),
            source="cache",
            changed_at=parse_datetime(entry["changed_at"]) if entry["changed_at"] else None,
            by=str(entry["by"]),
            touched={
                str(name): Touch(datetime.fromisoformat(at), str(by)) for name, (at, by) in entry["touched"].items()
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidValues):
        log.warning("sysconfig_cache_entry_refused", extra={"section": section.key})
        return None


def _from_database(section: type[Section], cached: store.Cached | None) -> Reading:
    """As it is stored; the cache is filled on the way. With `cached` None Redis does not answer and is left alone."""
    if time.monotonic() < _outage.ends:
        raise Unreadable(_AWAY.format(section.title))
    try:
        if cached is not None and not cached.knows_gate:
            return _first_reading(section, cached)
        reading = stored_reading(section)
    except Error as error:
        _outage.ends = time.monotonic() + OUTAGE_SECONDS
        raise Unreadable(_AWAY.format(section.title)) from error
    if cached is not None:
        with suppress(store.CacheUnreachable):  # then the next reader will
            store.fill(section.key, reading.version, entry_of(reading))
    return reading


def _first_reading(section: type[Section], cached: store.Cached) -> Reading:
    """Redis has no gate: it is new, or has lost its data. The gate is set by who knows that no save is under way."""
    with transaction.atomic():
        free = locks.hold_if_free(section.key)
        reading = stored_reading(section)
        if free:
            with suppress(store.CacheUnreachable):
                store.settle(section.key, cached, reading.version, entry_of(reading))
    return reading


def stored_reading(section: type[Section]) -> Reading:
    """The section out of PostgreSQL. Raises `StoredInvalid`, and `django.db.Error`."""
    newest = newest_stored(section)
    try:
        valid = validated(section, newest.values)
    except InvalidValues as problem:
        raise StoredInvalid(section.key, section.title, newest.number, newest.values, problem.errors) from None
    return Reading(
        section=valid,
        version=newest.number,
        source="database",
        changed_at=newest.changed_at,
        by=newest.by,
        touched=_last_touches(section.key) if newest.number else {},
    )


def newest_stored(section: type[Section]) -> Stored:
    """The newest version; the defaults as version 0 before the first."""
    row = Version.objects.filter(section=section.key).order_by("-number").first()
    if row is None:
        return Stored(0, section.defaults())
    return Stored(row.number, row.values, row.at, row.by_label, row.reason)


def values_of_version(section: type[Section], number: int) -> dict[str, Any] | None:
    """What the section held in that version; version 0 are the defaults. None if there never was such a version."""
    if number == 0:
        return section.defaults()
    row = Version.objects.filter(section=section.key, number=number).only("values").first()
    values: dict[str, Any] | None = row.values if row else None
    return values


def _last_touches(key: str) -> dict[str, Touch]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (field) field, at, by_label FROM sysconfig_version,"
            " jsonb_object_keys(changes) AS field WHERE section = %s ORDER BY field, number DESC",
            [key],
        )
        return {field: Touch(at, by) for field, at, by in cursor.fetchall()}


def entry_of(reading: Reading) -> str:
    """The text that lies in Redis: section, version and values for the platform, the rest for the portal's pages."""
    entry = {
        "section": reading.section.key,
        "version": reading.version,
        "values": reading.values,
        "changed_at": reading.changed_at.isoformat() if reading.changed_at else None,
        "by": reading.by,
        "touched": {name: [touch.at.isoformat(), touch.by] for name, touch in reading.touched.items()},
    }
    return json.dumps(entry, separators=(",", ":"))
