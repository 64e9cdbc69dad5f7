"""The overview: what is halted, what is wrong, what needs me. Each domain adds its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from alerting.models import EventState, Severity
from alerting.selectors.dashboard import Counts, Dashboard
from apikeys.selectors import Expiring
from circuit.selectors import Status as BreakerStatus
from health.models import Status
from health.selectors import Cell, Grid
from health.tiles import cell_url
from opsportal.observability.health import check_components
from sysconf.errors import StoredInvalid

MOST_SERVICES = 5
MOST_ALERTS = 5
#: What somebody must look at by itself. A stale or unknown service is told by the tile, and by the grid's notices.
_WRONG = frozenset({Status.UNREACHABLE, Status.UNHEALTHY, Status.VIOLATION, Status.DEGRADED})


@dataclass(frozen=True)
class Item:
    """One line of the overview."""

    tone: str
    title: str
    text: str
    url: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class HealthTile:
    """How many services there are of each status."""

    counts: tuple[tuple[Status, int], ...]
    total: int


@dataclass(frozen=True)
class AlertTile:
    """How many alerts there are of what."""

    firing: int
    acknowledged: int
    poison: int
    sees_deliveries: bool


@dataclass(frozen=True)
class Overview:
    """The three lists, the breaker's card and the tiles of the services and the alerts."""

    breaker: BreakerStatus | None
    health: HealthTile | None
    alerts: AlertTile | None
    #: They are theirs to see, and PostgreSQL does not say how they are.
    alerts_unknown: bool
    halted: tuple[Item, ...]
    wrong: tuple[Item, ...]
    needs_me: tuple[Item, ...]


def build_overview(
    breaker: BreakerStatus | None,
    grid: Grid | None = None,
    keys: Expiring | None = None,
    broken: Sequence[StoredInvalid] = (),
    log_problem: str = "",
    alerts: Dashboard | None = None,
    sees_deliveries: bool = True,
    alerts_unknown: bool = False,
) -> Overview:
    """What an operator must know first; None for what is switched off or not theirs to see.

    `alerts_unknown`: there are none to show because they could not be read.
    """
    return Overview(
        breaker=breaker,
        health=HealthTile(grid.counts, len(grid.cells)) if grid else None,
        alerts=_alert_tile(alerts, sees_deliveries) if alerts else None,
        alerts_unknown=alerts_unknown,
        halted=tuple(_halted(breaker)),
        wrong=tuple(
            _wrong(breaker)
            + _broken_log(log_problem)
            + _broken(broken)
            + (_wrong_alerts(alerts, grid) if alerts else [])
            + (_wrong_services(grid) if grid else [])
        ),
        needs_me=tuple(
            _needs_me(breaker)
            + (_waiting_alerts(alerts, sees_deliveries) if alerts else [])
            + (_ending_keys(keys) if keys else [])
        ),
    )


def _alert_tile(alerts: Dashboard, sees_deliveries: bool) -> AlertTile:
    counts = alerts.counts
    return AlertTile(counts.firing, counts.acknowledged, counts.poison, sees_deliveries)


def _halted(breaker: BreakerStatus | None) -> list[Item]:
    if breaker is None or breaker.state == "OPEN":
        return []
    text = breaker.last_trip_reason if breaker.state == "TRIPPED" else breaker.problem or breaker.label
    return [
        Item("bad", f"Trading: {breaker.state} · {breaker.label}", text, reverse("admin:circuit"), "Go to the breaker")
    ]


def _wrong(breaker: BreakerStatus | None) -> list[Item]:
    items = [
        Item("bad", f"{part.title} does not answer", part.consequence) for part in check_components() if not part.ok
    ]
    if breaker:
        link = reverse("admin:circuit")
        items += [Item("warn", "Circuit breaker", notice, link, "Go to the breaker") for notice in breaker.notices]
    return items


def _broken_log(problem: str) -> list[Item]:
    """What verification has found (AU-5)."""
    text = f"{problem}. Leave the database as it is and tell whoever is responsible for audits."
    link = reverse("admin:audit")
    return [Item("bad", "The audit log is not intact", text, link, "Go to the audit log")] if problem else []


def _broken(sections: Sequence[StoredInvalid]) -> list[Item]:
    """Sections of the configuration that nobody can use until they are corrected (CF-2)."""
    return [Item("bad", f"Configuration: {section.title}", section.sentence) for section in sections]


def _wrong_services(grid: Grid) -> list[Item]:
    """What the grid says of itself, then failures that nothing else explains and nobody planned (HM-11, HM-12)."""
    link = reverse("admin:health")
    items = [Item("bad", "Service health", notice, link, "Go to service health") for notice in grid.notices]
    roots = _roots(grid)
    items += [_service_item(cell, grid) for cell in roots[:MOST_SERVICES]]
    if (more := len(roots) - MOST_SERVICES) > 0:
        items.append(Item("bad", f"and {more} more", "Services in trouble.", link, "Go to service health"))
    return items


