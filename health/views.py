"""The health pages and their fragments. Fragments are the same for everybody who may see them."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from django.contrib import admin
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from health import service_page
from health.models import Status
from health.queues import read_queues
from health.selectors import SHARED_SECONDS, Grid, health_grid
from health.tiles import Filters, GridView
from opsportal.accounts.guards import permission_required
from opsportal.accounts.services import database_is_down
from opsportal.observability.health import check_components

#: Short enough that a reply, shown at most this much later, is still younger than two intervals of 5 s.
POLL_SECONDS = 3
#: Without a fresh reading for this long the page says so loudly (HM-8).
STALE_AFTER_SECONDS = 10
HISTORY_POLL_SECONDS = 15


@require_GET
@permission_required("health.view_service")
def page(request: HttpRequest) -> HttpResponse:
    """The grid of all services with its filters."""
    grid, view = _view(request)
    owners = sorted({cell.owner for cell in grid.cells if cell.owner} | ({view.filters.owner} - {""}))
    more = {"filters": view.filters, "owners": owners, "statuses": Status, "grid_html": _grid_html(view)}
    return _page(request, "health/page.html", "Service health", grid, **more)


@require_GET
@permission_required("health.view_service")
def fragment(request: HttpRequest) -> HttpResponse:
    """The live part of the grid: rendered once per state, 304 while nothing has changed (HM-4, HM-8)."""
    grid, view = _view(request)
    etag = f'"{view.etag}"'
    unchanged = request.headers.get("If-None-Match") == etag
    return _fragment(HttpResponse(status=304) if unchanged else HttpResponse(_grid_html(view)), etag, grid)


@require_GET
@permission_required("health.view_service")
def service(request: HttpRequest, name: str) -> HttpResponse:
    """One service: what it is now, how fast it has been, and what happened to it (HM-6, HM-7, HM-8)."""
    grid = health_grid(SHARED_SECONDS)
    card = _card_or_404(name, grid)
    more = {
        "card": card,
        "card_html": _card_html(card),
        "history_html": _history_html(card, request),
        "history_poll_seconds": HISTORY_POLL_SECONDS,
    }
    return _page(request, "health/service.html", name, grid, **more)


@require_GET
@permission_required("health.view_service")
def service_fragment(request: HttpRequest, name: str) -> HttpResponse:
    """The card of one service alone."""
    grid = health_grid(SHARED_SECONDS)
    return _conditional(request, _card_html(_card_or_404(name, grid)), grid)


@require_GET
@permission_required("health.view_service")
def service_history_fragment(request: HttpRequest, name: str) -> HttpResponse:
    """Chart, uptime and changes of one service alone: `?range=15m|1h|6h|24h|7d`, `?before=` for older changes."""
    grid = health_grid(SHARED_SECONDS)
    return _conditional(request, _history_html(_card_or_404(name, grid), request), grid)


def _view(request: HttpRequest) -> tuple[Grid, GridView]:
    grid = health_grid(SHARED_SECONDS)
    return grid, GridView.of(Filters.of(request.GET), grid, check_components(), read_queues())


@lru_cache(maxsize=32)
def _grid_html(view: GridView) -> SafeString:
    tiles = view.tiles()
    context = {
        "grid": view.grid,
        "tiles": tiles,
        "shown": len(tiles),
        "chips": view.chips(),
        "announcement": view.announcement(),
        "components": view.components,
        "queues": view.queues,
    }
    return render_to_string("health/_grid.html", context)


def _card_or_404(name: str, grid: Grid) -> service_page.Card:
    """Raises `Http404`, or `django.db.Error` while nothing can tell whether there is such a service."""
    card = service_page.card(name, grid)
    if card is None:
        raise Http404(f"no service is called {name}")
    return card


def _card_html(card: service_page.Card) -> SafeString:
    return render_to_string("health/_service.html", {"card": card})


def _history_html(card: service_page.Card, request: HttpRequest) -> SafeString:
    try:
        return service_page.history_html(card.service_id, card.name, request.GET)
    except Error as error:
        if not database_is_down(error):
            raise
        return render_to_string("health/_history_away.html", {})


def _page(request: HttpRequest, template: str, title: str, grid: Grid, **more: Any) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "poll_seconds": POLL_SECONDS,
        "stale_after": STALE_AFTER_SECONDS,
        "reading_age": f"{grid.age():.2f}",
        "reading_at": grid.read_at,
        **more,
    }
    response = render(request, template, context)
    response["Cache-Control"] = "no-store"
    return response


def _conditional(request: HttpRequest, html: str, grid: Grid) -> HttpResponse:
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:20]}"'
    unchanged = request.headers.get("If-None-Match") == etag
    return _fragment(HttpResponse(status=304) if unchanged else HttpResponse(html), etag, grid)


def _fragment(response: HttpResponse, etag: str, grid: Grid) -> HttpResponse:
    """The headers of every live part: how old its reading is, and when that was by the server's clock."""
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    response["X-Reading-Age"] = f"{grid.age():.2f}"
    response["X-Reading-At"] = grid.read_at.isoformat()
    patch_vary_headers(response, ["Cookie"])
    return response
