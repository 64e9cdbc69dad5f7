"""The guard of a page: signed in, allowed, or told what is missing (RBAC-1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User

View = Callable[..., HttpResponseBase]


def person(request: HttpRequest) -> User:
    """The signed-in user of a guarded view."""
    return cast(User, request.user)


def sign_in_first(request: HttpRequest, *, expired: bool = False) -> HttpResponse:
    """To the sign-in page, and back afterwards. A fragment sends the whole page there, never into a card."""
    if request.headers.get("HX-Request") == "true":
        back = request.headers.get("HX-Current-URL", "")
        path = "/" + back.split("/", 3)[3] if back.count("/") >= 3 else reverse("admin:index")
    else:
        path = request.get_full_path() if request.method == "GET" else reverse("admin:index")
    query = {"next": path} | ({"expired": "1"} if expired else {})
    url = f"{reverse('admin:login')}?{urlencode(query)}"
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=204)
        response["HX-Redirect"] = url
        return response
    return redirect(url)


def permission_required(
    permission: str,
) -> Callable[[View], View]:
    """A view for signed-in staff with the permission; others get the sign-in page or a 403 saying what is missing."""

    def decorate(view: Any) -> Any:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            Actor.of(person(request)).require(permission)
            return cast(HttpResponseBase, view(request, *args, **kwargs))

        return sign_in_required(guarded)

    return decorate


def sign_in_required(view: Any) -> Any:
    """A view for all signed-in staff; others get the sign-in page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = request.user
        if not (user.is_authenticated and user.is_active and user.is_staff):
            return sign_in_first(request, expired=getattr(request, "session_expired", False))
        return cast(HttpResponseBase, view(request, *args, **kwargs))

    return guarded
