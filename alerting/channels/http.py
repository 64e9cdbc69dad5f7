"""One request over HTTP, the same way for every kind of channel: guarded, timed, never redirected, connections kept."""

from __future__ import annotations

import http.client
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

import opsportal
from alerting.channels import connecting
from alerting.channels.base import CONNECT_SECONDS, SEND_SECONDS
from alerting.channels.connecting import Failed, attempt, connect, mark_sent, tls_context, was_sent
from alerting.models import Outcome

USER_AGENT = f"opsportal/{opsportal.__version__}"
#: No answer that we ask for is longer; what comes after it is not read.
MAX_BODY = 64 * 1024
#: The longest that a provider's `Retry-After` is believed.
RETRY_AFTER_MAX = 86_400.0
# It writes whole addresses, which are secrets: each request at DEBUG, odd headers at WARNING.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

_CERTIFICATE = "Its TLS certificate is not accepted: it is expired, for another name, or of an unknown authority."


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that the sender asks to wait."""
        return retry_after(self.headers.get("Retry-After"))


class _Guarded(HTTPConnection):
    def _new_conn(self) -> Any:
        return connect(self._dns_host, self.port)

    def request(self, *args: Any, **kwargs: Any) -> None:
        super().request(*args, **kwargs)
        mark_sent()


class _GuardedTls(HTTPSConnection):
    def _new_conn(self) -> Any:
        return connect(self._dns_host, self.port)

    def connect(self) -> None:
        try:
            super().connect()
        except (ssl.SSLCertVerificationError, ssl.CertificateError):
            raise Failed(Outcome.PERMANENT, _CERTIFICATE) from None
        except (ssl.SSLError, urllib3.exceptions.SSLError):
            raise Failed(Outcome.TRANSIENT, "No encrypted connection could be agreed on; does it speak TLS?") from None
        except TimeoutError:
            raise Failed(Outcome.TRANSIENT, "The encrypted connection was not agreed on in time.") from None
        except OSError:
            raise Failed(Outcome.TRANSIENT, "The connection broke while it was being encrypted.") from None

    def request(self, *args: Any, **kwargs: Any) -> None:
        super().request(*args, **kwargs)
        mark_sent()


class _Plain(urllib3.HTTPConnectionPool):
    ConnectionCls = _Guarded


class _Tls(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


@lru_cache(maxsize=1)
def _pools() -> urllib3.PoolManager:
    pools = urllib3.PoolManager(
        num_pools=256,
        maxsize=max(32, settings.ALERT_THREADS),
        block=False,
        ssl_context=tls_context(),
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=SEND_SECONDS),
    )
    pools.pool_classes_by_scheme = {"http": _Plain, "https": _Tls}
    return pools


@lru_cache(maxsize=4096)
def _where(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname or "", parts.port, path


def forget_connections() -> None:
    """Close what is kept open; the next request connects anew."""
    if _pools.cache_info().currsize:
        _pools().clear()
    _pools.cache_clear()
    connecting.tls_context.cache_clear()


def exchange(url: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> Reply:
    """The reply to one request. Redirects are not followed, and nothing is tried a second time.

    Raises `Failed`: TRANSIENT while the request was not out yet, UNKNOWN after that.
    """
    try:
        scheme, host, port, path = _where(url)
        pool = _pools().connection_from_host(host, port, scheme)
    except (ValueError, HTTPError):
        raise Failed(Outcome.PERMANENT, "The address is not valid.") from None
    with attempt():
        try:
            response = pool.urlopen(
                method,
                path,
                body,
                {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            return _read(response)
        except Failed:
            raise
        except (HTTPError, OSError, http.client.HTTPException) as error:
            raise _failure(error) from None
        except (ValueError, UnicodeError):  # what http.client says of a header that cannot be sent
            raise Failed(Outcome.PERMANENT, "The address or a header has characters that cannot be sent.") from None


def _read(response: Any) -> Reply:
    body, done = b"", False
    try:
        while len(body) < MAX_BODY:
            piece = response.read(MAX_BODY - len(body))
            body += piece
            if done := not piece or response.length_remaining == 0:
                break
        return Reply(response.status, response.headers, body)
    finally:
        # Only a connection whose reply was read to its end can serve again.
        if done:
            response.release_conn()
        else:
            response.close()


def _failure(error: BaseException) -> Failed:
    outcome = Outcome.UNKNOWN if was_sent() else Outcome.TRANSIENT
    if isinstance(error, urllib3.exceptions.TimeoutError) or _because(error, TimeoutError):
        words = f"No complete answer within {SEND_SECONDS:g} s."
    elif _because(error, connecting.TooMuch):
        words = "Its answer is far too long."
    elif _because(error, http.client.RemoteDisconnected):
        words = "It closed the connection without an answer."
    elif _because(error, http.client.IncompleteRead) or "IncompleteRead" in type(error).__name__:
        words = "Its answer broke off before the end."
    elif _because(error, ConnectionError):
        words = "It reset the connection."
    elif _because(error, http.client.HTTPException):
        words = "What it answers is not valid HTTP."
    else:
        words = "The connection broke."
    if outcome == Outcome.UNKNOWN:
        words += " The message may have arrived all the same."
    return Failed(outcome, words)


def _because(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether the error, or what it wraps or came from, is of this kind."""
    for _ in range(6):
        if error is None:
            return False
        if isinstance(error, kind):
            return True
        wrapped = next((part for part in error.args if isinstance(part, BaseException)), None)
        error = wrapped or error.__cause__ or error.__context__
    return False


def retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a header `Retry-After` means: a number, or a date of HTTP. None for anything else."""
    if not text:
        return None
    text = text.strip()[:64]
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), RETRY_AFTER_MAX)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - (now or datetime.now(UTC))).total_seconds(), 0.0), RETRY_AFTER_MAX)
