"""The polled breaker card: the portal's fragment beside an ordinary view, in turn."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import redis

from bench.load import Load, Target, drive, middle
from bench.people import SessionKeys
from bench.report import Options, Table
from bench.servers import ORDINARY_SETTINGS, PORTAL_SETTINGS, BenchError, Servers, fetch, web_server

FRAGMENT = "/admin/circuit/fragment/"
ORDINARY = "/ordinary/fragment/"
POLL_MS = 1000


def measure(servers: Servers, keys: SessionKeys, options: Options) -> dict[str, Any]:
    """Requests per second at full load and latency at one poll a second, of the three kinds of answers."""
    redis.Redis.from_url(servers.redis.url).set("circuit_breaker:state", "OPEN")
    with ExitStack() as stack:
        portal = stack.enter_context(web_server(servers, PORTAL_SETTINGS))
        ordinary = stack.enter_context(web_server(servers, ORDINARY_SETTINGS))
        cookies = [f"sessionid={key}" for key in keys.portal]
        stock_cookies = [f"sessionid={key}" for key in keys.ordinary]
        targets = [
            Target("fragment 304", portal, FRAGMENT, cookies, etag=_etag(portal.port, cookies)),
            Target("fragment 200", portal, FRAGMENT, cookies),
            Target("ordinary view", ordinary, ORDINARY, stock_cookies),
        ]
        for target in targets:
            _check(target)
            drive(servers, target, seconds=1)  # imports, templates and caches are warm afterwards
        runs = _in_turn(servers, targets, rounds=options.rounds, seconds=options.seconds)
        full = {name: middle(loads) for name, loads in runs.items()}
        polite = {
            target.name: drive(servers, target, seconds=max(2, options.seconds), pause_ms=POLL_MS)
            for target in targets
        }
    slow = full["ordinary view"]
    ratios = {name: load.per_second / slow.per_second for name, load in full.items()}
    cpu_ratios = {name: slow.web_cpu_ms / load.web_cpu_ms if load.web_cpu_ms else 0.0 for name, load in full.items()}
    return {"sessions": len(cookies), "full": full, "polite": polite, "ratio": ratios, "cpu_ratio": cpu_ratios, "runs": runs}


def _in_turn(servers: Servers, targets: list[Target], *, rounds: int, seconds: int) -> dict[str, list[Load]]:
    """Round after round, so that whatever else the machine does falls on all alike."""
    runs: dict[str, list[Load]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            runs[target.name].append(drive(servers, target, seconds=seconds))
    return runs


def _etag(port: int, cookies: list[str]) -> str:
    return fetch(port, FRAGMENT, {"Cookie": cookies[0]})[1]["etag"]


def _check(target: Target) -> None:
    """What will be measured is the card, not the sign-in page."""
    headers = {"Cookie": target.cookies[-1]} | ({"If-None-Match": target.etag} if target.etag else {})
    status, _, body = fetch(target.server.port, target.path, headers)
    wanted = 304 if target.etag else 200
    if status != wanted or (status == 200 and "breaker__state" not in body):
        raise BenchError(f"{target.name}: expected the card with status {wanted}, got {status}: {body[:300]}")


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
