"""Drives one address with wrk and accounts for the CPU that the servers spent on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.servers import BenchError, Servers, WebServer

LUA = Path(__file__).with_name("poll.lua")


@dataclass(frozen=True)
class Target:
    """One address as one hundred callers ask for it. `etag` empty: never 304.

    `callers`: for each connection the value of the `header` that says who calls.
    """

    name: str
    server: WebServer
    path: str
    callers: Sequence[str]
    etag: str = ""
    header: str = "Cookie"

    @property
    def status(self) -> int:
        """The one right answer."""
        return 304 if self.etag else 200


@dataclass(frozen=True)
class Load:
    """One run against a target. Latencies in ms, CPU in ms of one core a request."""

    requests: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    web_cpu_ms: float
    postgres_cpu_ms: float
    redis_cpu_ms: float


def drive(servers: Servers, target: Target, *, seconds: int, pause_ms: int = 0) -> Load:
    """As many requests as the server answers, or with `pause_ms` one per connection and pause.

    Raises BenchError when wrk is missing or any answer was an error.
    """
    program = shutil.which("wrk")
    if program is None:
        raise BenchError("wrk is not on PATH; `make bench` installs it on Debian, `brew install wrk` on macOS.")
    callers = servers.folder / f"callers-{target.name.replace(' ', '-')}"
    callers.write_text("".join(f"{caller}\n" for caller in target.callers), encoding="utf-8")
    connections = str(len(target.callers))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "BENCH_HEADER": target.header,
        "BENCH_CALLERS": str(callers),
        "BENCH_CONNECTIONS": connections,
        "BENCH_STATUS": str(target.status),
        "BENCH_ETAG": target.etag,
        "BENCH_PAUSE_MS": str(pause_ms),
    }
    arguments = [program, "-t1", "-c", connections, "-d", f"{seconds}s", "--timeout", "5s", "-s", str(LUA)]
    before = {"web": target.server.cpu_seconds(), **servers.cpu_seconds()}
    done = subprocess.run(
        [*arguments, target.server.url + target.path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    after = {"web": target.server.cpu_seconds(), **servers.cpu_seconds()}
    return wrk_result(done.stdout + done.stderr, before, after)


def wrk_result(printed: str, before: Mapping[str, float], after: Mapping[str, float]) -> Load:
    """What a run of wrk printed, with the CPU seconds of web, postgres and redis around it.

    Raises BenchError when it did not finish, or any answer was an error.
    """
    found = _result(printed)
    count = max(1, found["requests"])
    cpu = {name: (after[name] - before[name]) * 1000 / count for name in before}
    return Load(
        requests=found["requests"],
        per_second=found["requests"] * 1e6 / found["microseconds"],
        p50_ms=found["p50_us"] / 1000,
        p95_ms=found["p95_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        web_cpu_ms=cpu["web"],
        postgres_cpu_ms=cpu["postgres"],
        redis_cpu_ms=cpu["redis"],
    )


def _result(printed: str) -> dict[str, int]:
    lines = [line.removeprefix("BENCH ") for line in printed.splitlines() if line.startswith("BENCH ")]
    if not lines:
        raise BenchError(f"wrk did not finish:\n{printed[-2000:]}")
    found: dict[str, int] = json.loads(lines[0])
    failed = max(found["errors"], found["wrong"])
    if failed:
        raise BenchError(f"{failed} of {found['requests']} answers were not what was asked for:\n{printed[-2000:]}")
    return found


def middle(loads: Sequence[Load]) -> Load:
    """The median of each figure over several runs."""
    names = Load.__dataclass_fields__
    values = {name: median(getattr(load, name) for load in loads) for name in names}
    return Load(**{**values, "requests": sum(load.requests for load in loads)})


def in_turn(
    servers: Servers, targets: Sequence[Target], *, rounds: int, seconds: int, pause_ms: int = 0
) -> dict[str, list[Load]]:
    """Round after round, so that whatever else the machine does falls on all alike."""
    runs: dict[str, list[Load]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            runs[target.name].append(drive(servers, target, seconds=seconds, pause_ms=pause_ms))
    return runs
