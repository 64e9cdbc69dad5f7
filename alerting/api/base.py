"""What the doors for values and alerts share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.response import Response

from alerting.errors import InvalidInput, QueueFull, Refused
from alerting.observing import Taken
from opsportal.accounts.api import problem, problems

log = logging.getLogger(__name__)

#: A label set or annotations, in the schema.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
UNPROCESSABLE = problems({422: "A value is missing or wrong; `errors` names it. Nothing of the request was kept."})
QUEUE_FULL = problems(
    {503: "Too many deliveries wait or alerts are open (`Retry-After: 60`), or no server answers. Nothing was kept."}
)
TAKEN = inline_serializer(
    "Taken",
    {
        "accepted": serializers.IntegerField(help_text="How many items were taken."),
        "events": serializers.ListField(
            child=serializers.UUIDField(), help_text="The open events that they belong to now."
        ),
    },
)


def refusal(error: Refused, *, status: int | None = None) -> Response:
    """A refusal as a problem document that names the field."""
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, QueueFull) else None
    errors: dict[str, Any] = {"errors": {error.field: [error.sentence]}} if isinstance(error, InvalidInput) else {}
    detail = error.sentence
    if isinstance(error, InvalidInput) and error.field:
        detail = f"{error.field[:100]}: {error.sentence}"
    return problem(status or error.status, detail, headers=headers, **errors)


def events_of(taken: Taken) -> list[UUID]:
    """Every open event once."""
    return list(dict.fromkeys(event for events in taken.events for event in events))


def refused_some(objections: Sequence[InvalidInput], *, kept: int) -> Response:
    """The answer where some alerts could not be read and the others were taken, as Alertmanager answers it."""
    log.warning("alerts_not_understood", extra={"refused": len(objections), "kept": kept})
    first = objections[0]
    more = f" {len(objections) - 1} more could not be read either." if len(objections) > 1 else ""
    errors: dict[str, Any] = {}
    for objection in objections[:20]:
        errors.setdefault(objection.field, []).append(objection.sentence)
    return problem(400, f"{first.field[:100]}: {first.sentence}{more} The other {kept} were taken.", errors=errors)
