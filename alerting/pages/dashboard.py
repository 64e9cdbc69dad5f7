"""The first page: what fires, what waits, what needs a person."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from opsportal.accounts.guards import permission_required


@require_safe
@permission_required("alerting.view_event")
def page(request: HttpRequest) -> HttpResponse:
    """The dashboard."""
    return render(request, "alerting/page.html", {**admin.site.each_context(request), "title": "Alerts"})
