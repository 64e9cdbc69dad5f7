"""What the portal reads of itself and of the platform, as values that rules are evaluated on (AL-2)."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import redis
from django.conf import settings
from django.db import connection

from alerting.metrics import EVALUATION_FAILURES
from alerting.models import Origin
from alerting.signals import Signal
from apikeys.models import ApiKey
from circuit.models import State
from circuit.selectors import read_breaker
from health.models import Status
from health.queues import read_queues
from health.selectors import SHARED_SECONDS, Cell, Grid, health_grid
from opsportal.observability.redis_client import redis_client

log = logging.getLogger(__name__)

#: The queue of our own deliveries, as the rule on depths names it.
DELIVERIES = "alert deliveries"
#: A sweep that reports every second and has not for so long stands still.
SWEEP_STANDS = timedelta(seconds=15)
#: Keys that end within this time have a value; one that has ended keeps it for a day, for who looks in the morning.
KEYS_AHEAD, KEYS_BEHIND = timedelta(days=30), timedelta(days=1)
#: So long it is known why there is none any more: the portal may have been away when the day was over.
KEYS_LAPSED = timedelta(days=90)
#: An answer of PostgreSQL to nothing at all takes a millisecond.
LATE_SECONDS = 1.0
#: What PostgreSQL keeps in no text: NUL, and half of a character.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_DOWN = frozenset({Status.UNHEALTHY, Status.VIOLATION, Status.UNREACHABLE})
_UP = frozenset({Status.HEALTHY, Status.DEGRADED})


@dataclass
class Readings:
    """Values of one moment.

    `subjects`: of each metric that could be read whole, the label sets that exist now; an alert about anything else is
    over, for what it was about is watched no more. `lapsed`: those of what exists no more that were never mended.
    """

    signals: list[Signal] = field(default_factory=list)
    subjects: dict[str, list[Mapping[str, str]]] = field(default_factory=dict)
    lapsed: dict[str, list[Mapping[str, str]]] = field(default_factory=dict)


def read(now: datetime) -> Readings:
    """All of them. What fails is left out: its alerts stay as they were."""
    found = Readings()
    readers: list[tuple[bool, Callable[[datetime], Readings]]] = [
        (settings.FEATURES["health"], _services),
        (settings.FEATURES["health"], _queues),
        (settings.FEATURES["circuit"], _breaker),
        (settings.FEATURES["apikeys"], _keys),
        (True, _redis),
        (True, _postgresql),
        (True, _deliveries),
    ]
    for wanted, reader in readers:
        if not wanted:
            continue
        try:
            part = reader(now)
        except Exception:  # one reading that fails never stops the others
            EVALUATION_FAILURES.inc()
            log.exception("alert_reading_failed", extra={"reading": reader.__name__})
            continue
        found.signals += part.signals
        for metric, labels in part.subjects.items():
            found.subjects.setdefault(metric, []).extend(map(_storable, labels))
        found.lapsed |= part.lapsed
    return found


def _signal(
    metric: str, value: float, now: datetime, labels: Mapping[str, str], summary: str = "", **texts: str
) -> Signal:
    return Signal(
        metric, _storable(labels), float(value), now, Origin.PORTAL, summary=_UNSTORABLE.sub("\ufffd", summary)[:300],
        annotations=_storable({name: text for name, text in texts.items() if text}),
    )  # fmt: skip


def _storable(texts: Mapping[str, str]) -> dict[str, str]:
    """Names of streams and groups, and what services and the platform say, may hold anything."""
    return {name: _UNSTORABLE.sub("\ufffd", text) for name, text in texts.items()}


def _services(now: datetime) -> Readings:
    grid = health_grid(SHARED_SECONDS)
    if grid.source == "none":
        return Readings()
    labels: list[Mapping[str, str]] = [{"service": cell.name} for cell in grid.cells]
    found = Readings(subjects={"service_down": labels, "service_degraded": labels})
    for cell in grid.cells:
        found.signals += _service(cell, now)
    found.signals += _sweep(grid, now)
    return found


def _service(cell: Cell, now: datetime) -> Iterable[Signal]:
    """Nothing while flap control waits, nor of what is unknown or stale: the alerts stay as they are."""
    if cell.unconfirmed or cell.status not in _DOWN | _UP:
        return
    summary = f"{cell.name}: {cell.label}" + (f". {cell.sentence}" if cell.sentence else "")
    texts = {"status": cell.status.word, "runbook_url": cell.runbook_url, "owner": cell.owner}
    labels = {"service": cell.name}
    yield _signal("service_down", cell.status in _DOWN, now, labels, summary, **texts)
    if cell.status in _UP:  # what is down has not stopped being degraded
        yield _signal("service_degraded", cell.status == Status.DEGRADED, now, labels, summary, **texts)


def _sweep(grid: Grid, now: datetime) -> Iterable[Signal]:
    age = None if grid.swept_at is None else grid.read_at - grid.swept_at
    # Without services there is nothing to check.
    stands = bool(grid.cells) and (age is None or age > SWEEP_STANDS)
    said = "has not reported yet" if age is None else f"last reported {age.total_seconds():.0f} s ago"
    summary = f"The health sweep {said}: nobody checks the services. Is the health worker running?"
    yield _signal("component_down", stands, now, {"component": "health sweep"}, summary if stands else "")


def _queues(now: datetime) -> Readings:
    queues = read_queues()
    if not queues.available:
        return Readings()
    depths = [
        ({"queue": stream.name, "group": group.name}, (group.lag or 0) + group.pending)
        for stream in queues.streams
        for group in stream.groups
    ]
    depths += [({"queue": queue.name}, queue.length) for queue in queues.celery]
    return Readings(
        [_signal("queue_depth", depth, now, labels) for labels, depth in depths],
        {"queue_depth": [*(labels for labels, _ in depths), {"queue": DELIVERIES}]},
    )


def _breaker(now: datetime) -> Readings:
    reading = read_breaker(max_age=0.25)
    if reading.stale:
        if not _redis_answers():
            return Readings()  # which has an alert of its own
        reading = read_breaker()  # it may have come back just now
    if reading.stale:
        unread = "Circuit breaker: the state cannot be read although Redis answers, which counts as halted"
        return Readings([_signal("circuit_tripped", 1, now, {}, unread, state=State.UNKNOWN.value)])
    state = reading.state
    summary = f"Circuit breaker {state.value}" + (f": {reading.decoded.reason}" if reading.decoded.reason else "")
    if state == State.UNKNOWN:
        summary = "Circuit breaker: the state is unknown, which counts as halted"
    value = state in (State.TRIPPED, State.UNKNOWN)
    return Readings([_signal("circuit_tripped", value, now, {}, summary, state=state.value)])


def _redis(now: datetime) -> Readings:
    down = not _redis_answers()
    summary = "Redis does not answer in time: breaker, cache and queues stand still"
    return Readings([_signal("component_down", down, now, {"component": "redis"}, summary if down else "")])


def _redis_answers() -> bool:
    try:
        redis_client().ping()
    except (redis.RedisError, OSError):
        return False
    return True


def _postgresql(now: datetime) -> Readings:
    """Late, at most: while it is away, nothing is evaluated."""
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    late = time.monotonic() - started > LATE_SECONDS
    summary = "PostgreSQL answers late: pages, alerts and deliveries are slow"
    return Readings([_signal("component_down", late, now, {"component": "postgresql"}, summary if late else "")])


def _deliveries(now: datetime) -> Readings:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM alerting_delivery WHERE status IN ('pending', 'failed')), "
            "(SELECT count(*) FROM alerting_delivery WHERE status = 'poison' AND settled_at IS NULL)"
        )
        waiting, poisoned = cursor.fetchone()
    return Readings(
        [
            _signal("queue_depth", waiting, now, {"queue": DELIVERIES}),
            _signal("poison_queue", poisoned, now, {}),
        ]
    )


def _keys(now: datetime) -> Readings:
    """Keys in use that end: not revoked, and not replaced by a new one."""
    rows = ApiKey.objects.filter(
        revoked_at__isnull=True,
        pending_since__isnull=True,
        expires_at__gt=now - KEYS_LAPSED,
        expires_at__lte=now + KEYS_AHEAD,
    ).values_list("prefix", "name", "expires_at", "owner__username")
    found = Readings(subjects={"api_key_expiry": []}, lapsed={"api_key_expiry": []})
    for prefix, name, expires_at, owner in rows:
        assert expires_at is not None
        if expires_at <= now - KEYS_BEHIND:
            found.lapsed["api_key_expiry"].append({"prefix": prefix})
            continue
        left = expires_at - now
        # An alert keeps the line that it began with: one that stays true.
        until = f"{expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        summary = f"The API key {prefix} ({name}) of {owner} is valid until {until}, then it is refused. Rotate it"
        # To a quarter of an hour: a value that changes with each reading would be kept with each.
        value = round(max(0.0, left / timedelta(days=1)), 2)
        found.signals.append(_signal("api_key_expiry", value, now, {"prefix": prefix}, summary, owner=owner))
        found.subjects["api_key_expiry"].append({"prefix": prefix})
    return found
