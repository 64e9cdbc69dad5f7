"""Audit writes per second with the chain and without it, their latency, and the speed of verification."""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from multiprocessing.queues import Queue
from statistics import median
from threading import Barrier
from typing import Any, TypeAlias

import psycopg
from django.db import connections, transaction

from bench.report import Options, Table, percentile
from bench.servers import BenchError, Servers
from opsportal.audit import chain, recorder
from opsportal.embedded import roles

CHAINED, UNCHAINED = "bench_chained", "bench_unchained"
WORK_SECONDS = 0.010
STEADY_PER_SECOND = 100.0
PROMISED_MS = 20.0
"""AU-7: the 95th percentile of a write at 100 writes a second."""
Results: TypeAlias = "Queue[list[float] | str]"
# Forked, so that eight writers need not load Django eight times on two cores.
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Pace:
    """How one writer writes. Seconds; `rate` is writes a second, None for as many as it can."""

    seconds: float
    work: float
    rate: float | None
    offset: float


@dataclass(frozen=True)
class Writes:
    """One run of all writers. A latency is from the moment a write was due to its commit, in ms."""

    count: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Chained against unchained, in turn, in two copies of the same database."""
    for name in (CHAINED, UNCHAINED):
        servers.copy_database(name)
    _disable_chain(servers)
    each = options.seconds
    found: dict[str, Any] = {
        "writers": options.writers,
        "work_ms": WORK_SECONDS * 1000,
        "with work": _in_turn(options, seconds=each, work=WORK_SECONDS),
        "flat out": _in_turn(options, seconds=each),
        "steady": _in_turn(options, seconds=options.steady_seconds, rate=STEADY_PER_SECOND / options.writers),
    }
    found["verify"] = _verify(servers)
    return found


def _in_turn(options: Options, *, seconds: float, work: float = 0.0, rate: float | None = None) -> dict[str, Writes]:
    """Round after round, so that whatever else the machine does falls on both alike; medians."""
    runs: dict[str, list[Writes]] = {CHAINED: [], UNCHAINED: []}
    for _ in range(options.rounds):
        for name, several in runs.items():
            several.append(write(name, options.writers, seconds=seconds, work=work, rate=rate))
    return {name: _middle(several) for name, several in runs.items()}


def _disable_chain(servers: Servers) -> None:
    """What nobody but the superuser can do, in the copy alone."""
    with psycopg.connect(servers.postgres.url(roles.SUPERUSER, UNCHAINED)) as connection:
        connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER audit_chain")


def write(database: str, writers: int, *, seconds: float, work: float = 0.0, rate: float | None = None) -> Writes:
    """All writers at once for `seconds`; with `rate` each writes so often a second, else as fast as it can."""
    connections.close_all()  # a forked child must not share a connection
    results: Results = _fork.Queue()
    ready = _fork.Barrier(writers, timeout=30)
    children = [
        # At a steady rate the writers take turns.
        _fork.Process(
            target=_writer,
            args=(database, ready, results, Pace(seconds, work, rate, number / (rate * writers) if rate else 0.0)),
        )
        for number in range(writers)
    ]
    for child in children:
        child.start()
    try:
        latencies = _collect(results, children, patience=seconds + 60)
    finally:
        for child in children:
            child.kill()
            child.join()
    return Writes(
        count=len(latencies),
        per_second=len(latencies) / seconds,
        p50_ms=percentile(latencies, 0.50) * 1000,
        p95_ms=percentile(latencies, 0.95) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
    )


def _collect(results: Results, children: Sequence[ForkProcess], *, patience: float) -> list[float]:
    latencies: list[float] = []
    for _ in children:
        try:
            answer = results.get(timeout=patience)
        except queue.Empty:
            raise BenchError(f"a writer of audit entries said nothing for {patience:.0f} s") from None
        if isinstance(answer, str):
            raise BenchError(f"a writer of audit entries failed: {answer}")
        latencies.extend(answer)
    return latencies


def _writer(database: str, ready: Barrier, results: Results, pace: Pace) -> None:
    """A child's life: connect, wait for the others, write until the end, report the latencies in seconds."""
    try:
        connections["default"].settings_dict["NAME"] = database
        _write_one(0.0)  # connects, and fills PostgreSQL's caches of this session
        ready.wait()
        results.put(_write_until(pace))
        connections.close_all()
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def _write_until(pace: Pace) -> list[float]:
    latencies = []
    due = time.monotonic() + pace.offset
    end = due + pace.seconds
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        _write_one(pace.work)
        finished = time.monotonic()
        if pace.rate is None:
            latencies.append(finished - started)
            due = finished
        else:
            # From when it was due: a write that had to wait for a slow one before it says so.
            latencies.append(finished - due)
            due += 1 / pace.rate
    return latencies


def _write_one(work: float) -> None:
    """An action with its audit record: `work` seconds of something else in the same transaction."""
    with transaction.atomic():
        recorder.record(
            "circuit_trip",
            actor_id=1,
            actor_label="bench",
            resource_type="breaker",
            resource_id="circuit_breaker:state",
            details={"from": "OPEN", "to": "TRIPPED", "category": "manual"},
            reason="The benchmark halts nothing at all, however often it says so",
            ip="127.0.0.1",
            request_id="bench-0123456789abcdef",
        )
        if work:
            time.sleep(work)


def _verify(servers: Servers) -> dict[str, float]:
    """`audit verify` over what was written. Raises BenchError when the log is not as it must be."""
    with psycopg.connect(servers.postgres.url(roles.SUPERUSER, UNCHAINED)) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM audit_link), (SELECT count(*) FROM audit_entry)"
        ).fetchone()
    default = connections["default"].settings_dict
    usual = default["NAME"]
    connections.close_all()
    default["NAME"] = CHAINED
    try:
        started = time.perf_counter()
        verdict = chain.verify()
        seconds = time.perf_counter() - started
    finally:
        connections.close_all()
        default["NAME"] = usual
    if not verdict.ok:
        raise BenchError(f"the chained log does not verify: {verdict.problem}")
    if row is None or row[0] >= row[1]:
        raise BenchError("the copy without the chain has as many links as entries: the trigger was not disabled")
    return {"records": verdict.checked, "seconds": seconds, "records_per_second": verdict.checked / seconds}


def _middle(runs: Sequence[Writes]) -> Writes:
    names = Writes.__dataclass_fields__
    values = {name: median(getattr(run, name) for run in runs) for name in names}
    return Writes(**{**values, "count": sum(run.count for run in runs)})


def table(found: dict[str, Any]) -> Table:
    """As people read it."""
    titles = {
        "with work": f"transactions of {found['work_ms']:.0f} ms work",
        "flat out": "as fast as possible",
        "steady": f"steady {STEADY_PER_SECOND:.0f} a second (AU-7: P95 < {PROMISED_MS:.0f} ms)",
    }
    rows = []
    for kind, title in titles.items():
        for name, label in ((CHAINED, "chained"), (UNCHAINED, "unchained")):
            writes: Writes = found[kind][name]
            figures = (writes.p50_ms, writes.p95_ms, writes.p99_ms)
            rows.append([f"{title}, {label}", f"{writes.per_second:,.0f}", *(f"{value:.1f}" for value in figures)])
    verify = found["verify"]
    rows.append(
        [f"audit verify of {verify['records']:,.0f} records", f"{verify['records_per_second']:,.0f}", "", "", ""]
    )
    return Table(
        f"Audit log, {found['writers']} writers (latency of a whole transaction in ms)",
        ["", "a second", "P50", "P95", "P99"],
        rows,
    )
