"""One service of the demo platform, a process of its own: `GET /health` on loopback, by the health contract.

    python -m opsportal.demo.service orders 21001

It knows nothing of the portal. Its starter speaks to it on standard input, one JSON object a line (see `obey`), and
it ends when that closes: so it never outlives its starter, whatever ended that. It is kept small on purpose (no
asyncio, no http.server: each brings `ssl` along and doubles the process).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from datetime import UTC, datetime
from random import Random
from typing import IO

from opsportal.demo.behaviour import DOWN, MODES, TARDY, Behaviour
from opsportal.demo.roster import BY_NAME

LOOPBACK = "127.0.0.1"
EXIT_CRASHED = 70
EXIT_PORT_TAKEN = 75
PARENT_SECONDS = 0.5
IDLE_SECONDS = 75.0
LOOK_SECONDS = 0.5
LINE_BYTES = 8192
WORDS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


REQUEST = f"GET /health HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()


def ask(port: int) -> str:
    """What the service on this loopback port says of itself: a status, DOWN, or TARDY after half a second."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PARENT_SECONDS) as connection:
            connection.sendall(REQUEST)
            with connection.makefile("rb") as stream:
                raw = stream.read()
        return str(json.loads(raw.partition(b"\r\n\r\n")[2])["status"])
    except TimeoutError:
        return TARDY
    except (OSError, ValueError, KeyError, TypeError):
        return DOWN


class Handler(socketserver.StreamRequestHandler):
    """HTTP/1.1 with keep-alive, as much of it as a health probe needs."""

    server: Server
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def handle(self) -> None:
        """Answer request after request until the caller leaves."""
        try:
            while self._one():
                pass
        except OSError:
            return

    def _one(self) -> bool:
        request = self.rfile.readline(LINE_BYTES).split()
        if len(request) != 3:
            return False
        keep = request[2] == b"HTTP/1.1"
        while (line := self.rfile.readline(LINE_BYTES)) not in (b"\r\n", b"\n", b""):
            if line.lower().startswith(b"connection:") and b"close" in line.lower():
                keep = False
        code, body = self._answer(request[0], request[1])
        head = (
            f"HTTP/1.1 {code} {WORDS[code]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        self.wfile.write(head.encode() + (b"" if request[0] == b"HEAD" else body))
        return keep

    def _answer(self, method: bytes, path: bytes) -> tuple[int, bytes]:
        if method not in (b"GET", b"HEAD"):
            return 405, b'{"detail": "only GET"}'
        if path.partition(b"?")[0] != b"/health":
            return 404, b'{"detail": "only /health"}'
        behaviour = self.server.behaviour
        time.sleep(behaviour.delay())
        parents = {name: ask(port) for name, port in self.server.parents.items()}
        with self.server.one_at_a_time:
            reply = behaviour.reply(time.monotonic(), datetime.now(UTC), parents)
        return reply.code, json.dumps(reply.body).encode()


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection; looks every half second whether it is time to crash."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.parents: dict[str, int] = {}
        self.one_at_a_time = threading.Lock()
        super().__init__((LOOPBACK, port), Handler)

    def service_actions(self) -> None:
        """Die without a word, as a crash does, when the behaviour says so."""
        if self.behaviour.crashes(time.monotonic()):
            os._exit(EXIT_CRASHED)

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that left in the middle is nothing to print a traceback for; anything else is."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def obey(orders: IO[str], server: Server) -> None:
    """Take orders until the starter is gone. A line that cannot be understood is passed over."""
    for line in orders:
        try:
            order = json.loads(line)
            modes, halted = frozenset(order["modes"]) & MODES, bool(order["halted"])
            parents = {str(name): int(port) for name, port in order["parents"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        server.behaviour.modes, server.behaviour.halted, server.parents = modes, halted, parents


def main(arguments: list[str] | None = None) -> int:
    """Serve until standard input closes. Returns EXIT_PORT_TAKEN when the port is somebody else's."""
    parser = argparse.ArgumentParser(prog="python -m opsportal.demo.service", description="A service of the demo.")
    parser.add_argument("name", choices=sorted(BY_NAME))
    parser.add_argument("port", type=int)
    parser.add_argument("--pace", type=float, default=1.0, help="so many times faster mishaps; 0: no mishaps")
    parser.add_argument("--seed", type=int, default=None, help="repeats the same latencies and mishaps")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, which ends us
    behaviour = Behaviour(
        BY_NAME[options.name],
        chance=Random(options.seed),  # noqa: S311 - no secret
        start=time.monotonic(),
        pace=options.pace or None,
    )
    try:
        server = Server(options.port, behaviour)
    except OSError as error:
        print(f"{options.name}: port {options.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return EXIT_PORT_TAKEN
    look = LOOK_SECONDS / max(options.pace, 1.0)
    threading.Thread(target=server.serve_forever, args=(look,), daemon=True).start()
    obey(sys.stdin, server)
    os._exit(0)  # the threads may be in the middle of a slow reply


if __name__ == "__main__":
    sys.exit(main())
