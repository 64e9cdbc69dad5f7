"""The demo's inbox: what the pretend outside world has received. In development only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from opsportal.accounts.guards import sign_in_required
from opsportal.demo.inbox import KEPT, KINDS, Letter, newest
from opsportal.observability.redis_client import redis_client

POLL_SECONDS = 2
STALE_AFTER_SECONDS = 10
SHOWN = 50
FOLD_FROM = 900
"""Texts longer than this, and JSON, are folded."""


@dataclass(frozen=True)
class Row:
    """A letter as the table shows it."""

    letter: Letter
    id: str
    at: datetime | None
    kind: str
    folded: bool

    @classmethod
    def of(cls, letter: Letter) -> Row:
        """Its row."""
        name = hashlib.sha256(f"{letter.at}{letter.key}{letter.to}{letter.text}".encode()).hexdigest()[:12]
        folded = letter.kind == "webhook" or len(letter.text) > FOLD_FROM
        return cls(letter, f"letter-{name}", _moment(letter.at), KINDS.get(letter.kind, letter.kind), folded)


@require_safe
@sign_in_required
def page(request: HttpRequest) -> HttpResponse:
    """The inbox: `?kind=email` for one kind, `?all=1` for everything that is kept."""
    context = {
        **admin.site.each_context(request),
        "title": "Demo inbox",
        "poll_seconds": POLL_SECONDS,
        "stale_after": STALE_AFTER_SECONDS,
        "reading_at": datetime.now(UTC),
        "letters_html": _letters(request),
    }
    response = render(request, "demo/inbox.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@sign_in_required
def fragment(request: HttpRequest) -> HttpResponse:
    """The messages alone; 304 while no new one has come."""
    html = _letters(request)
    etag = f'"{hashlib.sha256(html.encode()).hexdigest()[:20]}"'
    response = HttpResponse(html) if request.headers.get("If-None-Match") != etag else HttpResponse(status=304)
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    response["X-Reading-Age"] = "0.00"
    response["X-Reading-At"] = datetime.now(UTC).isoformat()
    patch_vary_headers(response, ["Cookie"])
    return response


def _letters(request: HttpRequest) -> SafeString:
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else ""
    everything = request.GET.get("all") == "1"
    context: dict[str, Any] = {"kinds": KINDS, "kind": kind, "kind_title": KINDS.get(kind, ""), "kept_at_most": KEPT}
    try:
        letters = newest(redis_client(), kind)
    except (redis.RedisError, OSError):
        return render_to_string("demo/_letters.html", {**context, "unavailable": True})
    rows = [Row.of(letter) for letter in (letters if everything else letters[:SHOWN])]
    more = len(letters) - len(rows)
    return render_to_string("demo/_letters.html", {**context, "rows": rows, "total": len(letters), "more": more})


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None
