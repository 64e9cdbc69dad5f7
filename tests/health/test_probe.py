"""The probe and what services reply, well or badly."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import pytest
from aiohttp import ClientSession

import opsportal
from health.models import Status
from health.probes.base import Cause, ProbeResult, Target
from health.probes.http import MAX_BODY, probe
from tests.health import servers
from tests.health.asking import ask, ask_one, within
from tests.health.servers import HEALTHY, answers, reply, says, serving


# ---------------------------------------------------------------- good replies
def test_probe__healthy__has_everything_of_the_reply() -> None:
    """HM-2, HM-3, HM-7: status, latency, version and the last operation."""
    found, server = ask_one(says())
    assert (found.status, found.cause, found.sentence, found.field, found.tries) == (
        Status.HEALTHY,
        Cause.NONE,
        "",
        "",
        1,
    )
    assert (found.version, found.last_operation) == ("1.4.2", "last_order_at")
    assert found.last_operation_at is not None and found.last_operation_at.isoformat() == "2026-01-31T09:30:00+00:00"
    assert found.latency_us is not None and 0 < found.latency_us < 2_000_000
    head = server.heads[0].decode().lower()
    assert head.startswith("get /health http/1.1") and f"user-agent: opsportal/{opsportal.__version__}" in head
    assert "accept-encoding: identity" in head and "cookie" not in head


@pytest.mark.parametrize("status", ["degraded", "unhealthy"])
@pytest.mark.parametrize("line", ["200 OK", "503 Service Unavailable", "500 Internal Server Error", "429 Slow"])
def test_probe__says_it_is_not_well__is_believed_under_any_http_status(status: str, line: str) -> None:
    """HM-3: many frameworks send 503 with an unhealthy reply: the body is what counts."""
    found, _ = ask_one(answers(reply({**HEALTHY, "status": status, "details": {"reason": "disk full"}}, status=line)))
    assert (found.status, found.cause) == (Status[status.upper()], Cause.SAID_SO)
    assert found.sentence == f"It calls itself {status}: disk full"


def test_probe__not_well_without_words__still_has_a_sentence() -> None:
    """HM-3: there is always something to read."""
    assert ask_one(says(status="degraded"))[0].sentence == "It calls itself degraded."


def test_probe__many_probes__use_one_connection() -> None:
    """HM-2: connections are kept from one probe to the next."""
    with serving(says()) as server:

        async def several(session: ClientSession) -> list[ProbeResult]:
            return [await probe(session, Target(1, "orders", server.url(), 2.0)) for _ in range(5)]

        assert {found.status for found in within(several)} == {Status.HEALTHY}
    assert (server.connections, len(server.heads)) == (1, 5)


def test_probe__reply_without_length__is_read_to_its_end() -> None:
    """HM-3: HTTP/1.0, the end of the connection is the end of the reply."""
    body = json.dumps(HEALTHY).encode()
    assert ask_one(answers(b"HTTP/1.0 200 OK\r\n\r\n" + body))[0].status == Status.HEALTHY


def test_probe__chunked_reply__is_read_whole() -> None:
    """HM-3: in many small pieces."""
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps(HEALTHY).encode())
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask_one(answers(head + pieces + b"0\r\n\r\n"))[0].status == Status.HEALTHY


def test_probe__largest_reply_allowed__is_read() -> None:
    """HM-3: the limit is 256 KiB, and that much is fine."""
    padding = "x" * (MAX_BODY - len(json.dumps({**HEALTHY, "details": ""})))
    assert ask_one(says(details=padding))[0].status == Status.HEALTHY
    assert ask_one(says(details=padding + "x"))[0].cause == Cause.TOO_LARGE


# ---------------------------------------------------------------- replies that break the contract
@pytest.mark.parametrize(
    ("answer", "cause", "field", "words"),
    [
        (answers(reply(b"{")), Cause.NOT_JSON, "", "The reply is not JSON"),
        (answers(reply(b"")), Cause.NOT_JSON, "", "The reply is empty."),
        (
            answers(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Cause.NOT_JSON,
            "",
            "It answered HTTP 204 No Content: there is no",
        ),
        (says(status="ok"), Cause.FIELD, "status", '`status` is "ok"; it must be healthy, degraded or unhealthy.'),
        (says(service=None), Cause.FIELD, "service", "`service` is missing."),
        (says(version=7), Cause.FIELD, "version", "`version` is 7; it must be a text."),
        (says(last_order_at=1_769_860_800), Cause.FIELD, "last_order_at", "must be a time in ISO 8601"),
        (
            says(service="portfolio"),
            Cause.NAME,
            "service",
            'It calls itself "portfolio", but is registered as "orders"; its reply counts for neither.',
        ),
        (
            answers(reply(status="500 Oops")),
            Cause.HTTP_STATUS,
            "status",
            "says healthy, but came with HTTP 500 Internal",
        ),
        (
            answers(reply(b"<h1>Not here</h1>", status="404 Nope")),
            Cause.HTTP_STATUS,
            "",
            "It answered HTTP 404 Not Found; there is no health reply at /health.",
        ),
        (answers(reply({"error": 1}, status="401 Who")), Cause.HTTP_STATUS, "", "It answered HTTP 401 Unauthorized"),
        (answers(reply(status="799 Odd", body=b"")), Cause.HTTP_STATUS, "", "It answered HTTP 799; there is no"),
        (
            answers(reply(zlib.compress(b"{}"), headers="Content-Encoding: gzip\r\n")),
            Cause.NOT_JSON,
            "",
            "The reply is compressed (gzip), which was not asked for.",
        ),
    ],
)
def test_probe__broken_reply__is_a_violation_that_names_the_fault(
    answer: servers.Answer, cause: Cause, field: str, words: str
) -> None:
    """HM-3: a reply came, so it is no outage; it is not counted for any service either. No second try."""
    found, server = ask_one(answer)
    assert (found.status, found.cause, found.field) == (Status.VIOLATION, cause, field)
    assert words in found.sentence and len(found.sentence) <= 300
    assert found.answered and found.latency_us is not None and found.last_operation == ""
    assert (found.tries, len(server.heads)) == (1, 1)


@pytest.mark.parametrize("line", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_probe__redirect__is_not_followed(line: str) -> None:
    """HM-3: also an endless one, or one to an address that is never probed; its secrets are masked."""
    to = "http://joe:hunter2@169.254.169.254/latest/meta-data?token=abcdef123456"
    found, server = ask_one(answers(reply(b"", status=line, headers=f"Location: {to}\r\n")))
    assert (found.status, found.cause, len(server.heads)) == (Status.VIOLATION, Cause.REDIRECT, 1)
    assert "It redirects to http://" in found.sentence and "Register the final address." in found.sentence
    assert "hunter2" not in found.sentence and "abcdef" not in found.sentence


def test_probe__redirect_to_itself__ends_at_once() -> None:
    """HM-3: an endless redirect costs one request."""
    found, server = ask_one(answers(reply(b"", status="302 Found", headers="Location: /health\r\n")))
    assert (found.cause, len(server.heads)) == (Cause.REDIRECT, 1)
    assert ask_one(answers(reply(b"", status="304 Not Modified")))[0].sentence.startswith("It answered HTTP 304")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["50 MB", "endless", "chunked"],
)
def test_probe__huge_reply__costs_little_and_is_cut_off(head: bytes) -> None:
    """HM-2, HM-3: 256 KiB are read, the connection is closed, and memory does not grow with the reply."""
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if b"chunked" in head else b"x" * 65_536
    with serving(servers.floods(head, piece, pieces=800)) as server:
        tracemalloc.start()
        try:
            found = ask(server.url())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (found.status, found.cause) == (Status.VIOLATION, Cause.TOO_LARGE)
    assert found.sentence == "The reply is larger than 256 KiB."
    assert server.sent < 20_000_000, "it went on sending: the connection was not closed"
    assert peak < 4_000_000
