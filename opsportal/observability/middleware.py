"""The first middleware of the stack: names each request, so that every line about it can be found."""

import re
import time
from collections.abc import Callable
from typing import cast

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

from opsportal.observability import context
from opsportal.observability.client_ip import client_ip, from_trusted_proxy

log = structlog.stdlib.get_logger(__name__)

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
# What machines ask for every second would drown what people did.
QUIET_PATHS = frozenset(("/metrics", "/livez", "/readyz", "/health"))


class RequestContextMiddleware:
    """Binds request id, address and source for logs and audit, and writes one line when the request ends.

    A caller's `X-Request-ID` is kept when it is 8 to 64 letters, digits, dots, dashes or underscores; otherwise
    one is made. It is `request.request_id` and goes back as the response's `X-Request-ID`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request inside its context."""
        started = time.perf_counter()
        if "HTTP_X_FORWARDED_PROTO" in request.META and not from_trusted_proxy(request):
            del request.META["HTTP_X_FORWARDED_PROTO"]  # anybody can claim to have come over TLS
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _ACCEPTED_ID.fullmatch(given) else context.new_request_id()
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        # A request starts from nothing: what an earlier one left in this thread is not its actor.
        token = context.push(
            request_id=request_id,
            ip=client_ip(request),
            source="api" if request.path.startswith("/api/") else "portal",
            actor_id=None,
            actor_label="",
        )
        status = 500
        try:
            response = self.get_response(request)
            status = response.status_code
            response.headers["X-Request-ID"] = request_id
            return response
        finally:
            _log_finished(request, status, time.perf_counter() - started)
            context.pop(token)
            structlog.contextvars.clear_contextvars()


class ProbeMiddleware:
    """Answers /livez, /readyz, /health and /metrics before sessions and before the check of the Host header.

    Orchestrators and Prometheus ask by IP address, which is in nobody's ALLOWED_HOSTS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The probe's own view, or the rest of the stack."""
        if request.path in QUIET_PATHS:
            match = resolve(request.path)
            return cast(HttpResponseBase, match.func(request, *match.args, **match.kwargs))
        return self.get_response(request)


def bind_user(request: HttpRequest) -> None:
    """Name `request.user` as the actor of what follows. Called once the session's user is known."""
    user = request.user
    if user.is_authenticated:
        context.bind_actor(actor_id=user.pk, actor_label=user.get_username())


def _log_finished(request: HttpRequest, status: int, seconds: float) -> None:
    path = request.path
    quiet = path in QUIET_PATHS or path.endswith("/fragment/") or path.startswith(settings.STATIC_URL)
    quiet = quiet or (status < 400 and path in settings.LOG_REFUSALS_ONLY)
    write = log.debug if quiet else log.info
    write(
        "request_finished",
        method=request.method,
        path=path,
        status=status,
        duration_ms=round(seconds * 1000, 1),
    )
