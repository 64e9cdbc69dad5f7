"""What time alone brings to open episodes: they fire, expire, are told after all, or lose what they were about."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import DataError, IntegrityError, connection, transaction

from alerting import catalogue, episodes, keys, muting, nudging, outbox
from alerting.firing import NOT_SENT, Firing, note_repeats, tell_recovery
from alerting.happenings import Happening
from alerting.metrics import EVALUATION_FAILURES, EVENTS
from alerting.models import EventState, Origin, Severity
from alerting.pressure import has_room
from alerting.wording import LAPSED, NOT_TOLD_AGAIN, NOT_WATCHED, RULE_CHANGED, RULE_DELETED, RULE_DISABLED

log = logging.getLogger(__name__)

Item = TypeVar("Item")
#: An event by id and start, and who or what resolves it.
Ending = tuple[UUID, datetime, str]
#: Episodes in one transaction.
CHUNK = 500

_DUE = "SELECT key FROM alerting_episode WHERE NOT firing AND due_at <= %s ORDER BY key"
_EXPIRED = "SELECT event_id, event_started_at FROM alerting_episode WHERE expires_at <= %s ORDER BY key"
_MUTED = "SELECT key FROM alerting_episode WHERE muted ORDER BY key"
# Firing, and held back by nothing, but their rule had no channel that could be used.
_UNHEARD = """
SELECT p.key FROM alerting_episode p JOIN alerting_event e ON e.id = p.event_id AND e.started_at = p.event_started_at
WHERE p.firing AND NOT p.muted AND p.rule_id = ANY(%s) AND e.state = 'firing' AND e.notified_at IS NULL
    AND NOT jsonb_exists(e.annotations, %s)
ORDER BY p.key
"""
_RULES_GONE = f"""
SELECT p.event_id, p.event_started_at,
    CASE WHEN r.id IS NULL THEN '{RULE_DELETED}' WHEN NOT r.enabled THEN '{RULE_DISABLED}' ELSE '{RULE_CHANGED}' END
FROM alerting_episode p
LEFT JOIN alerting_event e ON e.id = p.event_id AND e.started_at = p.event_started_at
LEFT JOIN alerting_rule r ON r.id = p.rule_id
WHERE e.id IS NULL OR p.rule_id IS NOT NULL AND (
    r.id IS NULL OR NOT r.enabled OR r.metric <> e.metric OR r.comparison <> e.comparison
    OR r.threshold <> e.threshold OR NOT e.labels @> r.labels)
