"""What people do to deliveries that need a person: try them again, or say that they are dealt with (AD-10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from alerting import outbox
from alerting.catalogue import BREAKER, current
from alerting.errors import InvalidInput, WrongState
from alerting.happenings import NO_RULE, Happening
from alerting.models import Delivery, Event, Status
from alerting.nudging import nudge
from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason
from opsportal.audit import recorder

#: Done in one step, so that nobody holds the queue up.
MOST_AT_ONCE = 1_000
_NAMED = 50
NOTHING_LEFT = (
    "None of these is poisoned any more: somebody has retried or resolved them in the meantime. Nothing was changed."
)
STILL_UNUSABLE = (
    "The channel still cannot be used, so there is nobody to send to. Set the channel right, then retry. Nothing was "
    "changed."
)


@dataclass(frozen=True)
class Retried:
    """How many deliveries are tried again, and how many stay poisoned because their channel cannot be used still."""

    count: int
    left: int = 0


def retry_deliveries(ids: Iterable[int], *, by: Actor) -> Retried:
    """Make poisoned deliveries pending again, with all their attempts before them.

    A digest takes what is told in it along. What is under way, delivered or dealt with stays as it is. What stands for
    a channel that could not be used becomes a delivery to each recipient that the channel has now.
    Raises `PermissionRefused` (a trip of the breaker needs the right to trip it), `InvalidInput` and `WrongState`.
    """
    by.require("alerting.retry_delivery")
    return _retry(Delivery.objects.filter(id__in=_numbers(ids)), by=by)


def retry_cause(kind: str, outcome: str, *, newest: int, by: Actor) -> Retried:
    """The same for everything of one cause up to the number `newest`, at most `MOST_AT_ONCE` at a time."""
    by.require("alerting.retry_delivery")
    return _retry(_of_cause(kind, outcome, newest), by=by, cause=outcome)


def resolve_deliveries(ids: Iterable[int], *, by: Actor, note: str) -> int:
    """Say that poisoned deliveries are dealt with, and how: they need nobody any more. How many that were.

    Raises `PermissionRefused`, `InvalidInput` and `WrongState`.
    """
    by.require("alerting.resolve_delivery")
    text = clean_reason(note, field="note")
    return _resolve(Delivery.objects.filter(id__in=_numbers(ids)), by=by, note=text)


def resolve_cause(kind: str, outcome: str, *, newest: int, by: Actor, note: str) -> int:
    """The same for everything of one cause up to the number `newest`, at most `MOST_AT_ONCE` at a time."""
    by.require("alerting.resolve_delivery")
    text = clean_reason(note, field="note")
    return _resolve(_of_cause(kind, outcome, newest), by=by, note=text, cause=outcome)


def _retry(chosen: QuerySet[Delivery], *, by: Actor, cause: str = "") -> Retried:
    with transaction.atomic():
        rows = _locked(chosen)
        if any(row.kind == BREAKER for row in rows):
            by.require("circuit.trip_breaker")
        now = timezone.now()
        stand_ins = [row for row in rows if not row.recipient_sealed]
        replaced = _replaced(stand_ins, by=by, now=now)
        ids = [row.pk for row in rows if row.recipient_sealed]
        done = sorted(ids + replaced)
        if not done:
            raise WrongState(STILL_UNUSABLE)
        changed = Delivery.objects.filter(id__in=ids)
        # What was told in a digest that stays where it is goes out by itself.
        changed.filter(merged_into__isnull=False).exclude(merged_into__in=ids).update(merged_into=None)
        changed.update(
            status=Status.PENDING,
            attempts=0,
            due_at=now,
            lease=None,
            taken_over=0,
            waits_for="",
            finished_at=None,
        )
        _audit("delivery_retry", done, by=by, cause=cause)
        transaction.on_commit(nudge)
    return Retried(len(done), left=len(rows) - len(done))


def _replaced(stand_ins: Sequence[Delivery], *, by: Actor, now: datetime) -> list[int]:
    """Write what these stand for, where their channel can be used by now; the numbers of those that are done."""
    if not stand_ins:
        return []
    catalogue = current()
    usable = [row for row in stand_ins if catalogue.targets.get(row.channel_id)]
    rows: list[outbox.Row] = []
    for stand_in in usable:
        event = Event.objects.filter(id=stand_in.event_id, started_at=stand_in.event_started_at).first()
        if event is not None and event.triggered_at is not None:
            only_this = replace(NO_RULE, channel_ids=(stand_in.channel_id,))
            rows += outbox.message_rows(catalogue, only_this, Happening.of(event), now)
    outbox.insert(rows)
    numbers = [row.pk for row in usable]
    Delivery.objects.filter(id__in=numbers).update(
        settled_at=now, settled_by=by.label[:200], settled_note="Retried: the channel can be used again."
    )
    return numbers


def _resolve(chosen: QuerySet[Delivery], *, by: Actor, note: str, cause: str = "") -> int:
    with transaction.atomic():
        ids = [row.pk for row in _locked(chosen)]
        Delivery.objects.filter(id__in=ids).update(
            settled_at=timezone.now(), settled_by=by.label[:200], settled_note=note
        )
        _audit("delivery_resolve", ids, by=by, cause=cause, note=note)
    return len(ids)


def _locked(chosen: QuerySet[Delivery]) -> list[Delivery]:
    """Those of the chosen that need a person, with their digest and all that is told in it; in order, and held.

    Raises `WrongState` when none is left.
    """
    poison = Q(status=Status.POISON, settled_at__isnull=True)
    picked = list(chosen.filter(poison).order_by("-id").values_list("id", "merged_into")[:MOST_AT_ONCE])
    leaders = {leader or number for number, leader in picked}
    family = Q(id__in={number for number, _ in picked} | leaders) | Q(merged_into__in=leaders)
    rows = list(Delivery.objects.select_for_update().filter(poison & family).order_by("id"))
    if not rows:
        raise WrongState(NOTHING_LEFT)
    return rows


def _of_cause(kind: str, outcome: str, newest: int) -> QuerySet[Delivery]:
    return Delivery.objects.filter(kind=kind, outcome=outcome, id__lte=newest)


def _numbers(ids: Iterable[int]) -> list[int]:
    numbers = sorted(set(ids))
    if not numbers:
        raise InvalidInput("delivery", "Tick at least one delivery.")
    if len(numbers) > MOST_AT_ONCE:
        raise InvalidInput("delivery", f"These are {len(numbers):,} deliveries; at most {MOST_AT_ONCE:,} at a time.")
    return numbers


def _audit(action: str, ids: Sequence[int], *, by: Actor, cause: str, note: str = "") -> None:
    details: dict[str, Any] = {"count": len(ids), "deliveries": list(ids[:_NAMED])}
    if cause:
        details["cause"] = cause
    recorder.record(
        action,
        actor=by.user,
        actor_label=by.label,
        resource_type="alert_delivery",
        resource_id=str(ids[0]) if len(ids) == 1 else "",
        details=details,
        reason=note,
    )
