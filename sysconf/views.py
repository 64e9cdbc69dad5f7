"""The pages."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from opsportal.accounts.guards import permission_required


@require_safe
@permission_required("sysconfig.view_section")
def page(request: HttpRequest) -> HttpResponse:
    """The list."""
    return render(request, "admin/base_site.html", admin.site.each_context(request))