ORDER BY p.key
"""  # noqa: S608  (constants of this module)
# Pending ones wait as long as their rule says now. All are locked before the first is changed, as everywhere.
_WAIT_ANEW = """
WITH locked AS MATERIALIZED (
    SELECT p.key, coalesce(p.waits_from, p.event_started_at) + make_interval(secs => r.for_seconds) AS due_at
    FROM alerting_episode p JOIN alerting_rule r ON r.id = p.rule_id
    WHERE NOT p.firing
        AND p.due_at <> coalesce(p.waits_from, p.event_started_at) + make_interval(secs => r.for_seconds)
    ORDER BY p.key FOR UPDATE OF p
), them AS MATERIALIZED (
    SELECT array_agg(key) AS keys, array_agg(due_at) AS times FROM locked
)
UPDATE alerting_episode p SET due_at = l.due_at FROM them, unnest(them.keys, them.times) AS l (key, due_at)
WHERE p.key = l.key
"""
_OWN = """
SELECT p.event_id, p.event_started_at, e.metric, e.fingerprint
FROM alerting_episode p JOIN alerting_event e ON e.id = p.event_id AND e.started_at = p.event_started_at
WHERE e.origin = %s AND e.metric = ANY(%s) ORDER BY p.key
"""


def promote(now: datetime) -> int:
    """Pending episodes whose time has come fire, for their newest value is still bad; how many did.

    One that cannot be written is left out alone.
    """
    fired = 0
    for chunk in _chunks([row[0] for row in _rows(_DUE, [now])]):
        try:
            fired += _promote(chunk, now)
        except (DataError, IntegrityError):
            fired += sum(_promote_alone(key, now) for key in chunk)
    return fired


def _promote_alone(key: str, now: datetime) -> int:
    try:
        return _promote([key], now)
    except (DataError, IntegrityError):
        EVALUATION_FAILURES.inc()
        log.exception("alert_event_set_aside", extra={"episode": key})
        return 0


def _promote(keys: Sequence[str], now: datetime) -> int:
    with transaction.atomic():
        seen = catalogue.look(now)
        known = catalogue.of(seen)
        events = [
            event
            for event in episodes.read_happenings(keys)
            if not event.firing and event.due_at is not None and event.due_at <= now and _ruled(known, event)
        ]
        for event in events:
            assert event.due_at is not None
            event.fire(event.due_at, now, event.value)
        fires = Firing(known, events, now, seen)
        fires.write_promoted(events)
        fires.count_silenced()
        _after_commit([event.severity for event in events], EventState.FIRING, nudge=fires.made > 0)
        return len(events)


def expire(now: datetime) -> int:
    """Alerts that were not told again resolve; how many did."""
    expired: list[Ending] = [(row[0], row[1], NOT_TOLD_AGAIN) for row in _rows(_EXPIRED, [now])]
    return _resolve(expired, now, still="expires_at <= %(now)s")


def tell_muted(now: datetime) -> int:
    """Events whose reason to be held back has ended, and that still fire, are told; how many are."""
    told = 0
    for chunk in _chunks([row[0] for row in _rows(_MUTED, [])]):
        room = has_room()
        # Every second, so without locks first: of most nothing changes.
        changed = [event.key for event, why in _judged(chunk, now, room=room)[1] if why != event.muted_by]
        if changed:
            with transaction.atomic():
                known, judged = _judged(changed, now, room=room, lock=True)
                told += _tell(known, [(event, why) for event, why in judged if why != event.muted_by], now)
    return told


def tell_unheard(now: datetime) -> int:
    """Events that nobody was told of because their rule had no channel, and that still fire, are told over the
    channels that it has now; how many are. A trip is not made up for: a rule that was armed counts from the next on."""
    known = catalogue.current()
    heard = [rule.id for rule in known.rules.values() if any(map(known.targets.get, rule.channel_ids))]
    told = 0
    for chunk in _chunks([row[0] for row in _rows(_UNHEARD, [heard, NOT_SENT])]):
        room = has_room()
        with transaction.atomic():
            known, judged = _judged(chunk, now, room=room, lock=True)
            wanted = [(event, why) for event, why in judged if event.state == EventState.FIRING and not event.muted]
            told += _tell(known, wanted, now)
    return told


def drop_changed(now: datetime) -> int:
    """Episodes of rules that were deleted, switched off or changed to be about something else resolve; how many did.

    Where only `for` was changed, what is pending waits as long as it says now.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAIT_ANEW)
    return _resolve([(row[0], row[1], row[2]) for row in _rows(_RULES_GONE, [])], now)


def drop_unwatched(
    subjects: Mapping[str, Sequence[Mapping[str, str]]],
    now: datetime,
    lapsed: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
) -> int:
    """The portal's own alerts about what is not there any more resolve; how many did.

    `subjects`: by metric the label sets that there are. `lapsed`: those of which it is known that nothing was mended;
    nobody is told of a recovery that was none.
    """
    watched = {metric: {keys.fingerprint(labels) for labels in found} for metric, found in subjects.items()}
    ended = {(metric, keys.fingerprint(labels)) for metric, found in (lapsed or {}).items() for labels in found}
    gone = [
        (event_id, started_at, LAPSED if (metric, mark) in ended else NOT_WATCHED)
        for event_id, started_at, metric, mark in _rows(_OWN, [Origin.PORTAL, list(watched)])
        if mark not in watched[metric]
    ]
    return _resolve(gone, now)


