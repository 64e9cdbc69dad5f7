"""Values that services push (AL-2)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from alerting import observing, payloads
from alerting.api.base import TAKEN, TEXTS, UNPROCESSABLE, events_of, refusal
from alerting.errors import Refused
from alerting.intake import MOST_ITEMS
from opsportal.accounts.api import PortalView

BODY: dict[str, Any] = {
    "type": "object",
    "required": ["observations"],
    "additionalProperties": False,
    "properties": {
        "observations": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_ITEMS,
            "items": {
                "type": "object",
                "required": ["metric", "value"],
                "additionalProperties": False,
                "properties": {
                    "metric": {"type": "string", "enum": sorted(payloads.PUSHED)},
                    "value": {"type": "number", "description": "Finite; a fraction where people read a percentage."},
                    "labels": {**TEXTS, "description": "At most 30; they name the series."},
                    "at": {
                        "type": "string",
                        "format": "date-time",
                        "description": "When it was so, with its zone: at most an hour ago. Now, if left out.",
                    },
                },
            },
        }
    },
}


class ObservationsView(PortalView):
    """`POST /api/v1/observations`"""

    uses = {"POST": "write:observations"}

    @extend_schema(
        request={"application/json": BODY},
        responses={202: TAKEN, **UNPROCESSABLE},
        examples=[
            OpenApiExample(
                "Two values",
                {
                    "observations": [
                        {"metric": "drawdown", "value": 0.031, "labels": {"strategy": "momentum"}},
                        {"metric": "latency", "value": 212.5, "labels": {"service": "orders"}},
                    ]
                },
                request_only=True,
            )
        ],
        tags=["alerting"],
    )
    def post(self, request: Request) -> Response:
        """Push values: they are kept, and the rules of their metrics are evaluated on them.

        All of a request is taken or nothing. A value told twice, with the same labels and time, counts once; one that
        is older than the newest of its series is kept and changes nothing.
        """
        try:
            signals = payloads.observations(request.data, timezone.now())
            taken = observing.take(signals)
        except Refused as error:
            return refusal(error)
        return Response({"accepted": len(signals), "events": events_of(taken)}, status=202)
