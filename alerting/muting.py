"""Whose messages are held back, and why: silences (AL-7), planned work (HM-11), a failing parent (HM-12), a full queue.

A trip of the breaker is never held back: it protects, it does not tell.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from datetime import datetime

from django.db import connection

from alerting.catalogue import Catalogue, SilenceSpec
from alerting.happenings import Happening
from alerting.judging import matches
from health.selectors import SHARED_SECONDS, health_grid

#: The label that names a service of the health monitor.
SERVICE = "service"
#: What may be caused by another service's failure.
CAUSED = frozenset({"service_down", "service_degraded"})
#: What `muted_by` begins with.
BY_SILENCE, BY_MAINTENANCE, BY_CAUSE = "silence:", "maintenance:", "cause:"
#: So many deliveries wait that no more are made; the messages follow when there is room (AD-8).
BY_FULL_QUEUE = "queue:full"

_PLANNED = """
SELECT DISTINCT ON (s.name) s.name, m.id
FROM health_maintenance m
JOIN health_maintenance_services ms ON ms.maintenance_id = m.id
JOIN health_service s ON s.id = ms.service_id
WHERE s.name = ANY(%s) AND m.starts_at <= %s AND m.ends_at > %s
ORDER BY s.name, m.ends_at DESC, m.id
"""
# Open alerts about these services: which rule's, whether people know of it or will as soon as there is room or planned
# work ends, and when it fires if it waits still.
_OPEN = """
SELECT e.labels ->> 'service', e.rule_id, e.labels::text, CASE WHEN NOT p.firing THEN p.due_at END,
    p.firing AND (e.notified_at IS NOT NULL OR e.state = 'acknowledged' OR e.muted_by LIKE %s OR e.muted_by = %s)
FROM alerting_episode p JOIN alerting_event e ON e.id = p.event_id AND e.started_at = p.event_started_at
WHERE e.metric = ANY(%s) AND e.labels ->> 'service' = ANY(%s)
"""


def decide(
    catalogue: Catalogue,
    events: Sequence[Happening],
    now: datetime,
    *,
    full: bool,
    planned: bool,
    waiting: Sequence[Happening] = (),
) -> list[str]:
    """Why each of these events is told to nobody now, in the form of `Event.muted_by`; empty for those that are told.

    `full`: the queue is; `planned`: work goes on, on some service; `waiting`: events that begin in this transaction and
    fire later. The first reason counts, in the order of this module's title. Raises `django.db.Error`.
    """
    reasons = [_silenced(catalogue.silences, event.rule_id, event.labels, now) for event in events]
    named = {event.labels[SERVICE] for event, why in zip(events, reasons, strict=True) if not why and _names(event)}
    windows = _windows(named, now) if named and planned else {}
    causes = _causes(events) if named else {}
    for place, event in enumerate(events):
        service = event.labels.get(SERVICE, "")
        if not reasons[place] and service in windows:
            reasons[place] = f"{BY_MAINTENANCE}{windows[service]}"
    roots = {causes[name] for name in named if name in causes}
    told = _known_of(catalogue, roots, (*events, *waiting), now, planned=planned) if roots else set()
    for place, event in enumerate(events):
        cause = causes.get(event.labels.get(SERVICE, ""), "")
        if not reasons[place] and event.metric in CAUSED and cause in told:
            reasons[place] = f"{BY_CAUSE}{cause}"
        if not reasons[place] and full:
            reasons[place] = BY_FULL_QUEUE
    return reasons


def silence_fits(silence: SilenceSpec, rule_id: int | None, labels: Mapping[str, str]) -> bool:
    """Whether the silence is about an event of this rule with these labels, whenever it runs."""
    if silence.rule_id is not None and silence.rule_id != rule_id:
        return False
    if silence.service and labels.get(SERVICE) != silence.service:
        return False
    return matches(silence.labels, labels)


def trace(muted_by: str, until: datetime) -> dict[str, str]:
    """What an event's annotations keep of a silence that holds it back no more, so that it is listed still (AL-7)."""
    name = held_back_name(muted_by)
    return {name: f"until {until:%Y-%m-%d %H:%M} UTC"} if name else {}


