"""Problem documents (RFC 9457): the one shape of every refusal of the API, inside DRF and outside of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse

from opsportal.observability.context import current

CONTENT_TYPE = "application/problem+json"
DATABASE_AWAY = "PostgreSQL cannot be reached, and this request needs it. Nothing was changed. Try again shortly."
DATABASE_RETRY = {"Retry-After": "5"}


def is_api(request: HttpRequest) -> bool:
    """Whether the answer must be a problem document rather than a page."""
    return request.path.startswith("/api/")


def problem_body(status: int, detail: str, *, title: str = "", **more: Any) -> dict[str, Any]:
    """`{"type","title","status","detail","request_id", …}`; the title is that of the HTTP status unless given."""
    return {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": current().request_id,
        **more,
    }


def problem_document(
    status: int, detail: str, *, title: str = "", headers: dict[str, str] | None = None
) -> JsonResponse:
    """The answer itself, where DRF is not at hand."""
    body = problem_body(status, detail, title=title)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers)
