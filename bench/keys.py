"""API keys: what recognising one costs beside the usual packages, and how soon a revoked one is dead (AK-4, AK-5)."""

from __future__ import annotations

import http.client
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from bench.load import Target, drive, in_turn, middle
from bench.report import Options, Table, percentile
from bench.servers import KEYED_SETTINGS, PROCFILE, BenchError, Servers, WebServer, fetch, web_server
from opsportal.accounts.actors import Actor
from opsportal.accounts.models import User
from opsportal.embedded.ports import LOOPBACK
from opsportal.embedded.procfile import web_workers

OPEN, OURS, OURS_MANY = "no key", "our keys", "our keys, one a connection"
PACKAGED, KNOX = "djangorestframework-api-key", "django-rest-knox"
#: So many services call; each has one key, or one token.
CALLERS = 10
PROMISED_RATIO = 0.8
PROMISED_SECONDS = 1.0
#: Connections that go on asking with a key while it is revoked; so many more as long as a web process has none.
HAMMERS, MOST_HAMMERS = 12, 96
PATIENCE_SECONDS = 15.0
WHY = "The benchmark revokes keys to see how soon they open nothing"
_BENCH = Actor.system("bench")
_PORTAL = "/api/bench/portal"


def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Requests per second with each kind of key, then the revocations, with Redis and without."""
    owners = _owners(max(CALLERS, options.sessions))
    found: dict[str, Any] = {"connections": options.sessions, "callers": CALLERS, "full": None}
    with web_server(servers, KEYED_SETTINGS) as web:
        if options.wrk:
            found |= _compare(servers, web, owners, options)
        times = max(1, options.changes // 3)
        found["revoked"] = {
            "Redis running": _revocations(web, owners[0], times, "running"),
        }
        with servers.redis.stopped():
            found["revoked"]["Redis stopped"] = _revocations(web, owners[0], times, "stopped")
    return found


# ---------------------------------------------------------------- what recognising a key costs
def _compare(servers: Servers, web: WebServer, owners: list[User], options: Options) -> dict[str, Any]:
    count = options.sessions
    ours = [f"Bearer {_key(owner, 'compare')}" for owner in owners[:count]]
    shared = {
        OURS: ours[:CALLERS],
        PACKAGED: _packaged_keys(),
        KNOX: _knox_tokens(owners[:CALLERS]),
    }
    callers = {name: (values * count)[:count] for name, values in shared.items()}
    targets = [
        Target(OPEN, web, "/api/bench/open", ["none"] * count, header="Authorization"),
        Target(OURS, web, _PORTAL, callers[OURS], header="Authorization"),
        Target(OURS_MANY, web, _PORTAL, ours, header="Authorization"),
        Target(PACKAGED, web, "/api/bench/packaged", callers[PACKAGED], header="Authorization"),
        Target(KNOX, web, "/api/bench/knox", callers[KNOX], header="Authorization"),
    ]
    for target in targets:
        _check(target)
        drive(servers, target, seconds=1)  # imports and connections are there afterwards
    runs = in_turn(servers, targets, rounds=options.rounds, seconds=options.seconds)
    full = {name: middle(loads) for name, loads in runs.items()}
    ratio = {name: load.per_second / full[OPEN].per_second for name, load in full.items()}
    return {"full": full, "ratio": ratio, "runs": runs}


def _check(target: Target) -> None:
    """What is measured is the list, and it is shut to who has no key."""
    status, _, body = fetch(target.server.port, target.path, {target.header: target.callers[0]})
    if status != 200 or "BENCH9" not in body:
        raise BenchError(f"{target.name}: expected ten items, got {status}: {body[:300]}")
    refused = fetch(target.server.port, target.path, {})[0]
    if target.name != OPEN and refused not in (401, 403):
        raise BenchError(f"{target.name}: without a key the status is {refused}")


def _owners(count: int) -> list[User]:
    """People who may look."""
    from django.contrib.auth.models import Group

    viewers = Group.objects.get(name="viewer")
    owners = []
    for number in range(count):
        user = User(username=f"keys{number}", is_staff=True)
        user.set_unusable_password()
        user.save()
        user.groups.add(viewers)
        owners.append(user)
    return owners


def _key(owner: User, name: str) -> str:
    from apikeys import services

    return services.create_key(by=_BENCH, owner=owner, name=name, scopes=["read:circuit"])[1].text


def _packaged_keys() -> list[str]:
    from rest_framework_api_key.models import APIKey

    return [f"Api-Key {APIKey.objects.create_key(name=f'bench{number}')[1]}" for number in range(CALLERS)]


def _knox_tokens(owners: list[User]) -> list[str]:
    from knox.models import AuthToken

    return [f"Token {AuthToken.objects.create(owner)[1]}" for owner in owners]


# ---------------------------------------------------------------- how soon a revocation bites
@dataclass
class Hammering:
    """What the hammering connections saw. Times on the monotonic clock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    process_of: dict[int, str] = field(default_factory=dict)
    last_accepted: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    first_refused: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, connection: int, status: int, process: str, sent: float, done: float) -> bool:
        """One answer; whether to go on asking. A connection stays with the process that answered it first."""
        with self.lock:
            if status == 200:
                self.process_of[connection] = process
                self.last_accepted[process] = max(self.last_accepted[process], sent)
                return True
            name = self.process_of.get(connection, "")
            self.first_refused[name] = min(self.first_refused.get(name, done), done)
            if status != 401:
                self.failures.append(f"status {status}")
            return False


