"""`python -m bench.receiver DELAY`: a webhook that answers each request after so many seconds, a process of its own.

Prints its port, then answers each line on stdin with one line of JSON: `reset` forgets what was received, `count` and
`report` tell of it: when each request came in (monotonic), the `bench-…` names in it, and its idempotency key.
`slow N` changes the delay, `refuse N` has the next N requests answered with 503.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.servers import ROOT, BenchError

DELAY_SECONDS = 0.020
_NAME = re.compile(rb"bench-\d+-\d+")
_KEY = re.compile(rb"\r\nidempotency-key: ([^\r]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Came:
    """A request: when, which of our alerts it names, under which key."""

    at: float
    names: list[str]
    key: str


class Receiver:
    """The running webhook, as its caller sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.port: int = self._answer()

    @property
    def url(self) -> str:
        """Where it listens; any path will do."""
        return f"http://127.0.0.1:{self.port}/hook"

    def reset(self) -> None:
        """Forget what was received."""
        self._ask("reset")

    def count(self) -> int:
        """How many requests came since the last reset."""
        return int(self._ask("count"))

    def report(self) -> list[Came]:
        """All of them, in order."""
        return [Came(*each) for each in self._ask("report")]

    def refuse(self, number: int) -> None:
        """Answer the next ones with 503."""
        self._ask(f"refuse {number}")

    def wait_for(self, number: int, seconds: float) -> None:
        """Until so many came. Raises BenchError after `seconds`."""
        deadline = time.monotonic() + seconds
        while (count := self.count()) < number:
            if time.monotonic() > deadline:
                raise BenchError(f"only {count} of {number} messages came in {seconds:.0f} s")
            time.sleep(0.05)

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the webhook that receives the messages ended")
        return json.loads(line)


@contextmanager
def running_receiver(delay: float = DELAY_SECONDS) -> Iterator[Receiver]:
    """A webhook that ends with the block or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.receiver", str(delay)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Receiver(process)
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------- in the process of its own
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class _State:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.refuse = 0
        self.came: list[tuple[float, list[str], str]] = []


class _Hook(asyncio.Protocol):
    """One connection."""

    def __init__(self, state: _State, loop: asyncio.AbstractEventLoop) -> None:
        self._state, self._loop, self._buffer = state, loop, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            request, self._buffer = self._buffer[:whole], self._buffer[whole:]
            self._received(request)

    def _received(self, request: bytes) -> None:
        key = _KEY.search(request)
        names = sorted({name.decode() for name in _NAME.findall(request)})
        self._state.came.append((time.monotonic(), names, key[1].decode() if key else ""))
        answer = _OK
        if self._state.refuse:
            self._state.refuse -= 1
            answer = _REFUSED
        self._loop.call_later(self._state.delay, self._write, answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(delay: float) -> None:
    loop = asyncio.get_running_loop()
    state = _State(delay)
    server = await loop.create_server(lambda: _Hook(state, loop), "127.0.0.1", 0, backlog=4096)
    print(json.dumps(server.sockets[0].getsockname()[1]), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        word, _, number = line.decode().strip().partition(" ")
        answer: Any = None
        if word == "report":
            answer = state.came
        elif word == "count":
            answer = len(state.came)
        elif word == "refuse":
            state.refuse = int(number)
        elif word == "slow":
            state.delay = float(number)
        else:
            state.came = []
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(float(sys.argv[1])))
