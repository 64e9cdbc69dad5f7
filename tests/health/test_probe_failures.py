"""The probe of services that answer late or not at all, and those that must not wait for them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientSession

from health.models import Status
from health.probes.base import Cause, ProbeResult, Target
from health.probes.http import RETRY_AFTER_SECONDS, probe
from tests.health import servers
from tests.health.asking import ask, ask_one, within
from tests.health.servers import TLS, Seen, reply, says, serving

TIMEOUT = 0.3


# ---------------------------------------------------------------- no reply
def test_probe__service_that_stays_silent__times_out_twice() -> None:
    """HM-2: the timeout holds for each try; one retry after 0.2 s."""
    begun = time.monotonic()
    found, server = ask_one(servers.silent(), timeout=TIMEOUT)
    took = time.monotonic() - begun
    assert (found.status, found.cause, found.tries) == (Status.UNREACHABLE, Cause.TIMEOUT, 2)
    assert (found.sentence, found.latency_us) == ("It did not reply within 0.3 s.", None)
    assert 2 * TIMEOUT + RETRY_AFTER_SECONDS <= took < 2 * TIMEOUT + RETRY_AFTER_SECONDS + 1
    assert len(server.heads) == 2


def test_probe__reply_that_drips__times_out() -> None:
    """HM-2: the timeout is for the whole reply, not for each piece."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    found, _ = ask_one(servers.drips(head[:20] + head[20:], 0.02), timeout=TIMEOUT)
    assert (found.cause, found.sentence) == (Cause.TIMEOUT, "It did not reply within 0.3 s.")
    found, _ = ask_one(servers.floods(head, b"", pieces=0), timeout=TIMEOUT)
    assert found.cause == Cause.CONNECTION

    async def slow_body(seen: Seen, reader: servers.Reader, writer: servers.Writer) -> None:
        writer.write(head)
        await servers.drips(b"x" * 1000, 0.02)(seen, reader, writer)

    found, _ = ask_one(slow_body, timeout=TIMEOUT)
    assert (found.cause, found.sentence) == (Cause.TIMEOUT, "Its reply did not end within 0.3 s.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (servers.resets(), "It reset the connection without a reply."),
        (servers.floods(b"", b"", pieces=0), "It closed the connection without a reply."),
        (servers.floods(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"{", pieces=1), "Its reply broke off"),
        (servers.greets(b"SSH-2.0-OpenSSH_9.2\r\n"), "not valid HTTP"),
        (servers.floods(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000, b"", pieces=0), "not valid HTTP"),
        (servers.floods(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000, b"", pieces=0), "not valid HTTP"),
        (servers.floods(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"", pieces=0), "not valid HTTP"),
    ],
    ids=["reset", "nothing", "half", "other protocol", "huge header", "many headers", "bad length"],
)
def test_probe__connection_that_fails__is_tried_once_more(answer: servers.Answer, words: str) -> None:
    """HM-2: whatever the other side does is a sentence, not an exception."""
    found, _ = ask_one(answer)
    assert (found.status, found.cause, found.tries) == (Status.UNREACHABLE, Cause.CONNECTION, 2)
    assert words in found.sentence and found.latency_us is None


def test_probe__nothing_listens__is_refused() -> None:
    """HM-2: the host is there, the service is not."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        found = ask(f"http://127.0.0.1:{port}/health")
    assert (found.status, found.cause, found.tries) == (Status.UNREACHABLE, Cause.REFUSED, 2)
    assert found.sentence == f"127.0.0.1:{port} refuses connections."


def test_probe__failure_that_passes__is_healthy_at_the_second_try() -> None:
    """HM-2: one retry; its latency is that of the try that was answered."""
    found, _ = ask_one(servers.recovers(reply()))
    assert (found.status, found.tries) == (Status.HEALTHY, 2)
    assert found.latency_us is not None and found.latency_us < RETRY_AFTER_SECONDS * 1_000_000


def test_probe__kept_connection_given_up_by_the_server__is_no_failure() -> None:
    """HM-2: a server may close an idle connection just as the next probe uses it: asked again at once."""
    with serving(servers.drops_kept_connections()) as server:

        async def several(session: ClientSession) -> list[ProbeResult]:
            return [await probe(session, Target(1, "orders", server.url(), 2.0)) for _ in range(4)]

        found = within(several)
    assert [(one.status, one.tries) for one in found] == [(Status.HEALTHY, 1)] * 4


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1/health", "ftp://orders/health", "orders", "http://a:99999/", ""]
)
def test_probe__address_that_is_none__is_a_sentence(url: str) -> None:
    """HM-2: a row that no form would have let through breaks nothing."""
    found = ask(url)
    assert (found.status, found.cause, found.tries) == (Status.UNREACHABLE, Cause.ADDRESS, 1)
    assert found.sentence == "Its address is not a valid HTTP address."


def test_probe__name_unknown__says_so() -> None:
    """HM-2: `.invalid` is promised never to exist."""
    found = ask("http://orders.invalid/health", timeout=5.0)
    assert (found.status, found.cause) == (Status.UNREACHABLE, Cause.DNS)
    assert found.sentence.startswith("The name orders.invalid cannot be resolved: ")


def test_probe__defect_of_its_own__is_logged_and_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    """HM-2: whatever happens, the sweep goes on."""
    with caplog.at_level(logging.ERROR):
        found = asyncio.run(probe(object(), Target(1, "orders", "http://127.0.0.1/", 1.0)))  # type: ignore[arg-type]
    assert (found.status, found.cause, found.sentence) == (
        Status.UNREACHABLE,
        Cause.CONNECTION,
        "It could not be probed: AttributeError.",
    )
    assert "health_probe_failed" in caplog.text


def test_probe__cancelled__is_cancelled() -> None:
    """HM-2: a sweeper that stops does not wait for timeouts."""
    with serving(servers.silent()) as server:

        async def stop(session: ClientSession) -> None:
            asking = asyncio.create_task(probe(session, Target(1, "orders", server.url(), 30.0)))
            while not server.heads:
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

        within(stop)


# ---------------------------------------------------------------- TLS
@pytest.fixture(scope="module")
def authority() -> ssl.SSLContext:
    """Trusts the tests' own authority, whose key is gone, and nobody else."""
    return ssl.create_default_context(cafile=str(TLS / "ca.pem"))


