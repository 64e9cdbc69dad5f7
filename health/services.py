"""Every change of the registry of services and of planned work on them, whoever asks (HM-1, HM-11, HM-12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from django.db import connection, transaction
from django.utils import timezone

from health import rules, store
from health.models import Maintenance, Service
from health.registry import ServiceEntry, in_dependency_order
from opsportal.accounts.actors import Actor
from opsportal.accounts.refusals import InvalidInput, Refused, StaleForm, WrongState
from opsportal.audit import recorder

#: Taken by every change: two people cannot make a circle together, and nothing points to a service being removed.
_REGISTRY_LOCK = 7218940117
CHANGED_MEANWHILE = (
    "Somebody changed this after you opened it. Nothing was saved. Open it again, look at what it is now, then decide."
)


class ServiceValues(TypedDict, total=False):
    """What can be set of a service; `rules` says what each must be like."""

    name: str
    base_url: str
    owner: str
    runbook_url: str
    interval: int
    timeout: float
    enabled: bool
    depends_on: Iterable[Service]


def create_service(*, by: Actor, **values: Unpack[ServiceValues]) -> Service:
    """A new service; `name` and `base_url` are needed. Raises `PermissionRefused` and `InvalidInput`."""
    by.require("health.add_service")
    with transaction.atomic():
        _lock()
        service = _create(values, by)
        _publish_on_commit()
    return service


def update_service(
    service: Service, *, by: Actor, expected_version: str = "", **values: Unpack[ServiceValues]
) -> Service:
    """Change what is given and differs; returns the row as it is now.

    `expected_version` is the `version_of` the row that the person saw; empty skips that check.
    Raises `PermissionRefused`, `InvalidInput`, `StaleForm`, and `WrongState` if the service is gone.
    """
    by.require("health.change_service")
    with transaction.atomic():
        _lock()
        row = _present_service(service)
        _require_version(row, expected_version)
        if _change(row, values, by):
            _publish_on_commit()
    return row


def delete_service(service: Service, *, by: Actor) -> None:
    """Remove the service. What was measured of it stays until it is too old (HM-9).

    Raises `PermissionRefused`, and `WrongState` if it is gone already.
    """
    by.require("health.delete_service")
    with transaction.atomic():
        _lock()
        row = _present_service(service)
        details = _described(row) | {"needed_by": list(row.dependants.values_list("name", flat=True))}
        _record("service_delete", row, by, details)
        row.delete()
        _publish_on_commit()


@dataclass(frozen=True)
class Seeding:
    """What became of a list of services: a line per change, and a sentence per entry that could not be made."""

    changes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def seed_services(entries: Sequence[ServiceEntry], *, by: Actor, update_addresses: bool = False) -> Seeding:
    """Create the services that are missing, parents first; those there keep what an operator made of them.

    `update_addresses`: give those there the entry's `base_url`. A bad entry stops no other. Raises `PermissionRefused`.
    """
    by.require("health.add_service")
    if update_addresses:
        by.require("health.change_service")
    done = Seeding()
    with transaction.atomic():
        _lock()
        known = {service.name: service for service in Service.objects.all()}
        ordered, problems = in_dependency_order(entries, known)
        done.problems.extend(problems)
        for entry in ordered:
            try:
                if line := _seed(entry, known, by, update_addresses):
                    done.changes.append(line)
            except Refused as refusal:
                done.problems.append(f"{entry.name}: {refusal.sentence}")
        if done.changes:
            _publish_on_commit()
    return done


def plan_maintenance(
    services: Iterable[Service],
    *,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    by: Actor,
    now: datetime | None = None,
) -> Maintenance:
    """Plan work on the services. Raises `PermissionRefused` and `InvalidInput`."""
    by.require("health.add_maintenance")
    text = rules.clean_reason(reason)
    rules.check_window(starts_at, ends_at, now or timezone.now())
    with transaction.atomic():
        _lock()
        chosen = _chosen(services)
        window = Maintenance.objects.create(starts_at=starts_at, ends_at=ends_at, reason=text, planned_by=by.label)
        window.services.set(chosen)
        _record("maintenance_create", window, by, _described(window), reason=text)
        _publish_on_commit()
    return window


def change_maintenance(
    window: Maintenance,
    *,
    services: Iterable[Service],
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    by: Actor,
    expected_version: str = "",
    now: datetime | None = None,
) -> Maintenance:
    """Change planned work, or work that is going on but for its start; returns the row as it is now.

    Raises `PermissionRefused`, `InvalidInput`, `StaleForm`, and `WrongState` once the work has ended.
    """
    by.require("health.change_maintenance")
    now = now or timezone.now()
    text = rules.clean_reason(reason)
    with transaction.atomic():
        _lock()
        row = _present_window(window)
        _require_version(row, expected_version)
        refuse_if_ended(row, now)
        if row.runs(now) and starts_at != row.starts_at:
            raise InvalidInput("starts_at", "The work has begun: its start stays. Change its end, or end it now.")
        rules.check_window(starts_at, ends_at, now)
        before = _described(row)
        row.starts_at, row.ends_at, row.reason = starts_at, ends_at, text
        row.save(update_fields=["starts_at", "ends_at", "reason"])
        row.services.set(_chosen(services))
        changes = _differences(before, _described(row))
        if changes:
            _record("maintenance_update", row, by, {"changes": changes}, reason=text)
            _publish_on_commit()
    return row


def end_maintenance(window: Maintenance, *, by: Actor, now: datetime | None = None) -> Maintenance:
    """End work that is going on. Raises `PermissionRefused`, and `WrongState` if it is not going on."""
    by.require("health.change_maintenance")
    now = now or timezone.now()
    with transaction.atomic():
        _lock()
        row = _present_window(window)
        refuse_if_ended(row, now)
        if not row.runs(now):
            raise WrongState(f"This work has not begun: it starts at {row.starts_at:%Y-%m-%d %H:%M} UTC. Cancel it.")
        before = row.ends_at
        row.ends_at = max(now, row.starts_at + timedelta(microseconds=1))
        row.save(update_fields=["ends_at"])
        details = {"changes": {"ends_at": {"before": before, "after": row.ends_at}}}
        _record("maintenance_update", row, by, details, reason=row.reason)
        _publish_on_commit()
    return row


def cancel_maintenance(window: Maintenance, *, by: Actor, now: datetime | None = None) -> None:
    """Drop work that has not begun. Raises `PermissionRefused`, and `WrongState` once it has: that is history."""
    by.require("health.delete_maintenance")
    now = now or timezone.now()
    with transaction.atomic():
        _lock()
        row = _present_window(window)
        refuse_if_begun(row, now)
        _record("maintenance_delete", row, by, _described(row), reason=row.reason)
        row.delete()
        _publish_on_commit()


def refuse_if_ended(window: Maintenance, now: datetime) -> None:
    """Raise `WrongState` for work that is over."""
    if window.ends_at <= now:
        raise WrongState(f"This work ended at {window.ends_at:%Y-%m-%d %H:%M} UTC. What is past stays as it was.")


def refuse_if_begun(window: Maintenance, now: datetime) -> None:
    """Raise `WrongState` for work that is going on or over."""
    refuse_if_ended(window, now)
    if window.starts_at <= now:
        raise WrongState("This work has begun, so it stays in the history. End it now instead.")


def version_of(row: Service | Maintenance) -> str:
    """Changes whenever anything that can be edited does: what a form was drawn from."""
    return hashlib.blake2s(repr((row.pk, *_described(row).items())).encode()).hexdigest()[:20]


def _described(row: Service | Maintenance) -> dict[str, Any]:
    """Everything of a row that can be edited, related rows by name."""
    if isinstance(row, Service):
        parents = list(row.depends_on.order_by("name").values_list("name", flat=True))
        return {name: getattr(row, name) for name in rules.PLAIN_FIELDS} | {"depends_on": parents}
    services = list(row.services.order_by("name").values_list("name", flat=True))
    return {"services": services, "starts_at": row.starts_at, "ends_at": row.ends_at, "reason": row.reason}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: {"before": before[name], "after": value} for name, value in after.items() if before[name] != value}


def _clean(values: ServiceValues) -> dict[str, Any]:
    """The plain values as they are kept. Raises `InvalidInput`."""
    rule = {
        "name": rules.clean_name,
        "base_url": rules.clean_base_url,
        "owner": rules.clean_owner,
        "runbook_url": rules.clean_runbook_url,
        "interval": rules.clean_interval,
        "timeout": rules.clean_timeout,
        "enabled": bool,
    }
    return {name: rule[name](value) for name, value in values.items() if name != "depends_on"}  # type: ignore[operator]


def _create(values: ServiceValues, by: Actor) -> Service:
    plain = _clean({"name": "", "base_url": "", **values})
    _require_free_name(plain["name"])
    parents = _still_there("depends_on", values.get("depends_on", ()))
    service = Service.objects.create(**plain)
    service.depends_on.set(parents)
    _record("service_create", service, by, _described(service))
    return service


def _change(row: Service, values: ServiceValues, by: Actor) -> bool:
    """Write what differs, and the record of it; whether anything did."""
    plain = _clean(values)
    before = _described(row)
    if plain.get("name", row.name) != row.name:
        _require_free_name(plain["name"])
    changed = [name for name, value in plain.items() if before[name] != value]
    if "depends_on" in values:
        parents = _still_there("depends_on", values["depends_on"])
        rules.check_dependencies(row, parents)
        row.depends_on.set(parents)
    for name in changed:
        setattr(row, name, plain[name])
    if changed:
        row.save(update_fields=changed)
    changes = _differences(before, _described(row))
    if changes:
        _record("service_update", row, by, {"name": row.name, "changes": changes})
    return bool(changes)


def _seed(entry: ServiceEntry, known: dict[str, Service], by: Actor, update_addresses: bool) -> str:
    """Make one service, or its address, what the entry says; what was done, empty if nothing."""
    address = rules.clean_base_url(entry.base_url)
    there = known.get(entry.name)
    if there is None:
        if lost := [name for name in entry.depends_on if name not in known]:
            raise InvalidInput("depends_on", f"It depends on {', '.join(lost)}, which could not be made.")
        service = _create(
            {
                "name": entry.name,
                "base_url": address,
                "owner": entry.owner,
                "runbook_url": entry.runbook_url,
                "interval": entry.interval,
                "timeout": entry.timeout,
                "depends_on": [known[name] for name in entry.depends_on],
            },
            by,
        )
        known[entry.name] = service
        return f"{service.name}: created at {address}"
    before = there.base_url
    if update_addresses and _change(there, {"base_url": address}, by):
        return f"{there.name}: moved from {before} to {address}"
    return ""


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_REGISTRY_LOCK])


def _publish_on_commit() -> None:
    transaction.on_commit(store.publish_registry)


def _present_service(service: Service) -> Service:
    row = Service.objects.filter(pk=service.pk).first()
    if row is None:
        raise WrongState(f"The service {service.name} was removed in the meantime.")
    return row


def _present_window(window: Maintenance) -> Maintenance:
    row = Maintenance.objects.filter(pk=window.pk).first()
    if row is None:
        raise WrongState("This maintenance window was cancelled in the meantime.")
    return row


def _still_there(field_name: str, services: Iterable[Service]) -> list[Service]:
    chosen = {service.pk: service.name for service in services}
    rows = list(Service.objects.filter(pk__in=chosen))
    gone = sorted(set(chosen.values()) - {row.name for row in rows}) if len(rows) < len(chosen) else []
    if gone:
        raise InvalidInput(field_name, f"Removed in the meantime: {', '.join(gone)}. Choose again.")
    return rows


def _chosen(services: Iterable[Service]) -> list[Service]:
    rows = _still_there("services", services)
    if not rows:
        raise InvalidInput("services", "Choose at least one service.")
    return rows


def _require_free_name(name: str) -> None:
    if Service.objects.filter(name=name).exists():
        raise InvalidInput("name", f"There is already a service called {name}.")


def _require_version(row: Service | Maintenance, expected: str) -> None:
    if expected and expected != version_of(row):
        raise StaleForm(CHANGED_MEANWHILE)


def _record(event: str, row: Service | Maintenance, by: Actor, details: dict[str, Any], *, reason: str = "") -> None:
    recorder.record(
        event,
        event_type="admin",
        actor=by.user,
        actor_label=by.label,
        resource_type=row._meta.model_name or "",
        resource_id=str(row.pk),
        details=details,
        reason=reason,
    )
