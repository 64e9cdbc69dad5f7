"""The breaker card as most Django projects would write it: guard, read, render, at each request."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from circuit.selectors import breaker_status, read_breaker
from opsportal.accounts.guards import person


@require_GET
@login_required
@permission_required("circuit.view_breaker", raise_exception=True)
def card(request: HttpRequest) -> HttpResponse:
    """The same Redis read and the same template as the portal's fragment."""
    user = person(request)
    status = breaker_status(
        read_breaker(),
        may_trip=user.has_perm("circuit.trip_breaker"),
        may_reset=user.has_perm("circuit.reset_breaker"),
    )
    return render(request, "circuit/_status.html", {"status": status})
