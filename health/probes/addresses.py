"""Addresses that a probe never connects to: those under which clouds hand out credentials, and their like.

Services live on private networks and on this machine, so those are fine. The table, and how an address may be written,
are those of `opsportal.observability.addresses`.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType
from django.conf import settings

from opsportal.observability.addresses import METADATA_NAMES, Address, AddressRefused, listed, literal, why_refused

__all__ = ["SETTING", "AddressRefused", "guarded_socket", "refusal"]

SETTING = "HEALTH_ALLOWED_NETWORKS"


def refusal(host: str) -> str:
    """Why the host of a service's address is refused; empty when it is not.

    For forms: knows addresses in any spelling that a resolver takes (`2852039166`, `0xa9.254.169.254`) and the names
    of metadata services. What any other name leads to is decided when its probe connects.
    """
    name = host.strip().strip("[]").rstrip(".").lower()
    if name in METADATA_NAMES:
        return f"{name} is a cloud's metadata service and is not probed."
    address = literal(name)
    return "" if address is None else _refused(address)


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """A socket for `address`, as getaddrinfo gives it. Raises `AddressRefused` where none may be opened."""
    family, kind, protocol, _, where = address
    sentence = _refused(ip_address(where[0]))
    if sentence:
        raise AddressRefused(sentence)
    return socket.socket(family=family, type=kind, proto=protocol)


def _refused(address: Address) -> str:
    """The sentence for an address in a refused network that the settings do not allow, else empty."""
    why = why_refused(address, allowed=settings.HEALTH_ALLOWED_NETWORKS, judge=listed)
    return f"{address} is {why}, and is not probed; {SETTING} would allow it." if why else ""
