"""The last resort: addresses that do not exist, and failures outside any view."""

from __future__ import annotations

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from opsportal.accounts.middleware import unavailable
from opsportal.accounts.services import database_is_down


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """404, as a page or a problem document."""
    if request.path.startswith("/api/"):
        return _problem(404, "Not Found", "There is nothing at this address.")
    return render(request, "404.html", status=404)


def not_understood(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """400: a request too large, or one that no browser sends."""
    if request.path.startswith("/api/"):
        return _problem(
            400, "Bad Request", "The request cannot be understood, or it is too large. Nothing was changed."
        )
    return render(request, "400.html", status=400)


def failed(request: HttpRequest) -> HttpResponse:
    """500; 503 when the cause is an unreachable database."""
    if database_is_down(sys.exc_info()[1]):
        return unavailable(request)
    if request.path.startswith("/api/"):
        return _problem(500, "Internal Server Error", "The portal failed. The failure is logged under the request id.")
    return render(request, "500.html", {"request_id": getattr(request, "request_id", "")}, status=500)


def _problem(status: int, title: str, detail: str) -> HttpResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JsonResponse(body, status=status, content_type="application/problem+json")
