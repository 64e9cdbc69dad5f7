"""The first middleware of the stack: names each request, so that every line about it can be found."""

import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from opsportal.observability import context
from opsportal.observability.client_ip import client_ip

log = structlog.stdlib.get_logger(__name__)

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
# What machines ask for every second would drown what people did.
_QUIET_PATHS = frozenset(("/metrics", "/livez", "/readyz", "/health"))


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


def bind_user(request: HttpRequest) -> None:
    """Name `request.user` as the actor of what follows. Called once the session's user is known."""
    user = request.user
    if user.is_authenticated:
        context.bind_actor(actor_id=user.pk, actor_label=user.get_username())


def _log_finished(request: HttpRequest, status: int, seconds: float) -> None:
    path = request.path
    quiet = path in _QUIET_PATHS or path.endswith("/fragment/")
    write = log.debug if quiet else log.info
    write(
        "request_finished",
        method=request.method,
        path=path,
        status=status,
        duration_ms=round(seconds * 1000, 1),
    )
