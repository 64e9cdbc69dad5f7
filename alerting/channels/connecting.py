"""Connections that messages go out by: to allowed addresses only, and never for longer than one attempt may take.

The limit of time holds for the attempt as a whole, also where a server sends one byte at a time: every read and write
waits at most for what is left of it. It is kept for the thread: a connection may serve one thread after another.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from django.conf import settings

from alerting.channels.base import CONNECT_SECONDS, SEND_SECONDS, Answer
from alerting.models import Outcome
from opsportal.observability.addresses import (
    METADATA_NAMES,
    Address,
    is_public,
    listed,
    literal,
    why_refused,
)

SETTING = "ALERT_ALLOWED_NETWORKS"
#: What one attempt reads at most: a server that sends without end is cut off.
MAX_RECEIVED = 1024 * 1024


class Failed(Exception):
    """The attempt came to nothing. `elsewhere`: another way to the same recipient may work at once."""

    def __init__(
        self,
        outcome: Outcome,
        sentence: str,
        *,
        status_code: int | None = None,
        retry_after: float | None = None,
        elsewhere: bool = True,
    ) -> None:
        super().__init__(sentence)
        self.outcome, self.sentence, self.elsewhere = outcome, sentence, elsewhere
        self.status_code, self.retry_after = status_code, retry_after

    @property
    def answer(self) -> Answer:
        """The same as what `send` gives back."""
        return Answer(self.outcome, self.sentence[:300], self.status_code, self.retry_after)


class TooMuch(OSError):
    """The server sends without end."""


# ---------------------------------------------------------------- time
class _Attempt(threading.local):
    ends = 0.0
    room = 0
    #: The request went out as a whole: what fails after this may have been delivered.
    sent = False


_attempt = _Attempt()


@contextmanager
def attempt(seconds: float = SEND_SECONDS) -> Iterator[None]:
    """What this thread sends and receives inside ends within so many seconds; within another attempt, not after it."""
    before, room, sent = _attempt.ends, _attempt.room, _attempt.sent
    ends = time.monotonic() + seconds
    _attempt.ends = min(before, ends) if before else ends
    _attempt.room, _attempt.sent = MAX_RECEIVED, False
    try:
        yield
    finally:
        _attempt.ends, _attempt.room, _attempt.sent = before, room, sent


def seconds_left() -> float:
    """What is left of this thread's attempt. Raises `TimeoutError` when nothing is."""
    left = _attempt.ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the attempt took too long")
    return left


def mark_sent() -> None:
    """The request is out."""
    _attempt.sent = True


def was_sent() -> bool:
    """Whether the request is out."""
    return _attempt.sent


