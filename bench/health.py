"""The sweep of the health monitor at 50, 500 and 5,000 services, with its peers beside it (HM-2, HM-9, Q-3)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db import connection

from bench import blackbox, health_pages, loops
from bench.blackbox import Asked
from bench.loops import Looped
from bench.people import SessionKeys
from bench.report import Options, Table
from bench.servers import PORTAL_SETTINGS, BenchError, Process, Servers, family_cpu, procfile_process
from bench.targets import NAME, Targets, running_targets
from health import store
from health.models import Service, Status

SIZES = (50, 500, 5_000)
PEER_SIZE = 500
INTERVAL = 5.0
#: A minute with the usual options, so that the rolling up of a minute is part of what is measured.
STRETCH = 20 / 3
LEAST_SECONDS = 2 * INTERVAL
WAIT_SECONDS = 90.0
PROMISED_CPU = 0.30
PROMISED_SWEEP = 1.5
PROMISED_CORE = 0.20
#: Only the monitor's own tasks are to run beside it.
_ENVIRONMENT = {"FEATURE_CIRCUIT": "false", "LOG_LEVEL": "WARNING"}


@dataclass(frozen=True)
class Swept:
    """The sweep as shipped. CPU in seconds for 1,000 probes; the core is the worker's alone (0 to 1).

    `sweep_seconds`: from the first request of a sweep to its last; None where sweeps run into each other.
    """

    probes: int
    worker_per_1000: float
    postgres_per_1000: float
    redis_per_1000: float
    beat_per_1000: float
    core: float
    sweep_seconds: float | None
    p50_us: int
    p99_us: int
    changes: int

    @property
    def cpu_per_1000(self) -> float:
        """Of the worker, PostgreSQL and Redis together."""
        return self.worker_per_1000 + self.postgres_per_1000 + self.redis_per_1000


def measure(servers: Servers, keys: SessionKeys, options: Options) -> dict[str, Any]:
    """Each size in turn: the real sweep between the plain loops; at one size Prometheus and the pages too."""
    sizes = [size for size in SIZES if size <= options.services] or [options.services]
    peer_size = PEER_SIZE if PEER_SIZE in sizes else sizes[-1]
    found: dict[str, Any] = {"sizes": sizes, "loops": {}, "swept": {}, "peer_size": peer_size, "blackbox": None}
    for size in sizes:
        with running_targets(size) as targets:
            rounds = _plain_loops(servers, targets, options)
            pages = keys.portal if size == peer_size else []
            found["swept"][size], pages_found = _sweep(servers, targets, options, pages)
            if options.rounds > 1:
                rounds += _plain_loops(servers, targets, options)
            found["loops"][size] = {name: loops.middle([each[name] for each in rounds]) for name in rounds[0]}
            if size == peer_size:
                found["pages"] = pages_found
                if options.prometheus:
                    found["blackbox"] = blackbox.measure(servers, targets, _window(options))
    return found


def _window(options: Options) -> float:
    return max(LEAST_SECONDS, STRETCH * options.seconds * options.rounds)


def _plain_loops(servers: Servers, targets: Targets, options: Options) -> list[dict[str, Looped]]:
    """Round after round: what a virtual machine's core does in a second differs by a half from minute to minute."""
    return [
        {
            name: loops.run_loop(servers, PORTAL_SETTINGS, kind, targets.ports, seconds)
            for name, kind, seconds in (
                ("bare aiohttp, all at once", "bare", 0.0),
                ("our probe, all at once", "probe", 0.0),
                ("bare aiohttp, paced", "bare", INTERVAL),
                ("our probe, paced", "probe", INTERVAL),
            )
        }
        for _ in range(options.rounds)
    ]


def _sweep(
    servers: Servers, targets: Targets, options: Options, people: Sequence[str]
) -> tuple[Swept, dict[str, Any] | None]:
    """The worker and beat of the Procfile, nothing else; the pages too where there are people to look at them."""
    _register(targets)
    with (
        procfile_process(servers, PORTAL_SETTINGS, "health", _ENVIRONMENT) as worker,
        procfile_process(servers, PORTAL_SETTINGS, "beat", _ENVIRONMENT) as beat,
    ):
        targets.reset()
        targets.wait_until_swept(2, WAIT_SECONDS)
        swept = _measured(servers, targets, worker, beat, _window(options))
        pages = health_pages.measure(servers, people, options) if people else None
    return swept, pages


def _register(targets: Targets) -> None:
    """The registry anew, as after an edit: PostgreSQL and its copy in Redis."""
    Service.objects.all().delete()
    Service.objects.bulk_create(
        Service(name=NAME.format(number), base_url=f"http://127.0.0.1:{port}", owner=f"team {number % 7}")
        for number, port in enumerate(targets.ports)
    )
    store.publish_registry()


