"""How many alerts and values the portal takes, at the real door with a key, alone and while it delivers (AL-2, Q-3)."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings

from bench.alerts_delivery import ENVIRONMENT, dispatchers
from bench.load import Load, wrk_result
from bench.receiver import running_receiver
from bench.report import Options, Table, percentile
from bench.servers import PORTAL_SETTINGS, BenchError, Servers, WebServer, web_server
from opsportal.accounts.actors import Actor
from opsportal.embedded.ports import LOOPBACK

LUA = Path(__file__).with_name("alerts.lua")
CONNECTIONS = 16
BATCH = 100
RULES = 100
#: However many wait to be sent, more are taken.
DEEP_QUEUE = {name: ENVIRONMENT[name] for name in ("ALERT_QUEUE_FULL", "ALERT_QUEUE_RESUME", "ALERT_MOST_OPEN")}
#: Without wrk only this many requests are sent, one after the other: it shows that all works, not how fast.
FEW = 20
ALERTS, VALUES = "/api/v1/alerts", "/api/v1/observations"


@dataclass(frozen=True)
class Kind:
    """One way of sending: its name for people and for alerts.lua, the address, items a request, and the aim."""

    name: str
    word: str
    path: str
    items: int
    aim: int
    delivering: bool = False


KINDS = (
    Kind("alerts, each a new one", "new", ALERTS, 1, 650),
    Kind("alerts, each a new one, delivered meanwhile", "new", ALERTS, 1, 0, delivering=True),
    Kind("alerts, told again", "again", ALERTS, 1, 650),
    Kind(f"alerts, {BATCH} new ones a request", "batch", ALERTS, BATCH, 2_000),
    Kind(f"values, {BATCH} a request, {RULES} rules", "values", VALUES, BATCH, 500),
)


@dataclass(frozen=True)
class Taken:
    """One kind over several runs: items a second, latencies of requests in ms, CPU in ms an item."""

    per_second: float
    p50_ms: float
    p95_ms: float
    web_cpu_ms: float
    postgres_cpu_ms: float
    kept: int


def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Every kind in turn, on a portal with a rule on alerts from outside and 100 on values."""
    key = _key()
    found: dict[str, Taken] = {}
    with running_receiver(0.0) as receiver:
        _rules(receiver.url)
        with web_server(servers, PORTAL_SETTINGS, DEEP_QUEUE) as web:
            for kind in KINDS:
                if kind.delivering:
                    with dispatchers(servers, 1):
                        found[kind.name] = _taken(servers, web, kind, key, options)
                else:
                    found[kind.name] = _taken(servers, web, kind, key, options)
    return {"kinds": found, "connections": CONNECTIONS if options.wrk else 1}


def _taken(servers: Servers, web: WebServer, kind: Kind, key: str, options: Options) -> Taken:
    _forget()
    drive = _with_wrk if options.wrk else _one_by_one
    drive(servers, web, kind, key, 1)  # imports and connections are there afterwards
    loads = [drive(servers, web, kind, key, options.seconds) for _ in range(options.rounds)]
    return Taken(
        per_second=median(load.per_second for load in loads) * kind.items,
        p50_ms=median(load.p50_ms for load in loads),
        p95_ms=median(load.p95_ms for load in loads),
        web_cpu_ms=median(load.web_cpu_ms for load in loads) / kind.items,
        postgres_cpu_ms=median(load.postgres_cpu_ms for load in loads) / kind.items,
        kept=_kept(),
    )


