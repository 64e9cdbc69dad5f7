"""The history of the breaker as people read it: filtered, paged, exported (CB-9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db import Error
from django.db.models import QuerySet
from django.http import QueryDict
from django.urls import reverse

from circuit.forms import HistoryFilter
from circuit.models import Category, Kind, Source, State, Transition
from circuit.selectors import newest_transition
from opsportal.observability.spreadsheet import harmless

PAGE_SIZE = 25
COLUMNS = ("at", "kind", "from_state", "to_state", "who", "reason", "category", "source", "halted_seconds")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    at: datetime
    kind: str
    kind_label: str
    tone: str
    from_state: str
    to_state: str
    actor_label: str
    reason: str
    category_label: str
    source_label: str
    halted_for: timedelta | None
    halted_text: str


@dataclass(frozen=True)
class History:
    """A page of the table with its filters. `unavailable` says why there is none."""

    rows: tuple[Row, ...]
    filter_form: HistoryFilter
    page: Page[Transition] | None
    total: int
    querystring: str
    csv_url: str
    unavailable: str = ""


def filtered(form: HistoryFilter) -> QuerySet[Transition]:
    """The changes that the filters let through, newest first; none when a filter is invalid."""
    if not form.is_valid():
        return Transition.objects.none()
    values = form.cleaned_data
    rows = Transition.objects.order_by("-at", "-id")
    if values["kind"]:
        rows = rows.filter(kind=values["kind"])
    if values["source"]:
        rows = rows.filter(source=values["source"])
    if values["actor"]:
        rows = rows.filter(actor_label__icontains=values["actor"])
    if values["q"]:
        rows = rows.filter(reason__icontains=values["q"])
    if values["since"]:
        rows = rows.filter(at__gte=datetime.combine(values["since"], time.min, UTC))
    if values["until"]:
        rows = rows.filter(at__lt=datetime.combine(values["until"], time.min, UTC) + timedelta(days=1))
    return rows


def history_page(query: QueryDict) -> History:
    """The page that a query string asks for; with PostgreSQL down an empty one that says so."""
    form = HistoryFilter(query)
    filters = query.copy()
    filters.pop("page", None)
    for name in [name for name in filters if name not in form.fields or not filters[name]]:
        del filters[name]
    querystring = filters.urlencode()
    csv_url = reverse("admin:circuit_history_csv") + (f"?{querystring}" if querystring else "")
    try:
        page = Paginator(filtered(form), PAGE_SIZE).get_page(query.get("page"))
        rows = tuple(_rows(page))
        return History(rows, form, page, page.paginator.count, querystring, csv_url)
    except Error:
        return History(
            (),
            form,
            None,
            0,
            querystring,
            csv_url,
            unavailable="The history cannot be shown: PostgreSQL does not answer. Changes made now are kept and "
            "appear here when it is back.",
        )


def _rows(page: Page[Transition]) -> Iterator[Row]:
    newest = newest_transition()
    for item in page.object_list:
        ongoing = newest is not None and item.pk == newest.pk and item.to_state != State.OPEN
        yield Row(
            at=item.at,
            kind=item.kind,
            kind_label=str(Kind(item.kind).label),
            tone=item.tone,
            from_state=item.from_state,
            to_state=item.to_state,
            actor_label=item.actor_label,
            reason=item.reason,
            category_label=str(Category(item.category).label) if item.kind == Kind.TRIP else "",
            source_label=str(Source(item.source).label),
            halted_for=item.halted_for,
            halted_text="still halted" if ongoing else item.halted_text,
        )


def csv_rows(rows: QuerySet[Transition]) -> Iterator[list[Any]]:
    """The header and every row for a CSV file; times in ISO 8601 UTC, the halt in seconds."""
    yield list(COLUMNS)
    for item in rows.iterator(chunk_size=1000):
        halted = "" if item.halted_for is None else round(item.halted_for.total_seconds(), 3)
        yield [
            item.at.astimezone(UTC).isoformat(),
            item.kind,
            item.from_state,
            item.to_state,
            harmless(item.actor_label),
            harmless(item.reason),
            item.category,
            item.source,
            halted,
        ]
