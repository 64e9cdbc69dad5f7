"""Probing from a test: a session, a probe, and what it found."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import ClientSession

from health.probes.base import ProbeResult, Target
from health.probes.http import open_session, probe
from tests.health import servers
from tests.health.servers import Seen, serving

T = TypeVar("T")


def within(work: Callable[[ClientSession], Awaitable[T]], tls: ssl.SSLContext | None = None) -> T:
    """What `work` gives in a session of its own."""

    async def run() -> T:
        async with open_session(tls) as session:
            return await work(session)

    return asyncio.run(run())


def ask(url: str, *, name: str = "orders", timeout: float = 2.0, tls: ssl.SSLContext | None = None) -> ProbeResult:
    return within(lambda session: probe(session, Target(1, name, url, timeout)), tls)


def ask_one(answer: servers.Answer, **options: Any) -> tuple[ProbeResult, Seen]:
    with serving(answer) as server:
        return ask(server.url(), **options), server