def _with_wrk(servers: Servers, web: WebServer, kind: Kind, key: str, seconds: int) -> Load:
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("wrk is not on PATH; `make bench` installs it on Debian, `brew install wrk` on macOS.")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "BENCH_KEY": key,
        "BENCH_KIND": kind.word,
        "BENCH_BATCH": str(kind.items),
        "BENCH_RUN": secrets.token_hex(4),
        "BENCH_STATUS": "202",
    }
    arguments = [program, "-t1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "10s", "-s", str(LUA)]
    before = {"web": web.cpu_seconds(), **servers.cpu_seconds()}
    done = subprocess.run(
        [*arguments, web.url + kind.path],
        env=environment, capture_output=True, text=True, timeout=seconds + 60, check=False,
    )  # fmt: skip
    after = {"web": web.cpu_seconds(), **servers.cpu_seconds()}
    return wrk_result(done.stdout + done.stderr, before, after)


def _one_by_one(_servers: Servers, web: WebServer, kind: Kind, key: str, _seconds: int) -> Load:
    connection, run = http.client.HTTPConnection(LOOPBACK, web.port, timeout=30), secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    times = []
    try:
        for number in range(FEW):
            began = time.monotonic()
            connection.request("POST", kind.path, json.dumps(_body(kind, run, number)), headers)
            answer = connection.getresponse()
            body = answer.read()
            times.append((time.monotonic() - began) * 1000)
            if answer.status != 202:
                raise BenchError(f"{kind.name}: status {answer.status}: {body[:300]!r}")
    finally:
        connection.close()
    spent = {"web_cpu_ms": 0.0, "postgres_cpu_ms": 0.0, "redis_cpu_ms": 0.0}
    shares = {f"p{share}_ms": percentile(times, share / 100) for share in (50, 95, 99)}
    return Load(requests=FEW, per_second=FEW * 1000 / sum(times), **shares, **spent)


def _body(kind: Kind, run: str, number: int) -> Any:
    if kind.path == VALUES:
        return {"observations": [_value(place, number) for place in range(kind.items)]}
    names = ["the-same"] if kind.word == "again" else [f"{run}-{number}-{place}" for place in range(kind.items)]
    return {"alerts": [{"name": f"bench-{name}", "labels": {"service": "bench"}} for name in names]}


def _value(place: int, number: int) -> dict[str, Any]:
    bad = place % 10 == 0 and number % 2 == 0
    return {"metric": "drawdown", "value": 0.08 if bad else 0.01, "labels": {"strategy": f"s{place}"}}


def _key() -> str:
    from django.contrib.auth.models import Group

    from apikeys import services
    from opsportal.accounts.models import User

    user = User(username="bench-alerts", is_staff=True)
    user.set_unusable_password()
    user.save()
    user.groups.add(Group.objects.get(name="operator"))
    scopes = ["write:alerts", "write:observations"]
    return services.create_key(by=Actor.system("bench"), owner=user, name="alerts", scopes=scopes)[1].text


def _rules(url: str) -> None:
    """One rule on alerts from outside, 100 on drawdown: of each strategy its own limit; all tell one webhook."""
    from pydantic import SecretStr

    from alerting.channels.opening import seal_settings
    from alerting.channels.webhook import WebhookSettings
    from alerting.models import Channel, Rule

    settings.ALERT_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    sealed = seal_settings(WebhookSettings(url=SecretStr(url)))
    channel = Channel.objects.create(name="bench ingest", kind="webhook", sealed=sealed)
    Rule.objects.all().delete()
    rules = [Rule(name="Alerts", metric="external_alert", comparison="gte", threshold=1.0)]
    rules += [
        Rule(name=f"Limit {number}", metric="drawdown", comparison="gte", threshold=0.05,
             labels={"strategy": f"s{number}"})
        for number in range(RULES)
    ]  # fmt: skip
    for rule in Rule.objects.bulk_create(rules):
        rule.channels.set([channel])


def _forget() -> None:
    """Nothing waits and nothing is open, whatever was measured before."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM alerting_episode")
        cursor.execute("UPDATE alerting_event SET state = 'resolved' WHERE state <> 'resolved'")
        cursor.execute("UPDATE alerting_delivery SET status = 'delivered' WHERE status <> 'delivered'")


def _kept() -> int:
    from alerting.models import Event

    return Event.objects.count()


def tables(found: dict[str, Any]) -> Sequence[Table]:
    """As people read it."""
    aims = {kind.name: kind.aim for kind in KINDS}
    rows = [
        [
            name, f"{taken.per_second:,.0f}", f"{aims[name]:,}" if aims[name] else "", f"{taken.p50_ms:.1f}",
            f"{taken.p95_ms:.1f}", f"{taken.web_cpu_ms:.3f}", f"{taken.postgres_cpu_ms:.3f}",
        ]
        for name, taken in found["kinds"].items()
    ]  # fmt: skip
    title = (
        f"Taken over HTTP with an API key, {found['connections']} connections, each in the database before it is "
        "answered (P50/P95 of a request in ms; CPU in ms an item)"
    )
    return [Table(title, ["", "items/s", "aim", "P50", "P95", "web CPU", "PG CPU"], rows)]
