"""Events that fire: muted or told, and their deliveries written with them (AL-5)."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from alerting import episodes, keys, muting, outbox
from alerting.catalogue import BREAKER, Catalogue, Seen
from alerting.episodes import Resolved
from alerting.happenings import NO_RULE, Happening
from alerting.metrics import EVALUATION_FAILURES
from alerting.models import Rule

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
        outbox.count_dropped(self._catalogue, firing)

    def begin(self, events: Sequence[Happening], write: Write) -> dict[UUID, int]:
        """Write new events: those placed, with the number of their new deliveries. Raises `django.db.Error`."""
        placed = write(events, [row for event in events for row in self._rows.get(event.event_id, ())])
        self.made += sum(placed.values())
        begun = [event for event in events if event.event_id in placed]
        self._note_repeats(begun, placed)
        outbox.count_dropped(self._catalogue, [event for event in begun if event.event_id in self._rows])
        over = [Resolved.of(event) for event in events if event.over and event.event_id in placed]
        self.made += tell_recovery(self._catalogue, over, self._now)
        return placed

    def count_silenced(self) -> None:
        """Count what silences hold back from now on; the transaction's last step. Raises `django.db.Error`."""
        muting.count_suppressed(event.muted_by for event in self._fired)

    def _note_repeats(self, events: Sequence[Happening], made: dict[UUID, int]) -> None:
        named = [event for event in events if event.named_by_sender]
        note_repeats(named, [row for event in named for row in self._rows.get(event.event_id, ())], made)


def note_repeats(events: Sequence[Happening], rows: Sequence[outbox.Row], made: Mapping[UUID, int]) -> int:
    """Of these events, whose `rows` were written and of each event so many `made`, those that brought no message, for
    all of theirs were there before, say so and count as told to nobody; how many. Raises `django.db.Error`."""
    written = Counter((row["event_id"], _is_message(row)) for row in rows)
    repeats = [
        event.event_id
        for event in events
        if event.named_by_sender
        and written[str(event.event_id), True]
        and made.get(event.event_id, 0) <= written[str(event.event_id), False]
    ]
    if repeats:
        episodes.annotate(repeats, NOT_SENT, TOLD_BEFORE)
    return len(repeats)


def tell_recovery(catalogue: Catalogue, resolved: Sequence[Resolved], now: datetime) -> int:
    """Recovery notices of events that were just resolved, if they fired and their rule tells of it; how many.

    A rule that was deleted tells: who heard that it fires must hear that it is over. Where two rules tell the same
    recipient of a sender's alert, the one message is of one rule's event, and either rule may tell that it is over.
    Raises `django.db.Error`.
    """
    fired = [event for event in resolved if event.triggered_at is not None]
    untold = _telling_none(catalogue, {event.rule_id for event in fired if event.rule_id is not None})
    made = outbox.insert_recoveries([event.name for event in fired if event.rule_id not in untold], now)
    if untold:
        telling: dict[tuple[str, datetime], set[int]] = defaultdict(set)
        for event in fired:
            rule = catalogue.rules.get(event.rule_id or 0, NO_RULE)
            telling[_once(event)].update(rule.channel_ids if rule.notify_resolved else ())
        for event in fired:
            if event.rule_id in untold and (channels := telling[_once(event)]):
                made += outbox.insert_recoveries([event.name], now, only=channels)
    return made


def _once(event: Resolved) -> tuple[str, datetime]:
    """Under what nobody is told twice (AD-3)."""
    assert event.triggered_at is not None
    return event.alert_id, keys.hour_bucket(event.triggered_at)


def _telling_none(catalogue: Catalogue, rule_ids: Set[int]) -> set[int]:
    """Those of these rules that tell of no recovery. What the catalogue leaves out, being switched off, is asked."""
    known = {rule_id for rule_id in rule_ids if rule_id in catalogue.rules}
    silent = {rule_id for rule_id in known if not catalogue.rules[rule_id].notify_resolved}
    if known < rule_ids:
        gone = Rule.objects.filter(pk__in=rule_ids - known, notify_resolved=False)
        silent.update(gone.values_list("pk", flat=True))
    return silent


def _is_message(row: outbox.Row) -> bool:
    return bool(row["kind"] != BREAKER)
