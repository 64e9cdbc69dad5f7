"""Alerts that a service triggers itself (AL-2)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from alerting import crowding, observing, payloads, pressure
from alerting.api.base import QUEUE_FULL, TAKEN, TEXTS, UNPROCESSABLE, events_of, refusal
from alerting.errors import Refused
from alerting.intake import MOST_ITEMS
from alerting.models import Severity
from opsportal.accounts.api import PortalView, caller

TRIGGERED_AT = "At most an hour ago; now, if left out. A resolve of before the alert began ends nothing."
ALERT: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100, "description": "Becomes the label `alertname`."},
        "status": {"type": "string", "enum": ["firing", "resolved"], "default": "firing"},
        "severity": {"type": "string", "enum": [severity.word for severity in Severity]},
        "summary": {"type": "string", "maxLength": 300},
        "labels": {**TEXTS, "description": "At most 30; together with the name they say which alert it is."},
        "annotations": {**TEXTS, "description": "Texts for people."},
        "rule": {
            "type": "string",
            "description": "Only for the rule of this name; else for every rule that matches. If that rule trips the "
            "circuit breaker, a key needs the scope `write:circuit` as well.",
        },
        "alert_id": {
            "type": "string",
            "maxLength": 100,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]*$",
            "description": "Your own name for this alert: under it nobody is told twice within an hour.",
        },
        "triggered_at": {"type": "string", "format": "date-time", "description": TRIGGERED_AT},
        "value": {"type": "number", "description": "What people are shown as the value."},
        "generator_url": {"type": "string", "format": "uri", "maxLength": 500},
    },
}
BODY: dict[str, Any] = {
    "oneOf": [
        ALERT,
        {
            "type": "object",
            "required": ["alerts"],
            "additionalProperties": False,
            "properties": {"alerts": {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": ALERT}},
        },
    ]
}


class AlertsView(PortalView):
    """`POST /api/v1/alerts`"""

    uses = {"POST": "write:alerts"}

    @extend_schema(
        request={"application/json": BODY},
        responses={202: TAKEN, **UNPROCESSABLE, **QUEUE_FULL},
        examples=[
            OpenApiExample(
                "One alert",
                {
                    "name": "Order rejected by venue",
                    "severity": "critical",
                    "labels": {"service": "orders", "venue": "XNAS"},
                    "summary": "XNAS rejects all orders since 14:02",
                },
                request_only=True,
            ),
            OpenApiExample(
                "It is over",
                {
                    "name": "Order rejected by venue",
                    "status": "resolved",
                    "labels": {"service": "orders", "venue": "XNAS"},
                },
                request_only=True,
            ),
        ],
        tags=["alerting"],
    )
    def post(self, request: Request) -> Response:
        """Trigger or resolve alerts. What the answer names is in the database: no crash loses it any more.

        All of a request is taken or nothing. What fires already is no new alert, nor is what ends: both are taken
        also while new ones are refused.
        """
        try:
            has_room = pressure.has_room()
            signals = payloads.alerts(request.data, timezone.now(), by=caller(request))
            if not (has_room and crowding.has_place()) and not observing.begins_none(signals):
                raise crowding.refused() if has_room else pressure.refused()
            taken = observing.take(signals)
        except Refused as error:
            return refusal(error)
        return Response({"accepted": len(signals), "events": events_of(taken)}, status=202)
