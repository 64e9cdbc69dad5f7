"""Reads of the services' health for pages, API and metrics. Nothing here changes anything."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import Error

from health import archive, store
from health.catalogue import Catalogue, Known, Window, load_catalogue
from health.judging import Seen, root_causes, shown_status
from health.models import Status
from health.store import Record, Stamped

#: One process reads Redis at most this often for pages, however many are watching.
SHARED_SECONDS = 1.0
#: The sweeper tells of itself every second; this long without a word means that it is gone.
SWEEP_SILENT_SECONDS = 5.0
#: Worst first: what an operator must see.
ORDER = (
    Status.UNREACHABLE,
    Status.UNHEALTHY,
    Status.VIOLATION,
    Status.STALE,
    Status.UNKNOWN,
    Status.DEGRADED,
    Status.HEALTHY,
)
_RANK = {status: rank for rank, status in enumerate(ORDER)}
REDIS_AWAY = (
    "Redis does not answer. What is shown comes from the records in PostgreSQL, which the sweep writes every second."
)
ALL_AWAY = "Neither Redis nor PostgreSQL answers. What is shown is what this page knew before; nothing here is current."


@dataclass(frozen=True, slots=True)
class Cell:
    """One service as it is shown. Times are UTC; `latency_us` is that of the last reply."""

    service_id: int
    name: str
    owner: str
    runbook_url: str
    interval: float
    timeout: float
    url: str
    status: Status
    reply_status: Status
    since: datetime | None
    replied_at: datetime | None
    probed_at: datetime | None
    latency_us: int | None
    unconfirmed: str
    cause: str
    field: str
    sentence: str
    version: str
    last_operation_at: datetime | None
    last_operation: str
    caused_by: str
    maintenance: str
    maintenance_until: datetime | None

    @property
    def tone(self) -> str:
        """Its family of colours."""
        return self.status.tone

    @property
    def icon(self) -> str:
        """Its shape."""
        return self.status.icon

    @property
    def label(self) -> str:
        """Its status in words."""
        return str(self.status.label)

    @property
    def is_trouble(self) -> bool:
        """Whether somebody should look: not healthy, and not planned."""
        return self.status != Status.HEALTHY and not self.maintenance


@dataclass(frozen=True, slots=True)
class Grid:
    """Every enabled service, worst first, in one reading. `source`: where it came from (redis, postgresql, none)."""

    cells: tuple[Cell, ...]
    counts: tuple[tuple[Status, int], ...]
    read_at: datetime
    source: str
    notices: tuple[str, ...]
    swept_at: datetime | None
    etag: str
    taken: float

    def age(self) -> float:
        """Seconds since the values were read."""
        return max(0.0, time.monotonic() - self.taken)


class _Shared:
    """The newest grid of this process, shared by its threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.grid: Grid | None = None
        self.taken = float("-inf")


_shared = _Shared()


def forget_grid() -> None:
    """Drop what this process remembers; for tests."""
    _shared.forget()


def health_grid(max_age: float = 0.0) -> Grid:
    """Every service as it is now, or as it was last known; never raises for Redis or PostgreSQL.

    `max_age` in seconds lets a reading of this process serve again.
    """
    if max_age and _shared.grid and time.monotonic() - _shared.taken < max_age:
        return _shared.grid
    with _shared.lock:
        if max_age and _shared.grid and time.monotonic() - _shared.taken < max_age:
            return _shared.grid
        _shared.grid = _take(_shared.grid)
        _shared.taken = time.monotonic()
        return _shared.grid


def service_cell(name: str, max_age: float = 0.0) -> Cell | None:
    """One service as in the grid; None if none of this name is enabled."""
    return next((cell for cell in health_grid(max_age).cells if cell.name == name), None)


def _take(last: Grid | None) -> Grid:
    try:
        return _from_redis()
    except store.HealthUnreachable:
        pass
    try:
        return _from_postgresql()
    except Error:
        return _last_known(last)


def _from_redis() -> Grid:
    snapshot = store.read_snapshot()
    catalogue = snapshot.catalogue or _registry_without_copy()
    now = datetime.fromtimestamp(snapshot.now_ms / 1000, UTC)
    swept_at = None
    notices = []
    if snapshot.sweeper_age_ms is not None:
        swept_at = now - timedelta(milliseconds=snapshot.sweeper_age_ms)
    if catalogue.services:
        notices = list(_about_the_sweep(snapshot.sweeper, snapshot.sweeper_age_ms))
    return _grid(catalogue, snapshot.records, now, source="redis", notices=notices, swept_at=swept_at)


def _registry_without_copy() -> Catalogue:
    """Redis has no copy yet, or lost it: PostgreSQL's, if that answers."""
    try:
        return load_catalogue()
    except Error:
        return Catalogue()


def _about_the_sweep(about: Mapping[str, Any], age_ms: int | None) -> Iterable[str]:
    if age_ms is None:
        yield "No sweep has reported yet. The health worker must be running: `celery -A opsportal worker -Q health`."
    elif not -SWEEP_SILENT_SECONDS * 1000 < age_ms < SWEEP_SILENT_SECONDS * 1000:
        yield (
            f"The sweep has not reported for {max(0, age_ms) // 1000} s, so nothing here is newer than that. "
            "The health worker must be running: `celery -A opsportal worker -Q health`."
        )
    if about.get("waiting"):
        yield f"PostgreSQL does not take the samples; {about['waiting']} wait for it and are kept."
    if about.get("dropped"):
        yield f"{about['dropped']} samples were lost: PostgreSQL was away for longer than they could be kept."


