"""What every API endpoint shares: who is calling, and refusals as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse
from rest_framework import exceptions, serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from opsportal.accounts import services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.problems import CONTENT_TYPE, DATABASE_AWAY, DATABASE_RETRY, problem_body

log = logging.getLogger(__name__)


class PortalSessionAuthentication(SessionAuthentication):
    """The browser's session, with CSRF protection; without one the answer is 401, not 403."""

    def authenticate_header(self, request: Request) -> str:
        """The challenge that makes DRF answer 401."""
        return 'Session realm="opsportal"'


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    request_id = serializers.CharField(required=False)


#: What every endpoint may answer to whoever may not read it.
READ_PROBLEMS = {
    401: OpenApiResponse(ProblemSerializer, description="Not signed in."),
    403: OpenApiResponse(ProblemSerializer, description="The permission is missing."),
}


def caller(request: Request) -> Actor:
    """Whoever calls. DRF has refused everybody who is not signed in before a view runs."""
    return Actor.of(cast(User, request.user))


class PortalSessionScheme(OpenApiAuthenticationExtension):
    """How the schema names the browser's session."""

    target_class = PortalSessionAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A cookie."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def problem(
    status: int, detail: str, *, title: str = "", headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """A problem document: `{"type","title","status","detail", …}` as application/problem+json."""
    body = problem_body(status, detail, title=title, **more)
    return Response(body, status=status, headers=headers, content_type=CONTENT_TYPE)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal of the API is a problem document with a plain sentence."""
    if isinstance(error, PermissionRefused):
        request = context["request"]
        services.audit_refusal(error, user=request.user, where=request.path, method=request.method)
        return problem(403, error.sentence, missing=error.missing)
    if isinstance(error, Http404):
        return problem(404, "There is nothing at this address.")
    if isinstance(error, PermissionDenied):
        return problem(403, "You may not do this.")
    if services.database_is_down(error):
        return problem(503, DATABASE_AWAY, headers=DATABASE_RETRY)
    if isinstance(error, exceptions.ValidationError):
        return problem(422, "Some fields are missing or wrong. Nothing was changed.", errors=error.detail)
    if isinstance(error, exceptions.APIException):
        headers = {}
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        detail = str(error.detail)
        if isinstance(error, exceptions.ParseError):
            detail = "The body is not valid JSON"
        return problem(error.status_code, detail if detail.endswith((".", "!", "?")) else f"{detail}.", headers=headers)
    return None
