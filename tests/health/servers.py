"""Real servers on loopback that behave, or misbehave as services in the field do."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

TLS = Path(__file__).parent / "tls"
HEALTHY = {"status": "healthy", "service": "orders", "version": "1.4.2", "last_order_at": "2026-01-31T09:30:00Z"}

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Answer = Callable[["Seen", Reader, Writer], Awaitable[None]]


@dataclass
class Seen:
    """What a server saw: connections, the heads of the requests, and the bytes it could send."""

    port: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    sent: int = 0

    def url(self, path: str = "/health", *, scheme: str = "http", host: str = "127.0.0.1") -> str:
        """Where it listens."""
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(answer: Answer, *, certificate: str = "") -> Iterator[Seen]:
    """A server in a thread of its own; `answer` is run for each connection. `certificate`: a file of tests/health/tls."""
    seen, ready, loop = Seen(), threading.Event(), asyncio.new_event_loop()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(TLS / certificate)

    async def connected(reader: Reader, writer: Writer) -> None:
        seen.connections += 1
        try:
            await answer(seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side is done with it
        finally:
            writer.close()

    async def run() -> None:
        # A handshake that the client refuses is what some tests are about.
        loop.set_exception_handler(lambda _loop, _context: None)
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        seen.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield seen
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


# ---------------------------------------------------------------- what a server may answer
def reply(body: object = None, *, status: str = "200 OK", headers: str = "", close: bool = False) -> bytes:
    """A whole reply. `body`: bytes as they are, anything else as JSON; None is a healthy one of `orders`."""
    content = body if isinstance(body, bytes) else json.dumps(HEALTHY if body is None else body).encode()
    ending = "Connection: close\r\n" if close else ""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{headers}{ending}"
    return head.encode() + b"\r\n" + content


def answers(*replies: bytes) -> Answer:
    """Answers each request of a connection with the next of `replies`, and from then on with the last one."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        while await _head(seen, reader):
            content = replies[min(len(seen.heads), len(replies)) - 1]
            writer.write(content)
            await writer.drain()
            if b"Connection: close" in content or content.startswith(b"HTTP/1.0"):
                return

    return answer


def says(**fields: Any) -> Answer:
    """A healthy service of that kind, but for `fields`; None leaves one out."""
    return answers(reply({name: value for name, value in {**HEALTHY, **fields}.items() if value is not None}))


def floods(head: bytes, piece: bytes, *, pieces: int) -> Answer:
    """Sends `head` and then `piece` over and over, counting in `Seen.sent` what the system took of it."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        writer.write(head)
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
            seen.sent += len(piece)

    return answer


def drips(content: bytes, every: float) -> Answer:
    """Sends `content` one byte at a time."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)

    return answer


def greets(content: bytes) -> Answer:
    """Sends `content` whatever comes, and hangs up: another protocol."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        writer.write(content)
        await writer.drain()

    return answer


def silent() -> Answer:
    """Takes the request and never answers."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        await reader.read()

    return answer


def resets() -> Answer:
    """Resets the connection when the request has come."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        _reset(writer)

    return answer


def recovers(then: bytes) -> Answer:
    """Resets two connections (the client library itself repeats a request once), then answers with `then`."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        if seen.connections <= 2:
            _reset(writer)
            return
        writer.write(then)
        await writer.drain()

    return answer


def drops_kept_connections() -> Answer:
    """Answers once; the next request on the same connection meets a reset, as from a server that gave it up."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        writer.write(reply())
        await writer.drain()
        if await _head(seen, reader):
            _reset(writer)

    return answer


def waits_for(others: threading.Event) -> Answer:
    """Answers when `others` is set."""

    async def answer(seen: Seen, reader: Reader, writer: Writer) -> None:
        await _head(seen, reader)
        while not others.is_set():
            await asyncio.sleep(0.01)
        writer.write(reply())
        await writer.drain()

    return answer


async def _head(seen: Seen, reader: Reader) -> bytes:
    """The next request's head; empty when the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    seen.heads.append(head)
    return head


def _reset(writer: Writer) -> None:
    # Lingering for no time makes the system send RST in place of FIN.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