def _revocations(web: WebServer, owner: User, times: int, name: str) -> dict[str, Any]:
    """One key after the other is revoked while it is in use."""
    each = [_revocation(web, owner, f"{name}{number}") for number in range(times)]
    return {
        "times": times,
        "processes": min(len(seconds) for seconds in each),
        "p50_seconds": percentile([max(seconds) for seconds in each], 0.50),
        "max_seconds": max(max(seconds) for seconds in each),
    }


def _revocation(web: WebServer, owner: User, name: str) -> list[float]:
    """Seconds from the call that revokes to the first refusal, for each web process."""
    from apikeys import services

    row, new = services.create_key(by=_BENCH, owner=owner, name=name, scopes=["read:circuit"])
    seen, stop = Hammering(), threading.Event()
    threads: list[threading.Thread] = []
    processes = web_workers(PROCFILE)
    try:
        while len(set(seen.process_of.values())) < processes:
            if len(threads) >= MOST_HAMMERS:
                raise BenchError(f"{len(threads)} connections did not reach {processes} web processes")
            for number in range(len(threads), len(threads) + HAMMERS):
                threads.append(threading.Thread(target=_hammer, args=(number, web.port, new.text, seen, stop)))
                threads[-1].start()
            _wait_until_all_answer(seen, len(threads))
        began = time.monotonic()
        services.revoke_key(row, by=_BENCH, reason=WHY)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if seen.failures:
        raise BenchError(f"a request with a key failed: {seen.failures[0]}")
    if len(seen.first_refused) != len(seen.last_accepted):
        raise BenchError(f"a revoked key still opens after {PATIENCE_SECONDS:.0f} s")
    late = [process for process, at in seen.first_refused.items() if seen.last_accepted[process] > at]
    if late:
        raise BenchError("a process accepted a revoked key after it had refused it")
    return [at - began for at in seen.first_refused.values()]


def _wait_until_all_answer(seen: Hammering, connections: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen.process_of) < connections and not seen.failures:
        if time.monotonic() > deadline:
            raise BenchError("the web server does not answer to a new key")
        time.sleep(0.02)


def _hammer(number: int, port: int, key: str, seen: Hammering, stop: threading.Event) -> None:
    """One request after the other on one connection, until the key is refused."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        while not stop.is_set():
            sent = time.monotonic()
            connection.request("GET", _PORTAL, headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            if not seen.note(number, answer.status, answer.headers.get("X-Process", ""), sent, time.monotonic()):
                return
    except (OSError, http.client.HTTPException) as error:
        seen.failures.append(f"{type(error).__name__}: {error}")
    finally:
        connection.close()


# ---------------------------------------------------------------- as people read it
def tables(found: dict[str, Any]) -> list[Table]:
    """The comparison, if wrk was there to make it, and the revocations."""
    rows = [
        [
            name,
            f"{load.per_second:,.0f}",
            f"{found['ratio'][name]:.2f}",
            f"{load.p50_ms:.1f}",
            f"{load.p95_ms:.1f}",
            f"{load.web_cpu_ms:.3f}",
            f"{load.postgres_cpu_ms:.3f}",
            f"{load.redis_cpu_ms:.3f}",
        ]
        for name, load in (found["full"] or {}).items()
    ]
    compared = Table(
        f"Ten items as JSON, {found['connections']} connections of {found['callers']} callers "
        f"(P50/P95 in ms; CPU in ms a request; aim: our keys at least {PROMISED_RATIO} times no key)",
        ["", "requests/s", "ratio", "P50", "P95", "web CPU", "PG CPU", "Redis CPU"],
        rows,
    )
    revoked = Table(
        f"From the revocation of a key in use to its first refusal by the last web process, in seconds "
        f"(AK-5: {PROMISED_SECONDS:.0f} s)",
        ["", "revocations", "web processes", "P50", "max"],
        [
            [
                name,
                f"{seen['times']}",
                f"{seen['processes']}",
                f"{seen['p50_seconds']:.2f}",
                f"{seen['max_seconds']:.2f}",
            ]
            for name, seen in found["revoked"].items()
        ],
    )
    return [compared, revoked] if rows else [revoked]