def _judged(
    keys: Sequence[str], now: datetime, *, room: bool, lock: bool = False
) -> tuple[catalogue.Catalogue, list[tuple[Happening, str]]]:
    """The catalogue, and of these episodes those that fire, each with why it is told to nobody now."""
    seen = catalogue.look(now)
    known = catalogue.of(seen)
    events = [event for event in episodes.read_happenings(keys, lock=lock) if event.firing]
    reasons = muting.decide(known, events, now, full=not room, planned=seen.planned)
    return known, list(zip(events, reasons, strict=True))


def _tell(known: catalogue.Catalogue, judged: list[tuple[Happening, str]], now: datetime) -> int:
    rows, told = [], []
    for event, why in judged:
        if not why and event.state == EventState.FIRING and _ruled(known, event):
            messages = outbox.message_rows(known, known.rules[event.rule_id or 0], event, now)
            event.notified_at = now if messages else None
            rows += messages
            told.append(event)
    _write_muted(judged, now)
    for event, why in judged:
        event.muted_by = why
    made = outbox.insert(rows)
    outbox.count_dropped(known, told)
    repeats = note_repeats([event for event, why in judged if not why], rows, made)
    muting.count_suppressed(why for _, why in judged)
    if made:
        transaction.on_commit(nudging.nudge)
    return sum(not why for _, why in judged) - repeats


def _write_muted(judged: Sequence[tuple[Happening, str]], now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE alerting_episode SET muted = %s WHERE key = %s", [(bool(why), event.key) for event, why in judged]
        )
        # Somebody who acknowledged an event knows of it: nothing is sent, and why not stays to be read.
        cursor.executemany(
            "UPDATE alerting_event SET muted_by = %s, notified_at = %s, annotations = annotations || %s::jsonb "
            "WHERE id = %s AND started_at = %s",
            [_muting_row(event, why, now) for event, why in judged],
        )


def _muting_row(event: Happening, why: str, now: datetime) -> tuple[Any, ...]:
    stays = not why and event.state != EventState.FIRING
    past = {} if stays else muting.trace(event.muted_by, now)
    return event.muted_by if stays else why, event.notified_at, json.dumps(past), event.event_id, event.started_at


def _resolve(found: Sequence[Ending], now: datetime, *, still: str = "true") -> int:
    """Resolve events, each with who or what did it, and tell those who were told. `still`: what must hold of the row
    now that it is locked."""
    resolved = 0
    for chunk in _chunks(found):
        with transaction.atomic():
            known = catalogue.current()
            wanted = _still(chunk, still, now)
            by_reason: dict[str, list[tuple[UUID, datetime]]] = defaultdict(list)
            for event_id, started_at, why in wanted:
                by_reason[why].append((event_id, started_at))
            done = [one for why, events in by_reason.items() for one in episodes.resolve(events, now, by=why)]
            lapsed = {event_id for event_id, _ in by_reason.get(LAPSED, ())}
            told = tell_recovery(known, [one for one in done if one.event_id not in lapsed], now)
            _after_commit([one.severity for one in done], EventState.RESOLVED, nudge=told > 0)
            resolved += len(done)
    return resolved


def _still(chunk: Sequence[Ending], condition: str, now: datetime) -> Sequence[Ending]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT event_id FROM alerting_episode WHERE event_id = ANY(%(ids)s) AND {condition} "  # noqa: S608
            "ORDER BY key FOR UPDATE",
            {"ids": [event[0] for event in chunk], "now": now},
        )
        locked = {row[0] for row in cursor.fetchall()}
    return [event for event in chunk if event[0] in locked]


def _ruled(known: catalogue.Catalogue, event: Happening) -> bool:
    return event.rule_id in known.rules


def _rows(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for first in range(0, len(items), CHUNK):
        yield items[first : first + CHUNK]


def _after_commit(severities: Iterable[int], state: EventState, *, nudge: bool) -> None:
    counts = Counter(severities)
    transaction.on_commit(lambda: _count(counts, state, nudge=nudge))


def _count(counts: Counter[int], state: EventState, *, nudge: bool) -> None:
    for severity, number in counts.items():
        EVENTS.labels(Severity(severity).word, state.value).inc(number)
    if nudge:
        nudging.nudge()