class _Timed:
    """Every call waits at most for what is left of the attempt of the thread that makes it."""

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        self.settimeout(seconds_left())  # type: ignore[attr-defined]
        content: bytes = super().recv(*args, **kwargs)  # type: ignore[misc]
        self._count(len(content))
        return content

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(seconds_left())  # type: ignore[attr-defined]
        count: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        self._count(count)
        return count

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(seconds_left())  # type: ignore[attr-defined]
        return super().send(*args, **kwargs)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(seconds_left())  # type: ignore[attr-defined]
        super().sendall(*args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def _count(received: int) -> None:
        _attempt.room -= received
        if _attempt.room < 0:
            raise TooMuch("more than anybody asked for")


class TimedSocket(_Timed, socket.socket):
    """A socket that keeps to the attempt's time."""


class TimedTlsSocket(_Timed, ssl.SSLSocket):
    """The same, encrypted."""


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Verifies certificates and names against the system's authorities; its sockets keep to the attempt's time."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TimedTlsSocket
    return context


# ---------------------------------------------------------------- where to
def host_refusal(host: str) -> str:
    """For forms: why no message goes to this host, as a sentence; empty when it may.

    Knows addresses in any spelling and the names of metadata services. What any other name leads to is decided when a
    message is sent.
    """
    name = host.strip().strip("[]").rstrip(".").lower()
    if name in METADATA_NAMES:
        return "This is a cloud's metadata service, to which no message goes."
    if name == "localhost" or name.endswith(".localhost"):
        return address_sentence("this machine's own address") if why_not(ip_address("127.0.0.1")) else ""
    address = literal(name)
    why = "" if address is None else why_not(address)
    return address_sentence(why) if why else ""


def connect(host: str, port: int) -> TimedSocket:
    """A connection to the first address of the host that is allowed and answers.

    The rule is applied to the very address that the socket is given, so that no second look-up can lead elsewhere.
    Raises `Failed` and never anything else.
    """
    try:
        ends = time.monotonic() + min(CONNECT_SECONDS, seconds_left())
        found = _look_up(host, port, ends - time.monotonic())
    except (TimeoutError, NotYet):
        raise Failed(Outcome.TRANSIENT, "Its host name could not be looked up in time.") from None
    except (OSError, UnicodeError):
        raise Failed(Outcome.TRANSIENT, "Its host name cannot be resolved.") from None
    refusal = problem = ""
    for number, (family, kind, protocol, where) in enumerate(found):
        if why := why_not(ip_address(where[0])):
            refusal = refusal or why
            continue
        left = ends - time.monotonic()
        if left <= 0:
            problem = problem or _not_connected(TimeoutError())
            break
        try:
            # One address that swallows everything leaves time for the others.
            return _open(TimedSocket(family, kind, protocol), where, left / (len(found) - number))
        except OSError as error:
            problem = _not_connected(error)
    if refusal and not problem:
        raise Failed(Outcome.PERMANENT, address_sentence(refusal))
    raise Failed(Outcome.TRANSIENT, problem or "Its host name leads to no address.")


def _open(connection: TimedSocket, where: Any, seconds: float) -> TimedSocket:
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(seconds)
        connection.connect(where)
        connection.settimeout(seconds_left())  # of a handshake, if there is one
    except OSError:
        connection.close()
        raise
    return connection


def _not_connected(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"No connection within {CONNECT_SECONDS:g} s."
    if isinstance(error, ConnectionRefusedError):
        return "It refuses connections."
    return "It cannot be reached."


def why_not(address: Address) -> str:
    """Why no message goes to this address, as a part of a sentence; empty when it may."""
    return why_refused(address, allowed=settings.ALERT_ALLOWED_NETWORKS, judge=_judge)


def _judge(address: Address) -> str:
    if why := listed(address):
        return why
    if address.is_loopback:
        return "this machine's own address"
    if address.is_multicast:
        return "a multicast address"
    return "" if is_public(address) else "a private address"


def address_sentence(why: str) -> str:
    """Why no message goes to an address, with the setting that would allow it."""
    return f"Its address is {why}, to which no message goes; {SETTING} would allow it."


# ---------------------------------------------------------------- looking names up
_Found = list[tuple[int, int, int, Any]]
_under_way: dict[tuple[str, int], Future[_Found]] = {}
_lock = threading.Lock()


def _look_up(host: str, port: int, seconds: float) -> _Found:
    """As getaddrinfo, within a time: a name server that does not answer holds up a thread of its own, once a name."""
    if literal(host) is not None:
        return _ask(host, port)
    key = (host, port)
    with _lock:
        future = _under_way.get(key)
        if future is None:
            future = _begin(key)
    return future.result(seconds)


def _begin(key: tuple[str, int]) -> Future[_Found]:
    """A look-up in a thread of its own. Raises `OSError` where there is none to be had; the next one asks anew."""
    future: Future[_Found] = Future()
    try:
        threading.Thread(target=_answer, args=(key, future), name="alerting-dns", daemon=True).start()
    except RuntimeError as error:
        raise OSError("no thread for the look-up") from error
    _under_way[key] = future
    return future


def _answer(key: tuple[str, int], future: Future[_Found]) -> None:
    try:
        found = _ask(*key)
    except Exception as error:
        outcome: Any = error
    else:
        outcome = None
    with _lock:
        _under_way.pop(key, None)
    if outcome is None:
        future.set_result(found)
    else:
        future.set_exception(outcome)


def _ask(host: str, port: int) -> _Found:
    return [
        (family, kind, protocol, where)
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
