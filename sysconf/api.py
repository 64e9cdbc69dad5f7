"""The configuration's API (CF-5)."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from opsportal.accounts.api import PortalView, problem, problems
from sysconf.errors import StoredInvalid, Unreadable
from sysconf.schema import ANSWERS
from sysconf.sections import Section, all_sections
from sysconf.selectors import Reading, read_section

PROBLEMS = problems(
    {
        404: "There is no such section.",
        503: "The stored values are not valid (`errors` names the fields), or no server answers. Keep what you have.",
    }
)


class SectionView(PortalView):
    """`GET /api/v1/config/{section}`"""

    needs = {"GET": "sysconfig.view_section"}

    @extend_schema(
        operation_id="config_retrieve",
        parameters=[
            OpenApiParameter("section", str, OpenApiParameter.PATH, enum=[section.key for section in all_sections()]),
            OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="The ETag you have."),
        ],
        responses={
            200: OpenApiResponse(ANSWERS, description="The section; `ETag` names what it holds."),
            304: OpenApiResponse(description="You have the newest."),
            **PROBLEMS,
        },
        tags=["config"],
    )
    def get(self, request: Request, section: str) -> Response:
        """A section of the system configuration, as it holds now."""
        try:
            reading = read_section(section)
        except LookupError:
            return problem(404, f"There is no section of this name. There are: {', '.join(_keys())}.")
        except StoredInvalid as refusal:
            return problem(503, refusal.sentence, headers={"Retry-After": "60"}, errors=refusal.errors)
        except Unreadable as refusal:
            return problem(503, refusal.sentence, headers={"Retry-After": "5"})
        etag = _etag(reading)
        headers = {"ETag": etag, "Cache-Control": "no-cache, private"}
        if _has(request.headers.get("If-None-Match", ""), etag):
            return Response(status=304, headers=headers)
        body = {
            "section": section,
            "version": reading.version,
            "values": reading.values,
            "changed_at": reading.changed_at.isoformat() if reading.changed_at else None,
        }
        return Response(body, headers=headers)


def _keys() -> list[str]:
    return [section.key for section in all_sections()]


def _etag(reading: Reading) -> str:
    """Strong: changes with the version, the values and the section's own definition (20 hex digits of a SHA-256)."""
    text = json.dumps([reading.section.key, reading.version, reading.values, _definition(type(reading.section))])
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


@lru_cache(maxsize=64)
def _definition(section: type[Section]) -> str:
    return json.dumps(section.model_json_schema(), sort_keys=True)


def _has(given: str, etag: str) -> bool:
    """Whether If-None-Match names the ETag; weakly compared, as RFC 9110 wants it there."""
    return any(one == "*" or one.removeprefix("W/") == etag for one in parse_etags(given))
