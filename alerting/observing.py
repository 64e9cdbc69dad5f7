"""The one way in for every value: kept, evaluated, and what follows from it written, in one transaction (AL-2)."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import DataError, IntegrityError, OperationalError, transaction
from django.utils import timezone
from psycopg.errors import DeadlockDetected, SerializationFailure

from alerting import catalogue, episodes, nudging, series
from alerting.catalogue import Catalogue
from alerting.conditions import EXTERNAL
from alerting.evaluating import Batch
from alerting.metrics import EVALUATION_FAILURES, EVENTS, OBSERVATIONS
from alerting.models import Origin, Severity
from alerting.series import Name
from alerting.signals import Signal

log = logging.getLogger(__name__)

#: How often a batch is tried in all when it met another one, or found that its series must be added first.
TRIES = 5


@dataclass(frozen=True)
class Taken:
    """What came of a batch. `events`: per signal, the ids of the open events that it belongs to now."""

    events: tuple[tuple[UUID, ...], ...]
    fired: int
    resolved: int


class _Missing(Exception):
    """Series that must be there before they can be locked."""


def take(signals: Sequence[Signal], *, now: datetime | None = None) -> Taken:
    """Keep the values, evaluate them, write events and deliveries, commit, nudge.

    Alerts from outside are not kept as values: their events tell all there is. While the queue is full (AD-8) what
    fires is kept and told later; whoever may refuse it asks `pressure.has_room` first.
    Raises `InvalidInput` for too many series of a metric (nothing is kept), and `django.db.Error`.
    """
    if not signals:
        return Taken((), 0, 0)
    moment = now or timezone.now()
    marks = [signal.mark for signal in signals]
    careful = False
    aside: set[Name] = set()
    only_alerts = all(signal.metric == EXTERNAL for signal in signals)
    for tries_left in reversed(range(TRIES)):
        try:
            if only_alerts:
                return _take_alerts(signals, marks, moment, careful=careful)
            with transaction.atomic():
                return _take_values(signals, marks, moment, careful=careful, aside=aside)
        except _Missing:
            with transaction.atomic():
                aside |= _add_series(signals, marks)
        except (DataError, IntegrityError):
            if careful or not tries_left:
                raise
            careful = True  # once more, and only what cannot be written is left out
        except OperationalError as error:
            if not tries_left or not isinstance(error.__cause__, DeadlockDetected | SerializationFailure):
                raise
            log.warning("alert_batch_met_another")
    raise OperationalError("the series of a batch vanish as soon as they are added")


def take_known(signals: Sequence[Signal], *, now: datetime | None = None) -> int:
    """Of alerts from outside take only what is about open ones, or ends: that makes no new alert. How many were left.

    Raises `django.db.Error`.
    """
    moment = now or timezone.now()
    known = _known(signals, moment)
    take(known, now=moment)
    return len(signals) - len(known)


def begins_none(signals: Sequence[Signal]) -> bool:
    """Whether all of these alerts from outside are about open ones, or ends. Raises `django.db.Error`."""
    return len(_known(signals, timezone.now())) == len(signals)


def _known(signals: Sequence[Signal], now: datetime) -> list[Signal]:
    marks = [signal.mark for signal in signals]
    batch = _batch(catalogue.current(), signals, marks, range(len(signals)), now, careful=False)
    there = episodes.read_open(batch.keys)
    return [signal for place, signal in enumerate(signals) if signal.value < 1 or batch.is_about(place, there)]


def _take_alerts(signals: Sequence[Signal], marks: Sequence[str], now: datetime, *, careful: bool) -> Taken:
    """Alerts from outside: nothing is kept but what becomes of them. What is usual takes two round trips."""
    known = catalogue.remembered()
    order = range(len(signals))
    if known is not None:
        batch = _batch(known, signals, marks, order, now, careful=careful)
        seen = catalogue.look(now, batch.keys)
    else:
        seen = catalogue.look(now)
    if known is None or not catalogue.is_of(known, seen):
        batch = _batch(catalogue.of(seen), signals, marks, order, now, careful=careful)
        seen = catalogue.look(now, batch.keys)
    batch.evaluate(episodes.opened(seen.episodes))
    with contextlib.nullcontext() if batch.is_plain else transaction.atomic():
        batch.write(seen)
        _after_commit(batch, signals)
    return _answer(batch, signals)


def _take_values(
    signals: Sequence[Signal], marks: Sequence[str], now: datetime, *, careful: bool, aside: Set[Name]
) -> Taken:
    seen = catalogue.look(now)
    order = sorted(range(len(signals)), key=lambda place: signals[place].told)
    judged = _kept([(marks[place], signals[place]) for place in order], now, aside)
    batch = _batch(catalogue.of(seen), signals, marks, order, now, careful=careful, judged=judged)
    # Only now: with the locks of the series nobody else moves their episodes.
    batch.evaluate(episodes.read_open(batch.keys) if batch.keys else {})
    batch.write(seen)
    _after_commit(batch, signals)
    return _answer(batch, signals)


def _batch(
    known: Catalogue,
    signals: Sequence[Signal],
    marks: Sequence[str],
    order: Sequence[int],
    now: datetime,
    *,
    careful: bool,
    judged: Sequence[bool] | None = None,
) -> Batch:
    batch = Batch(known, now, careful=careful)
    for number, place in enumerate(order):
        batch.add(place, signals[place], marks[place], judge=judged is None or judged[number])
    return batch


def _answer(batch: Batch, signals: Sequence[Signal]) -> Taken:
    return Taken(
        events=tuple(batch.events_of(place) for place in range(len(signals))),
        fired=len(batch.fired),
        resolved=batch.resolved,
    )


def _kept(marked: Sequence[tuple[str, Signal]], now: datetime, aside: Set[Name]) -> list[bool]:
    """Whether each is to be judged. Keeps what is kept of them; `aside`: series that cannot be."""
    named = [((signal.metric, mark), signal) for mark, signal in marked if signal.metric != EXTERNAL]
    if not named:
        return [True] * len(marked)
    own = all(signal.origin == Origin.PORTAL for _, signal in named)
    able = [(name, signal) for name, signal in named if name not in aside]
    kept = _worth_keeping(able) if own else able
    known = series.read_series({name for name, _ in kept}, lock=True) if kept else {}
    if any(name not in known for name, _ in kept):
        raise _Missing
    # By the clock as it is now that the series are locked: another batch may have kept values since `now`.
    newer = series.keep(known, kept, max(now, timezone.now()))
    # Our own readings come from one tick at a time, in the order of time.
    answers = iter([True] * len(able) if own else newer)
    return [
        signal.metric == EXTERNAL or ((signal.metric, mark) not in aside and next(answers)) for mark, signal in marked
    ]


def _worth_keeping(named: Sequence[tuple[Name, Signal]]) -> list[tuple[Name, Signal]]:
    known = series.read_series({name for name, _ in named}, lock=False)
    return [(name, signal) for name, signal in named if series.worth_keeping(known.get(name), signal)]


def _add_series(signals: Sequence[Signal], marks: Sequence[str]) -> set[Name]:
    """Add those that are missing; the ones that PostgreSQL refuses are left out alone, and returned."""
    named = {
        (signal.metric, mark): signal.labels
        for signal, mark in zip(signals, marks, strict=True)
        if signal.metric != EXTERNAL
    }
    known = series.read_series(named, lock=False)
    missing = {name: labels for name, labels in named.items() if name not in known}
    try:
        with transaction.atomic():
            series.add_series(missing)
        return set()
    except (DataError, IntegrityError):
        return {name for name, labels in missing.items() if not _added_alone(name, labels)}


def _added_alone(name: Name, labels: Mapping[str, str]) -> bool:
    try:
        with transaction.atomic():
            series.add_series({name: labels})
    except (DataError, IntegrityError):
        EVALUATION_FAILURES.inc()
        log.exception("alert_series_set_aside", extra={"metric": name[0]})
        return False
    return True


def _after_commit(batch: Batch, signals: Sequence[Signal]) -> None:
    metrics = Counter(signal.metric for signal in signals)

    def tell() -> None:
        for metric, number in metrics.items():
            OBSERVATIONS.labels(metric).inc(number)
        for (severity, state), number in batch.counted.items():
            EVENTS.labels(Severity(severity).word, state).inc(number)
        if batch.made_deliveries:
            nudging.nudge()

    transaction.on_commit(tell)
