"""The probe of a service that speaks HTTP (HM-2, HM-3): `GET {base}/health`, judged by the contract."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from ssl import SSLContext
from time import perf_counter

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

import opsportal
from health.contract import Broken, HealthReply, latest_operation, own_words, parse_reply, shown_text, shown_value
from health.models import Status
from health.probes.addresses import guarded_socket
from health.probes.base import Cause, ProbeResult, Target
from health.probes.failures import explain
from health.probes.resolving import OwnThreadResolver

MAX_BODY = 256 * 1024
RETRY_AFTER_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 30.0
MAX_SENTENCE = 300

_READ_AHEAD = 64 * 1024
#: After these a second try may find another answer; the rest would only say the same again.
_RETRIED = frozenset({Cause.TIMEOUT, Cause.REFUSED, Cause.CONNECTION, Cause.DNS})
_STATUSES = {"healthy": Status.HEALTHY, "degraded": Status.DEGRADED, "unhealthy": Status.UNHEALTHY}
#: No rounding up to whole seconds, which aiohttp does to timeouts beyond 5 s.
_NEVER_ROUND = 1e9

Found = tuple[ProbeResult, HealthReply | None]


def open_session(tls: SSLContext | None = None) -> ClientSession:
    """A session for `probe`, of the running loop; close it with `await session.close()` or `async with`.

    Connections are kept for the next probe, and any number may be open at once: no service waits for another. It
    keeps no cookies, takes no proxy from the environment, and never connects to a refused address. `tls` replaces
    the system's certificate authorities.
    """
    connector = TCPConnector(
        limit=0,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        resolver=OwnThreadResolver(),
        socket_factory=guarded_socket,
        ssl=tls or True,
        timeout_ceil_threshold=_NEVER_ROUND,
    )
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        headers={
            "User-Agent": f"opsportal/{opsportal.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_AHEAD,
    )


async def probe(session: ClientSession, target: Target) -> ProbeResult:
    """What `target` answers, with one more try 0.2 s after a timeout or a failed connection.

    Never raises but when it is cancelled, and ends within twice the timeout and 0.2 s. A redirect is not followed
    and of a reply at most 256 KiB are read: either breaks the contract.
    """
    return (await examine(session, target))[0]


async def examine(session: ClientSession, target: Target) -> Found:
    """As `probe`, with the reply itself where there is a valid one. A target without a name may have any."""
    found = await _try(session, target)
    if found[0].cause not in _RETRIED:
        return found
    await asyncio.sleep(RETRY_AFTER_SECONDS)
    result, reply = await _try(session, target)
    return replace(result, tries=2), reply


# ---------------------------------------------------------------- one try
async def _try(session: ClientSession, target: Target) -> Found:
    begun = perf_counter()
    response: ClientResponse | None = None
    try:
        response = await session.get(_url(target.url), allow_redirects=False, timeout=_timeout(target.timeout))
        body = b"" if _is_redirect(response.status) else await _read(response)
        latency_us = round((perf_counter() - begun) * 1_000_000)
        return _judge(target, response, body, latency_us)
    except Exception as error:
        cause, sentence = explain(error, target, response_begun=response is not None)
        return ProbeResult(Status.UNREACHABLE, None, cause, sentence=shown_text(sentence, MAX_SENTENCE)), None
    finally:
        if response is not None:
            response.release()  # keeps the connection only where the whole reply has been read


async def _read(response: ClientResponse) -> bytes | None:
    """The body; None when it is larger than allowed, in which case the rest is never read."""
    content = response.content
    body = await content.readany()
    if content.at_eof():
        return body if len(body) <= MAX_BODY else None  # nearly always: one read brings it all
    pieces, size = [body], len(body)
    while size <= MAX_BODY:
        if content.at_eof():
            return b"".join(pieces)
        pieces.append(await content.readany())
        size += len(pieces[-1])
    return None


@lru_cache(maxsize=8192)
def _url(url: str) -> URL:
    return URL(url)


@lru_cache(maxsize=256)
def _timeout(seconds: float) -> ClientTimeout:
    return ClientTimeout(total=seconds, ceil_threshold=_NEVER_ROUND)


# ---------------------------------------------------------------- judging a reply
def _judge(target: Target, response: ClientResponse, body: bytes | None, latency_us: int) -> Found:
    status = response.status
    if _is_redirect(status):
        return _violation(latency_us, Cause.REDIRECT, _redirected(response)), None
    if body is None:
        if status >= 400:
            return _violation(latency_us, Cause.HTTP_STATUS, _no_reply(response)), None
        return _violation(latency_us, Cause.TOO_LARGE, "The reply is larger than 256 KiB."), None
    try:
        reply = parse_reply(body)
    except Broken as broken:
        return _broken(response, broken, latency_us), None
    if target.name and reply.service != target.name:
        return _violation(latency_us, Cause.NAME, _misnamed(target, reply), field="service"), reply
    if reply.status == "healthy" and not 200 <= status < 300:
        sentence = f"Its reply says healthy, but came with {_http(status)}."
        return _violation(latency_us, Cause.HTTP_STATUS, sentence, field="status"), reply
    return _valid(reply, latency_us), reply


def _valid(reply: HealthReply, latency_us: int) -> ProbeResult:
    status = _STATUSES[reply.status]
    operation = latest_operation(reply)
    cause, sentence = Cause.NONE, ""
    if status != Status.HEALTHY:
        words = own_words(reply)
        cause = Cause.SAID_SO
        sentence = f"It calls itself {reply.status}{f': {words}' if words else '.'}"
    return ProbeResult(
        status,
        latency_us,
        cause,
        sentence=sentence,
        version=_shown_version(reply.version) if reply.version else "",
        last_operation_at=operation[1] if operation else None,
        last_operation=operation[0] if operation else "",
    )


@lru_cache(maxsize=8192)
def _shown_version(version: str) -> str:
    return shown_text(version, 100)


def _broken(response: ClientResponse, broken: Broken, latency_us: int) -> ProbeResult:
    if not 200 <= response.status < 300:
        return _violation(latency_us, Cause.HTTP_STATUS, _no_reply(response))
    sentence = broken.sentence
    encoding = response.headers.get("Content-Encoding", "identity")
    if broken.cause == Cause.NOT_JSON and encoding.lower() != "identity":
        sentence = f"The reply is compressed ({shown_text(encoding, 20)}), which was not asked for."
    elif response.status == HTTPStatus.NO_CONTENT:
        sentence = f"It answered {_http(response.status)}: there is no reply in it."
    return _violation(latency_us, broken.cause, sentence, field=broken.field)


def _violation(latency_us: int, cause: Cause, sentence: str, *, field: str = "") -> ProbeResult:
    return ProbeResult(Status.VIOLATION, latency_us, cause, field=field, sentence=shown_text(sentence, MAX_SENTENCE))


def _is_redirect(status: int) -> bool:
    return 300 <= status < 400


def _redirected(response: ClientResponse) -> str:
    location = response.headers.get("Location", "")
    if not location:
        return f"It answered {_http(response.status)}, which is no health reply."
    return f"It redirects to {shown_text(location, 150)}; redirects are not followed. Register the final address."


def _misnamed(target: Target, reply: HealthReply) -> str:
    return (
        f'It calls itself {shown_value(reply.service)}, but is registered as "{target.name}"; '
        "its reply counts for neither. Correct its address or one of the names."
    )


def _no_reply(response: ClientResponse) -> str:
    path = shown_text(response.url.path, 100)
    return f"It answered {_http(response.status)}; there is no health reply at {path}."


def _http(status: int) -> str:
    """`HTTP 404 Not Found`: the phrase of the standard, not the server's, which could say anything."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
