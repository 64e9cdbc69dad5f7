"""Writes the audit log."""

from __future__ import annotations

import getpass
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from auditlog.models import AbstractLogEntry
from django.db import transaction

from opsportal.audit import metrics
from opsportal.audit.actions import ACTIONS
from opsportal.audit.models import Entry
from opsportal.observability.context import current

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

_DIFF_EVENTS = {
    AbstractLogEntry.Action.CREATE: "object_create",
    AbstractLogEntry.Action.UPDATE: "object_update",
    AbstractLogEntry.Action.DELETE: "object_delete",
    AbstractLogEntry.Action.ACCESS: "object_access",
}


def record(
    event: str,
    *,
    event_type: str = "action",
    outcome: str = "success",
    actor: AbstractBaseUser | None = None,
    actor_id: int | None = None,
    actor_label: str = "",
    resource_type: str = "",
    resource_id: str = "",
    details: dict[str, Any] | None = None,
    reason: str = "",
    source: str = "",
    event_id: uuid.UUID | None = None,
    at: datetime | None = None,
    ip: str | None = None,
    request_id: str | None = None,
) -> Entry:
    """Write one entry inside the caller's transaction, so that both commit or neither does (AU-3).

    `event` is one of `actions.ACTIONS`. IP address, request id and source come from the current request unless given,
    as for an entry that was spooled earlier. Details and reason are sanitised here.
    Raises `ValueError` for an unknown event, and `django.db.DatabaseError` when the entry cannot be written.
    """
    if event not in ACTIONS:
        raise ValueError(f"unknown audit event {event!r}; add it to opsportal.audit.actions")
    optional: dict[str, Any] = {"event_id": event_id, "timestamp": at, "remote_addr": ip, "cid": request_id}
    entry = Entry(
        event=event,
        event_type=event_type,
        outcome=outcome,
        actor_id=getattr(actor, "pk", None) or actor_id,
        actor_label=actor_label or (actor.get_username() if actor and actor.is_authenticated else ""),
        resource_type=resource_type,
        resource_id=resource_id,
        additional_data=details,
        reason=reason,
        source=source,
        **{name: value for name, value in optional.items() if value is not None},
    )
    with transaction.atomic():
        entry.save()
    return entry


def fill_from_context(entry: Entry) -> None:
    """Complete an entry with what the current request knows, and count it once it has committed."""
    context = current()
    started = time.perf_counter()
    if not entry.event:
        entry.event = _DIFF_EVENTS[entry.action]
        entry.resource_type = entry.resource_type or (entry.content_type.model if entry.content_type else "")
        entry.resource_id = entry.resource_id or entry.object_pk
    if entry.actor_id is None and not entry.actor_label:
        entry.actor_id = context.actor_id
        entry.actor_label = context.actor_label or (command_line_label() if context.source == "cli" else "")
    entry.remote_addr = entry.remote_addr or context.ip
    entry.cid = entry.cid or context.request_id
    entry.source = entry.source or context.source

    def count() -> None:
        metrics.WRITE_LATENCY.observe(time.perf_counter() - started)
        metrics.ACTIONS_TOTAL.labels(entry.event).inc()
        metrics.EVENTS_TOTAL.labels(entry.event_type, entry.outcome).inc()

    transaction.on_commit(count)


def command_line_label() -> str:
    """Who runs a command, by the name that the operating system knows (AU-6)."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return f"{name} (command line)"


def mask_value(value: str) -> str:
    """What django-auditlog writes for a masked field: nothing of the value (its default shows half of it)."""
    return "***" if value else ""


def current_request_id() -> str | None:
    """The request id, for django-auditlog's rows."""
    return current().request_id or None