def test_probe__good_certificate__is_healthy(authority: ssl.SSLContext) -> None:
    """HM-2: and the connection is kept."""
    with serving(says(), certificate="good.pem") as server:
        assert ask(server.url(scheme="https", host="localhost"), tls=authority).status == Status.HEALTHY


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("expired.pem", "The certificate of localhost has expired."),
        ("other_name.pem", "The certificate of localhost is for another host name."),
        (
            "self_signed.pem",
            "The certificate of localhost is signed by itself, by no authority that the portal trusts.",
        ),
    ],
)
def test_probe__certificate_that_is_not_accepted__says_what_is_wrong(
    certificate: str, words: str, authority: ssl.SSLContext
) -> None:
    """HM-2: in plain words, without a second try, which would end the same."""
    with serving(says(), certificate=certificate) as server:
        found = ask(server.url(scheme="https", host="localhost"), tls=authority)
    assert (found.status, found.cause, found.sentence, found.tries) == (Status.UNREACHABLE, Cause.TLS, words, 1)


def test_probe__unknown_authority__says_so() -> None:
    """HM-2: by default the system's authorities are trusted."""
    with serving(says(), certificate="good.pem") as server:
        found = ask(server.url(scheme="https", host="localhost"))
    assert (found.cause, found.sentence) == (
        Cause.TLS,
        "The certificate of localhost is signed by an authority that the portal does not trust.",
    )


def test_probe__https_where_http_is_spoken__gives_the_hint() -> None:
    """HM-2: the commonest mistake in a service's address."""
    with serving(servers.greets(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        found = ask(server.url(scheme="https"))
    assert (found.status, found.cause) == (Status.UNREACHABLE, Cause.TLS)
    assert "its address may need http instead of https" in found.sentence


# ---------------------------------------------------------------- no service waits for another
def test_probe__slow_services__delay_no_other() -> None:
    """HM-2: 120 slow ones are answered only after all the others were; more than aiohttp would connect to by itself."""
    others = threading.Event()
    with serving(servers.waits_for(others)) as slow, serving(says()) as quick:

        async def both(session: ClientSession) -> list[ProbeResult]:
            ask_slow, ask_quick = Target(1, "orders", slow.url(), 20.0), Target(2, "orders", quick.url(), 5.0)
            waiting = [asyncio.create_task(probe(session, ask_slow)) for _ in range(120)]
            found = await asyncio.gather(*(probe(session, ask_quick) for _ in range(100)))
            assert not any(task.done() for task in waiting)
            others.set()
            return [*found, *await asyncio.gather(*waiting)]

        found = within(both)
    assert [(one.status, one.tries) for one in found] == [(Status.HEALTHY, 1)] * 220


@pytest.fixture
def hanging_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server, beyond our edge, that does not answer for `*.hangs.example` until the event is set."""
    answered = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: Any, *arguments: Any, **hints: Any) -> Any:
        if str(host).endswith(".hangs.example"):
            answered.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *arguments, **hints)

    monkeypatch.setattr("health.probes.resolving.getaddrinfo", hang)
    yield answered
    answered.set()


def test_probe__names_that_hang__delay_no_other(hanging_names: threading.Event) -> None:
    """HM-2: fifty services whose name server is silent time out; a service with another name is answered meanwhile."""
    with serving(says()) as server:

        async def all_of_them(session: ClientSession) -> tuple[ProbeResult, list[ProbeResult]]:
            hanging = [
                asyncio.create_task(probe(session, Target(n, "orders", f"http://n{n}.hangs.example/health", 1.0)))
                for n in range(50)
            ]
            found = await probe(session, Target(99, "orders", server.url(host="localhost"), 1.0))
            assert not any(task.done() for task in hanging)
            return found, await asyncio.gather(*hanging)

        found, others = within(all_of_them)
    assert (found.status, found.tries) == (Status.HEALTHY, 1)
    assert {one.cause for one in others} == {Cause.TIMEOUT}
