"""The log as a file: CSV for people, JSON lines for programs; streamed, and audited itself (AU-6)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error

from opsportal.audit import recorder
from opsportal.audit.models import Entry, Link
from opsportal.audit.search import Filters, entries_in_order
from opsportal.observability.context import RequestContext, current
from opsportal.observability.sanitise import mask_text, sanitise
from opsportal.observability.spreadsheet import csv_lines, harmless

log = logging.getLogger(__name__)

COLUMNS = (
    "id", "timestamp", "event", "event_type", "outcome", "actor", "source", "ip", "resource_type", "resource_id",
    "reason", "request_id", "details", "changes", "chain_seq", "chain_hash",
)  # fmt: skip
INCOMPLETE = "INCOMPLETE: the export broke off here, entries are missing. Export again."
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


@dataclass(frozen=True)
class Ordered:
    """An export that was asked for. `given` are its filters as they were typed."""

    form: str
    filters: Filters
    given: dict[str, str]
    actor_id: int | None = None
    actor_label: str = ""


def export(ordered: Ordered, *, chunk: int = 1_000) -> Iterator[str]:
    """The file in pieces, `chunk` entries at most in memory. Its beginning and its end are audited.

    The beginning is audited before this returns: what cannot be audited is not exported. An error in the middle ends
    the file with a line that says so. Raises `django.db.Error` while nothing has been sent.
    """
    context = current()
    _audit(ordered, context, {"state": "begun"})
    return _stream(ordered, context, chunk)


def _stream(ordered: Ordered, context: RequestContext, chunk: int) -> Iterator[str]:
    lines = _FORMS[ordered.form]()
    rows, outcome = 0, "failed"
    try:
        yield lines.header()
        for entries in entries_in_order(ordered.filters, chunk=chunk):
            yield "".join(lines.line(_values(entry, link)) for entry, link in _with_links(entries))
            rows += len(entries)
        outcome = "success"
    except Exception:
        # Whatever it was: the status has long been sent, so only the last line can tell.
        log.exception("audit_export_broke_off")
        yield lines.incomplete()
    finally:
        # Also when the reader went away in the middle: a generator that is closed comes here.
        _finish(ordered, context, rows, outcome)


def _finish(ordered: Ordered, context: RequestContext, rows: int, outcome: str) -> None:
    state = "ended" if outcome == "success" else "broke off"
    try:
        _audit(ordered, context, {"state": state, "rows": rows}, outcome)
    except Error:
        log.exception("audit_export_end_not_recorded", extra={"rows_exported": rows})  # its beginning is


def _audit(ordered: Ordered, context: RequestContext, more: dict[str, Any], outcome: str = "success") -> None:
    recorder.record(
        "export",
        event_type="export",
        outcome=outcome,
        actor_id=ordered.actor_id,
        actor_label=ordered.actor_label,
        resource_type="audit_log",
        details={"format": ordered.form, "filters": ordered.given, **more},
        # A stream is sent after the request's context has gone.
        source=context.source,
        ip=context.ip,
        request_id=context.request_id or None,
    )


def _with_links(entries: list[Entry]) -> Iterator[tuple[Entry, Link | None]]:
    links = Link.objects.filter(entry_id__in=[entry.pk for entry in entries])
    by_entry = {link.entry_id: link for link in links}
    return ((entry, by_entry.get(entry.pk)) for entry in entries)


def _values(entry: Entry, link: Link | None) -> dict[str, Any]:
    """One entry, cleaned once more: what was stored before a rule of the sanitiser existed does not leave either."""
    return {
        "id": entry.pk,
        "timestamp": entry.timestamp.isoformat(),
        "event": entry.event,
        "event_type": entry.event_type,
        "outcome": entry.outcome,
        "actor": entry.actor_label,
        "source": entry.source,
        "ip": entry.remote_addr,
        "resource_type": entry.resource_type,
        "resource_id": mask_text(entry.resource_id),
        "reason": sanitise(entry.reason),
        "request_id": entry.cid,
        "details": sanitise(entry.additional_data),
        "changes": sanitise(entry.changes),
        "chain_seq": link.seq if link else None,
        "chain_hash": bytes(link.hash).hex() if link else None,
    }


class _Csv:
    """A row an entry; what is nested is JSON in its cell."""

    def __init__(self) -> None:
        self._row = csv_lines()

    def header(self) -> str:
        return self._row(COLUMNS)

    def line(self, values: dict[str, Any]) -> str:
        return self._row([_cell(value) for value in values.values()])

    def incomplete(self) -> str:
        return self._row([INCOMPLETE])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return harmless(json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False))
    return harmless(value) if isinstance(value, str) else value


class _JsonLines:
    """An object an entry."""

    def header(self) -> str:
        return ""

    def line(self, values: dict[str, Any]) -> str:
        return json.dumps(values, cls=DjangoJSONEncoder, ensure_ascii=False) + "\n"

    def incomplete(self) -> str:
        return self.line({"incomplete": True, "message": INCOMPLETE})


_FORMS: dict[str, type[_Csv | _JsonLines]] = {"csv": _Csv, "jsonl": _JsonLines}
