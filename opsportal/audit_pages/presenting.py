"""Entries as people read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error
from django.http import QueryDict
from django.urls import reverse

from opsportal.accounts.models import User
from opsportal.accounts.services import database_is_down
from opsportal.audit.actions import label_of
from opsportal.audit.forms import EntryFilter
from opsportal.audit.models import Entry, EventType, Link, Outcome
from opsportal.audit.search import Cursor, Found, find_page
from opsportal.audit.selectors import verified_up_to
from opsportal.observability.sanitise import sanitise

TONES = {Outcome.SUCCESS.value: "ok", Outcome.DENIED.value: "warn", Outcome.FAILED.value: "bad"}
SUGGESTED = 30
FOLDED = ("event_type", "resource_type", "resource_id", "ip", "request_id")
SOURCES = {"portal": "Portal", "api": "API", "cli": "Command line", "task": "Task", "rule": "Rule", "link": "Link"}


@dataclass(frozen=True)
class Change:
    """A field that changed."""

    field: str
    old: str
    new: str


@dataclass(frozen=True)
class Fact:
    """A name and a value of the details."""

    name: str
    value: str


@dataclass(frozen=True)
class Row:
    """One entry, cleaned once more on its way to the page."""

    id: int
    at: datetime
    who: str
    event: str
    label: str
    type_label: str
    outcome: str
    tone: str
    outcome_label: str
    resource_type: str
    resource_id: str
    resource_name: str
    source: str
    ip: str
    request_id: str
    reason: str
    facts: tuple[Fact, ...]
    changes: tuple[Change, ...]

    @property
    def has_details(self) -> bool:
        """Whether there is anything to unfold."""
        return bool(self.facts or self.changes or self.request_id)


@dataclass(frozen=True)
class Listing:
    """A page of the log with its filters. `unavailable` says why there is none."""

    form: EntryFilter
    rows: tuple[Row, ...] = ()
    querystring: str = ""
    newer: str = ""
    older: str = ""
    newest: bool = True
    stopped: bool = False
    searched_to: datetime | None = None
    unavailable: str = ""

    @property
    def valid(self) -> bool:
        """Whether the filters could be understood."""
        return not self.form.errors

    @property
    def more_open(self) -> bool:
        """Whether a filter that is usually folded away is filled or wrong."""
        return any(self.form.data.get(name) or name in self.form.errors for name in FOLDED)


@dataclass(frozen=True)
class ChainLink:
    """An entry's place in the chain."""

    seq: int
    short_hash: str
    verified: bool


def listing(query: QueryDict) -> Listing:
    """What a query string asks for; a wrong filter gives its sentence and asks the database nothing."""
    form = EntryFilter(query, names=recent_names())
    if not form.is_valid():
        return Listing(form)
    querystring = urlencode(form.given())
    before, after = (Cursor.parse(query.get(name, "")) for name in ("before", "after"))
    if before:
        after = None
    try:
        found = find_page(form.filters(), before=before, after=after)
        if after and not found.stopped and not found.more:
            # The newest entries after all: show a full page of them, not the few that came in since.
            before = after = None
            found = find_page(form.filters())
    except Error as error:
        if not database_is_down(error):
            raise
        unavailable = "The log cannot be shown: PostgreSQL does not answer. Nothing is lost; try again."
        return Listing(form, querystring=querystring, unavailable=unavailable)
    newer, older = _neighbours(found, before, after)
    return Listing(
        form,
        rows=tuple(row_of(entry) for entry in found.entries),
        querystring=querystring,
        newer=newer,
        older=older,
        newest=not (before or after),
        stopped=found.stopped,
        searched_to=found.searched_to,
    )


def _neighbours(found: Found, before: Cursor | None, after: Cursor | None) -> tuple[str, str]:
    """The places that the links to newer and older entries begin at; empty where there are none."""
    entries = found.entries
    newer = str(Cursor.of(entries[0])) if entries and (before or after) else ""
    older = str(Cursor.of(entries[-1])) if entries and (found.more or after) else ""
    if found.stopped and not after:
        # Searched in vain up to here; the next page goes on from there.
        older = str(Cursor(found.searched_to, 0)) if found.searched_to and found.searched_to.year > 1970 else ""
    return newer, older


def recent_names() -> list[str]:
    """The people who signed in last, to choose from; none with PostgreSQL away."""
    try:
        people = User.objects.filter(last_login__isnull=False).order_by("-last_login")
        return list(people.values_list("username", flat=True)[:SUGGESTED])
    except Error:
        return []


def row_of(entry: Entry) -> Row:
    """An entry for the page."""
    return Row(
        id=entry.pk,
        at=entry.timestamp,
        who=entry.actor_label,  # never masked: it says who did it, and is what the filter looks for
        event=entry.event,
        label=label_of(entry.event),
        type_label=dict(EventType.choices).get(entry.event_type, entry.event_type),
        outcome=entry.outcome,
        tone=TONES.get(entry.outcome, "unknown"),
        outcome_label=dict(Outcome.choices).get(entry.outcome, entry.outcome),
        resource_type=entry.resource_type,
        resource_id=str(sanitise(entry.resource_id)),
        resource_name=str(sanitise(entry.object_repr)),
        source=SOURCES.get(entry.source, entry.source),
        ip=entry.remote_addr or "",
        request_id=entry.cid or "",
        reason=str(sanitise(entry.reason)),
        facts=tuple(_facts(sanitise(entry.additional_data))),
        changes=tuple(_changes(sanitise(entry.changes))),
    )


def link_of(entry: Entry) -> ChainLink | None:
    """An entry's link; None when it has none, which verification would find."""
    link = Link.objects.filter(entry_id=entry.pk).first()
    if link is None:
        return None
    return ChainLink(link.seq, bytes(link.hash).hex()[:16], link.seq <= verified_up_to())


def similar(row: Row) -> list[tuple[str, str]]:
    """Links to more of the same: a title and an address each."""
    base = reverse("admin:audit")
    asked: list[tuple[str, dict[str, str]]] = []
    if row.who and not row.who.endswith("*"):
        asked.append((f"By {row.who}", {"who": row.who}))
    asked.append((row.label, {"event": row.event}))
    if row.resource_type:
        title = f"{row.resource_type} {row.resource_id}".strip()
        given = {"resource_type": row.resource_type, "resource_id": row.resource_id}
        asked.append((f"About {title}", {name: value for name, value in given.items() if value}))
    if row.ip:
        asked.append((f"From {row.ip}", {"ip": row.ip}))
    if row.request_id:
        asked.append(("In the same request", {"request_id": row.request_id}))
    return [(title, f"{base}?{urlencode(query)}") for title, query in asked]


def _facts(details: Any) -> list[Fact]:
    if details in (None, "", {}, []):
        return []
    if not isinstance(details, dict):
        return [Fact("details", _text(details))]
    return [Fact(str(name), _text(value)) for name, value in details.items()]


def _changes(changes: Any) -> list[Change]:
    if not isinstance(changes, dict):
        return [Change("changes", "", _text(changes))] if changes else []
    return [_change(str(field), value) for field, value in changes.items()]


def _change(field: str, value: Any) -> Change:
    if isinstance(value, list) and len(value) == 2:
        return Change(field, _text(value[0]), _text(value[1]))
    if isinstance(value, dict) and "operation" in value:
        objects = value.get("objects") or []
        what = ", ".join(_text(item) for item in objects) if isinstance(objects, list) else _text(objects)
        return Change(field, "", f"{value['operation']}: {what}")
    return Change(field, "", _text(value))


def _text(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(isinstance(item, str | int) for item in value):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict | list):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)
    return str(value)
