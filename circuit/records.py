"""One change of the breaker on its way from Redis into PostgreSQL."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

import pydantic
from django.db import connection

from circuit.models import Category, Kind, Source, State, Transition
from opsportal.audit import recorder

_EVENTS = {
    Kind.TRIP: "circuit_trip",
    Kind.RESET: "circuit_reset",
    Kind.INIT: "circuit_init",
    Kind.RESTORE: "circuit_restore",
    Kind.QUIET: "circuit_external_change",
    Kind.LOST: "circuit_external_change",
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that the history and the audit log will say of one change."""

    id: uuid.UUID
    kind: Kind
    from_state: State
    to_state: State
    reason: str
    category: Category
    source: Source
    actor_id: int | None
    actor_label: str
    at: datetime
    ip: str | None
    request_id: str | None

    def dump(self) -> str:
        """The text kept in the spool."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def parse(cls, text: str) -> Record:
        """The record of a spool text. Raises `ValueError` when it is not one."""
        return _ADAPTER.validate_json(text)

    def left(self, from_state: State) -> Self:
        """The same change, seen from another earlier state."""
        return replace(self, from_state=from_state)


_ADAPTER = pydantic.TypeAdapter(Record)


def archive(record: Record) -> bool:
    """Write the history row and its audit entry, once: False when they are there already.

    Must run inside a transaction. Raises `django.db.DatabaseError`.
    """
    values: dict[str, Any] = asdict(record)
    for name in ("id", "ip", "request_id"):
        values.pop(name)
    values["halted_for"] = _halted_for(record)
    _, created = Transition.objects.get_or_create(pk=record.id, defaults=values)
    if not created:
        return False
    external = record.source == Source.EXTERNAL
    recorder.record(
        "circuit_external_change" if external else _EVENTS[record.kind],
        actor_label=record.actor_label,
        actor_id=record.actor_id,
        resource_type="circuit_breaker",
        resource_id="circuit_breaker",
        details={
            "kind": record.kind,
            "from": record.from_state,
            "to": record.to_state,
            "category": record.category,
        },
        reason=record.reason,
        source=record.source,
        event_id=record.id,
        at=record.at,
        ip=record.ip,
        request_id=record.request_id,
    )
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # check and chain now: the commit has nothing left to refuse
    return True


def _halted_for(record: Record) -> Any:
    """For a change to OPEN: the time since trading was first not allowed; else None."""
    if record.to_state != State.OPEN:
        return None
    earlier = Transition.objects.filter(at__lt=record.at)
    opened = earlier.filter(to_state=State.OPEN).values_list("at", flat=True).first()
    halts = earlier.exclude(to_state=State.OPEN)
    if opened is not None:
        halts = halts.filter(at__gt=opened)
    begun = halts.order_by("at").values_list("at", flat=True).first()
    return record.at - begun if begun else None
