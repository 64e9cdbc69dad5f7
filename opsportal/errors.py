"""The last resort: addresses that do not exist, and failures outside any view."""

from __future__ import annotations

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from opsportal.accounts.middleware import unavailable
from opsportal.accounts.problems import is_api, problem_document
from opsportal.accounts.services import database_is_down


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """404, as a page or a problem document."""
    if is_api(request):
        return problem_document(404, "There is nothing at this address.")
    return render(request, "404.html", status=404)


def not_understood(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """400: a request too large, or one that no browser sends."""
    if is_api(request):
        return problem_document(400, "The request cannot be understood, or it is too large. Nothing was changed.")
    return render(request, "400.html", status=400)


def failed(request: HttpRequest) -> HttpResponse:
    """500; 503 when the cause is an unreachable database."""
    if database_is_down(sys.exc_info()[1]):
        return unavailable(request)
    if is_api(request):
        return problem_document(500, "The portal failed. The failure is logged under the request id.")
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)
