"""The polled breaker card: the portal's fragment beside an ordinary view, in turn."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import redis

from bench.load import Target, drive, in_turn, middle
from bench.people import SessionKeys
from bench.report import Options, Table
from bench.servers import ORDINARY_SETTINGS, PORTAL_SETTINGS, BenchError, Servers, fetch, web_server
from opsportal.accounts.models import UserSession
from opsportal.accounts.sessions import SessionStore as PortalStore

FRAGMENT = "/admin/circuit/fragment/"
ORDINARY = "/ordinary/fragment/"
POLL_MS = 1000
SPARE = 2
"""Sessions beyond those that poll, for the proof that the guard still bites."""


def measure(servers: Servers, keys: SessionKeys, options: Options) -> dict[str, Any]:
    """Requests per second at full load and latency at one poll a second, of the three kinds of answers."""
    redis.Redis.from_url(servers.redis.url).set("circuit_breaker:state", "OPEN")
    with ExitStack() as stack:
        portal = stack.enter_context(web_server(servers, PORTAL_SETTINGS))
        ordinary = stack.enter_context(web_server(servers, ORDINARY_SETTINGS))
        cookies = [f"sessionid={key}" for key in keys.portal[:-SPARE]]
        stock_cookies = [f"sessionid={key}" for key in keys.ordinary[:-SPARE]]
        targets = [
            Target("fragment 304", portal, FRAGMENT, cookies, etag=_etag(portal.port, cookies)),
            Target("fragment 200", portal, FRAGMENT, cookies),
            Target("ordinary view", ordinary, ORDINARY, stock_cookies),
        ]
        for target in targets:
            _check(target)
            drive(servers, target, seconds=1)  # imports, templates and caches are warm afterwards
        runs = in_turn(servers, targets, rounds=options.rounds, seconds=options.seconds)
        full = {name: middle(loads) for name, loads in runs.items()}
        paced = in_turn(servers, targets, rounds=options.rounds, seconds=max(2, options.seconds), pause_ms=POLL_MS)
        polite = {name: middle(loads) for name, loads in paced.items()}
        _prove_guard(portal.port, keys.portal[-SPARE:], targets[0].etag)
    slow = full["ordinary view"]
    ratios = {name: load.per_second / slow.per_second for name, load in full.items()}
    return {
        "sessions": len(cookies),
        "full": full,
        "polite": polite,
        "ratio": ratios,
        "runs": runs,
    }


def _etag(port: int, cookies: list[str]) -> str:
    return fetch(port, FRAGMENT, {"Cookie": cookies[0]})[1]["etag"]


def _check(target: Target) -> None:
    """What will be measured is the card, not the sign-in page."""
    headers = {"Cookie": target.callers[-1]} | ({"If-None-Match": target.etag} if target.etag else {})
    status, _, body = fetch(target.server.port, target.path, headers)
    if status != target.status or (status == 200 and "breaker__state" not in body):
        raise BenchError(f"{target.name}: expected the card with status {target.status}, got {status}: {body[:300]}")


def _prove_guard(port: int, spare: list[str], etag: str) -> None:
    """Speed counts only with the guard in place: an ended session and a lost role bite at the very next poll."""
    ended, demoted = spare
    for key in spare:
        _expect(port, key, etag, 304)
    PortalStore(ended).delete()
    UserSession.objects.get(session_key=demoted).user.groups.clear()  # type: ignore[union-attr]
    _expect(port, ended, etag, 204)  # sends the page to the sign-in
    _expect(port, demoted, etag, 403)


def _expect(port: int, key: str, etag: str, wanted: int) -> None:
    headers = {"Cookie": f"sessionid={key}", "If-None-Match": etag, "HX-Request": "true"}
    status = fetch(port, FRAGMENT, headers)[0]
    if status != wanted:
        raise BenchError(f"the guard does not hold: expected status {wanted}, got {status}")


def table(found: dict[str, Any]) -> Table:
    """As people read it."""
    rows = []
    for name, load in found["full"].items():
        polite = found["polite"][name]
        rows.append(
            [
                name,
                f"{load.per_second:,.0f}",
                f"{found['ratio'][name]:.2f}",
                f"{load.p50_ms:.1f}",
                f"{load.p95_ms:.1f}",
                f"{load.web_cpu_ms:.3f}",
                f"{load.postgres_cpu_ms:.3f}",
                f"{load.redis_cpu_ms:.3f}",
                f"{polite.p50_ms:.1f}",
                f"{polite.p95_ms:.1f}",
            ]
        )
    return Table(
        f"Polled breaker card, {found['sessions']} signed-in sessions (P50/P95 in ms; CPU in ms a request)",
        ["", "requests/s", "ratio", "P50", "P95", "web CPU", "PG CPU", "Redis CPU", "P50 at 1/s", "P95 at 1/s"],
        rows,
    )
