"""What is encrypted at rest, encrypted anew with the newest key (SX-4): online, and where it stopped it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.models import Model, Q, QuerySet

from alerting.models import Channel, Delivery, Episode, Status
from alerting.services import turns
from opsportal.accounts.actors import Actor
from opsportal.audit import recorder
from opsportal.secrets import keyring

#: Rows of one transaction: short enough that nobody waits for it.
CHUNK = 500
#: Rows that the result names before it only counts them.
NAMED = 20


@dataclass(frozen=True)
class Resealed:
    """How far it is with one table. `unreadable`: ids of rows that no key of the ring opens; they stay as they are."""

    what: str
    looked_at: int = 0
    changed: int = 0
    unreadable: tuple[int, ...] = field(default=())


def reseal_all(*, by: Actor, report: Callable[[Resealed], None] = lambda _: None) -> tuple[Resealed, ...]:
    """Encrypt anew what another key than the newest has sealed. `report` is called after each chunk.

    Channels, and deliveries that may still go out: those that are open or poisoned, and all of events that are open,
    whose recovery is told to the same people. May be stopped and started at any time, and beside a running portal.
    Raises `PermissionRefused` and `django.db.Error`.
    """
    by.require("alerting.change_channel")
    open_events = Episode.objects.values("event_id")
    deliveries = Delivery.objects.filter(~Q(status=Status.DELIVERED) | Q(event_id__in=open_events)).exclude(
        recipient_sealed=""
    )
    done = (
        _reseal("channels", Channel.objects.all(), "sealed", report),
        _reseal("deliveries", deliveries, "recipient_sealed", report),
    )
    with transaction.atomic():
        recorder.record(
            "keys_rotate",
            actor=by.user,
            actor_label=by.label,
            resource_type="alert_channel",
            resource_id="",
            details={part.what: {"changed": part.changed, "unreadable": len(part.unreadable)} for part in done},
        )
    return done


def _reseal(what: str, rows: QuerySet[Any], column: str, report: Callable[[Resealed], None]) -> Resealed:
    so_far, last = Resealed(what), 0
    while chunk := list(rows.filter(id__gt=last).order_by("id").values_list("id", column)[:CHUNK]):
        last = chunk[-1][0]
        so_far = _reseal_chunk(rows.model, column, chunk, so_far)
        report(so_far)
    return so_far


def _reseal_chunk(model: type[Model], column: str, chunk: Iterable[tuple[int, str]], so_far: Resealed) -> Resealed:
    looked_at, changed, unreadable = so_far.looked_at, so_far.changed, list(so_far.unreadable)
    manager: Any = model._default_manager
    with transaction.atomic():
        if model is Channel:
            turns.await_turn()
        for number, sealed in chunk:
            looked_at += 1
            if keyring.is_current(sealed):
                continue
            try:
                new = keyring.reseal(sealed)
            except keyring.CannotOpen:
                unreadable.append(number)
                continue
            # Not over what somebody has saved meanwhile, which the newest key has sealed anyway.
            changed += manager.filter(**{"id": number, column: sealed}).update(**{column: new})
    return replace(so_far, looked_at=looked_at, changed=changed, unreadable=tuple(unreadable))
