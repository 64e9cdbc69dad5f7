"""How old a change of the breaker is when a polling page first shows it (CB-10), measured at the server's door."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis

from bench.people import SessionKeys
from bench.polled import FRAGMENT
from bench.report import Options, Table, percentile
from bench.servers import PORTAL_SETTINGS, BenchError, Servers, web_server
from opsportal.embedded.ports import LOOPBACK

INTERVAL = 1.0
PROMISED_SECONDS = 2.0
"""CB-10: the 95th percentile from the change to the pixel."""
_NUMBER = re.compile(r"bench change (\d+)")


@dataclass
class Sightings:
    """When each poller first saw each change, on the monotonic clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: dict[tuple[int, int], float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, poller: int, body: str) -> None:
        """The poller has received this card now."""
        now = time.monotonic()
        found = _NUMBER.search(body)
        if found:
            with self.lock:
                self.seen.setdefault((poller, int(found.group(1))), now)


def measure(servers: Servers, keys: SessionKeys, options: Options) -> dict[str, Any]:
    """Change the breaker `options.changes` times under `options.pollers` polling pages."""
    sightings, stop = Sightings(), threading.Event()
    with web_server(servers, PORTAL_SETTINGS) as web:
        threads = [
            threading.Thread(target=_poll, args=(number, web.port, keys.portal[number], sightings, stop))
            for number in range(options.pollers)
        ]
        for thread in threads:
            thread.start()
        try:
            changed = _change(redis.Redis.from_url(servers.redis.url), options.changes)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    if sightings.failures:
        raise BenchError(f"a poll failed: {sightings.failures[0]}")
    ages = [at - changed[number] for (_, number), at in sightings.seen.items()]
    if len(ages) != options.changes * options.pollers:
        raise BenchError(f"{options.changes * options.pollers - len(ages)} changes were never shown to some page")
    return {
        "changes": options.changes,
        "pollers": options.pollers,
        "interval_seconds": INTERVAL,
        "p50_seconds": percentile(ages, 0.50),
        "p95_seconds": percentile(ages, 0.95),
        "max_seconds": max(ages),
    }


def _change(client: redis.Redis, count: int) -> list[float]:
    """Write as the platform does, at moments that keep no step with the polls; returns when."""
    spread = random.Random(7)
    changed = []
    time.sleep(INTERVAL)
    for number in range(count):
        values = {"circuit_breaker:state": "TRIPPED" if number % 2 == 0 else "OPEN"}
        values["circuit_breaker:last_trip_reason"] = f"bench change {number}"
        values["circuit_breaker:last_trip_at"] = datetime.now(UTC).isoformat()
        client.mset(values)
        changed.append(time.monotonic())
        time.sleep(INTERVAL * spread.uniform(1.35, 1.85))
    return changed


def _poll(number: int, port: int, key: str, sightings: Sightings, stop: threading.Event) -> None:
    """One page: a request a second on a kept connection, with the last ETag, as a browser does."""
    stop.wait(random.Random(number).uniform(0, INTERVAL))
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    headers = {"Cookie": f"sessionid={key}", "HX-Request": "true"}
    try:
        while not stop.is_set():
            connection.request("GET", FRAGMENT, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status not in (200, 304):
                raise BenchError(f"status {answer.status}")
            headers["If-None-Match"] = answer.headers["ETag"]
            sightings.note(number, body)
            stop.wait(INTERVAL)
    except (OSError, http.client.HTTPException, BenchError) as error:
        sightings.failures.append(f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def table(found: dict[str, Any]) -> Table:
    """As people read it."""
    figures = [f"{found[name]:.2f}" for name in ("p50_seconds", "p95_seconds", "max_seconds")]
    title = f"{found['changes']} changes, {found['pollers']} pages polling every {found['interval_seconds']:.0f} s"
    return Table(
        f"From a change in Redis to the card of a polling page, in seconds (CB-10: P95 ≤ {PROMISED_SECONDS:.0f} s)",
        ["", "P50", "P95", "max"],
        [[title, *figures]],
    )
