"""How a provider over HTTP behaves for one request."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

Writer: TypeAlias = asyncio.StreamWriter
#: Writes an answer; true: the connection may serve again.
Step = Callable[[Writer], Awaitable[bool]]


def reply(status: int = 200, body: object = b"ok", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole reply; what is neither bytes nor text goes as JSON."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/plain" if isinstance(body, bytes | str) else "application/json"
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Odd"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def says(status: int = 200, body: object = b"ok", **headers: str) -> Step:
    """Answers with this; `Retry_After="3"` is the header `Retry-After`."""
    content = reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    async def step(writer: Writer) -> bool:
        writer.write(content)
        await writer.drain()
        return True

    return step


def closes(then: Step | None = None) -> Step:
    """Answers, and closes the connection without having said so."""

    async def step(writer: Writer) -> bool:
        await (then or says())(writer)
        return False

    return step


def throttles(retry_after: str) -> Step:
    """429 with a `Retry-After`, in seconds or as a date."""
    return says(429, b"rate_limited", Retry_After=retry_after)


def redirects(to: str) -> Step:
    """302 to somewhere else."""
    return says(302, b"", Location=to)


def slow(seconds: float, then: Step | None = None) -> Step:
    """Answers after a while."""

    async def step(writer: Writer) -> bool:
        await asyncio.sleep(seconds)
        return await (then or says())(writer)

    return step


def silent() -> Step:
    """Takes the request and never answers."""
    return slow(3600)


def drips(every: float, content: bytes = reply(200, b"x" * 1000)) -> Step:
    """Answers one byte at a time."""

    async def step(writer: Writer) -> bool:
        for byte in content:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)
        return True

    return step


def floods(megabytes: int = 50) -> Step:
    """Answers without end."""

    async def step(writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        for _ in range(megabytes * 16):
            writer.write(b"x" * 65_536)
            await writer.drain()
        return False

    return step


def hangs_up() -> Step:
    """Closes the connection without an answer."""

    async def step(writer: Writer) -> bool:
        return False

    return step


def resets() -> Step:
    """Resets the connection without an answer."""

    async def step(writer: Writer) -> bool:
        raw: Any = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    return step


def half(content: bytes = reply(200, b"x" * 400)) -> Step:
    """Sends the first half of an answer and hangs up."""

    async def step(writer: Writer) -> bool:
        writer.write(content[: len(content) - 200])
        await writer.drain()
        return False

    return step


def half_a_head() -> Step:
    """Hangs up in the middle of the status line."""

    async def step(writer: Writer) -> bool:
        writer.write(b"HTTP/1.1 2")
        await writer.drain()
        return False

    return step


def garbage() -> Step:
    """Another protocol."""

    async def step(writer: Writer) -> bool:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        return False

    return step
