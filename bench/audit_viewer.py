"""The audit log's pages at 100 thousand, 1 million and 10 million entries, and what a write costs beside them."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
from django.db import connections

from bench import audit
from bench.people import SessionKeys
from bench.report import Options, Table, percentile
from bench.servers import PORTAL_SETTINGS, BenchError, Servers, WebServer, web_server
from opsportal.audit.search import PAGE_SIZE, Cursor
from opsportal.embedded import roles
from opsportal.embedded.ports import LOOPBACK

SIZES = (100_000, 1_000_000, 10_000_000)
MONTHS = 24
DEEP_PAGES = 1_000
REQUESTS_A_SECOND = 2
PROMISED_MS = 100.0
"""AU-6: the first page and every page with one filter, at 10 million entries."""
_BATCH = 500_000
_RARE = 3
_PATH = "/admin/audit/"

# A desk's log: most entries succeed, few people do most, one action in a thousand is unusual.
_FILL = """
INSERT INTO audit_entry (id, "timestamp", event_id, event, event_type, outcome, actor_label, source, cid, remote_addr,
    resource_type, resource_id, reason, object_pk, object_repr, action, changes, changes_text, additional_data)
SELECT nextval('audit_entry_id_seq'), now() - (%(all)s - n) * interval '1 second' * (%(seconds)s::float8 / %(all)s),
    gen_random_uuid(),
    CASE WHEN n <= %(rare)s THEN 'config_restore' WHEN n %% 1000 = 7 THEN 'user_disable' WHEN n %% 3 = 0 THEN 'login'
        WHEN n %% 3 = 1 THEN 'object_update' ELSE 'logout' END,
    CASE WHEN n <= %(rare)s THEN 'export' WHEN n %% 3 = 1 THEN 'admin' ELSE 'auth' END,
    CASE WHEN n %% 50 = 0 THEN 'denied' WHEN n %% 500 = 1 THEN 'failed' ELSE 'success' END,
    CASE WHEN n %% 1000 = 7 THEN 'sam (tp_live_' || n %% 5000 / 1000 || ')'
        ELSE 'user' || floor(200 * random() ^ 2) END,
    'portal', md5(n::text), ('10.0.' || n %% 8 || '.' || n / 8 %% 250)::inet,
    CASE WHEN n <= %(rare)s THEN 'strategy' WHEN n %% 3 = 1 THEN 'service' ELSE 'user' END, (n %% 500)::text,
    'A reason of usual length for what was done here', '', '', 3,
    CASE WHEN n %% 3 = 1 THEN '{"owner": ["Risk", "Trading"], "interval": ["5", "10"]}'::jsonb END, '',
    CASE WHEN n %% 3 <> 1 THEN '{"path": "/admin/login/", "method": "POST"}'::jsonb END
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


@dataclass(frozen=True)
class Page:
    """One kind of page: what it asks for, and whether it must keep the promise."""

    name: str
    query: dict[str, str]
    promised: bool = True


@dataclass(frozen=True)
class Timed:
    """One kind of page at one size. Milliseconds from the request to the last byte."""

    name: str
    p50_ms: float
    p95_ms: float
    promised: bool


def measure(servers: Servers, keys: SessionKeys, options: Options) -> dict[str, Any]:
    """The same pages at each size up to `options.rows`; at the last one audit writes too."""
    sizes = sorted({size for size in SIZES if size < options.rows} | {options.rows})
    found: dict[str, Any] = {"sizes": {}, "filled_seconds": {}}
    before = 0
    with web_server(servers, PORTAL_SETTINGS) as web:
        for size in sizes:
            started = time.perf_counter()
            fill(servers, before, size)
            found["filled_seconds"][str(size)] = time.perf_counter() - started
            found["sizes"][str(size)] = [
                _timed(web, keys.portal[0], page, options.rounds * options.seconds * REQUESTS_A_SECOND)
                for page in pages(servers)
            ]
            before = size
    default = connections["default"].settings_dict["NAME"]
    writes = audit.write(
        default, options.writers, seconds=options.steady_seconds, rate=audit.STEADY_PER_SECOND / options.writers
    )
    return {**found, "writes": writes}


