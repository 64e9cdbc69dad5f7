"""The grid as its page shows it: filtered, failures under their cause, every text ready (HM-4, HM-12)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse

from health.models import Status
from health.queues import Queues
from health.selectors import Cell, Grid
from health.wording import latency_text
from opsportal.observability.health import Component

MOST_NAMES = 3
LONGEST_SEARCH = 100
#: While one of these is shown, a reply of the service vouches for it; the page takes it back when that has aged.
_VOUCHED = frozenset({Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY, Status.VIOLATION})


@dataclass(frozen=True)
class Filters:
    """What of the grid is asked for. Empty: everything."""

    status: Status | None = None
    owner: str = ""
    q: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """From a query string; a status that does not exist filters nothing."""
        word = query.get("status", "")
        return cls(
            status=next((status for status in Status if status.word == word), None),
            owner=query.get("owner", "").strip()[:LONGEST_SEARCH],
            q=query.get("q", "").strip()[:LONGEST_SEARCH],
        )

    def lets_through(self, cell: Cell) -> bool:
        """Whether the cell is asked for; text is looked for in name, owner, reason and version."""
        if self.status is not None and cell.status != self.status:
            return False
        if self.owner and cell.owner != self.owner:
            return False
        text = f"{cell.name}\n{cell.owner}\n{cell.sentence}\n{cell.version}\n{cell.maintenance}\n{cell.caused_by}"
        return self.q.casefold() in text.casefold()

    def query(self) -> str:
        """The query string that leads here, with its question mark; empty without any filter."""
        given = {"status": self.status.word if self.status is not None else "", "owner": self.owner, "q": self.q}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"?{query}" if query else ""


@dataclass(frozen=True)
class Tile:
    """One service in the grid, in strings: with hundreds of them, formatting in the template takes too long.

    `keeps`: seconds for which its reply vouches for the status, empty if none does. `remarkable`: there is more to
    say than name, status and figures. `caused`: how many of the tiles that follow are its consequences; the last of
    them `ends_group`. One flat list, so that the template needs one loop and no include.
    """

    service_id: str
    name: str
    url: str
    tone: str
    icon: str
    word: str
    detail: str
    latency: str
    replied_at: str
    replied_text: str
    keeps: str
    why: str
    caused_by: str
    unconfirmed: str
    maintenance: str
    maintenance_until: datetime | None
    remarkable: bool
    caused: int = 0
    ends_group: bool = False


@dataclass(frozen=True)
class Chip:
    """How many services have a status, and the link that shows these alone. Without `status`: all of them."""

    status: Status | None
    word: str
    tone: str
    icon: str
    count: int
    url: str
    current: bool


@dataclass(frozen=True)
class GridView:
    """What one rendering of the fragment is made of; equal as long as the HTML would be."""

    etag: str
    filters: Filters = field(compare=False)
    grid: Grid = field(compare=False)
    components: tuple[Component, ...] = field(compare=False)
    queues: Queues = field(compare=False)

    @classmethod
    def of(cls, filters: Filters, grid: Grid, components: Iterable[Component], queues: Queues) -> GridView:
        """A view of this reading."""
        parts = tuple(replace(part, latency_ms=round(part.latency_ms, 1)) for part in components)
        told = repr((filters, grid.etag, grid.counts, parts, queues))
        return cls(hashlib.sha256(told.encode()).hexdigest()[:20], filters, grid, parts, queues)

    def tiles(self) -> tuple[Tile, ...]:
        """The services that are asked for, worst first, each caused failure behind its cause."""
        return nest([cell for cell in self.grid.cells if self.filters.lets_through(cell)])

    def chips(self) -> tuple[Chip, ...]:
        """All, then each status that occurs or is asked for."""
        counted = dict(self.grid.counts)
        asked = self.filters.status
        shown = [status for status in counted if counted[status]]
        if asked is not None and asked not in shown:
            shown.append(asked)
        page = reverse("admin:health")
        everything = Chip(
            None, "all", "plain", "list", len(self.grid.cells), page + _with(self.filters, None), asked is None
        )
        return (
            everything,
            *(
                Chip(
                    status=status,
                    word=str(status.label),
                    tone=status.tone,
                    icon=status.icon,
                    count=counted.get(status, 0),
                    url=page + _with(self.filters, status),
                    current=status == asked,
                )
                for status in shown
            ),
        )

    def announcement(self) -> str:
        """One sentence for screen readers; it changes only when a service changes its status."""
        return announcement(self.grid)


def announcement(grid: Grid) -> str:
    """`Health: 6 healthy, 1 unreachable (broker-gateway)`; names for what is not healthy, at most three a status."""
    if not grid.cells:
        return "Health: no service is registered"
    parts = []
    for status, count in reversed(grid.counts):
        names = [] if status == Status.HEALTHY else [cell.name for cell in grid.cells if cell.status == status]
        more = f" and {count - MOST_NAMES} more" if count > MOST_NAMES else ""
        parts.append(f"{count} {status.label}" + (f" ({', '.join(names[:MOST_NAMES])}{more})" if names else ""))
    return f"Health: {', '.join(parts)}"


def nest(cells: list[Cell]) -> tuple[Tile, ...]:
    """Tiles in the order of the cells, except that causes come first and what each has caused follows it at once."""
    link = reverse("admin:health_service", args=["name"]).removesuffix("name/")
    roots = {cell.name for cell in cells if not cell.caused_by}
    caused: dict[str, list[Tile]] = defaultdict(list)
    for cell in cells:
        if cell.caused_by in roots:
            caused[cell.caused_by].append(_tile(cell, link))
    tiles = [_tile(cell, link) for cell in cells if cell.caused_by not in roots]
    tiles.sort(key=lambda tile: -min(len(caused.get(tile.name, ())), 2))
    flat: list[Tile] = []
    for tile in tiles:
        if consequences := caused.get(tile.name):
            consequences[-1] = replace(consequences[-1], ends_group=True)
            flat += [replace(tile, caused=len(consequences)), *consequences]
        else:
            flat.append(tile)
    return tuple(flat)


def cell_url(name: str) -> str:
    """The page of a service."""
    return reverse("admin:health_service", args=[name])


def keeps(cell: Cell) -> float:
    """Seconds for which the last reply vouches for what is shown (HM-4); 0 where no reply does."""
    return 2 * cell.interval if cell.status in _VOUCHED else 0


def detail(cell: Cell) -> str:
    """What the word leaves open: of a stale service, what its last reply said."""
    if cell.status != Status.STALE or cell.reply_status == Status.UNKNOWN:
        return ""
    return f"last reply: {cell.reply_status.label}"


def _tile(cell: Cell, link: str) -> Tile:
    return Tile(
        service_id=str(cell.service_id),
        name=cell.name,
        url=f"{link}{cell.name}/",
        tone=cell.tone,
        icon=cell.icon,
        word=cell.label,
        detail=detail(cell),
        latency=latency_text(cell.latency_us) if cell.latency_us is not None else "",
        replied_at=cell.replied_at.isoformat(timespec="milliseconds") if cell.replied_at else "",
        replied_text=f"{cell.replied_at:%H:%M:%S} UTC" if cell.replied_at else "",
        keeps=f"{keeps(cell):g}" if cell.status in _VOUCHED else "",
        why=cell.sentence,
        caused_by=cell.caused_by,
        unconfirmed=cell.unconfirmed,
        maintenance=cell.maintenance,
        maintenance_until=cell.maintenance_until,
        remarkable=bool(cell.sentence or cell.caused_by or cell.unconfirmed or cell.maintenance),
    )


def _with(filters: Filters, status: Status | None) -> str:
    return replace(filters, status=status).query()
