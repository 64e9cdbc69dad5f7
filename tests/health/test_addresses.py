"""Addresses that are never probed, however they are written."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_network
from typing import Any

import pytest
from pytest_django import Settings

from health.models import Status
from health.probes import addresses
from health.probes.base import Cause, ProbeResult, Target
from health.probes.http import open_session, probe
from tests.health.asking import ask
from tests.health.servers import says, serving

REFUSED = (
    "169.254.169.254",
    "169.254.0.1",
    "[169.254.169.254]",
    "2852039166",
    "0xa9.254.169.254",
    "0251.0376.0251.0376",
    "169.254.43518",
    "::ffff:169.254.169.254",
    "[::ffff:a9fe:a9fe]",
    "::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2001:0:a9fe:a9fe::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "metadata",
    "metadata.google.internal",
    "Metadata.Google.Internal.",
)
FINE = ("127.0.0.1", "localhost", "::1", "[::1]", "10.1.2.3", "192.168.0.10", "172.16.0.1", "orders", "orders.example")


@pytest.mark.parametrize("host", REFUSED)
def test_refusal__address_of_a_refused_network__is_a_sentence(host: str) -> None:
    """HM-1: no service can be registered under an address that hands out credentials, in any spelling."""
    assert "not probed" in addresses.refusal(host)


@pytest.mark.parametrize("host", (*FINE, "", "1.2.3.4.5", "999.1.1.1", "1e100.net", "é" * 300, "\x00"))
def test_refusal__any_other_host__is_empty(host: str) -> None:
    """HM-1: services live on private networks and on this machine."""
    assert addresses.refusal(host) == ""


def test_refusal__allowed_by_the_setting__is_empty(settings: Settings) -> None:
    """HM-1: one network of the refused ones may be opened, and only that one."""
    settings.HEALTH_ALLOWED_NETWORKS = [ip_network("169.254.10.0/24")]
    assert addresses.refusal("169.254.10.9") == addresses.refusal("::ffff:169.254.10.9") == ""
    assert "HEALTH_ALLOWED_NETWORKS would allow it" in addresses.refusal("169.254.11.9")


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0", "[64:ff9b::a9fe:a9fe]"],
)
def test_probe__refused_address__is_never_connected_to(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-2: refused as the socket is made, once, with the setting that would allow it."""
    connected: list[Any] = []
    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", lambda _loop, _sock, where: connected.append(where))
    found = ask(f"http://{host}:80/health")
    assert (found.status, found.cause, found.tries, found.latency_us) == (Status.UNREACHABLE, Cause.ADDRESS, 1, None)
    assert "HEALTH_ALLOWED_NETWORKS" in found.sentence and connected == []


@pytest.mark.parametrize("host", ["2852039166", "169.254.43518", "0xa9.254.169.254", "0251.0376.0251.0376"])
def test_probe__address_in_an_old_spelling__is_refused(host: str) -> None:
    """HM-2: spellings that only a resolver understands lead nowhere else."""
    found = ask(f"http://{host}/health")
    assert (found.status, found.cause) == (Status.UNREACHABLE, Cause.ADDRESS)


def resolve_as(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """The system's resolver, beyond our edge, as a name server under an attacker's control would have it."""
    asked = iter(answers)
    last: list[str] = answers[-1]

    def look_up(host: str, port: int, **_hints: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, port)) for where in next(asked, last)]

    monkeypatch.setattr("health.probes.resolving.getaddrinfo", look_up)


def test_probe__name_that_leads_to_metadata__is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-2: a name decides nothing; the address does."""
    resolve_as(monkeypatch, ["169.254.169.254"])
    found = ask("http://orders.example:80/health")
    assert (found.status, found.cause) == (Status.UNREACHABLE, Cause.ADDRESS)
    assert "169.254.169.254" in found.sentence


def test_probe__name_that_is_bound_anew__is_refused_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-2: a name that was harmless when it was registered and is not any more."""
    with serving(says()) as server:
        resolve_as(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])

        async def asked() -> tuple[ProbeResult, ProbeResult]:
            target = Target(1, "orders", f"http://orders.example:{server.port}/health", 1.0)
            async with open_session() as session:
                first = await probe(session, target)
            async with open_session() as session:
                return first, await probe(session, target)

        first, second = asyncio.run(asked())
    assert first.status == Status.HEALTHY
    assert (second.status, second.cause) == (Status.UNREACHABLE, Cause.ADDRESS)


def test_probe__one_of_two_addresses_refused__uses_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-2: what may be connected to is; what may not is passed over."""
    with serving(says()) as server:
        resolve_as(monkeypatch, ["169.254.169.254", "127.0.0.1"])
        assert ask(f"http://orders.example:{server.port}/health").status == Status.HEALTHY


def test_probe__network_allowed_by_the_setting__is_connected_to(settings: Settings) -> None:
    """HM-2: the setting opens what it names; on Linux 0.0.0.0 is this machine."""
    settings.HEALTH_ALLOWED_NETWORKS = [ip_network("0.0.0.0/32")]
    with serving(says()) as server:
        assert ask(server.url(host="0.0.0.0")).cause != Cause.ADDRESS
