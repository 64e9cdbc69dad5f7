"""Events that fire: muted or told, and their deliveries written with them (AL-5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from alerting import episodes, muting, outbox
from alerting.catalogue import BREAKER, Catalogue, Seen
from alerting.episodes import Resolved
from alerting.happenings import NO_RULE, Happening
from alerting.metrics import EVALUATION_FAILURES

log = logging.getLogger(__name__)

#: The annotation that says why an event that fires was told to nobody, and what it says of a repeat (AD-3).
NOT_SENT = "not sent"
TOLD_BEFORE = "The same people were told of an alert with the same alert_id within the same hour."

Write = Callable[[Sequence[Happening], Sequence[outbox.Row]], dict[UUID, int]]


class Firing:
    """Events of one transaction that fire now: decides who is told, then writes. `made` counts new deliveries.

    `waiting`: those that the same transaction begins and that do not fire yet.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fired: Sequence[Happening],
        now: datetime,
        seen: Seen,
        waiting: Sequence[Happening] = (),
    ) -> None:
        self._catalogue, self._fired, self._now = catalogue, fired, now
        self._rows: dict[UUID, list[outbox.Row]] = {}
        self.made = 0
        reasons = (
            muting.decide(catalogue, fired, now, full=seen.full, planned=seen.planned, waiting=waiting) if fired else []
        )
        for event, why in zip(fired, reasons, strict=True):
            rule = catalogue.rules.get(event.rule_id or 0, NO_RULE)
            event.muted_by = why if rule.channel_ids else ""
            rows = outbox.firing_rows(catalogue, rule, event, now)
            event.notified_at = now if any(map(_is_message, rows)) else None
            self._rows[event.event_id] = rows

    def write_promoted(self, events: Sequence[Happening], *, careful: bool = False) -> list[Happening]:
        """Write those that were pending before this transaction. Raises `django.db.Error`.

        `careful`: each by itself; those that cannot be written are left out alone, and returned.
        """
        firing = [event for event in events if event.event_id in self._rows]
        if careful:
            return [event for event in firing if not self._promoted_alone(event)]
        self._promote(firing)
        return []

    def _promoted_alone(self, event: Happening) -> bool:
        try:
            with transaction.atomic():
                self._promote([event])
        except (DataError, IntegrityError):
            EVALUATION_FAILURES.inc()
            log.exception("alert_event_set_aside", extra={"rule_id": event.rule_id})
            return False
        return True

    def _promote(self, firing: Sequence[Happening]) -> None:
        episodes.fire(firing)
        made = outbox.insert([row for event in firing for row in self._rows[event.event_id]])
        self.made += made.total()
        self._note_repeats(firing, made)

    def begin(self, events: Sequence[Happening], write: Write) -> dict[UUID, int]:
        """Write new events: those placed, with the number of their new deliveries. Raises `django.db.Error`."""
        rows = []
        for event in events:
            fired = self._rows.get(event.event_id, [])
            rows += fired
            rule = self._catalogue.rules.get(event.rule_id or 0, NO_RULE)
            if event.over and rule.notify_resolved:
                rows += outbox.recovery_rows(event, fired, self._now)
        placed = write(events, rows) if events else {}
        self.made += sum(placed.values())
        self._note_repeats([event for event in events if event.event_id in placed], placed)
        return placed

    def count_silenced(self) -> None:
        """Count what silences hold back from now on; the transaction's last step. Raises `django.db.Error`."""
        muting.count_suppressed(event.muted_by for event in self._fired)

    def _note_repeats(self, events: Sequence[Happening], made: dict[UUID, int]) -> None:
        repeats = []
        for event in events:
            rows = self._rows.get(event.event_id, [])
            trips = sum(row["kind"] == BREAKER for row in rows)
            if event.named_by_sender and len(rows) > trips and made.get(event.event_id, 0) <= trips:
                repeats.append(event.event_id)
        if repeats:
            episodes.annotate(repeats, NOT_SENT, TOLD_BEFORE)


def tell_recovery(catalogue: Catalogue, resolved: Sequence[Resolved], now: datetime) -> int:
    """Recovery notices of events that were just resolved, if they fired and their rule tells of it; how many.

    A rule that is gone or switched off tells: who heard that it fires must hear that it is over.
    Raises `django.db.Error`.
    """
    told = [
        (event.event_id, event.started_at)
        for event in resolved
        if event.triggered_at is not None and _tells(catalogue, event.rule_id)
    ]
    return outbox.insert_recoveries(told, now)


def _tells(catalogue: Catalogue, rule_id: int | None) -> bool:
    rule = catalogue.rules.get(rule_id or 0)
    return rule is None or rule.notify_resolved


def _is_message(row: outbox.Row) -> bool:
    return bool(row["kind"] != BREAKER)
