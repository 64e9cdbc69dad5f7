"""The health pages while a sweep runs: the page of a service with 7 days of history, and the fragment of the grid."""

from __future__ import annotations

import math
import random
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection

from bench.report import Options, Table, percentile
from bench.servers import PORTAL_SETTINGS, BenchError, Servers, fetch, web_server
from health import sketch
from health.models import Service
from health.rollups import COUNTS
from opsportal.embedded import roles

DAYS = 7
#: So many services have minutes and changes too; all have hours.
LOOKED_AT = 20
FRAGMENTS_A_SECOND = 3
PROMISED_PAGE_MS = 150.0
PROMISED_FRAGMENT_MS = 100.0
_POOL = 64


@dataclass(frozen=True)
class Served:
    """Times of one kind of request in ms, from sending it to its last byte, one request at a time."""

    name: str
    requests: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    bytes: int


def measure(servers: Servers, people: Sequence[str], options: Options) -> dict[str, Any]:
    """Fill the history, then ask for pages through the web server of the Procfile, while the sweep goes on."""
    names = list(Service.objects.order_by("pk").values_list("name", flat=True))
    looked_at = names[:: max(1, len(names) // LOOKED_AT)][:LOOKED_AT]
    rows = fill_history(looked_at)
    with psycopg.connect(servers.postgres.url(roles.SUPERUSER), autocommit=True) as superuser:
        superuser.execute("VACUUM ANALYZE")  # as autovacuum has done long since where a week of history is
    headers = {"Cookie": f"sessionid={people[0]}"}
    with web_server(servers, PORTAL_SETTINGS) as web:
        for path in ("/admin/health/", f"/admin/health/services/{names[1]}/?range=15m"):
            for _ in range(4):  # both of its processes have their templates and connections afterwards
                _get(web.port, path, headers, "<svg")
        pages = [f"/admin/health/services/{name}/?range=7d" for name in looked_at]
        found = [
            _timed("page of a service, 7 days, drawn anew", web.port, pages, headers, "<svg"),
            _timed("the same again", web.port, pages * options.rounds, headers, "<svg"),
            _timed(
                f"grid fragment, {len(names)} services",
                web.port,
                ["/admin/health/fragment/"] * (FRAGMENTS_A_SECOND * options.seconds * options.rounds),
                headers,
                names[-1],
                pause=1.1,  # past the second for which a process lets a reading serve again: each is drawn anew
            ),
        ]
    return {"services": len(names), "history_rows": rows, "served": found}


def fill_history(names: Sequence[str]) -> int:
    """7 days of hours for all services, and of minutes and changes for those named; returns how many rows."""
    spread = random.Random(7)
    hours = [_sketch(spread, 720) for _ in range(_POOL)]
    minutes = [_sketch(spread, 12) for _ in range(_POOL)]
    with connection.cursor() as cursor:
        for parent in ("health_minute", "health_hour", "health_transition"):
            cursor.execute(
                "SELECT health_ensure_partition(%s, now() - day * interval '1 day') FROM generate_series(0, %s) AS day",
                [parent, DAYS],
            )
        cursor.execute(_HOURS, {"sketches": hours, "pool": _POOL, "days": DAYS})
        rows = cursor.rowcount
        cursor.execute(_MINUTES, {"sketches": minutes, "pool": _POOL, "days": DAYS, "names": list(names)})
        rows += cursor.rowcount
        cursor.execute(_CHANGES, {"days": DAYS, "names": list(names)})
        rows += cursor.rowcount
    return int(rows)


_COUNTS = ", ".join(COUNTS)
_HOURS = f"""
    INSERT INTO health_hour (service_id, hour, {_COUNTS}, down, minutes, sketch)
    SELECT id, hour, 720, 718, 0, 720, 4, 2, 0, 0, 0.2, 60, (%(sketches)s::bytea[])[1 + mod(id + n, %(pool)s)]
    FROM health_service, generate_series(1, %(days)s * 24) AS n,
        LATERAL (SELECT date_trunc('hour', now(), 'UTC') - n * interval '1 hour' AS hour) AS at
    ON CONFLICT DO NOTHING
"""
_MINUTES = f"""
    INSERT INTO health_minute (service_id, minute, {_COUNTS}, sketch)
    SELECT id, minute, 12, 12, 0, 12, 0, 0, 0, 0, (%(sketches)s::bytea[])[1 + mod(id + n, %(pool)s)]
    FROM health_service, generate_series(5, %(days)s * 1440) AS n,
        LATERAL (SELECT date_trunc('minute', now()) - n * interval '1 minute' AS minute) AS at
    WHERE name = ANY(%(names)s)
    ON CONFLICT DO NOTHING
"""
_CHANGES = """
    INSERT INTO health_transition (service_id, service_name, at, began_at, from_status, to_status, cause, sentence)
    SELECT id, name, at, at - interval '5 s', 1 + n %% 2, 2 - n %% 2, 'said_so', 'It calls itself degraded.'
    FROM health_service, generate_series(1, %(days)s * 10) AS n,
        LATERAL (SELECT now() - n * interval '140 min' AS at) AS moment
    WHERE name = ANY(%(names)s)
"""


def _sketch(spread: random.Random, count: int) -> bytes:
    """The sketch of so many latencies about 8 ms, with a tail."""
    latencies = [spread.lognormvariate(9.0, 0.6) for _ in range(count)]
    bins = Counter(math.ceil(math.log(latency) / sketch.LN_GAMMA) for latency in latencies)
    return b"".join(struct.pack(">HH", number, times) for number, times in sorted(bins.items()))


def _timed(
    name: str, port: int, paths: Sequence[str], headers: dict[str, str], proof: str, *, pause: float = 0.0
) -> Served:
    times, size = [], 0
    for path in paths:
        begun = time.perf_counter()
        size = len(_get(port, path, headers, proof))
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(pause)
    return Served(name, len(times), percentile(times, 0.5), percentile(times, 0.95), max(times), size)


def _get(port: int, path: str, headers: dict[str, str], proof: str) -> str:
    status, _, body = fetch(port, path, headers)
    if status != 200 or proof not in body:
        raise BenchError(f"{path}: expected a page with {proof}, got {status}: {body[:300]}")
    return body


def tables(found: dict[str, Any]) -> list[Table]:
    """As people read it."""
    rows = [
        [
            served.name,
            f"{served.requests}",
            f"{served.p50_ms:.1f}",
            f"{served.p95_ms:.1f}",
            f"{served.max_ms:.1f}",
            f"{served.bytes / 1024:.0f}",
        ]
        for served in found["served"]
    ]
    return [
        Table(
            f"Health pages while {found['services']} services are swept, ms (promise: page {PROMISED_PAGE_MS:.0f}, "
            f"fragment {PROMISED_FRAGMENT_MS:.0f})",
            ["", "requests", "P50", "P95", "max", "KiB"],
            rows,
        )
    ]
