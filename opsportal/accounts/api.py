"""What every API endpoint shares: who is calling, and refusals as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, cast

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework import exceptions, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from opsportal.accounts import services
from opsportal.accounts.actors import Actor, PermissionRefused
from opsportal.accounts.models import User
from opsportal.accounts.problems import CONTENT_TYPE, DATABASE_AWAY, DATABASE_RETRY, problem_body
from opsportal.accounts.scopes import scope_for

log = logging.getLogger(__name__)


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem document (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    request_id = serializers.CharField(required=False)


#: One answer for no key, a malformed, unknown, expired or revoked one, and one of a disabled owner (AK-4).
UNAUTHENTICATED = "Send a valid API key as `Authorization: Bearer tp_live_…`, or sign in."


def problems(sentences: dict[int, str]) -> dict[tuple[int, str], OpenApiResponse]:
    """Problem documents for the schema: status to what it means."""
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description=text)
        for status, text in sentences.items()
    }


#: What every endpoint may answer …
COMMON_PROBLEMS = problems(
    {
        400: "The request cannot be understood, or it is too large.",
        401: "No valid API key and not signed in.",
        403: "The permission, or the key's scope, is missing.",
        406: "The answer was asked for in another form than JSON.",
        503: "PostgreSQL or Redis does not answer.",
    }
)
#: … and every one that is sent something.
BODY_PROBLEMS = problems(
    {413: "The body is larger than any honest one.", 415: "The body is of another media type than JSON."}
)


class TextField(serializers.CharField):
    """Text and nothing else, as the schema says: its parent takes numbers for text."""

    def to_internal_value(self, data: Any) -> str:
        """Refuse what is no text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class FlagField(serializers.BooleanField):
    """`true` or `false` and nothing else, as the schema says: its parent takes "on" or 1 for consent."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse what is neither."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


def caller(request: Request) -> Actor:
    """Whoever calls: a signed-in person, or a key for its owner. DRF has refused everybody else before a view runs."""
    return request.auth if isinstance(request.auth, Actor) else Actor.of(cast(User, request.user))


class PortalView(APIView):
    """An endpoint of the portal: `needs` names the permission of each of its methods, "" for none but to be known.

    `uses` names the scope of a method that no permission stands for.
    """

    needs: ClassVar[dict[str, str]] = {}
    uses: ClassVar[dict[str, str]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse who lacks the permission before the view runs. The service asks again where something is changed."""
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else request.method or ""
        if permission := self.needs.get(method, ""):
            caller(request).require(permission)
        if scope := self.uses.get(method, ""):
            caller(request).require_use(scope)


class PortalSchema(AutoSchema):
    """Adds to every operation what all have in common: its scope, and the refusals."""

    def get_description(self) -> str:  # type: ignore[override]
        """The endpoint's own words, then what a key needs for it."""
        text = super().get_description() or ""
        permission = getattr(self.view, "needs", {}).get(self.method, "")
        scope = getattr(self.view, "uses", {}).get(self.method, "") or scope_for(permission)
        if scope:
            needed = f"A key needs the scope `{scope}`."
        else:
            needed = "No key may do this." if permission else "Any valid key may do this."
        return f"{text}\n\n{needed}".strip()

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        """The endpoint's own answers and the refusals. A decorator replaces what is public of this; hence the name."""
        bodies = super()._get_response_bodies(direction)
        for (status, media_type), answer in self._refusals().items():
            if str(status) not in bodies and direction == "response":
                bodies[str(status)] = self._get_response_for_code(answer, str(status), [media_type])
        return bodies

    def _refusals(self) -> dict[tuple[int, str], OpenApiResponse]:
        return COMMON_PROBLEMS | (BODY_PROBLEMS if self.method in ("POST", "PUT", "PATCH") else {})


class Problem(Response):
    """JSON, whatever else the view speaks: the schema is YAML to who asks for nothing else."""

    @property
    def rendered_content(self) -> Any:
        """The document as it is sent."""
        self.accepted_renderer = JSONRenderer()
        self.accepted_media_type = CONTENT_TYPE
        return super().rendered_content


def problem(
    status: int, detail: str, *, title: str = "", headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """A problem document: `{"type","title","status","detail", …}` as application/problem+json."""
    body = problem_body(status, detail, title=title, **more)
    return Problem(body, status=status, headers=headers, content_type=CONTENT_TYPE)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal of the API is a problem document with a plain sentence."""
    request = context["request"]
    response = _problem_of(error, request)
    if response is not None:
        # What must not make the answer later than another one.
        response._resource_closers.extend(getattr(request._request, "after_answer", ()))  # type: ignore[attr-defined]
    return response


def _problem_of(error: Exception, request: Request) -> Response | None:
    if isinstance(error, PermissionRefused):
        services.audit_refusal(error, user=cast(User, request.user), where=request.path, method=request.method or "")
        return problem(403, error.sentence, missing=error.missing, scope=error.scope)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return _unauthenticated(getattr(error, "auth_header", ""))
    if isinstance(error, Http404):
        return problem(404, "There is nothing at this address.")
    if isinstance(error, PermissionDenied):
        return problem(403, "You may not do this.")
    if isinstance(error, RequestDataTooBig):
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return problem(413, f"The body is larger than {most:,} bytes. Nothing was changed.")
    if services.database_is_down(error):
        return problem(503, DATABASE_AWAY, headers=DATABASE_RETRY)
    if isinstance(error, exceptions.ValidationError):
        return problem(422, "Some fields are missing or wrong. Nothing was changed.", errors=error.detail)
    if isinstance(error, exceptions.APIException):
        detail = str(error.detail)
        if isinstance(error, exceptions.ParseError):
            detail = "The body is not valid JSON"
        return problem(error.status_code, detail if detail.endswith((".", "!", "?")) else f"{detail}.")
    return None


def _unauthenticated(challenge: str) -> Response:
    """The 401. Byte for byte the same for all: the request's id is in its header only."""
    body = problem_body(401, UNAUTHENTICATED)
    del body["request_id"]
    return Problem(body, status=401, headers={"WWW-Authenticate": challenge}, content_type=CONTENT_TYPE)
