"""Doors for Prometheus, Alertmanager and Grafana (AL-4)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from alerting import crowding, foreign, observing, pressure
from alerting.api.base import TEXTS, refusal, refused_some
from alerting.errors import QueueFull, Refused
from alerting.foreign import Read
from alerting.models import Origin
from opsportal.accounts.api import PortalView, problems

ALERT: dict[str, Any] = {
    "type": "object",
    "required": ["labels"],
    "properties": {
        "labels": {**TEXTS, "minProperties": 1},
        "annotations": TEXTS,
        "startsAt": {"type": "string", "format": "date-time"},
        "endsAt": {"type": "string", "format": "date-time"},
        "generatorURL": {"type": "string"},
    },
}
#: What else they send is not read.
NOTIFICATION: dict[str, Any] = {
    "type": "object",
    "required": ["alerts"],
    "properties": {
        "alerts": {
            "type": "array",
            "items": {
                **ALERT,
                "required": ["labels", "status"],
                "properties": {**ALERT["properties"], "status": {"type": "string", "enum": ["firing", "resolved"]}},
            },
        },
    },
}
PROBLEMS = problems({400: "Something cannot be read; `errors` names it. The alerts that could be read were taken."})
UNREADABLE = problems({422: "Not used here: what cannot be read is answered with 400, as Alertmanager does."})
#: An alert that was refused although it is open would end as one that nobody tells of any more.
OPEN_ONES = "Of this request only what is about alerts that are open already was taken."
FULL = problems(
    {
        503: "No server answers; or too many deliveries wait or alerts are open (`Retry-After: 60`) and an alert is "
        "new: only what is about alerts that are open already was taken then."
    }
)
EMPTY = OpenApiResponse(description="Taken; the body is empty.")


class PrometheusView(PortalView):
    """`POST /api/v2/alerts`"""

    uses = {"POST": "write:alerts"}

    @extend_schema(
        request={"application/json": {"type": "array", "items": ALERT}},
        responses={200: EMPTY, **PROBLEMS, **UNREADABLE, **FULL},
        tags=["alerting"],
        operation_id="prometheus_alerts_create",
    )
    def post(self, request: Request) -> Response:
        """Alertmanager's API v2, as Prometheus itself speaks it.

        An alert that is not told again resolves at its `endsAt`, or five minutes after it was last told if it has
        none.
        """
        return _answer(lambda: foreign.prometheus(request.data, timezone.now()))


class _WebhookView(PortalView):
    """A webhook of version 4."""

    uses = {"POST": "write:alerts"}
    origin: Origin

    def take(self, request: Request) -> Response:
        """Take what was sent."""
        return _answer(lambda: foreign.webhook(request.data, timezone.now(), self.origin))


class AlertmanagerView(_WebhookView):
    """`POST /api/v1/webhooks/alertmanager`"""

    origin = Origin.ALERTMANAGER

    @extend_schema(
        request={"application/json": NOTIFICATION},
        responses={200: EMPTY, **PROBLEMS, **UNREADABLE, **FULL},
        tags=["alerting"],
        operation_id="alertmanager_webhook_create",
    )
    def post(self, request: Request) -> Response:
        """The webhook receiver of Alertmanager."""
        return self.take(request)


class GrafanaView(_WebhookView):
    """`POST /api/v1/webhooks/grafana`"""

    origin = Origin.GRAFANA

    @extend_schema(
        request={"application/json": NOTIFICATION},
        responses={200: EMPTY, **PROBLEMS, **UNREADABLE, **FULL},
        tags=["alerting"],
        operation_id="grafana_webhook_create",
    )
    def post(self, request: Request) -> Response:
        """The webhook contact point of Grafana."""
        return self.take(request)


def _answer(read: Any) -> Response:
    try:
        has_room = pressure.has_room()
        found: Read = read()
        if has_room and crowding.has_place():
            observing.take(found.signals)
        elif observing.take_known(found.signals):
            raise crowding.refused(OPEN_ONES) if has_room else pressure.refused(OPEN_ONES)
    except QueueFull as error:
        return refusal(error)
    except Refused as error:
        return refusal(error, status=400)
    if found.refused:
        return refused_some(found.refused, kept=len(found.signals))
    return Response(status=200)
