"""The health monitor's API: what the grid shows, for machines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from health import contract
from health.models import Status
from health.selectors import SHARED_SECONDS, Cell, Grid, health_grid
from opsportal.accounts.api import PortalView

STATES = [status.word for status in Status]


class ServiceSerializer(serializers.Serializer[Any]):
    """One service as it is shown."""

    name = serializers.CharField()
    status = serializers.ChoiceField(
        choices=STATES,
        help_text="What is shown: `stale` when the last reply is older than two intervals or the newest fetch failed.",
    )
    reply_status = serializers.ChoiceField(choices=STATES, help_text="Of the last reply, however old.")
    since = serializers.DateTimeField(allow_null=True, help_text="When the recorded status began.")
    replied_at = serializers.DateTimeField(allow_null=True)
    age_seconds = serializers.FloatField(allow_null=True, help_text="Age of the last reply.")
    latency_ms = serializers.FloatField(allow_null=True, help_text="Of the last reply.")
    problem = serializers.CharField(allow_blank=True, help_text="Why it is not healthy, in plain words.")
    cause = serializers.CharField(allow_blank=True, help_text="The same as a fixed word, e.g. `timeout`.")
    field = serializers.CharField(allow_blank=True, help_text="The field that breaks the contract.")
    caused_by = serializers.CharField(allow_blank=True, help_text="The service at the root of this one's trouble.")
    maintenance_until = serializers.DateTimeField(allow_null=True)
    last_operation_at = serializers.DateTimeField(allow_null=True, help_text="As the service itself reports.")
    version = serializers.CharField(allow_blank=True)
    owner = serializers.CharField(allow_blank=True)
    runbook_url = serializers.CharField(allow_blank=True)
    interval_seconds = serializers.FloatField()


class ServicesSerializer(serializers.Serializer[Any]):
    """Every enabled service, worst first."""

    read_at = serializers.DateTimeField()
    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=["redis", "postgresql", "none"], help_text="`none`: neither answers, this is what was known before."
    )
    swept_at = serializers.DateTimeField(allow_null=True, help_text="When the sweep last reported.")
    notices = serializers.ListField(child=serializers.CharField())
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Services by status.")
    services = ServiceSerializer(many=True)


class ServicesView(PortalView):
    """`GET /api/v1/health/services`"""

    needs = {"GET": "health.view_service"}

    @extend_schema(responses={200: ServicesSerializer}, tags=["health"])
    def get(self, request: Request) -> Response:
        """The health of every enabled service."""
        return Response(_body(health_grid(SHARED_SECONDS)), headers={"Cache-Control": "no-store"})


class ContractView(PortalView):
    """`GET /api/v1/health/contract`"""

    needs = {"GET": "health.view_service"}

    @extend_schema(
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, description="A JSON Schema.")},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:
        """The JSON Schema of the reply that a service's `/health` gives."""
        return Response(contract.json_schema())


def _body(grid: Grid) -> dict[str, Any]:
    return {
        "read_at": grid.read_at,
        "source": grid.source,
        "swept_at": grid.swept_at,
        "notices": list(grid.notices),
        "counts": {status.word: number for status, number in grid.counts},
        "services": [_service(cell, grid) for cell in grid.cells],
    }


def _service(cell: Cell, grid: Grid) -> dict[str, Any]:
    age = None if cell.replied_at is None else (grid.read_at - cell.replied_at).total_seconds() + grid.age()
    return {
        "name": cell.name,
        "status": cell.status.word,
        "reply_status": cell.reply_status.word,
        "since": cell.since,
        "replied_at": cell.replied_at,
        "age_seconds": None if age is None else round(max(0.0, age), 1),
        "latency_ms": None if cell.latency_us is None else cell.latency_us / 1000,
        "problem": cell.sentence,
        "cause": cell.cause,
        "field": cell.field,
        "caused_by": cell.caused_by,
        "maintenance_until": cell.maintenance_until,
        "last_operation_at": cell.last_operation_at,
        "version": cell.version,
        "owner": cell.owner,
        "runbook_url": cell.runbook_url,
        "interval_seconds": cell.interval,
    }