def _measured(servers: Servers, targets: Targets, worker: Process, beat: Process, seconds: float) -> Swept:
    targets.reset()
    before = {"worker": family_cpu(worker.pid), "beat": family_cpu(beat.pid), **servers.cpu_seconds()}
    begun = time.monotonic()
    began_at = _database_time()
    time.sleep(seconds)
    after = {"worker": family_cpu(worker.pid), "beat": family_cpu(beat.pid), **servers.cpu_seconds()}
    lasted = time.monotonic() - begun
    seen = targets.report()
    cpu = {name: (after[name] - before[name]) / max(1, seen.requests) * 1000 for name in before}
    p50, p99, stored, changes = _stored_since(began_at)
    # One sweep may lie across the edges of the window.
    if min(seen.requests, stored) < 0.9 * len(targets.ports) * (seconds / INTERVAL - 1):
        raise BenchError(f"{seen.requests} probes were made and {stored} stored in {seconds:.0f} s\n{worker.said()}")
    return Swept(
        probes=seen.requests,
        worker_per_1000=cpu["worker"],
        postgres_per_1000=cpu["postgres"],
        redis_per_1000=cpu["redis"],
        beat_per_1000=cpu["beat"],
        core=(after["worker"] - before["worker"]) / lasted,
        sweep_seconds=median(whole) if (whole := seen.sweep_seconds()) else None,
        p50_us=p50,
        p99_us=p99,
        changes=changes,
    )


def _database_time() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def _stored_since(moment: Any) -> tuple[int, int, int, int]:
    """Latency P50 and P99 in µs, how many samples, and how many changes of status."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_us), "
            "percentile_disc(0.99) WITHIN GROUP (ORDER BY latency_us), count(*) FROM health_sample "
            "WHERE at >= %s AND status IN (%s, %s)",
            [moment, Status.HEALTHY, Status.DEGRADED],
        )
        p50, p99, count = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM health_transition WHERE at >= %s", [moment])
        return p50 or 0, p99 or 0, count, cursor.fetchone()[0]


# ---------------------------------------------------------------- as people read it
def tables(found: dict[str, Any]) -> list[Table]:
    """The sweep and its peers, then where its CPU goes, then the pages."""
    return [_compared(found), _parts(found), *health_pages.tables(found["pages"])]


def _compared(found: dict[str, Any]) -> Table:
    rows = []
    for size in found["sizes"]:
        swept: Swept = found["swept"][size]
        bare: Looped = found["loops"][size]["bare aiohttp, paced"]
        rows.append(_row(size, "the sweep, stored", swept.cpu_per_1000, bare, swept.core, swept.sweep_seconds))
        for name, looped in found["loops"][size].items():
            rows.append(_row(size, name, looped.cpu_per_1000, bare, looped.core, looped.sweep_seconds))
        peer: Asked | None = found["blackbox"]
        if peer and size == found["peer_size"]:
            rows.append(_row(size, "Prometheus and blackbox exporter", peer.cpu_per_1000, bare, peer.core, None))
    return Table(
        f"Health checks every {INTERVAL:.0f} s: CPU seconds for 1,000 probes (promise {PROMISED_CPU:.2f}); "
        f"at {PEER_SIZE} services a sweep within {PROMISED_SWEEP} s and {PROMISED_CORE:.0%} of a core",
        ["services", "", "CPU / 1,000", "times bare", "of a core", "sweep (s)"],
        rows,
    )


def _row(size: int, name: str, cpu: float, bare: Looped, core: float, sweep_seconds: float | None) -> list[str]:
    wall = "spread" if sweep_seconds is None else f"{sweep_seconds:.2f}"
    return [f"{size:,}", name, f"{cpu:.3f}", f"{cpu / bare.cpu_per_1000:.2f}", f"{core:.1%}", wall]


def _parts(found: dict[str, Any]) -> Table:
    rows = [
        [
            f"{size:,}",
            f"{swept.worker_per_1000:.3f}",
            f"{swept.postgres_per_1000:.3f}",
            f"{swept.redis_per_1000:.3f}",
            f"{swept.beat_per_1000:.3f}",
            f"{swept.probes:,}",
            f"{swept.changes}",
            f"{swept.p50_us / 1000:.2f}",
            f"{swept.p99_us / 1000:.2f}",
        ]
        for size, swept in found["swept"].items()
    ]
    return Table(
        "Where the CPU of the sweep goes (seconds for 1,000 probes), and the latencies it measured (ms)",
        ["services", "worker", "PostgreSQL", "Redis", "(beat)", "probes", "changes", "P50", "P99"],
        rows,
    )
