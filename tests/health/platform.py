"""Services as a platform has them: real HTTP servers on loopback whose behaviour a test changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from opsportal.embedded.ports import free_port


class PlatformService:
    """One service. `says` is its status, `calls_itself` its name, `takes` the seconds before it answers."""

    def __init__(self, host: Platform, name: str) -> None:
        self._host = host
        self.name = self.calls_itself = name
        self.port = free_port()
        self.says = "healthy"
        self.takes = 0.0
        self.asked = 0
        self.more: dict[str, Any] = {}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its base URL, the same whether it lives or not."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer."""
        self._host.run(self._start())

    def kill(self) -> None:
        """Close the port and every connection, as a killed process does."""
        self._host.run(self._stop())

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/health", self._health)
        self._runner = web.AppRunner(application, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(self.takes)
        now = datetime.now(UTC).isoformat()
        return web.json_response({"status": self.says, "service": self.calls_itself, "timestamp": now, **self.more})


class Platform:
    """The services' event loop, in a thread of its own."""

    def __init__(self) -> None:
        self.services: list[PlatformService] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, name: str) -> PlatformService:
        """A service that answers from now on."""
        service = PlatformService(self, name)
        service.start()
        self.services.append(service)
        return service

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        """End all of it."""
        for service in self.services:
            service.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