def fill(servers: Servers, before: int, size: int) -> None:
    """Entries number `before` + 1 to `size`, spread over the months, past the triggers and the indexes."""
    with psycopg.connect(servers.postgres.url(roles.SUPERUSER), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        for months in range(MONTHS + 1):
            connection.execute("SELECT audit_ensure_partition((now() - make_interval(months => %s))::date)", [months])
        # What is there already makes room: its times belong to a smaller log.
        connection.execute("TRUNCATE audit_entry")
        indexes = connection.execute(
            "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = 'audit_entry'::regclass AND NOT i.indisunique"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")  # type: ignore[call-overload]
        for first in range(1, size + 1, _BATCH):
            connection.execute(
                _FILL,
                {
                    "first": first, "last": min(first + _BATCH - 1, size), "all": size, "rare": _RARE,
                    "seconds": MONTHS * 30 * 86_400,
                },
            )  # fmt: skip
        for _, definition in indexes:
            connection.execute(definition.replace(" ON ONLY ", " ON "))
        connection.execute("VACUUM (ANALYZE) audit_entry")
        connection.execute("CHECKPOINT")


def pages(servers: Servers) -> Iterator[Page]:
    """Every filter by itself, common, rare and in vain; deep pages; and several at once."""
    with psycopg.connect(servers.postgres.url(roles.SUPERUSER)) as connection:
        row = connection.execute(
            'SELECT "timestamp", id FROM audit_entry ORDER BY "timestamp" DESC, id DESC OFFSET %s LIMIT 1',
            [DEEP_PAGES * PAGE_SIZE],
        ).fetchone()
        old = connection.execute('SELECT min("timestamp"), min(cid) FROM audit_entry').fetchone()
    if old is None:
        raise BenchError("the audit log is empty")
    oldest: datetime = old[0]
    yield Page("first page", {})
    if row:
        yield Page(f"page {DEEP_PAGES:,}", {"before": str(Cursor(row[0], row[1]))})
    yield Page("who, common", {"who": "user0"})
    yield Page("who, nobody", {"who": "nobody"})
    yield Page("who, five names begin so", {"who": "sam*"})
    yield Page("who, 200 names begin so", {"who": "user*"})
    yield Page("action, common", {"event": "login"})
    yield Page("action, 3 in the oldest month", {"event": "config_restore"})
    yield Page("action, none", {"event": "circuit_trip"})
    yield Page("type, common", {"event_type": "auth"})
    yield Page("type, 3 in the oldest month", {"event_type": "export"})
    yield Page("outcome denied", {"outcome": "denied"})
    yield Page("resource type", {"resource_type": "service"})
    yield Page("resource type, rare", {"resource_type": "strategy"})
    yield Page("resource type and id", {"resource_type": "user", "resource_id": "77"})
    yield Page("IP address", {"ip": "10.0.3.17"})
    yield Page("network of 250 addresses", {"ip": "10.0.3.0/24"})
    yield Page("network, none", {"ip": "192.0.2.0/24"})
    yield Page("request id", {"request_id": str(old[1])})
    range_of = {"since": (oldest + timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%S")}
    range_of["until"] = (oldest + timedelta(days=91)).strftime("%Y-%m-%dT%H:%M:%S")
    yield Page("a day 21 months ago", range_of)
    yield Page("who and outcome", {"who": "user0", "outcome": "failed"}, promised=False)
    yield Page("who and IP, none", {"who": "user199", "ip": "10.0.0.1", "event": "user_disable"}, promised=False)
    yield Page("network and type, none", {"ip": "10.0.0.0/8", "resource_type": "strategy", "event": "login"}, False)


def _timed(web: WebServer, session: str, page: Page, requests: int) -> Timed:
    """One request after the other over one connection, as a browser has it, after one that warms up."""
    connection = http.client.HTTPConnection(LOOPBACK, web.port, timeout=60)
    address = f"{_PATH}?{urlencode(page.query)}" if page.query else _PATH
    taken = []
    try:
        for _ in range(requests + 1):
            started = time.perf_counter()
            connection.request("GET", address, headers={"Cookie": f"sessionid={session}"})
            answer = connection.getresponse()
            body = answer.read().decode()
            taken.append((time.perf_counter() - started) * 1000)
            if answer.status != 200 or 'id="audit-log"' not in body:
                raise BenchError(f"{page.name}: expected the log, got {answer.status}: {body[:300]}")
    finally:
        connection.close()
    return Timed(page.name, percentile(taken[1:], 0.50), percentile(taken[1:], 0.95), page.promised)


def table(found: dict[str, Any]) -> Table:
    """As people read it: a column a size."""
    sizes = list(found["sizes"])
    rows = []
    by_name = [{each.name: each for each in found["sizes"][size]} for size in sizes]
    for timed in found["sizes"][sizes[-1]]:
        shown = [each.get(timed.name) for each in by_name]
        rows.append([timed.name, *(f"{each.p50_ms:.0f} / {each.p95_ms:.0f}" if each else "–" for each in shown)])
    writes = found["writes"]
    last = f"{writes.p50_ms:.1f} / {writes.p95_ms:.1f}"
    rows.append([f"a write, steady {audit.STEADY_PER_SECOND:.0f} a second", *["" for _ in sizes[1:]], last])
    return Table(
        f"Audit log viewer, whole page, P50 / P95 in ms (AU-6: at most {PROMISED_MS:.0f} with one filter)",
        ["", *(f"{int(size):,} entries" for size in sizes)],
        rows,
    )
