"""`python -m bench.loops KIND SECONDS`: two plain loops over services, to set the sweep beside.

`bare` fetches with aiohttp and reads the reply, no more; `probe` makes the portal's own probe of it, storing nothing.
SECONDS 0: all at once, several times; else one after the other over each interval, for so long. The ports come as
JSON on stdin, the figures go as JSON to stdout.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp

from bench.servers import ROOT, BenchError, Servers
from bench.targets import NAME

INTERVAL = 5.0
SPREAD = 0.8
TIMES = 6
#: Generous: what is compared is work, and 5,000 replies at once wait for each other.
TIMEOUT = 30.0
OPENED_AT_ONCE = 200
One = Callable[[int, int], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Looped:
    """CPU in seconds for 1,000 probes, the wall time of one sweep in seconds, and the share of a core (0 to 1)."""

    cpu_per_1000: float
    sweep_seconds: float
    core: float


def run_loop(servers: Servers, settings: str, kind: str, ports: list[int], seconds: float) -> Looped:
    """Run one in a process of its own. Raises BenchError with what it said if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.loops", kind, str(seconds)],
        cwd=ROOT,
        env=servers.environment(settings),
        input=json.dumps(ports),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the {kind} loop failed:\n{done.stderr[-3000:]}")
    return Looped(**json.loads(done.stdout.splitlines()[-1]))


def middle(runs: Sequence[Looped]) -> Looped:
    """The median of each figure."""
    return Looped(**{name: median(getattr(run, name) for run in runs) for name in Looped.__dataclass_fields__})


# ---------------------------------------------------------------- in the process of its own
async def _bare(ports: list[int], seconds: float) -> dict[str, float]:
    timeout = aiohttp.ClientTimeout(TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:

        async def one(_number: int, port: int) -> None:
            async with session.get(f"http://127.0.0.1:{port}/health", allow_redirects=False) as response:
                await response.read()

        return await _measured(ports, seconds, one)


async def _probe(ports: list[int], seconds: float) -> dict[str, float]:
    import django

    django.setup()
    from health.models import Status
    from health.probes.base import Target
    from health.probes.http import open_session, probe

    targets = [Target(n, NAME.format(n), f"http://127.0.0.1:{port}/health", TIMEOUT) for n, port in enumerate(ports)]
    async with open_session() as session:

        async def one(number: int, _port: int) -> None:
            if (await probe(session, targets[number])).status not in (Status.HEALTHY, Status.DEGRADED):
                raise SystemExit("a probe failed")

        return await _measured(ports, seconds, one)


async def _measured(ports: list[int], seconds: float, one: One) -> dict[str, float]:
    # Connections are open afterwards, as in every sweep but the first.
    for first in range(0, len(ports), OPENED_AT_ONCE):
        await asyncio.gather(*(one(n, ports[n]) for n in range(first, min(first + OPENED_AT_ONCE, len(ports)))))
    if seconds:
        return await _paced(ports, seconds, one)
    cpus, walls = [], []
    for _ in range(TIMES):
        cpu, wall = time.process_time(), time.perf_counter()
        await _all_at_once(ports, one)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
        await asyncio.sleep(0.2)
    return {
        "cpu_per_1000": median(cpus) / len(ports) * 1000,
        "sweep_seconds": median(walls),
        "core": median(cpus) / INTERVAL,
    }


async def _all_at_once(ports: list[int], one: One) -> None:
    await asyncio.gather(*(one(number, port) for number, port in enumerate(ports)))


async def _paced(ports: list[int], seconds: float, one: One) -> dict[str, float]:
    """As the sweep does: a service every 2 ms, or closer if the interval is too short for that."""
    spacing = min(0.002, SPREAD * INTERVAL / len(ports))
    sweeps = max(1, round(seconds / INTERVAL))
    cpu, begun, walls = time.process_time(), time.perf_counter(), []
    for sweep in range(sweeps):
        first = begun + sweep * INTERVAL
        await asyncio.sleep(first - time.perf_counter())
        tasks = []
        for number, port in enumerate(ports):
            wait = first + number * spacing - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.create_task(one(number, port)))
        await asyncio.gather(*tasks)
        walls.append(time.perf_counter() - first)
    await asyncio.sleep(begun + sweeps * INTERVAL - time.perf_counter())
    used = time.process_time() - cpu
    return {
        "cpu_per_1000": used / (sweeps * len(ports)) * 1000,
        "sweep_seconds": median(walls),
        "core": used / (sweeps * INTERVAL),
    }


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kind = {"bare": _bare, "probe": _probe}[sys.argv[1]]
    print(json.dumps(asyncio.run(kind(json.load(sys.stdin), float(sys.argv[2])))))
