"""The viewer: the log, one entry, and the log as a file."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from opsportal.accounts.actors import Actor
from opsportal.accounts.guards import permission_required, person
from opsportal.audit.export import CONTENT_TYPES
from opsportal.audit.forms import EntryFilter
from opsportal.audit.models import Entry
from opsportal.audit.selectors import ChainStatus, chain_status
from opsportal.audit_pages.presenting import link_of, listing, row_of, similar
from opsportal.audit_pages.services import export_log


@require_safe
@permission_required("audit.view_entry")
def page(request: HttpRequest) -> HttpResponse:
    """The log, filtered."""
    shown = listing(request.GET)
    return _page(
        request,
        "audit/page.html",
        "Audit log",
        listing=shown,
        chain=None if shown.unavailable else _chain(),
        may_export=person(request).has_perm("audit.export_entry"),
    )


@require_safe
@permission_required("audit.view_entry")
def entry(request: HttpRequest, entry_id: int) -> HttpResponse:
    """One entry with all that is known of it."""
    found = Entry.objects.filter(pk=entry_id).first() if entry_id < 2**63 else None
    if found is None:
        raise Http404
    row = row_of(found)
    return _page(
        request,
        "audit/entry.html",
        f"Audit entry {row.id}",
        row=row,
        event_id=found.event_id,
        link=link_of(found),
        similar=similar(row),
    )


@require_safe
@permission_required("audit.export_entry")
def export(request: HttpRequest, form: str) -> HttpResponseBase:
    """What the filters let through as a file, streamed."""
    if form not in CONTENT_TYPES:
        raise Http404
    filters = EntryFilter(request.GET)
    if request.method == "HEAD":
        return HttpResponse(content_type=CONTENT_TYPES[form])  # nothing is read, so nothing is audited
    if not filters.is_valid():
        shown = listing(request.GET)
        return _page(request, "audit/page.html", "Audit log", code=422, listing=shown, chain=_chain(), may_export=True)
    pieces = export_log(filters, form, by=Actor.of(person(request)))
    response = StreamingHttpResponse(pieces, content_type=CONTENT_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="audit-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"'
    response["Cache-Control"] = "no-store"
    return response


def _chain() -> ChainStatus | None:
    try:
        return chain_status()
    except Error:
        return None


def _page(request: HttpRequest, template: str, title: str, *, code: int = 200, **more: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, **more}
    response = render(request, template, context, status=code)
    response["Cache-Control"] = "no-store"
    return response
