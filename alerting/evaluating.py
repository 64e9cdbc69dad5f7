"""A batch of values on its way through the rules: what it begins, fires and resolves, gathered and then written."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, transaction

from alerting import episodes, firing, keys, outbox
from alerting.catalogue import Catalogue, RuleSpec, Seen
from alerting.conditions import EXTERNAL
from alerting.episodes import Open
from alerting.happenings import NO_RULE, Happening, begun, summary_of, waits_from
from alerting.judging import Move, Standing, breaks, due_at, judge, matches
from alerting.metrics import EVALUATION_FAILURES
from alerting.models import EventState
from alerting.signals import Signal

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Case:
    """One rule and one label set: its values, in the order of their time."""

    key: str
    rule: RuleSpec
    mark: str
    signals: list[Signal] = field(default_factory=list)


class Batch:
    """`add` each value in the order of time, then `evaluate`, then `write`.

    All in one transaction, but for `is_plain`: what is written then is one statement.
    `careful`: each new event is written by itself, so that one that cannot be is left out alone.
    """

    def __init__(self, catalogue: Catalogue, now: datetime, *, careful: bool = False) -> None:
        self._catalogue, self._now, self._careful = catalogue, now, careful
        self._cases: dict[str, _Case] = {}
        self._keys_of: dict[int, list[str]] = defaultdict(list)
        self._open: dict[str, Open] = {}
        self._begun: list[Happening] = []
        self._firing: dict[str, tuple[RuleSpec, Signal]] = {}
        self._resolving: dict[str, Open] = {}
        self._expiries: dict[str, datetime] = {}
        self._standing: dict[str, UUID] = {}
        self.fired: list[Happening] = []
        self.resolved = 0
        self.made_deliveries = False
        #: Events by severity and what became of them.
        self.counted: Counter[tuple[int, str]] = Counter()

    def add(self, place: int, signal: Signal, mark: str, *, judge: bool) -> None:
        """A value; `judge` False for one that is older than what is known, which changes nothing."""
        for rule in self._rules_for(signal):
            key = keys.episode_key(rule.id or None, signal.metric, mark)
            case = self._cases.setdefault(key, _Case(key, rule, mark))
            self._keys_of[place].append(key)
            if judge:
                case.signals.append(signal)

    @property
    def keys(self) -> list[str]:
        """Of every episode that the values may be about."""
        return list(self._cases)

    def is_about(self, place: int, there: Container[str]) -> bool:
        """Whether this value is about one of these episodes, by key."""
        return any(key in there for key in self._keys_of[place])

    @property
    def is_plain(self) -> bool:
        """Whether all there is to write are new episodes, or all there is are prolonged ones."""
        if self._careful or self._firing or self._resolving or (self._begun and self._expiries):
            return False
        told_apart = any(event.named_by_sender or event.over or event.waits_from for event in self._begun)
        return not told_apart and not self._catalogue.silences

    def evaluate(self, opened: Mapping[str, Open]) -> None:
        """Decide what becomes of every episode; `opened`: those that are open."""
        self._open = dict(opened)
        self._standing = {key: found.event_id for key, found in self._open.items()}
        for case in self._cases.values():
            try:
                self._evaluate(case, self._open.get(case.key))
            except Exception:  # one bad rule never stops the others
                EVALUATION_FAILURES.inc()
                log.exception("alert_rule_set_aside", extra={"rule_id": case.rule.id})

    def write(self, seen: Seen) -> None:
        """Write all of it. Raises `django.db.Error`."""
        moved = self._locked()
        for event in moved:
            if event.key in self._firing:
                self._fire(event)
        self.fired += [event for event in self._begun if event.triggered_at is not None]
        waiting = [event for event in self._begun if event.triggered_at is None and not event.over]
        fires = firing.Firing(self._catalogue, self.fired, self._now, seen, waiting)
        # Whoever adds an episode waits for who adds, changes or deletes the same one, and nobody may wait for it then
        # but who adds as well, in the same order. So what is new comes before all that is changed; only what ends and
        # begins again in this batch comes last: its place is ours until the end.
        again = [event for event in self._begun if event.key in self._resolving]
        self._begin(fires, [event for event in self._begun if event.key not in self._resolving])
        for lost in fires.write_promoted([one for one in moved if one.key in self._firing], careful=self._careful):
            self.fired.remove(lost)
        episodes.prolong({key: at for key, at in self._expiries.items() if key not in self._resolving})
        self._resolve(moved)
        self._begin(fires, again)
        fires.count_silenced()
        self.made_deliveries = self.made_deliveries or fires.made > 0
        self._count()

    def events_of(self, place: int) -> tuple[UUID, ...]:
        """The open events that this value belongs to now."""
        return tuple(self._standing[key] for key in self._keys_of[place] if key in self._standing)

    def _rules_for(self, signal: Signal) -> Iterable[RuleSpec]:
        if signal.rule_id is not None:
            rule = self._catalogue.rules.get(signal.rule_id)
            return [rule] if rule else []
        found = [
            rule for rule in self._catalogue.by_metric.get(signal.metric, ()) if matches(rule.labels, signal.labels)
        ]
        # What comes from outside is kept also where nobody asked to be told of it.
        return [*found, NO_RULE] if signal.metric == EXTERNAL else found

    def _evaluate(self, case: _Case, found: Open | None) -> None:
        if case.rule is NO_RULE and found is None and self._is_ruled(case):
            return
        current: Open | Happening | None = found
        standing = Standing(found.started_at, found.firing) if found else None
        for signal in case.signals:
            if standing is not None and self._is_of_earlier(signal, standing):
                continue
            standing, moves = judge(
                standing, bad=self._is_bad(case, signal), at=signal.at, for_seconds=case.rule.for_seconds
            )
            for move in moves:
                current = self._move(move, case, current, signal)
            if isinstance(current, Open) and signal.expires_at is not None:
                self._expiries[case.key] = signal.expires_at

    def _is_of_earlier(self, signal: Signal, standing: Standing) -> bool:
        """Whether it tells the end of an alert from outside that was before this one: a copy that came late."""
        over = signal.metric == EXTERNAL and signal.value < 1
        return over and signal.at < standing.since <= self._now

    def _is_bad(self, case: _Case, signal: Signal) -> bool:
        if case.rule is NO_RULE and self._is_ruled(case):
            return False
        if signal.rule_id is not None:
            return signal.value >= 1
        return breaks(case.rule, signal.value)

    def _is_ruled(self, case: _Case) -> bool:
        """Whether a rule is about this alert from outside as well."""
        return any(matches(rule.labels, case.signals[0].labels) for rule in self._catalogue.by_metric.get(EXTERNAL, ()))

    def _move(
        self, move: Move, case: _Case, current: Open | Happening | None, signal: Signal
    ) -> Open | Happening | None:
        if move is Move.BEGIN:
            event = begun(case.rule, signal, case.key, case.mark)
            if case.rule.for_seconds:
                event.waits_from = waits_from(signal, self._now)
                event.due_at = due_at(event.waits_from or event.started_at, case.rule.for_seconds)
            self._begun.append(event)
            self._standing[case.key] = event.event_id
            return event
        if move is Move.FIRE:
            if isinstance(current, Happening):
                current.fire(signal.at, self._now, current.value)
                if signal is not case.signals[0]:
                    self._retell(current, case.rule, signal)
            else:
                self._firing[case.key] = (case.rule, signal)
            return current
        self._standing.pop(case.key, None)
        if isinstance(current, Happening):
            current.resolve(self._now)
        elif current is not None:
            self._resolving[case.key] = current
        return None

    def _locked(self) -> list[Happening]:
        """The episodes that move, locked in one order, as they are now: somebody may have moved them meanwhile.

        With them those to prolong. What is not there now is not looked for later: that would be out of order.
        """
        if not self._firing and not self._resolving and not (self._begun and self._expiries):
            return []  # what is only prolonged is locked by that
        wanted = {self._open[key].event_id for key in {*self._firing, *self._resolving}}
        found = episodes.read_happenings({*self._firing, *self._resolving, *self._expiries})
        self._expiries = {event.key: self._expiries[event.key] for event in found if event.key in self._expiries}
        return [event for event in found if event.event_id in wanted]

    def _fire(self, event: Happening) -> None:
        if event.firing:
            return
        rule, signal = self._firing[event.key]
        event.fire(signal.at, self._now, None if signal.rule_id is not None else signal.value)
        self._retell(event, rule, signal)
        self.fired.append(event)

    def _retell(self, event: Happening, rule: RuleSpec, signal: Signal) -> None:
        """An event that waited is told with the value that made it fire."""
        if signal.rule_id is None:
            event.value = signal.value if signal.shown_value is None else signal.shown_value
        event.summary = signal.summary or summary_of(rule, event.value, event.labels)

    def _begin(self, fires: firing.Firing, events: Sequence[Happening]) -> None:
        placed = fires.begin(events, self._write_new)
        late = [event.event_id for event in events if event.waits_from and event.event_id in placed]
        episodes.wait_from(self._now, late)
        lost = [event for event in events if event.event_id not in placed]
        if not lost:
            return
        # Somebody else began the same episode at the same time, and it is told.
        there = episodes.read_open(event.key for event in lost)
        for event in lost:
            if event in self.fired:
                self.fired.remove(event)
            self._standing.pop(event.key, None)
            if event.key in there:
                self._standing[event.key] = there[event.key].event_id

    def _write_new(self, events: Sequence[Happening], rows: Sequence[outbox.Row]) -> dict[UUID, int]:
        if not self._careful:
            return episodes.begin(events, rows)
        placed: dict[UUID, int] = {}
        for event in events:
            try:
                with transaction.atomic():
                    own = [row for row in rows if row["event_id"] == str(event.event_id)]
                    placed |= episodes.begin([event], own)
            except (DataError, IntegrityError):
                EVALUATION_FAILURES.inc()
                log.exception("alert_event_set_aside", extra={"rule_id": event.rule_id})
        return placed

    def _resolve(self, moved: Sequence[Happening]) -> None:
        over = [event for event in moved if event.key in self._resolving]
        done = episodes.resolve([(event.event_id, event.started_at) for event in over], self._now)
        self.resolved += len(done) + sum(event.over for event in self._begun)
        told = firing.tell_recovery(self._catalogue, done, self._now)
        self.made_deliveries = self.made_deliveries or told > 0
        self.counted.update((event.severity, EventState.RESOLVED.value) for event in done)

    def _count(self) -> None:
        for event in self._begun:
            self.counted[event.severity, EventState.PENDING.value] += event.triggered_at is None
            self.counted[event.severity, EventState.RESOLVED.value] += event.over
        for event in self.fired:
            self.counted[event.severity, EventState.FIRING.value] += 1
