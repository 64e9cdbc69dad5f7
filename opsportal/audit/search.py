"""Finds entries by filter, newest or oldest first, a page at a time, at any size of the log (AU-6).

A page begins where the one before ended (time and id), never at a count. The months are asked one after the other and
the search stops when the page is full, so that its cost does not grow with the log; a month that takes too long is
asked day by day. Each filter has an index in the order of the pages; a name that begins with something, or a network,
is first turned into the values that there are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from opsportal.audit import archives
from opsportal.audit.models import Entry

PAGE_SIZE = 50
#: After so long a page shows what was found, and says from where on nothing was looked at.
SEARCH_SECONDS = 2.0
#: A prefix or a network with more values than this is looked for in order of time instead of value by value, which is
#: as fast unless all of them are rare. Each value costs some 0.2 ms to find.
MOST_VALUES = 50
_MOST_DAYS = 31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(\d{1,18})-(\d{1,19})", re.ASCII)
_EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))

#: A stretch of time, its end excluded.
Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Cursor:
    """The place of an entry in the order of the log."""

    at: datetime
    id: int

    @classmethod
    def of(cls, entry: Entry) -> Cursor:
        """Where this entry is."""
        return cls(entry.timestamp, entry.pk)

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """What `str` of a cursor gave; None for anything else."""
        found = _CURSOR.fullmatch(text)
        if not found or int(found[2]) >= 2**63:
            return None
        try:
            at = _EPOCH + timedelta(microseconds=int(found[1]))
        except OverflowError:
            return None
        return cls(at, int(found[2])) if at < _EVER[1] else None

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"


@dataclass(frozen=True)
class Filters:
    """What entries must have; what is empty does not count. `who` may end with * for names that begin so."""

    who: str = ""
    event: str = ""
    event_type: str = ""
    outcome: str = ""
    resource_type: str = ""
    resource_id: str = ""
    network: IPv4Network | IPv6Network | None = None
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class Found:
    """A page of entries. `stopped`: the time was up; what lies beyond `searched_to` was not looked at, None for all."""

    entries: tuple[Entry, ...]
    more: bool
    stopped: bool = False
    searched_to: datetime | None = None


def find_page(
    filters: Filters, *, before: Cursor | None = None, after: Cursor | None = None, limit: int = PAGE_SIZE,
    seconds: float = SEARCH_SECONDS,
) -> Found:  # fmt: skip
    """The page before a place, or after it, newest first either way; without a place the newest.

    Raises `django.db.Error`.
    """
    windows = _windows(filters, before, after)
    found = _search(filters, windows, before, after, limit, seconds)
    place = before.at if before else _EVER[1]
    if found.stopped and after is None and (found.searched_to is None or found.searched_to >= place):
        # Not even one month could be looked at as a whole. Some of its days can, and then there is a way on.
        done = sum(since >= (found.searched_to or _EVER[1]) for since, _ in windows)
        days = [day for window in windows[done : done + 1] for day in _days(*window)]
        found = _search(filters, [*windows[:done], *days, *windows[done + 1 :]], before, after, limit, seconds)
    return found


def _search(
    filters: Filters, windows: list[Window], before: Cursor | None, after: Cursor | None, limit: int, seconds: float
) -> Found:
    older = after is None
    entries: list[Entry] = []
    stopped, searched_to = False, None
    ends = time.monotonic() + seconds
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")  # compiling takes longer than any of these
        try:
            narrowed = _Narrowed(filters, ends)
            for since, until in windows:
                _limit_time(ends)
                entries += narrowed.ask(since, until, before or after, older=older, limit=limit + 1 - len(entries))
                searched_to = since if older else until
                if len(entries) > limit:
                    break
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            stopped = True
        transaction.set_rollback(True)  # nothing was written, and the settings go with it
    page = entries[:limit] if older else entries[:limit][::-1]
    return Found(tuple(page), len(entries) > limit, stopped, searched_to if stopped else None)


def entries_in_order(filters: Filters, *, chunk: int = 1_000) -> Iterator[list[Entry]]:
    """Every entry that the filters let through, oldest first, in lists of at most `chunk`; each its own statement.

    Nothing is held between two lists: neither a transaction nor more than one list. Raises `django.db.Error`.
    """
    narrowed = _Narrowed(filters, None)
    place: Cursor | None = None
    for since, until in _windows(filters, None, Cursor(filters.since or _EVER[0], 0)):
        while True:
            entries = narrowed.ask(since, until, place, older=False, limit=chunk)
            if entries:
                yield entries
                place = Cursor.of(entries[-1])
            if len(entries) < chunk:
                break


def _windows(filters: Filters, before: Cursor | None, after: Cursor | None) -> list[Window]:
    """From and up to (excluded), in the order of the search: all that is to come, each month, all that was before."""
    bounds = sorted({bound for month in archives.months() for bound in (month.since, month.until)})
    now = datetime.now(UTC)
    bounds = [_EVER[0], *(bound for bound in bounds if bound <= now), _EVER[1]]
    low = max(moment for moment in (_EVER[0], filters.since, after and after.at) if moment)
    high = min(moment for moment in (_EVER[1], filters.until, before and before.at + timedelta.resolution) if moment)
    windows = [(max(since, low), min(until, high)) for since, until in pairwise(bounds)]
    windows = [window for window in windows if window[0] < window[1]]
    return windows if after else windows[::-1]


def _days(since: datetime, until: datetime) -> list[Window]:
    """A window day by day, newest first: what is to come belongs to today, what lies a month back is one piece."""
    midnight = min(until - timedelta.resolution, datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    bounds = [until]
    while midnight > since and len(bounds) <= _MOST_DAYS:
        bounds.append(midnight)
        midnight -= timedelta(days=1)
    return [(low, high) for high, low in pairwise([*bounds, since])]


def _limit_time(ends: float | None) -> None:
    if ends is None:
        return
    left = int((ends - time.monotonic()) * 1000)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(max(1, left))])


class _Narrowed:
    """The filters as conditions; with few values for a prefix or a network, one search a value in its index."""

    def __init__(self, filters: Filters, ends: float | None) -> None:
        self._conditions: list[str] = []
        self._params: list[Any] = []
        self._column = ""
        self._values: list[str] = []
        for column in ("event", "event_type", "outcome", "resource_type", "resource_id"):
            self._equal(column, getattr(filters, column))
        self._equal("cid", filters.request_id)
        if filters.who.endswith("*"):
            prefix = filters.who[:-1].replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
            _limit_time(ends)
            self._many("actor_label", "actor_label LIKE %s", prefix, _labels(prefix))
        else:
            self._equal("actor_label", filters.who)
        network = filters.network
        if network and network.num_addresses == 1:
            self._equal("remote_addr", str(network.network_address), kind="inet")
        elif network:
            _limit_time(ends)
            self._many("remote_addr", "remote_addr <<= %s::inet", str(network), _addresses(str(network)))

    def _equal(self, column: str, value: str, kind: str = "text") -> None:
        if value:
            self._conditions.append(f"e.{column} = %s::{kind}")
            self._params.append(value)

    def _many(self, column: str, condition: str, value: str, values: list[str] | None) -> None:
        if values is not None and not self._column:
            self._column, self._values = column, values
            return
        # "IS TRUE" keeps PostgreSQL to the index in order of time: so many values are not far to seek there.
        self._conditions.append(f"(e.{condition}) IS TRUE")
        self._params.append(value)

    def ask(self, since: datetime, until: datetime, place: Cursor | None, *, older: bool, limit: int) -> list[Entry]:
        """The next entries of this stretch of time. The SQL is put together from constants; values are parameters."""
        if self._column and not self._values:
            return []
        direction, beyond = ("DESC", "<") if older else ("ASC", ">")
        conditions = ['e."timestamp" >= %s', 'e."timestamp" < %s', *self._conditions]
        params: list[Any] = [since, until, *self._params]
        if place:
            conditions.append(f'(e."timestamp", e.id) {beyond} (%s, %s)')
            params += [place.at, place.id]
        order = f'ORDER BY e."timestamp" {direction}, e.id {direction} LIMIT %s'
        params.append(limit)
        if self._column:
            kind = "inet" if self._column == "remote_addr" else "text"
            where = " AND ".join([f"e.{self._column} = v.value", *conditions])
            inner = f"SELECT e.* FROM audit_entry e WHERE {where} {order}"  # noqa: S608
            values = f"unnest(%s::{kind}[]) AS v(value)"
            query = f"SELECT e.* FROM {values} CROSS JOIN LATERAL ({inner}) AS e {order}"  # noqa: S608
            params = [self._values, *params, limit]
        else:
            query = f"SELECT e.* FROM audit_entry e WHERE {' AND '.join(conditions)} {order}"  # noqa: S608
        return list(Entry.objects.raw(query, params))


def _labels(pattern: str) -> list[str] | None:
    """The names that match; None when there are too many."""
    step = (
        "SELECT actor_label FROM audit_entry WHERE actor_label LIKE %(within)s{} ORDER BY actor_label USING ~<~ LIMIT 1"
    )
    return _distinct(step.format(""), step.format(" AND actor_label ~>~ v.value"), pattern)


def _addresses(network: str) -> list[str] | None:
    """The addresses of a network that there are; None when there are too many."""
    # A network sorts before the addresses in it, so it is a place to begin at; its broadcast address is the last.
    step = """SELECT host(remote_addr) FROM audit_entry WHERE remote_addr > {}
        AND remote_addr <= host(broadcast(%(within)s::inet))::inet ORDER BY remote_addr LIMIT 1"""
    return _distinct(step.format("%(within)s::inet"), step.format("v.value::inet"), network)


def _distinct(first: str, following: str, within: str) -> list[str] | None:
    """Value after value, each found by one step in the index (PostgreSQL has no such scan of its own before 18)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH RECURSIVE v (value, number) AS (
                    (SELECT ({first})::text, 1)
                    UNION ALL SELECT ({following})::text, number + 1 FROM v
                        WHERE value IS NOT NULL AND number <= %(most)s
                ) SELECT value FROM v WHERE value IS NOT NULL""",  # noqa: S608  constants
            {"within": within, "most": MOST_VALUES},
        )
        values = [row[0] for row in cursor.fetchall()]
    return None if len(values) > MOST_VALUES else values
