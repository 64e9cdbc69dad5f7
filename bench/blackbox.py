"""The same services asked by Debian's Prometheus through its blackbox exporter, as many platforms do it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.servers import BenchError, Servers, family_cpu
from bench.targets import Targets
from opsportal.embedded.ports import LOOPBACK, free_port

#: Their packages in Debian, and how the programs may be called.
PROGRAMS = {
    "prometheus": ("prometheus",),
    "prometheus-blackbox-exporter": ("prometheus-blackbox-exporter", "blackbox_exporter"),
}
INTERVAL = 5
WAIT_SECONDS = 60.0
# A reply that is not 200 or does not say "healthy" is a failure: near to what the portal's probe looks at.
_MODULES = {
    "modules": {
        "health": {
            "prober": "http",
            "timeout": "5s",
            "http": {
                "valid_status_codes": [200],
                "fail_if_body_not_matches_regexp": ['"status": ?"healthy"'],
                "preferred_ip_protocol": "ip4",
                "follow_redirects": False,
            },
        }
    }
}


@dataclass(frozen=True)
class Asked:
    """CPU in seconds for 1,000 probes of either program, and the share of a core of both (0 to 1)."""

    probes: int
    exporter_per_1000: float
    prometheus_per_1000: float
    core: float

    @property
    def cpu_per_1000(self) -> float:
        """Of both together."""
        return self.exporter_per_1000 + self.prometheus_per_1000


def programs() -> dict[str, str]:
    """Where the two programs are. Raises BenchError with the command that installs them."""
    found = {package: next(filter(None, map(shutil.which, names)), None) for package, names in PROGRAMS.items()}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise BenchError(
            f"{' and '.join(missing)} not on PATH; on Debian: sudo apt-get install {' '.join(PROGRAMS)}; "
            "or leave the comparison out with --without-prometheus"
        )
    return {name: path for name, path in found.items() if path is not None}


def measure(servers: Servers, targets: Targets, seconds: float) -> Asked:
    """Both programs over all targets every 5 s, for so long."""
    paths = programs()
    folder = servers.folder / "prometheus"
    folder.mkdir()
    exporter_port, prometheus_port = free_port(), free_port()
    # JSON is YAML.
    (folder / "modules.yml").write_text(json.dumps(_MODULES))
    (folder / "prometheus.yml").write_text(json.dumps(_configuration(targets.ports, exporter_port)))
    exporter = [
        paths["prometheus-blackbox-exporter"],
        f"--config.file={folder / 'modules.yml'}",
        f"--web.listen-address={LOOPBACK}:{exporter_port}",
    ]
    prometheus = [
        paths["prometheus"],
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{prometheus_port}",
    ]
    with _running(exporter, folder) as exporter_pid, _running(prometheus, folder) as prometheus_pid:
        targets.reset()
        targets.wait_until_swept(2, WAIT_SECONDS)
        targets.reset()
        before = family_cpu(exporter_pid), family_cpu(prometheus_pid)
        time.sleep(seconds)
        after = family_cpu(exporter_pid), family_cpu(prometheus_pid)
        probes = targets.report().requests
    if probes < 0.9 * len(targets.ports) * seconds / INTERVAL:
        raise BenchError(f"Prometheus asked only {probes} times")
    return Asked(
        probes=probes,
        exporter_per_1000=(after[0] - before[0]) / probes * 1000,
        prometheus_per_1000=(after[1] - before[1]) / probes * 1000,
        core=(sum(after) - sum(before)) / seconds,
    )


def _configuration(ports: list[int], exporter_port: int) -> dict[str, object]:
    return {
        "global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s"},
        "scrape_configs": [
            {
                "job_name": "health",
                "metrics_path": "/probe",
                "params": {"module": ["health"]},
                "static_configs": [{"targets": [f"http://{LOOPBACK}:{port}/health" for port in ports]}],
                "relabel_configs": [
                    {"source_labels": ["__address__"], "target_label": "__param_target"},
                    {"source_labels": ["__param_target"], "target_label": "instance"},
                    {"target_label": "__address__", "replacement": f"{LOOPBACK}:{exporter_port}"},
                ],
            }
        ],
    }


@contextmanager
def _running(arguments: list[str], folder: Path) -> Iterator[int]:
    log = folder / f"{Path(arguments[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        time.sleep(0.5)
        if process.poll() is not None or not psutil.pid_exists(process.pid):
            raise BenchError(f"{arguments[0]} ended at once:\n{log.read_text(errors='replace')[-2000:]}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
