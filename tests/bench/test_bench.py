"""The benchmarks run, measure the right thing and leave nothing behind. No figure is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from bench import report, servers
from bench.__main__ import PARTS, parse

TINY = (
    *("--seconds", "1"),
    *("--rounds", "1"),
    *("--sessions", "4"),
    *("--changes", "2"),
    *("--services", "6"),
    *("--rows", "1000"),
    "--without-prometheus",
    "--without-wrk",
)
#: The polled part drives wrk, which an ordinary user may not have: `make bench` is its own proof.
PROVEN = tuple(part for part in PARTS if part != "polled")


def test_bench__tiny_counts__prints_tables_and_leaves_nothing() -> None:
    """Q-3: a real run on servers of its own, from start to clean end."""
    # The tests' own servers must not be used, whatever this process' environment names.
    child = subprocess.Popen(
        [sys.executable, "-m", "bench", *TINY, *(f"--only={part}" for part in PROVEN)],
        cwd=servers.ROOT,
        env={**os.environ, "DATABASE_URL": "postgresql://nobody:none@127.0.0.1:9/none"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed, complaints = child.communicate(timeout=400)
    assert child.returncode == 0, complaints
    result = servers.ROOT / printed.split(" written", 1)[0].split()[-1]
    try:
        found = json.loads(result.read_text())
    finally:
        result.unlink()
    assert found["options"]["sessions"] == 4 and found["machine"]["cpus"]
    assert set(CHECKS) == set(PROVEN) == set(found) & set(PARTS)
    assert [part for part, check in CHECKS.items() if not check(found[part])] == []
    assert not list(Path(tempfile.gettempdir()).glob(f"{servers.PREFIX}{child.pid}-*"))
    assert not [p for p in psutil.process_iter(["environ"]) if _belongs_to(p, child.pid)]


def _belongs_to(process: psutil.Process, pid: int) -> bool:
    environ = process.info["environ"] or {}
    return f"{servers.PREFIX}{pid}-" in environ.get("STATIC_ROOT", "")


CHECKS = {
    "delivery": lambda found: (
        all(found[name]["deliveries"] > 0 and found[name]["twice"] == 0 for name in ("flat out", "drained"))
        and found["fan-out"]["messages"] == 40 * found["fan-out"]["alerts"]
    ),
    "audit": lambda found: found["verify"]["records"] >= found["flat out"]["bench_chained"]["count"] > 0,
    "viewer": lambda found: (
        all(0 < page["p50_ms"] <= page["p95_ms"] for page in found["sizes"]["1000"]) and found["writes"]["count"] > 0
    ),
    "health": lambda found: (
        found["swept"]["6"]["probes"] >= 6
        and found["swept"]["6"]["worker_per_1000"] > 0
        and all(served["requests"] and served["p50_ms"] > 0 for served in found["pages"]["served"])
        and found["blackbox"] is None
    ),
    "keys": lambda found: all(
        seen["processes"] == 2 and 0 < seen["p50_seconds"] <= seen["max_seconds"] for seen in found["revoked"].values()
    ),
    "ingest": lambda found: all(taken["per_second"] > 0 and taken["kept"] for taken in found["kinds"].values()),
    "staleness": lambda found: 0 < found["p50_seconds"] <= found["p95_seconds"] <= found["max_seconds"] < 5,
}


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0), (1.0, 4.0)])
def test_percentile__nearest_rank(share: float, wanted: float) -> None:
    """No interpolation: a figure that was really measured."""
    assert report.percentile([4.0, 1.0, 3.0, 2.0], share) == wanted
    assert report.percentile([], share) == 0.0


def test_parse__beyond_the_bounds__is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A run always ends."""
    with pytest.raises(SystemExit):
        parse(["--seconds", "61"])
    assert "--seconds must be from 1 to 60" in capsys.readouterr().err
    assert parse(["--only", "staleness", "--only", "audit"])[0] == ("audit", "staleness")
    assert parse([])[0] == PARTS
