"""Addresses that a probe never connects to: those under which clouds hand out credentials, and their like.

Whoever may register a service could otherwise read the portal's own cloud credentials through it. The rule is
enforced on the address itself as the socket is made, so neither a name, nor a name that changes its address between
two look-ups, nor another way of writing an address gets around it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from aiohappyeyeballs import AddrInfoType
from django.conf import settings

Address = IPv4Address | IPv6Address

REFUSED = {
    ip_network(network): why
    for network, why in (
        ("169.254.0.0/16", "link-local, where clouds hand out credentials"),
        ("fe80::/10", "link-local, where clouds hand out credentials"),
        ("fd00:ec2::254/128", "a cloud's metadata service"),
        ("fd20:ce::254/128", "a cloud's metadata service"),
        ("100.100.100.200/32", "a cloud's metadata service"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("192.0.0.192/32", "a cloud's metadata service"),
        ("0.0.0.0/8", "no host's address"),
        ("::/128", "no host's address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
    )
}
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal"})
SETTING = "HEALTH_ALLOWED_NETWORKS"

#: Networks of IPv6 that lead to the IPv4 address in their bits, and how far that lies from the right.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("64:ff9b:1::/48"), 0),
    (IPv6Network("2002::/16"), 80),
)


class AddressRefused(OSError):
    """An attempt to connect to a refused address. `sentence`: why, and which setting would allow it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def refusal(host: str) -> str:
    """Why the host of a service's address is refused; empty when it is not.

    For forms: knows addresses in any spelling that a resolver takes (`2852039166`, `0xa9.254.169.254`) and the names
    of metadata services. What any other name leads to is decided when its probe connects.
    """
    name = host.strip().strip("[]").rstrip(".").lower()
    if name in METADATA_NAMES:
        return f"{name} is a cloud's metadata service and is not probed."
    address = _literal(name)
    return "" if address is None else _refused(address)


def guarded_socket(address: AddrInfoType) -> socket.socket:
    """A socket for `address`, as getaddrinfo gives it. Raises `AddressRefused` where none may be opened."""
    family, kind, protocol, _, where = address
    sentence = _refused(ip_address(where[0]))
    if sentence:
        raise AddressRefused(sentence)
    return socket.socket(family=family, type=kind, proto=protocol)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not host or host[0] not in "0123456789":
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _refused(address: Address) -> str:
    """The sentence for an address in a refused network that the settings do not allow, else empty."""
    allowed = settings.HEALTH_ALLOWED_NETWORKS
    if any(address in network for network in allowed):
        return ""
    for leads_to in _led_to(address):
        if any(leads_to in network for network in allowed):
            continue
        for network, why in REFUSED.items():
            if leads_to in network:
                return f"{address} is {why}, and is not probed; {SETTING} would allow it."
    return ""


def _led_to(address: Address) -> Iterator[Address]:
    """The address itself and the IPv4 addresses that it may be another way of writing."""
    if isinstance(address, IPv4Address):
        yield address
        return
    bare = IPv6Address(int(address))  # without a zone such as %eth0, which no network contains
    yield bare
    if int(bare) <= 1:
        return  # :: and ::1 are addresses of IPv6 itself
    for network, shift in _CARRIERS:
        if bare in network:
            yield IPv4Address(int(bare) >> shift & 0xFFFF_FFFF)
    if bare.teredo:
        yield from bare.teredo
