"""The first page: what fires, what waits, what needs a person. Its live part is rendered once a state."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from alerting.pages.showing import show
from alerting.selectors.dashboard import MOST_ACTIVE, SHARED_SECONDS, Dashboard, dashboard
from alerting.selectors.event_rows import event_rows
from opsportal.accounts.guards import permission_required, person

POLL_SECONDS = 3
#: Without a fresh reading for this long the page says so loudly.
STALE_AFTER_SECONDS = 10


@require_safe
@permission_required("alerting.view_event")
def page(request: HttpRequest) -> HttpResponse:
    """The dashboard."""
    reading = dashboard(SHARED_SECONDS)
    return show(
        request,
        "alerting/page.html",
        "Alerts",
        live_html=_html(request, reading),
        poll_seconds=POLL_SECONDS,
        stale_after=STALE_AFTER_SECONDS,
        reading_age=f"{reading.age():.2f}",
        reading_at=reading.at,
    )


@require_safe
@permission_required("alerting.view_event")
def fragment(request: HttpRequest) -> HttpResponse:
    """The live part alone: 304 while nothing has changed."""
    reading = dashboard(SHARED_SECONDS)
    html = _html(request, reading)
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:20]}"'
    unchanged = request.headers.get("If-None-Match") == etag
    response = HttpResponse(status=304) if unchanged else HttpResponse(html)
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    response["X-Reading-Age"] = f"{reading.age():.2f}"
    response["X-Reading-At"] = reading.at.isoformat()
    patch_vary_headers(response, ["Cookie"])
    return response


def _html(request: HttpRequest, reading: Dashboard) -> SafeString:
    user = person(request)
    rights = (user.has_perm("alerting.acknowledge_event"), user.has_perm("alerting.view_delivery"))
    return _rendered(_Key(reading), *rights)


class _Key:
    """A reading as the key of what was rendered from it: the same object, the same HTML."""

    def __init__(self, reading: Dashboard) -> None:
        self.reading = reading

    def __hash__(self) -> int:
        return id(self.reading)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Key) and other.reading is self.reading


@lru_cache(maxsize=8)
def _rendered(key: _Key, may_acknowledge: bool, sees_deliveries: bool) -> SafeString:
    reading = key.reading
    counts = reading.counts
    context = {
        "counts": counts,
        "active": event_rows(reading.active, reading.told),
        "more": counts.active - len(reading.active),
        "most": MOST_ACTIVE,
        "resolved": event_rows(reading.resolved, {}),
        "may_acknowledge": may_acknowledge,
        "sees_deliveries": sees_deliveries,
        "announcement": announcement(reading),
    }
    return render_to_string("alerting/_fragment.html", context)


def announcement(reading: Dashboard) -> str:
    """One sentence for screen readers; it changes only when what needs somebody does."""
    counts = reading.counts
    parts = [f"{counts.firing} firing", f"{counts.acknowledged} acknowledged"]
    if counts.critical:
        parts[0] += f" ({counts.critical} critical)"
    if counts.poison:
        parts.append(f"{counts.poison} deliveries poisoned")
    if counts.gate_closed_since:
        parts.append("new alerts are refused")
    if not counts.watches:
        parts.append("nobody watches")
    if counts.stands_still:
        parts.append("deliveries are not being sent")
    return f"Alerts: {', '.join(parts)}"
