"""Why a probe got no reply, in plain words."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponseError,
    ClientSSLError,
    InvalidURL,
    NonHttpUrlClientError,
    ServerDisconnectedError,
)

from health.probes.addresses import AddressRefused
from health.probes.base import Cause, Target

log = logging.getLogger(__name__)

Explained = tuple[Cause, str]

#: OpenSSL's X509_V_ERR_*: what is wrong with the certificate.
_CERTIFICATE_FAULTS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself, by no authority that the portal trusts",
    19: "is signed by an authority that the portal does not trust",
    20: "is signed by an authority that the portal does not trust",
    21: "is signed by an authority that the portal does not trust",
    23: "has been revoked",
    62: "is for another host name",
    64: "is for another address",
}


def explain(error: Exception, target: Target, *, response_begun: bool) -> Explained:
    """The cause and a sentence for whatever a try raised; `response_begun`: the reply's head had come."""
    if isinstance(error, TimeoutError):
        return Cause.TIMEOUT, _timed_out(target, response_begun=response_begun)
    if isinstance(error, ClientConnectorDNSError):
        return Cause.DNS, f"The name {error.host} cannot be resolved: {_reason(error.os_error)}."
    if isinstance(error, ClientConnectorCertificateError):
        return Cause.TLS, _bad_certificate(error)
    if isinstance(error, ClientSSLError):
        return Cause.TLS, _failed_handshake(error)
    if isinstance(error, ClientConnectorError):
        return _not_connected(error)
    if isinstance(error, InvalidURL | NonHttpUrlClientError | ValueError):
        return Cause.ADDRESS, "Its address is not a valid HTTP address."
    if isinstance(error, ServerDisconnectedError):
        return Cause.CONNECTION, "It closed the connection without a reply."
    if isinstance(error, ClientPayloadError):
        return Cause.CONNECTION, "Its reply broke off before the end."
    if isinstance(error, ClientResponseError):
        return Cause.CONNECTION, "What it answers is not valid HTTP."
    if isinstance(error, ClientConnectionError | OSError):
        return Cause.CONNECTION, _broken_connection(error, response_begun=response_begun)
    if not isinstance(error, ClientError):
        log.exception("health_probe_failed", exc_info=error)
    return Cause.CONNECTION, f"It could not be probed: {type(error).__name__}."


def _timed_out(target: Target, *, response_begun: bool) -> str:
    what = "Its reply did not end" if response_begun else "It did not reply"
    return f"{what} within {target.timeout:g} s."


def _not_connected(error: ClientConnectorError) -> Explained:
    cause = error.os_error
    where = f"{error.host}:{error.port}"
    if isinstance(cause, AddressRefused):
        return Cause.ADDRESS, cause.sentence
    if isinstance(cause, ConnectionRefusedError) or cause.errno == errno.ECONNREFUSED:
        return Cause.REFUSED, f"{where} refuses connections."
    if cause.errno == errno.ETIMEDOUT:
        return Cause.TIMEOUT, f"{where} does not answer."
    return Cause.CONNECTION, f"No connection to {where}: {_reason(cause)}."


def _broken_connection(error: Exception, *, response_begun: bool) -> str:
    if isinstance(error, ConnectionResetError) or getattr(error, "errno", None) == errno.ECONNRESET:
        return "It reset the connection " + ("in the middle of its reply." if response_begun else "without a reply.")
    return f"The connection broke: {_reason(error)}."


def _bad_certificate(error: ClientConnectorCertificateError) -> str:
    certificate_error = error.certificate_error
    code = getattr(certificate_error, "verify_code", None)
    fault = _CERTIFICATE_FAULTS.get(code) if code is not None else None
    if fault is None:
        fault = f"is not accepted: {getattr(certificate_error, 'verify_message', '') or certificate_error}"
    return f"The certificate of {error.host} {fault}."


def _failed_handshake(error: ClientSSLError) -> str:
    cause: object = error.os_error
    reason = cause.reason if isinstance(cause, ssl.SSLError) else ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"{error.host}:{error.port} does not speak TLS; its address may need http instead of https."
    return f"No secure connection to {error.host}:{error.port}: {(reason or _reason(cause)).lower().replace('_', ' ')}."


def _reason(error: object) -> str:
    """What the system says, without its numbers."""
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror):
        return (error.strerror or "no answer").lower()
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