def _roots(grid: Grid) -> list[Cell]:
    return [cell for cell in grid.cells if cell.status in _WRONG and not cell.caused_by and not cell.maintenance]


def _service_item(cell: Cell, grid: Grid) -> Item:
    caused = sum(other.caused_by == cell.name for other in grid.cells)
    more = f" {caused} service{'s' if caused > 1 else ''} in trouble because of it." if caused else ""
    return Item(cell.tone, f"{cell.name}: {cell.label}", cell.sentence + more, cell_url(cell.name), "Look at it")


def _wrong_alerts(alerts: Dashboard, grid: Grid | None) -> list[Item]:
    """Alerting that does not work first, then the critical alerts that fire (AL-3, AD-8)."""
    link, counts = reverse("admin:alerting"), alerts.counts
    items = []
    if counts.gate_closed_since:
        text = f"{counts.waiting:,} deliveries wait. Senders are told to try again in a minute."
        items.append(Item("bad", "New alerts are refused", text, link, "Go to the alerts"))
    items += _standing_still(counts)
    critical = [
        event for event in alerts.active if event.state == EventState.FIRING and event.severity == Severity.CRITICAL
    ]
    # A service in trouble has a line of its own below, which says why.
    told = {cell.name for cell in _roots(grid)[:MOST_SERVICES]} if grid else set()
    listed = [event for event in critical if event.metric != "service_down" or event.labels.get("service") not in told]
    items += [
        Item("bad", event.rule_name, event.summary, reverse("admin:alerting_event", args=[event.pk]), "Look at it")
        for event in listed[:MOST_ALERTS]
    ]
    if (more := counts.critical - len(critical) + len(listed[MOST_ALERTS:])) > 0:
        where = f"{reverse('admin:alerting_events')}?state=firing&severity=critical"
        items.append(Item("bad", f"and {more:,} more", "Critical alerts that fire.", where, "Go to the alerts"))
    return items


def _standing_still(counts: Counts) -> list[Item]:
    """What the process “alerts” does not do: look at what the portal watches, and send (AL-2, AD-2)."""
    link, check = reverse("admin:alerting"), "Check that the process “alerts” is running."
    items = []
    if not counts.watches:
        at = counts.watched_at
        text = (
            f"The portal {f'last looked on {at:%-d %b at %H:%M:%S} UTC' if at else 'has never looked'}. What it "
            f"watches itself (services, the breaker, queues) is not seen meanwhile. No delivery is lost. {check}"
        )
        items.append(Item("bad", "Nobody watches", text, link, "Go to the alerts"))
    if counts.oldest_due:
        text = (
            f"The oldest delivery could have gone out at {counts.oldest_due:%H:%M:%S} UTC. No delivery is lost, but "
            f"nobody is told. {check}"
        )
        items.append(Item("bad", "Alerts are not being sent", text, link, "Go to the alerts"))
    return items


def _waiting_alerts(alerts: Dashboard, sees_deliveries: bool) -> list[Item]:
    """What a person must take up (AL-6, AD-10). No link to what they may not open."""
    counts = alerts.counts
    items = []
    if counts.firing:
        title = (
            "1 alert is not acknowledged" if counts.firing == 1 else f"{counts.firing:,} alerts are not acknowledged"
        )
        text = "Say that somebody looks after it, so that nobody else has to."
        items.append(Item("warn", title, text, f"{reverse('admin:alerting_events')}?state=firing", "Look at them"))
    if counts.poison:
        what = "1 message" if counts.poison == 1 else f"{counts.poison:,} messages"
        title = f"{what} reached nobody, as far as the portal knows"
        text = "The portal tries them no more: retry, or tell people another way."
        items.append(
            Item("warn", title, text, reverse("admin:alerting_poison") if sees_deliveries else "", "Look at the poison")
        )
    return items


def _needs_me(breaker: BreakerStatus | None) -> list[Item]:
    if breaker is None:
        return []
    link = reverse("admin:circuit")
    if breaker.can_restore:
        return [
            Item(
                "warn",
                "Restore the breaker's state",
                "Redis has lost it; the last recorded one can be put back.",
                link,
                "Look and decide",
            )
        ]
    if breaker.can_reset:
        return [
            Item(
                "info",
                "The breaker waits for a decision",
                "Find out why it tripped, then reset it.",
                link,
                "Look and decide",
            )
        ]
    return []


def _ending_keys(keys: Expiring) -> list[Item]:
    """Keys that end soon: their machines stop (AK-8)."""
    days, number = keys.nearest
    if not number:
        return []
    what = "1 API key expires" if number == 1 else f"{number} API keys expire"
    when = f"within {days} day{'s' if days > 1 else ''}"
    more = f" {keys.total} end within 14 days." if keys.total > number else ""
    return [
        Item(
            "bad" if days == 1 else "warn",
            f"{what} {when}",
            f"Rotate what is still needed: a machine whose key has expired is refused.{more}",
            f"{reverse('admin:apikeys')}?expiring={14 if more else days}",
            "Look at them",
        )
    ]
