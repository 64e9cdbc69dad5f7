"""One service as its page shows it: its card, and its history drawn once every few seconds for all readers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.db import Error
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from health import changes, history
from health.charts import build_chart
from health.models import Service, Status
from health.selectors import Cell, Grid
from health.tiles import detail, keeps
from health.wording import count_text, latency_text, share_text, span_text
from opsportal.accounts.services import database_is_down

DEFAULT_RANGE = "1h"
#: One process draws a chart anew at most this often, in seconds, however many look at it.
DRAWN_EVERY = {"15m": 5, "1h": 5, "6h": 15, "24h": 30, "7d": 60}
RANGE_WORDS = {"15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days"}
CHANGES_A_PAGE = 25


@dataclass(frozen=True)
class Card:
    """A service as it is now. `cell` is None for one that is not probed; the relations are None without PostgreSQL."""

    service_id: int
    name: str
    cell: Cell | None
    depends_on: tuple[str, ...] | None
    dependants: tuple[str, ...] | None
    notices: tuple[str, ...]
    service: Service | None

    @property
    def status(self) -> Status:
        """The status shown; UNKNOWN while it is not probed."""
        return self.cell.status if self.cell else Status.UNKNOWN

    @property
    def word(self) -> str:
        """The status in words."""
        return str(self.status.label) if self.cell else "not probed"

    @property
    def detail(self) -> str:
        """What a stale service's last reply said."""
        return detail(self.cell) if self.cell else ""

    @property
    def keeps(self) -> float:
        """Seconds for which its last reply vouches for what is shown."""
        return keeps(self.cell) if self.cell else 0

    @property
    def latency(self) -> str:
        """How long the last reply took."""
        return latency_text(self.cell.latency_us) if self.cell else "–"

    @property
    def last_operation(self) -> str:
        """The contract's field in words: `last_order_at` is `order`."""
        name = self.cell.last_operation if self.cell else ""
        return name.removeprefix("last_").removesuffix("_at").replace("_", " ")

    @property
    def announcement(self) -> str:
        """One sentence for screen readers, which changes only with the status or its cause."""
        caused = f", caused by {self.cell.caused_by}" if self.cell and self.cell.caused_by else ""
        return f"{self.name}: {self.word}{caused}"


def card(name: str, grid: Grid) -> Card | None:
    """The card of the service in this reading; None if there is no such service.

    Raises `django.db.Error` when the reading does not have it and PostgreSQL cannot be asked.
    """
    cell = next((cell for cell in grid.cells if cell.name == name), None)
    try:
        service = Service.objects.filter(name=name).first()
        if service:
            needs = tuple(service.depends_on.order_by("name").values_list("name", flat=True))
            needed_by = tuple(service.dependants.order_by("name").values_list("name", flat=True))
            return Card(service.pk, name, cell, needs, needed_by, grid.notices, service)
    except Error as error:
        if cell is None or not database_is_down(error):
            raise
        return Card(cell.service_id, name, cell, None, None, grid.notices, None)
    return Card(cell.service_id, name, cell, None, None, grid.notices, None) if cell else None


def history_html(service_id: int, name: str, query: Mapping[str, str]) -> SafeString:
    """Chart, figures and changes for `range` and `before` of a query string. Raises `django.db.Error`."""
    asked = query.get("range", "")
    window = asked if asked in history.WINDOWS else DEFAULT_RANGE
    bucket = int(time.time() // DRAWN_EVERY[window])
    return _history_html(service_id, name, window, query.get("before", "")[:64], bucket)


def forget_drawn() -> None:
    """Drop the histories this process has drawn; for tests."""
    _history_html.cache_clear()


@dataclass(frozen=True)
class UptimeFigure:
    """One figure of uptime; `note` says what it was measured on."""

    title: str
    share: str
    note: str


@dataclass(frozen=True)
class ChangeRow:
    """One line of the table of changes. `lasted`: how long the former status had lasted."""

    at: datetime
    tone: str
    word: str
    former: str
    why: str
    caused_by: str
    planned: bool
    lasted: str


@lru_cache(maxsize=64)
def _history_html(service_id: int, name: str, key: str, before: str, bucket: int) -> SafeString:
    """`bucket` numbers the moments at which a chart is drawn anew; errors are not kept."""
    now = datetime.now(UTC)
    window = history.WINDOWS[key]
    latency = history.latency_history(service_id, window, now)
    page = changes.transitions(service_id, _cursor(before), CHANGES_A_PAGE)
    summary = latency.summary
    context = {
        "name": name,
        "window": key,
        "window_words": RANGE_WORDS[key],
        "ranges": [(each, RANGE_WORDS[each]) for each in history.WINDOWS],
        "chart": build_chart(latency.points, timedelta(seconds=window.step)) if summary.probes else None,
        "figures": [
            ("P50", "p50", latency_text(summary.p50_us)),
            ("P95", "p95", latency_text(summary.p95_us)),
            ("P99", "p99", latency_text(summary.p99_us)),
        ],
        "replies": count_text(summary.replies, "reply", "replies"),
        "unanswered": count_text(summary.probes - summary.replies, "probe", "probes"),
        "uptimes": _uptimes(service_id, key, summary, now),
        "changes": [_change_row(change) for change in page.rows],
        "before": before,
        "older": str(page.older) if page.older else "",
    }
    return render_to_string("health/_history.html", context)


def _cursor(text: str) -> changes.Cursor | None:
    """Where the table of changes begins; a place that does not exist is the beginning."""
    try:
        return changes.Cursor.parse(text) if text else None
    except ValueError:
        return None


def _uptimes(service_id: int, key: str, summary: history.Summary, now: datetime) -> list[UptimeFigure]:
    words = {1: RANGE_WORDS["24h"], 7: RANGE_WORDS["7d"]}
    figures = [
        _figure(words.get(days, f"{days} days"), uptime)
        for days, uptime in history.uptime([service_id], now)[service_id].items()
    ]
    if RANGE_WORDS[key] in words.values():
        return figures
    return [_figure(RANGE_WORDS[key], summary), *figures]


def _figure(title: str, measured: history.Uptime) -> UptimeFigure:
    if measured.uptime is None:
        return UptimeFigure(f"Last {title}", "–", "nothing measured")
    down = f", down for {span_text(measured.down_seconds)}" if measured.down_seconds >= 1 else ""
    return UptimeFigure(
        f"Last {title}",
        share_text(measured.uptime),
        f"measured {share_text(measured.measured)} of the time{down}",
    )


def _change_row(change: changes.Change) -> ChangeRow:
    former = str(change.from_status.label)
    lasted = span_text(change.seconds)
    return ChangeRow(
        at=change.at,
        tone=change.to_status.tone,
        word=str(change.to_status.label),
        former=former,
        why=f"{change.field}: {change.sentence}" if change.field else change.sentence,
        caused_by=change.caused_by,
        planned=change.planned,
        lasted=f"{lasted} {former}" if lasted and change.from_status != Status.UNKNOWN else "",
    )
