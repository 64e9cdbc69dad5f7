"""Addresses that the portal does not connect to for somebody who only typed them into a form.

Whoever may register an address could otherwise read the portal's own cloud credentials through it. Names decide
nothing: the rule is enforced on the address itself as the socket is made, so neither a name that changes its address
between two look-ups nor another way of writing an address gets around it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

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

#: For a network's own use (RFC 8215), which puts IPv4 addresses where it likes. Python before 3.11.10 calls it global.
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
#: Networks of IPv6 that lead to the IPv4 address in their bits, and how far that lies from the right.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (_LOCAL_NAT64, 0),
    (IPv6Network("2002::/16"), 80),
)


class AddressRefused(OSError):
    """An attempt to connect to a refused address. `sentence`: why, and which setting would allow it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


def literal(host: str) -> Address | None:
    """The address that a host is, in any spelling that a resolver takes (`2852039166`, `0xa9.254.169.254`)."""
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


def listed(address: Address) -> str:
    """Why nobody should connect there, as a part of a sentence; empty where the table says nothing."""
    return next((why for network, why in REFUSED.items() if address in network), "")


def why_refused(address: Address, *, allowed: Iterable[Network], judge: Callable[[Address], str]) -> str:
    """What `judge` says of the address, or of any that it is another way of writing, unless a network allows it."""
    if any(address in network for network in allowed):
        return ""
    for leads_to in led_to(address):
        if any(leads_to in network for network in allowed):
            continue
        if why := judge(leads_to):
            return why
    return ""


def is_public(address: Address) -> bool:
    """Whether it is an address of the whole world, or only another way of writing one of IPv4, which `led_to` gives."""
    if address in _LOCAL_NAT64:
        return False
    carries_another = address.version == 6 and int(address) > 1 and any(address in net for net, _ in _CARRIERS)
    return address.is_global or carries_another


def led_to(address: Address) -> Iterator[Address]:
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
