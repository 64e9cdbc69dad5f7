"""The same alerts to the same webhook by Debian's Alertmanager, as many platforms do it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.servers import BenchError
from opsportal.embedded.ports import LOOPBACK, free_port

NAMES = ("prometheus-alertmanager", "alertmanager")
READY_SECONDS = 30.0


def program() -> str:
    """Where it is. Raises BenchError with the command that installs it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise BenchError(
            "prometheus-alertmanager is not on PATH; on Debian: sudo apt-get install prometheus-alertmanager; or leave "
            "the comparison out with --without-prometheus"
        )
    return found


@contextmanager
def running_alertmanager(folder: Path, urls: Sequence[str]) -> Iterator[tuple[int, int]]:
    """One that tells every alert to all of these webhooks at once, without grouping; its process id and its port."""
    folder.mkdir()
    port = free_port()
    # JSON is YAML.
    (folder / "alertmanager.yml").write_text(json.dumps(_configuration(urls)))
    arguments = [
        program(),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(port, process, folder / "log")
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def _configuration(urls: Sequence[str]) -> dict[str, object]:
    return {
        "route": {
            "receiver": "bench",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "5m",
            "repeat_interval": "4h",
        },
        "receivers": [{"name": "bench", "webhook_configs": [{"url": url, "send_resolved": False} for url in urls]}],
    }


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/-/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise BenchError(f"Alertmanager did not answer:\n{log.read_text(errors='replace')[-2000:]}")