def held_back_name(muted_by: str) -> str:
    """The name of the annotation that says so; empty for what no silence holds back."""
    return f"held back by silence {muted_by.removeprefix(BY_SILENCE)}" if muted_by.startswith(BY_SILENCE) else ""


def count_suppressed(reasons: Iterable[str]) -> None:
    """Count events whose messages a silence begins to hold back. The last step of a transaction: the rows are shared.

    Raises `django.db.Error`.
    """
    counted = Counter(int(why.removeprefix(BY_SILENCE)) for why in reasons if why.startswith(BY_SILENCE))
    with connection.cursor() as cursor:
        for silence_id, number in sorted(counted.items()):
            cursor.execute(
                "UPDATE alerting_silence SET suppressed = suppressed + %s WHERE id = %s", [number, silence_id]
            )


def _silenced(silences: Iterable[SilenceSpec], rule_id: int | None, labels: Mapping[str, str], now: datetime) -> str:
    for silence in silences:
        if silence.starts_at <= now < silence.ends_at and silence_fits(silence, rule_id, labels):
            return f"{BY_SILENCE}{silence.id}"
    return ""


def _names(event: Happening) -> bool:
    return bool(event.labels.get(SERVICE))


def _windows(names: Iterable[str], now: datetime) -> dict[str, int]:
    """Service to the planned work that is going on; of several the one that ends last."""
    with connection.cursor() as cursor:
        cursor.execute(_PLANNED, [list(names), now, now])
        return dict(cursor.fetchall())


def _known_of(
    catalogue: Catalogue, roots: Set[str], events: Iterable[Happening], now: datetime, *, planned: bool
) -> set[str]:
    """Those of these services whose trouble people know of, or will. Whoever plans work on one knows of it, whatever
    any rule tells."""
    told = _told_of(catalogue, roots, now) | _about_to_be_told(catalogue, roots, events, now)
    return told | _windows(roots, now).keys() if planned else told


def _told_of(catalogue: Catalogue, roots: Iterable[str], now: datetime) -> set[str]:
    """Those of these services whose own alert people know of, or will when its time has come."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [f"{BY_MAINTENANCE}%", BY_FULL_QUEUE, list(CAUSED), list(roots)])
        return {
            service
            for service, rule_id, labels, due_at, known in cursor.fetchall()
            if known or (due_at and _will_be_told(catalogue, rule_id, json.loads(labels), max(due_at, now)))
        }


def _about_to_be_told(
    catalogue: Catalogue,
    roots: Container[str],
    events: Iterable[Happening],
    now: datetime,
) -> set[str]:
    """The same of what this transaction writes."""
    return {
        event.labels[SERVICE]
        for event, at in ((one, now if one.firing else max(one.due_at or now, now)) for one in events)
        if event.metric in CAUSED
        and event.labels.get(SERVICE) in roots
        and _will_be_told(catalogue, event.rule_id, event.labels, at)
    }


def _will_be_told(catalogue: Catalogue, rule_id: int | None, labels: Mapping[str, str], at: datetime) -> bool:
    """Whether somebody hears of an alert of this rule that fires then: it has a channel, and no silence runs."""
    rule = catalogue.rules.get(rule_id or 0)
    reaches = rule is not None and any(catalogue.targets.get(channel_id) for channel_id in rule.channel_ids)
    return reaches and not _silenced(catalogue.silences, rule_id, labels, at)


def _causes(events: Sequence[Happening]) -> dict[str, str]:
    """Service to the one at the root of its trouble, as the health pages show it."""
    if not any(event.metric in CAUSED for event in events):
        return {}
    return {cell.name: cell.caused_by for cell in health_grid(SHARED_SECONDS).cells if cell.caused_by}
