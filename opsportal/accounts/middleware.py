"""Sessions, their time limits, and the answers to refusals."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from opsportal.accounts import services
from opsportal.accounts.actors import PermissionRefused
from opsportal.accounts.guards import sign_in_first
from opsportal.accounts.problems import DATABASE_AWAY, DATABASE_RETRY, is_api, problem_document
from opsportal.accounts.views import refused_page
from opsportal.observability.middleware import bind_user

log = logging.getLogger(__name__)
View = Callable[[HttpRequest], HttpResponseBase]

#: The idle clock of a session is written at most this often.
SEEN_EVERY_SECONDS = 60


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, with one difference: an unsaved session never turns a finished action into an error page."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Save the session; with PostgreSQL down and nothing to fall back on, log it and answer all the same."""
        try:
            return super().process_response(request, response)
        except Error:
            log.error("session_not_saved")
            return response


class DevelopmentSignInMiddleware:
    """Signs in `dev_user` when `OPERATIONS_DEV_AUTH` is on; the settings refuse it outside development (AUTH-2)."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Sign in whoever comes, once a session."""
        if settings.OPERATIONS_DEV_AUTH and not request.user.is_authenticated:
            auth.login(request, services.development_user(), backend="opsportal.accounts.backends.CachedUserBackend")
        return self.get_response(request)


class SessionPolicyMiddleware:
    """Ends a session that was idle too long or is too old, and notes when its user was last active (AUTH-3, AM-3).

    A dashboard polls by itself, so a poll is no sign of life: only other requests move the idle clock.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Check, bind the user to the log, go on."""
        request.session_expired = False  # type: ignore[attr-defined]
        if request.COOKIES.get(settings.SESSION_COOKIE_NAME):
            self._apply(request)
        return must_change_password(request) or self.get_response(request)

    def _apply(self, request: HttpRequest) -> None:
        session = request.session
        started, seen = session.get("started"), session.get("seen")
        if started is None or seen is None:
            # A browser that still sends the key of an ended session deserves to be told so.
            request.session_expired = not session.keys()  # type: ignore[attr-defined]
            return
        now = time.time()
        if now - seen > settings.SESSION_IDLE_SECONDS or now - started > settings.SESSION_ABSOLUTE_SECONDS:
            services.expire_session(request)
            request.session_expired = True  # type: ignore[attr-defined]
            return
        if not request.user.is_authenticated:
            return
        bind_user(request)
        if now - seen >= SEEN_EVERY_SECONDS and not _is_poll(request):
            session["seen"] = now
        services.note_activity(request)


CHOOSE_OWN = "Your password is a one-time password. Choose one of your own first, on the page “Change password”."


def must_change_password(request: HttpRequest) -> HttpResponseBase | None:
    """To the page that changes the password, for whoever has signed in with a one-time one (AM-1)."""
    user = request.user
    if not (user.is_authenticated and user.must_change_password) or not request.path.startswith(("/admin/", "/api/")):
        return None
    if is_api(request):
        return problem_document(403, CHOOSE_OWN)
    where = reverse("admin:password_change")
    if request.path in (where, reverse("admin:logout"), reverse("admin:login")):
        return None
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Redirect": where})
    return redirect(where)


def _is_poll(request: HttpRequest) -> bool:
    return request.path.endswith("/fragment/") and request.method == "GET"


class RefusalMiddleware:
    """Turns a refusal or an unreachable database into an answer that says what happened and what to do."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Go on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """403 for `PermissionRefused`, 503 for an unreachable database."""
        if isinstance(exception, PermissionRefused):
            if not request.user.is_authenticated:
                return sign_in_first(request)
            services.audit_refusal(exception, user=request.user, where=request.path, method=request.method or "")
            return refused_page(request, exception)
        if services.database_is_down(exception):
            log.error("database_unavailable", extra={"path": request.path})
            return unavailable(request)
        return None


def unavailable(request: HttpRequest) -> HttpResponse:
    """503: the database is away, this page needs it, the breaker page does not."""
    if is_api(request):
        return problem_document(503, DATABASE_AWAY, title="Database unavailable", headers=DATABASE_RETRY)
    response = render(request, "503.html", status=503)
    for name, value in DATABASE_RETRY.items():
        response.headers[name] = value
    return response
