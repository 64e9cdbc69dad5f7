"""One server that plays every provider over HTTP, each under a path of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.alerting.providers import steps
from tests.alerting.providers.steps import Step

TLS = Path(__file__).resolve().parents[2] / "health" / "tls"


@dataclass(frozen=True)
class Received:
    """One request as it came in. Names of headers are lower-cased."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode()))


@dataclass
class Provider:
    """One provider: what it received, and how it answers. `accepts` gives the answer of the real one."""

    path: str
    accepts: Callable[[Received], Step]
    server: Web
    received: list[Received] = field(default_factory=list)
    steps: deque[Step] = field(default_factory=deque)
    standing: Step | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.server.url}{self.path}"

    def script(self, *planned: Step) -> None:
        """The next requests are answered so, one after the other; those after them as usual."""
        self.steps.extend(planned)

    def always(self, step: Step | None) -> None:
        """Every request is answered so; None: as usual again."""
        self.standing = step

    def step_for(self, request: Received) -> Step:
        """What this request is answered with."""
        self.received.append(request)
        if self.steps:
            return self.steps.popleft()
        return self.standing or self.accepts(request)


class Web:
    """The server, in a thread of its own."""

    def __init__(self, *, certificate: str = "") -> None:
        self.connections = self.closed = 0
        self.scheme = "https" if certificate else "http"
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(TLS / certificate)
        self.webhook = Provider("/hook/Zm9vYmFyLXNlY3JldA", lambda _: steps.says(200, b"thanks"), self)
        self.slack = Provider("/services/T0/B0/right", _slack, self)
        self.twilio = Provider("/twilio", _twilio, self)
        self.sendgrid = Provider("/sendgrid/v3/", _sendgrid, self)
        self.pagerduty = Provider("/pagerduty", _pagerduty, self)
        #: Where nothing is expected: a redirect that was followed ends here.
        self.elsewhere = Provider("/elsewhere", lambda _: steps.says(), self)
        self._begun, self._loop = threading.Event(), asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._begun.wait(10)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def all(self) -> tuple[Provider, ...]:
        """Every provider."""
        return (self.webhook, self.slack, self.twilio, self.sendgrid, self.pagerduty, self.elsewhere)

    def stop(self) -> None:
        """Close it and every connection. Safe to call twice."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._begun.set()
        await self._stop.wait()
        server.close()
        for _ in range(5):  # what was accepted just now becomes a connection, which can be closed
            await asyncio.sleep(0)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await _request(reader):
                whole = request.path.partition("?")[0]
                provider = next((one for one in self.all if whole.startswith(one.path)), None)
                step = provider.step_for(request) if provider else self._unknown(request)
                if not await step(writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side is done with it
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            self.closed += 1

    def _unknown(self, request: Received) -> Step:
        if request.path.startswith("/services/"):
            return steps.says(404, b"no_service")
        return steps.says(404, b"not found")


async def _request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


# ---------------------------------------------------------------- what the real ones answer
RIGHT_KEY = "SG.0123456789abcdef.right"
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "0123456789abcdef0123456789abcdef"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


def _slack(request: Received) -> Step:
    return steps.says(200, b"ok")


def _sendgrid(request: Received) -> Step:
    if request.headers.get("authorization") != f"Bearer {RIGHT_KEY}":
        fault = {"message": "The provided authorization grant is invalid, expired, or revoked", "field": None}
        return steps.says(401, {"errors": [fault]})
    return steps.says(202, b"", X_Message_Id="sg-14c5d75ce93")


def _twilio(request: Received) -> Step:
    expected = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    if request.headers.get("authorization") != f"Basic {expected}":
        return steps.says(401, {"code": 20003, "message": "Authenticate", "status": 401})
    to = request.form.get("To", "")
    if to == "+15005550001":
        return twilio_error(21211, "The 'To' number +15005550001 is not a valid phone number.")
    return steps.says(201, {"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued", "to": to})


def twilio_error(code: int, message: str, status: int = 400, **headers: str) -> Step:
    """What Twilio answers when it refuses."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return steps.says(status, {"code": code, "message": message, "more_info": more, "status": status}, **headers)


def _pagerduty(request: Received) -> Step:
    event = request.json
    if event.get("routing_key") != ROUTING_KEY:
        return steps.says(
            400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]}
        )
    return steps.says(
        202, {"status": "success", "message": "Event processed", "dedup_key": event.get("dedup_key", "generated")}
    )
