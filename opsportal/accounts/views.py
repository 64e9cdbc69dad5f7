"""The pages of refusal: locked out, forged form, not allowed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from opsportal.accounts.actors import PermissionRefused
from opsportal.accounts.problems import is_api, problem_document
from opsportal.accounts.roles import lowest_role_with, plain_words


def locked_out(request: HttpRequest, credentials: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
    """429: too many failed sign-ins (AUTH-1)."""
    minutes = round(settings.AXES_COOLOFF_TIME * 60)
    response = render(request, "accounts/locked_out.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(minutes * 60)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: the form's token does not belong to this session. Nothing was changed."""
    plain = (
        "The form you sent belongs to an earlier sign-in, or cookies are blocked. Nothing was changed. "
        "Go back, reload the page and try again."
    )
    if is_api(request):
        return problem_document(403, plain)
    return render(request, "csrf_failure.html", {"reason_plain": plain}, status=403)


def refused_page(request: HttpRequest, refusal: PermissionRefused) -> HttpResponse:
    """403 that says what is missing and who has it (RBAC-1)."""
    context = {
        "words": refusal.words,
        "missing": plain_words(refusal.missing),
        "needed_role": lowest_role_with(refusal.missing),
    }
    return render(request, "403.html", context, status=403)
