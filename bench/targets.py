"""`python -m bench.targets COUNT`: that many services in one process, each on a port of its own, for health checks.

A port each, as services have in life: a client keeps a connection for each host and port, so many paths on one port
would let the probes of different services share connections. Prints the ports as a JSON list, then answers
each line on stdin with one of JSON: `reset` forgets the requests seen so far, `report` tells their times.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.servers import ROOT, BenchError

NAME = "bench-{:04d}"
#: One service in so many changes its status with every third reply, so that changes are part of what is measured.
CHANGES_EVERY = 50
_GAP_SECONDS = 0.2


@dataclass(frozen=True)
class Seen:
    """The requests since the last reset: of each service the times of its requests, on the monotonic clock."""

    times: list[list[float]]

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(map(len, self.times))

    def sweep_seconds(self) -> list[float]:
        """How long each whole sweep took, from its first request to its last; empty if sweeps run into each other."""
        steady = [times for number, times in enumerate(self.times) if number % CHANGES_EVERY]
        ordered = sorted(at for times in steady for at in times)
        found, begin = [], 0
        for place in range(1, len(ordered) + 1):
            if place == len(ordered) or ordered[place] - ordered[place - 1] > _GAP_SECONDS:
                if place - begin == len(steady):
                    found.append(ordered[place - 1] - ordered[begin])
                begin = place
        return found


class Targets:
    """The running services, as their caller sees them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ports: list[int] = self._answer()

    def reset(self) -> None:
        """Forget what was seen."""
        self._ask("reset")

    def report(self) -> Seen:
        """What was seen since the last reset."""
        return Seen(self._ask("report"))

    def wait_until_swept(self, times: int, seconds: float) -> None:
        """Until each service was asked so often. Raises BenchError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not all(len(asked) >= times for asked in self.report().times):
            if time.monotonic() > deadline:
                missing = sum(len(asked) < times for asked in self.report().times)
                raise BenchError(f"{missing} of {len(self.ports)} services were not asked {times} times")
            time.sleep(0.2)

    def _ask(self, word: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the services to be probed did not start; is the limit of open files too low (ulimit -n)?")
        return json.loads(line)


@contextmanager
def running_targets(count: int) -> Iterator[Targets]:
    """`count` services in a process of their own, which ends with the block or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.targets", str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Targets(process)
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------- in the process of its own
class _Service(asyncio.Protocol):
    """One connection to one service."""

    def __init__(self, times: list[float], replies: tuple[bytes, bytes], *, changes: bool) -> None:
        self._times, self._replies, self._changes = times, replies, changes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._times.append(time.monotonic())
            bad = self._changes and len(self._times) // 3 % 2
            self._transport.write(self._replies[bad])


def _reply(number: int, status: str) -> bytes:
    body = json.dumps(
        {
            "status": status,
            "service": NAME.format(number),
            "version": "1.4.2",
            "timestamp": "2026-01-31T09:30:05Z",
            "last_order_at": "2026-01-31T09:29:58Z",
            "details": {"queue": 3, "reason": "the queue is long"},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    seen: list[list[float]] = [[] for _ in range(count)]
    ports = []
    for number, times in enumerate(seen):
        replies = (_reply(number, "healthy"), _reply(number, "degraded"))
        service = partial(_Service, times, replies, changes=number % CHANGES_EVERY == 0)
        server = await loop.create_server(service, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        answer: Any = None
        if line.strip() == b"report":
            answer = seen
        else:
            for times in seen:
                times.clear()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(int(sys.argv[1])))
