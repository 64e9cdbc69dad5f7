"""What people do to deliveries that need a person: try them again, or say that they are dealt with (AD-10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from alerting import outbox, waiting
from alerting.catalogue import BREAKER, Catalogue, Target, current
from alerting.errors import InvalidInput, WrongState
from alerting.happenings import NO_RULE, Happening
from alerting.models import Delivery, Event, Notice, Status
from alerting.nudging import nudge
from opsportal.accounts.actors import Actor
from opsportal.accounts.stepup import clean_reason
from opsportal.audit import recorder
from opsportal.secrets import keyring

#: Done in one step, so that nobody holds the queue up.
MOST_AT_ONCE = 1_000
_NAMED = 50
_POISON = Q(status=Status.POISON, settled_at__isnull=True)
#: What the provider's wish holds back, and a retry need not.
_RESTING = Q(
    status__in=(Status.PENDING, Status.FAILED), waits_for="provider", lease__isnull=True, merged_into__isnull=True
)
NOTHING_LEFT = (
    "None of these is poisoned any more: somebody has retried or resolved them in the meantime. Nothing was changed."
)
STILL_UNUSABLE = (
    "The channel still cannot be used, so there is nobody to send to. Set the channel right, then retry. Nothing was "
    "changed."
)


#: What is noted of a delivery that was written anew.
USABLE_AGAIN = "Retried: the channel can be used again."
MOVED_ON = "Retried: written anew to where the channel goes now."


@dataclass(frozen=True)
class Retried:
    """How many deliveries are tried again, and how many stay poisoned because their channel cannot be used still."""

    count: int
    left: int = 0


def retry_deliveries(ids: Iterable[int], *, by: Actor) -> Retried:
    """Make poisoned deliveries pending again, with all their attempts before them.

    What waits because its provider asked for it goes out now; so does all that waits for the providers of the chosen.
    A digest takes what is told in it along, and each goes out by itself, through the limits. What is under way,
    delivered or dealt with stays as it is. What stands for a channel that could not be used, or goes to an address
    that the channel has no longer, becomes a delivery to each recipient that the channel has now.
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
        rows = _locked(_family(chosen))
        resting = [] if cause else list(chosen.filter(_RESTING).order_by("id")[:MOST_AT_ONCE])
        if not rows and not resting:
            raise WrongState(NOTHING_LEFT)
        if any(row.kind == BREAKER for row in rows):
            by.require("circuit.trip_breaker")
        done, unusable = _replaced(rows, by=by)
        ids = [row.pk for row in rows if row.pk not in done and row.pk not in unusable]
        done = sorted([*done, *ids, *(row.pk for row in resting)])
        if not done:
            raise WrongState(STILL_UNUSABLE)
        Delivery.objects.filter(id__in=ids).update(
            status=Status.PENDING,
            attempts=0,
            due_at=Now(),
            lease=None,
            taken_over=0,
            waits_for="",
            merged_into=None,
            finished_at=None,
        )
        with connection.cursor() as cursor:
            waiting.end_rests(cursor, (row.channel_id for row in (*rows, *resting)))
        _audit("delivery_retry", done, by=by, cause=cause)
        transaction.on_commit(nudge)
    return Retried(len(done), left=len(rows) + len(resting) - len(done))


def _replaced(rows: Sequence[Delivery], *, by: Actor) -> tuple[list[int], set[int]]:
    """Write anew, to the recipients that the channel has now, what stands for a channel that could not be used or goes
    where it went before an edit. The numbers of what is replaced, and of what nobody can be sent yet.

    What goes where it went, but was sealed with a key that was lost, gets the address from the channel.
    """
    catalogue = current()
    done: dict[str, list[int]] = {USABLE_AGAIN: [], MOVED_ON: []}
    unusable: set[int] = set()
    written: list[outbox.Row] = []
    now = timezone.now()
    for row in rows:
        targets = catalogue.targets.get(row.channel_id, ())
        if not targets and row.kind != BREAKER:
            unusable.add(row.pk)
        target = _target_of(row, targets) if row.recipient_sealed else None
        if target and not _opens(row.recipient_sealed):
            Delivery.objects.filter(id=row.pk).update(recipient_sealed=target.sealed)
        if not targets or target:
            continue
        event = Event.objects.filter(id=row.event_id, started_at=row.event_started_at).first()
        made = _written_anew(catalogue, row, event, now) if event else []
        if made or not row.recipient_sealed:
            done[MOVED_ON if row.recipient_sealed else USABLE_AGAIN].append(row.pk)
            written += made
    outbox.insert(written)
    for note, numbers in done.items():
        Delivery.objects.filter(id__in=numbers).update(settled_at=now, settled_by=by.label[:200], settled_note=note)
    return [number for numbers in done.values() for number in numbers], unusable


def _target_of(row: Delivery, targets: Sequence[Target]) -> Target | None:
    return next((target for target in targets if row.recipient_hash in (target.hash, *target.earlier_hashes)), None)


def _opens(sealed: str) -> bool:
    try:
        keyring.unseal(sealed)
    except keyring.CannotOpen:
        return False
    return True


def _written_anew(catalogue: Catalogue, row: Delivery, event: Event, now: datetime) -> list[outbox.Row]:
    """Rows that `outbox.insert` leaves out where they were written under the secret before the present one (AD-9)."""
    earlier = {
        target.hash: target.earlier_hashes[0] for target in catalogue.targets[row.channel_id] if target.earlier_hashes
    }
    rows = _rows_anew(catalogue, row, event, now)
    for new in rows:
        if before := earlier.get(new["recipient_hash"]):
            name, _, bucket = new["dedup_key"].rpartition(f":{new['recipient_hash']}:")
            new["earlier_key"] = f"{name}:{before}:{bucket}"
    return rows


def _rows_anew(catalogue: Catalogue, row: Delivery, event: Event, now: datetime) -> list[outbox.Row]:
    if event.triggered_at is None:
        return []
    happening = Happening.of(event)
    if row.notice == Notice.TEST:
        return outbox.rows_of_test(catalogue.targets[row.channel_id], happening, now)
    only_this = replace(NO_RULE, channel_ids=(row.channel_id,))
    firing = outbox.message_rows(catalogue, only_this, happening, now)
    if row.notice == Notice.FIRING:
        return firing
    if event.resolved_at is None:
        return []
    happening.resolved_at = event.resolved_at
    return outbox.recovery_rows(happening, firing, now)


def _resolve(chosen: QuerySet[Delivery], *, by: Actor, note: str, cause: str = "") -> int:
    with transaction.atomic():
        picked = list(chosen.filter(_POISON).order_by("-id").values_list("id", flat=True)[:MOST_AT_ONCE])
        ids = [row.pk for row in _locked(Q(id__in=picked))]
        if not ids:
            raise WrongState(NOTHING_LEFT)
        Delivery.objects.filter(id__in=ids).update(
            settled_at=timezone.now(), settled_by=by.label[:200], settled_note=note
        )
        _audit("delivery_resolve", ids, by=by, cause=cause, note=note)
    return len(ids)


def _family(chosen: QuerySet[Delivery]) -> Q:
    """The chosen ones that need a person, with their digest and all that is told in it."""
    picked = list(chosen.filter(_POISON).order_by("-id").values_list("id", "merged_into")[:MOST_AT_ONCE])
    leaders = {leader or number for number, leader in picked}
    return Q(id__in={number for number, _ in picked} | leaders) | Q(merged_into__in=leaders)


def _locked(which: Q) -> list[Delivery]:
    """Those of them that need a person; in order, and held."""
    return list(Delivery.objects.select_for_update().filter(_POISON & which).order_by("id"))


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