def _from_postgresql() -> Grid:
    now, records = archive.read_records()
    catalogue = load_catalogue(now)
    newest = min((stamped.record.probe_age or 0 for stamped in records.values()), default=None)
    swept_at = now - timedelta(milliseconds=newest) if newest is not None else None
    return _grid(catalogue, records, now, source="postgresql", notices=[REDIS_AWAY], swept_at=swept_at)


def _last_known(last: Grid | None) -> Grid:
    now = datetime.now(UTC)
    if last is None:
        return Grid((), (), now, "none", (ALL_AWAY,), None, "none", time.monotonic())
    gone = timedelta(seconds=time.monotonic() - last.taken)
    cells = tuple(
        replace(cell, status=Status.STALE)
        if cell.replied_at is None or last.read_at + gone - cell.replied_at > timedelta(seconds=2 * cell.interval)
        else cell
        for cell in last.cells
    )
    # `read_at` and `taken` stay those of the reading: its age is what the page shows.
    etag = hashlib.blake2s(repr([cell.status for cell in cells]).encode()).hexdigest()[:20]
    return replace(last, cells=cells, counts=_counts(cells), source="none", notices=(ALL_AWAY,), etag=f"none-{etag}")


def _grid(
    catalogue: Catalogue,
    records: Mapping[int, Stamped],
    now: datetime,
    *,
    source: str,
    notices: list[str],
    swept_at: datetime | None,
) -> Grid:
    seen = {known.id: records.get(known.id, Stamped(Record(), 0)) for known in catalogue.services}
    statuses = {known.id: _shown(known, seen[known.id]) for known in catalogue.services}
    causes = root_causes(
        {known.id: _suspected(statuses[known.id], seen[known.id].record) for known in catalogue.services},
        catalogue.parents,
    )
    planned = catalogue.planned(now)
    cells = tuple(
        sorted(
            (
                _cell(
                    known,
                    seen[known.id],
                    statuses[known.id],
                    now,
                    caused_by=catalogue.names.get(causes.get(known.id, 0), ""),
                    window=planned.get(known.id),
                )
                for known in catalogue.services
            ),
            key=lambda cell: (_RANK[cell.status], cell.name),
        )
    )
    return Grid(
        cells=cells,
        counts=_counts(cells),
        read_at=now,
        source=source,
        notices=tuple(notices),
        swept_at=swept_at,
        etag=_etag(cells, notices),
        taken=time.monotonic(),
    )


def _shown(known: Known, stamped: Stamped) -> Status:
    record, age = stamped.record, stamped.age_ms
    return shown_status(
        Seen(
            status=Status(record.status),
            unconfirmed=Status(record.unconfirmed) if record.unconfirmed >= 0 else None,
            reply_age=None if record.reply_age is None else (record.reply_age + age) / 1000,
            probe_age=None if record.probe_age is None else (record.probe_age + age) / 1000,
            interval=known.interval,
            timeout=known.timeout,
        )
    )


def _suspected(shown: Status, record: Record) -> Status:
    """For causes, a failure counts from the first result on: what depends on it often fails in the same second."""
    if shown == Status.STALE and record.unconfirmed >= 0:
        return Status(record.unconfirmed)
    return shown


def _cell(
    known: Known, stamped: Stamped, status: Status, now: datetime, *, caused_by: str, window: Window | None
) -> Cell:
    record = stamped.record

    def ago(age: int | None) -> datetime | None:
        return None if age is None else now - timedelta(milliseconds=age + stamped.age_ms)

    return Cell(
        service_id=known.id,
        name=known.name,
        owner=known.owner,
        runbook_url=known.runbook_url,
        interval=known.interval,
        timeout=known.timeout,
        url=known.url,
        status=status,
        reply_status=Status(record.reply_status),
        since=ago(record.since_age),
        replied_at=ago(record.reply_age),
        probed_at=ago(record.probe_age),
        latency_us=record.latency_us,
        unconfirmed=f"{record.seen} of {record.needed} results" if record.unconfirmed >= 0 else "",
        cause=record.cause,
        field=record.field,
        sentence=record.sentence,
        version=record.version,
        last_operation_at=datetime.fromisoformat(record.last_operation_at) if record.last_operation_at else None,
        last_operation=record.last_operation,
        caused_by=caused_by,
        maintenance=window.reason if window else "",
        maintenance_until=window.ends_at if window else None,
    )


def _counts(cells: Iterable[Cell]) -> tuple[tuple[Status, int], ...]:
    counted = Counter(cell.status for cell in cells)
    return tuple((status, counted[status]) for status in ORDER if counted[status])


def _etag(cells: tuple[Cell, ...], notices: Iterable[str]) -> str:
    """The same as long as the page would be. Times are told apart by the second, as they are shown."""
    shown = [
        (
            cell.service_id,
            cell.status,
            cell.replied_at and int(cell.replied_at.timestamp()),
            cell.probed_at and int(cell.probed_at.timestamp()),
            cell.latency_us,
            cell.unconfirmed,
            cell.sentence,
            cell.caused_by,
            cell.maintenance,
            cell.name,
            cell.owner,
        )
        for cell in cells
    ]
    return hashlib.blake2s(repr((shown, list(notices))).encode()).hexdigest()[:20]
