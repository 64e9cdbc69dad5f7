"""The breaker's API (CB-4)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from circuit import services, wire
from circuit.errors import InvalidInput, Refused, TooSoon, WrongState
from circuit.models import Category, Source
from circuit.selectors import read_breaker
from opsportal.accounts.api import FlagField, PortalView, TextField, caller, problem, problems


class BreakerSerializer(serializers.Serializer[Any]):
    """The breaker as services read it. Anything but `OPEN` means: do not trade."""

    state = serializers.ChoiceField(choices=["OPEN", "TRIPPED", "QUIET_PERIOD", "UNKNOWN"])
    label = serializers.CharField(help_text="The state in plain words.")  # type: ignore[assignment]
    last_trip_reason = serializers.CharField(allow_blank=True)
    last_trip_at = serializers.DateTimeField(allow_null=True)
    read_at = serializers.DateTimeField(help_text="When the values were read from Redis.")
    stale = serializers.BooleanField(help_text="Redis did not answer; these are the last known values.")


class TripSerializer(serializers.Serializer[Any]):
    """Why trading is halted."""

    reason = TextField(max_length=100_000, allow_blank=True, trim_whitespace=False)
    category = serializers.ChoiceField(choices=Category.choices, default=Category.MANUAL)


class ResetSerializer(serializers.Serializer[Any]):
    """Why trading may go on."""

    reason = TextField(max_length=100_000, allow_blank=True, trim_whitespace=False)
    acknowledged = FlagField(default=False)


PROBLEMS = problems(
    {
        409: "The breaker is in the wrong state for this.",
        422: "A field is missing or wrong.",
        429: "A reset came less than a minute after the last one.",
    }
)


class BreakerView(PortalView):
    """`GET /api/v1/circuit`"""

    needs = {"GET": "circuit.view_breaker"}

    @extend_schema(responses={200: BreakerSerializer}, tags=["circuit"])
    def get(self, request: Request) -> Response:
        """The breaker's state, and how fresh it is."""
        return Response(_body(), headers={"Cache-Control": "no-store"})


class TripView(PortalView):
    """`POST /api/v1/circuit/trip`"""

    needs = {"POST": "circuit.trip_breaker"}

    @extend_schema(
        request=TripSerializer,
        responses={200: BreakerSerializer, **PROBLEMS},
        examples=[
            OpenApiExample(
                "A halt by hand",
                {"reason": "Prices of the main venue look wrong", "category": "manual"},
                request_only=True,
            )
        ],
        tags=["circuit"],
    )
    def post(self, request: Request) -> Response:
        """Halt trading."""
        body = TripSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            services.trip_breaker(by=caller(request), source=Source.API, **body.validated_data)
        except Refused as refusal:
            return _problem(refusal)
        return Response(_body())


class ResetView(PortalView):
    """`POST /api/v1/circuit/reset`"""

    needs = {"POST": "circuit.reset_breaker"}

    @extend_schema(
        request=ResetSerializer,
        responses={200: BreakerSerializer, **PROBLEMS},
        examples=[
            OpenApiExample(
                "After the check",
                {"reason": "Checked positions and limits; the venue's prices are right again", "acknowledged": True},
                request_only=True,
            )
        ],
        tags=["circuit"],
    )
    def post(self, request: Request) -> Response:
        """Allow trading again."""
        body = ResetSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            services.reset_breaker(by=caller(request), source=Source.API, **body.validated_data)
        except Refused as refusal:
            return _problem(refusal)
        return Response(_body())


def _body() -> dict[str, Any]:
    reading = read_breaker()
    return {
        "state": reading.state.value,
        "label": str(reading.state.label),
        "last_trip_reason": reading.decoded.reason,
        "last_trip_at": wire.instant_text(reading.decoded.at) if reading.decoded.at else None,
        "read_at": wire.instant_text(reading.read_at),
        "stale": reading.stale,
    }


def _problem(refusal: Refused) -> Response:
    more: dict[str, Any] = {}
    headers = {}
    if isinstance(refusal, InvalidInput):
        more["errors"] = {refusal.field: [refusal.sentence]}
    if isinstance(refusal, WrongState):
        more |= {"by": refusal.by, "at": wire.instant_text(refusal.at) if refusal.at else None}
    if isinstance(refusal, TooSoon):
        headers["Retry-After"] = str(refusal.seconds)
    if refusal.status == 503:
        headers["Retry-After"] = "5"
    return problem(refusal.status, refusal.sentence, headers=headers, **more)
