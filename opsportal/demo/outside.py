"""The world outside the platform, a process of its own: a mail server, and Slack, Twilio and others over HTTP.

    python -m opsportal.demo.outside 21010 21011

It knows nothing of the portal. What it receives goes into the demo's inbox, in the Redis that REDIS_URL names. It ends
when its standard input closes, so it never outlives its starter.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from random import Random
from typing import Any

import redis
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsportal.demo import providers
from opsportal.demo.inbox import Letter, Letterbox
from opsportal.demo.service import EXIT_PORT_TAKEN, LOOPBACK

FLUSH_SECONDS = 0.2
BODY_MAX = 1_000_000


class World:
    """Both servers. `mishaps`: now and then a provider throttles, fails, or takes its time."""

    def __init__(self, box: Letterbox, *, chance: Random, mishaps: bool) -> None:
        self._box = box
        self._chance = chance
        self._mishaps = mishaps

    async def post(self, request: web.Request) -> web.Response:
        """Any POST to any of the providers."""
        body = await request.read()
        befalls = await self._befalls()
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply, arrived = providers.answer(request.path, headers, body, self._chance)
        refusal = providers.in_trouble(befalls) if arrived is not None else None
        if arrived is not None:
            self._keep(arrived, (refusal or reply).words, accepted=refusal is None)
        told = refusal or reply
        kind = "application/json" if told.json else "text/plain"
        return web.Response(status=told.status, text=told.body, headers=dict(told.headers), content_type=kind)

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the recipient, unless the address says that it bounces."""
        if address.lower().startswith(providers.BOUNCES):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Take the mail, or put it off."""
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content or "").encode()
        befalls = await self._befalls()
        told = "451 4.3.0 Try again later" if befalls in ("throttled", "failing") else "250 2.0.0 Taken"
        self._keep(providers.read_mail(raw, envelope.rcpt_tos), told, accepted=told.startswith("2"))
        return told

    async def flush_for_ever(self) -> None:
        """Hand what has arrived to Redis a few times a second."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.to_thread(self._box.flush)

    async def _befalls(self) -> str:
        befalls = providers.trouble(self._chance) if self._mishaps else ""
        if befalls == "slow":
            await asyncio.sleep(providers.SLOW_SECONDS)
        return befalls

    def _keep(self, arrived: providers.Arrived, told: str, *, accepted: bool) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._box.put(
            Letter(
                at=at,
                kind=arrived.kind,
                to=arrived.to,
                subject=arrived.subject,
                text=arrived.text,
                answer=told,
                key=arrived.key,
                accepted=accepted,
            )
        )


async def serve(world: World, mail_port: int, http_port: int) -> None:
    """Listen on both ports until standard input closes. Raises OSError where a port is somebody else's."""
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(
        lambda: SMTP(world, hostname="mail.demo", enable_SMTPUTF8=True), LOOPBACK, mail_port
    )
    app = web.Application(client_max_size=BODY_MAX)
    app.router.add_post("/{tail:.*}", world.post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, http_port).start()
    flushing = asyncio.create_task(world.flush_for_ever())
    await _starter_gone(loop)
    flushing.cancel()
    mail.close()


async def _starter_gone(loop: asyncio.AbstractEventLoop) -> None:
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


def main(arguments: list[str] | None = None) -> int:
    """Serve until standard input closes. Returns EXIT_PORT_TAKEN when a port is somebody else's."""
    parser = argparse.ArgumentParser(prog="python -m opsportal.demo.outside", description="The demo's outside world.")
    parser.add_argument("mail_port", type=int)
    parser.add_argument("http_port", type=int)
    parser.add_argument("--mishaps", action="store_true", help="providers throttle, fail and dawdle now and then")
    parser.add_argument("--seed", type=int, default=None, help="repeat the same mishaps")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the starter, which ends us
    client: Any = redis.Redis.from_url(
        os.environ["REDIS_URL"], decode_responses=True, socket_timeout=2, retry=Retry(NoBackoff(), 1)
    )
    chance = Random(options.seed)  # noqa: S311 - no secret
    world = World(Letterbox(client), chance=chance, mishaps=options.mishaps)
    try:
        asyncio.run(serve(world, options.mail_port, options.http_port))
    except OSError as error:
        print(f"outside: {error.strerror}", file=sys.stderr)  # noqa: T201
        return EXIT_PORT_TAKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
