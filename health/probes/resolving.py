"""Looking up names so that a name server which does not answer for one service holds up no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from socket import getaddrinfo, getnameinfo
from typing import Any, TypeVar

from aiohttp.resolver import ThreadedResolver

T = TypeVar("T")
_LookUp = list[tuple[Any, ...]]


class OwnThreadResolver(ThreadedResolver):
    """Each look-up has a thread of its own, which ends with it and which nobody waits for at exit.

    aiohttp's own resolver shares the loop's few threads: half a dozen names that hang would stop every other look-up
    for as long. The connector asks for each name once at a time and remembers answers, so the threads stay few.
    """

    def __init__(self) -> None:
        super().__init__(_Loop(asyncio.get_running_loop()))  # type: ignore[arg-type]


class _Loop:
    """The two calls of a loop that the resolver uses."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def getaddrinfo(self, host: str, port: int, **hints: int) -> _LookUp:
        return await _in_own_thread(self._loop, lambda: getaddrinfo(host, port, **hints))

    async def getnameinfo(self, address: Any, flags: int) -> tuple[str, str]:
        return await _in_own_thread(self._loop, lambda: getnameinfo(address, flags))


async def _in_own_thread(loop: asyncio.AbstractEventLoop, look_up: Callable[[], T]) -> T:
    answer: asyncio.Future[T] = loop.create_future()

    def settle(tell: Callable[[Any], None], outcome: object) -> None:
        if not answer.done():
            tell(outcome)

    def work() -> None:
        tell: Callable[[Any], None] = answer.set_result
        outcome: object
        try:
            outcome = look_up()
        except Exception as error:
            tell, outcome = answer.set_exception, error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, tell, outcome)

    threading.Thread(target=work, name="health-dns", daemon=True).start()
    return await answer
