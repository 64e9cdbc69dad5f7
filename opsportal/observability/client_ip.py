"""The address a request came from, believing proxies only where they are ours (AM-3)."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest

_Address = IPv4Address | IPv6Address

# A proxy chain longer than this is an attack on the parser, not a network.
_MOST_HOPS = 32
# ::ffff:0:0/96, in which IPv4 addresses are written as IPv6.
_MAPPED_BITS = 96


def client_ip(request: HttpRequest) -> str | None:
    """The client's IP address in its canonical form, or None when the server knows none (a unix socket).

    The peer's address counts, unless the peer is in `settings.TRUSTED_PROXIES`: then the right-most address of
    X-Forwarded-For that is not a trusted proxy. What does not parse as an address ends the search, since all
    that stands left of it was written by a stranger; the last believable address is the answer.
    """
    believed = _parse(request.META.get("REMOTE_ADDR", ""))
    if believed is None:
        return None
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    for hop in reversed(forwarded.split(",")[-_MOST_HOPS:]):
        if not _trusted(believed):
            break
        address = _parse(hop)
        if address is None:
            break
        believed = address
    return str(believed)


def as_known(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """The network in the form in which `client_ip` knows callers: IPv4 where it is IPv4 written as IPv6."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def from_trusted_proxy(request: HttpRequest) -> bool:
    """Whether the peer itself is one of `settings.TRUSTED_PROXIES`, so that its X-Forwarded headers may be believed."""
    peer = _parse(request.META.get("REMOTE_ADDR", ""))
    return peer is not None and _trusted(peer)


def _trusted(address: _Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _parse(text: str) -> _Address | None:
    """An address, with or without a port or brackets; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
