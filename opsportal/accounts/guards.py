"""The guard of a page: signed in, allowed, or told what is missing (RBAC-1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User

View = Callable[..., HttpResponseBase]


def person(request: HttpRequest) -> User:
    """The signed-in user of a guarded view."""
    return cast(User, request.user)


def sign_in_first(request: HttpRequest, *, expired: bool = False) -> HttpResponse:
    """To the sign-in page, and back afterwards. A fragment sends the whole page there, never into a card.

    Whoever sent a form is told that nothing was done, and comes back to the page that it was on.
    """
    reads = request.method in ("GET", "HEAD")
    if request.headers.get("HX-Request") == "true":
        path = _own_page(request, request.headers.get("HX-Current-URL", ""))
    elif reads:
        path = request.get_full_path()
    else:
        path = _own_page(request, request.headers.get("Referer", ""))
    undone = not reads and request.path != reverse("admin:logout")
    query = {"next": path} | ({"undone": "1"} if undone else {"expired": "1"} if expired else {})
    url = f"{reverse('admin:login')}?{urlencode(query)}"
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=204)
        response["HX-Redirect"] = url
        return response
    return redirect(url)


def _own_page(request: HttpRequest, address: str) -> str:
    """The path of an address that the browser told of, if it is one of ours; of any other that of the overview."""
    overview = reverse("admin:index")
    if not url_has_allowed_host_and_scheme(address, {request.get_host()}):
        return overview
    parts = urlsplit(address)
    try:
        name = resolve(parts.path).view_name
    except Resolver404:
        return overview
    if name in ("admin:login", "admin:logout"):
        return overview
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


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
